"""What a run did: its results and its counts, the same from every engine."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from isa.arithmetic import Int
from isa.work import CONTROL, Work

Place = tuple[int, str]
"""An instruction by program counter, and one of its operands."""


@dataclass
class Counts:
    """What a run did, summed over its samples.

    By program counter: `busy_at` cycles of work by unit, `stalls_at` cycles of waiting by unit and
    cause, `accesses_at` rows by memory and direction, `operations_at` lane operations by unit and
    kind, `saturations` elements that did not fit their width by cause, `saturable` all elements
    that had to.
    """

    cycles: int = 0
    instructions: int = 0
    busy_at: Counter[tuple[int, str]] = field(default_factory=Counter)
    stalls_at: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    accesses_at: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    operations_at: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    saturations: Counter[tuple[int, str]] = field(default_factory=Counter)
    saturable: Counter[tuple[int, str]] = field(default_factory=Counter)

    @property
    def busy(self) -> Counter[str]:
        """Cycles of work by unit."""
        found: Counter[str] = Counter()
        for (_, unit), cycles in self.busy_at.items():
            found[unit] += cycles
        return found

    @property
    def stalls(self) -> Counter[tuple[str, str]]:
        """Cycles of waiting by unit and cause."""
        found: Counter[tuple[str, str]] = Counter()
        for (_, unit, cause), cycles in self.stalls_at.items():
            found[unit, cause] += cycles
        return found

    @property
    def accesses(self) -> Counter[tuple[str, str]]:
        """Rows by memory and direction."""
        found: Counter[tuple[str, str]] = Counter()
        for (_, memory, direction), rows in self.accesses_at.items():
            found[memory, direction] += rows
        return found

    @property
    def operations(self) -> Counter[str]:
        """Lane operations by unit."""
        found: Counter[str] = Counter()
        for (_, unit, _), number in self.operations_at.items():
            found[unit] += number
        return found

    def met(
        self, pc: int, work: Work, times: int, active: int = 0, rows: int = 0, spills: int = 0
    ) -> None:
        """Count what an instruction's demand comes to, from the sums of what it met."""
        if not times or work.unit == CONTROL:
            return
        met = (active, rows, spills, times)
        if number := work.operations.of(*met):
            self.operations_at[pc, work.unit, work.kind] += number
        for (memory, direction), count in work.accesses.items():
            if number := count.of(*met):
                self.accesses_at[pc, memory, direction] += number

    def add(self, other: "Counts") -> None:
        """Count another run's, too."""
        self.cycles += other.cycles
        self.instructions += other.instructions
        for name in (
            "busy_at", "stalls_at", "accesses_at", "operations_at", "saturations", "saturable"
        ):  # fmt: skip
            getattr(self, name).update(getattr(other, name))


@dataclass(frozen=True)
class Run:
    """Result of a run: `logits` int64 [samples, outputs], `cycles` int64 [samples], and counts.

    `seen` holds what was watched, [samples, times, elements] each.
    """

    logits: Int
    cycles: Int
    counts: Counts
    seen: dict[Place, Int] = field(default_factory=dict)


Watched = Iterable[Place]
