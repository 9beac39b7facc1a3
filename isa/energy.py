"""Energy of a run: counts times prices, which follow from the target's widths and sizes.

Three figures of the target make all prices, so that a machine with other widths, sizes or lanes
has other prices without anybody typing them:

- a row costs its bits, and a bit the square root of its memory's size: lines and drivers are as
  long as the memory is wide and high;
- an operation costs the one-bit adders in it: as many as a sum has bits, and one for each pair of
  bits of a product;
- a cycle costs its lanes, whether they work or not.

What goes to external memory or comes from it costs what its target says of a bit.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import sqrt

from isa.engines.counts import Counts
from isa.parameters import LOSS_BITS
from isa.target import Memory, Target

KILOBYTES_8 = 8 * 1024
SMALLEST = 512
"""Bytes of a memory below which a bit costs no less: sense amplifiers and drivers remain."""


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


def access_price(target: Target, name: str, direction: str) -> float:
    """Picojoules of an access, one of `reads` or `writes`: to a row of a memory, or of what goes
    through the port to external memory in a cycle."""
    if name == "external" and target.external:
        return target.external.bits_per_cycle * target.external.bit
    return row_price(target, target.memories[name], direction)


def row_price(target: Target, memory: Memory, direction: str) -> float:
    """Picojoules of a row: as measured, or by the law."""
    measured = target.energy.read if direction == "reads" else target.energy.write
    if memory.name in measured:
        return measured[memory.name]
    bits = memory.lanes * memory.bits
    size = max(memory.rows * bits / 8, SMALLEST)
    return bits * target.energy.bit * sqrt(size / KILOBYTES_8)


def operation_price(target: Target, unit: str, kind: str) -> float:
    """Picojoules of a lane's operation: the one-bit adders of its sum and its product."""
    return target.energy.adder * _adders(target, unit, kind)


def _adders(target: Target, unit: str, kind: str) -> int:
    wide = target.accumulators.bits + target.accumulators.guard
    match kind:
        case "multiply_add":
            return _product(target, unit) + wide
        case "neuron":  # leak; event sums, value sums and bias; threshold
            return LOSS_BITS * target.neuron.membrane_bits + 4 * wide
        case _:  # a move changes the place of a word: at most what adding to one costs
            return wide


def _product(target: Target, unit: str) -> int:
    """Pairs of bits in a product of a unit."""
    match unit:
        case "readout":
            return LOSS_BITS * target.readout.bits
        case "drive":
            weight = target.drive.weight_bits
        case "update":
            weight = target.update.weight_bits
        case _:
            weight = next(bank.weight_bits for bank in target.bank if bank.name == unit)
    return weight * target.values.bits


def cycle_price(target: Target) -> float:
    """Picojoules of a cycle: the clock of every lane of every unit, and what leaks."""
    groups = len(target.bank) + 2  # the neuron unit and the readout work on a group, too
    return target.energy.lane * (groups * target.lanes + target.update.lanes + 1)


def energy(counts: Counts, target: Target) -> EnergyReport:
    """What a run with these counts costs on a target.

    Counts are gone through in one order, whatever that of the engine: sums are rounded the same.
    """
    accesses: dict[tuple[int, str], float] = defaultdict(float)
    for (pc, memory, direction), rows in sorted(counts.accesses_at.items()):
        if rows:
            price = access_price(target, memory, direction)
            accesses[pc, memory] += rows * price
    operations: dict[int, float] = defaultdict(float)
    for (pc, unit, kind), number in sorted(counts.operations_at.items()):
        operations[pc] += number * operation_price(target, unit, kind)
    return EnergyReport(accesses, operations, counts.cycles * cycle_price(target))
