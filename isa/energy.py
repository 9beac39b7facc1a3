"""Energy of a run: counts times the target's figures."""

from collections import defaultdict
from dataclasses import dataclass

from isa.engines.counts import Counts
from isa.target import Target


@dataclass(frozen=True)
class EnergyReport:
    """Picojoules of a run: `accesses` by program counter and memory, `operations` by program
    counter, `idle` for every cycle of the clock.
    """

    accesses: dict[tuple[int, str], float]
    operations: dict[int, float]
    idle: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self.accesses.values()) + sum(self.operations.values()) + self.idle

    def by_instruction(self) -> dict[int, float]:
        """Energy by program counter; idle energy belongs to none."""
        found = defaultdict(float, self.operations)
        for (pc, _), spent in self.accesses.items():
            found[pc] += spent
        return found

    def by_memory(self) -> dict[str, float]:
        """Energy of row accesses by memory."""
        found: dict[str, float] = defaultdict(float)
        for (_, memory), spent in self.accesses.items():
            found[memory] += spent
        return found


def energy(counts: Counts, target: Target) -> EnergyReport:
    """What a run with these counts costs on a target."""
    figures = {"reads": target.energy.read, "writes": target.energy.write}
    accesses: dict[tuple[int, str], float] = defaultdict(float)
    for (pc, memory, direction), rows in counts.accesses_at.items():
        if rows:
            accesses[pc, memory] += rows * figures[direction][memory]
    operations: dict[int, float] = defaultdict(float)
    for (pc, _, kind), number in counts.operations_at.items():
        operations[pc] += number * target.energy.operation[kind]
    return EnergyReport(accesses, operations, counts.cycles * target.energy.cycle)
