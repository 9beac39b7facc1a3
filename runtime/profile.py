"""Where the cycles, accesses and energy of a run went: by instruction, layer, op and memory.

profile = program.profile(program.run(x))
profile.lines[8].busy, profile.layers["layer1"].energy, profile.bounds[0].text
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from isa.disassembler import assembly
from isa.energy import EnergyReport, energy
from isa.engines.counts import Counts
from isa.image import Image
from isa.interface import Provenance
from isa.work import Work
from runtime.bounds import NOWHERE, Bound, bounds
from runtime.html import escape, share, table

if TYPE_CHECKING:
    from runtime.program import Program, Result


@dataclass(frozen=True)
class Spent:
    """What something took: cycles of work and of waiting by cause, rows, lane operations, energy.

    `energy` is in picojoules, without the clock's part, which belongs to no instruction.
    """

    busy: int = 0
    stalls: dict[str, int] = field(default_factory=dict)
    accesses: dict[str, dict[str, int]] = field(default_factory=dict)
    operations: int = 0
    energy: float = 0.0

    @property
    def rows(self) -> int:
        """Row accesses to all memories."""
        return sum(sum(of.values()) for of in self.accesses.values())

    def longest(self) -> tuple[str, int]:
        """What it waited for most, and how long; nothing, if it never waited."""
        return max(self.stalls.items(), key=lambda item: item[1], default=("", 0))


@dataclass(frozen=True)
class Line:
    """One instruction: its text, the unit that works on it, where it comes from, what it took.

    `op` is the graph's op whose work it does, `nodes` are those of the user's model.
    """

    pc: int
    text: str
    unit: str
    layer: str
    path: str
    op: str
    nodes: tuple[str, ...]
    spent: Spent

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        made = {key: value for key, value in vars(self).items() if key != "spent"}
        return {**made, "nodes": list(self.nodes), **asdict(self.spent)}


@dataclass(frozen=True)
class Profile:
    """A run, instruction by instruction, and its totals.

    `cycles` are those of all samples together; a unit works in some of them, waits in some, and is
    idle in the rest. `idle` is the energy of the clock.
    """

    name: str
    target: str
    frequency_mhz: float
    samples: int
    timesteps: int
    cycles: int
    lines: tuple[Line, ...]
    idle: float
    bounds: tuple[Bound, ...]

    def total(self, key: Callable[[Line], str]) -> dict[str, Spent]:
        """Totals of lines that have the same key, in the order in which they end."""
        found: dict[str, list[Spent]] = {}
        for line in self.lines:
            name = key(line)
            found[name] = [*found.pop(name, ()), line.spent]
        return {name: _sum(parts) for name, parts in found.items()}

    @property
    def layers(self) -> dict[str, Spent]:
        """By layer."""
        return self.total(lambda line: line.layer)

    @property
    def ops(self) -> dict[str, Spent]:
        """By op of the graph, such as a product."""
        return self.total(lambda line: line.op)

    @property
    def units(self) -> dict[str, Spent]:
        """By unit, those that worked."""
        found = self.total(lambda line: line.unit)
        return {name: spent for name, spent in sorted(found.items()) if spent.busy}

    @property
    def spent(self) -> Spent:
        """All of it."""
        return _sum(line.spent for line in self.lines)

    def _repr_html_(self) -> str:
        """In a notebook: what bounds each layer, and what layers took."""
        said = "".join(f"<p><b>{escape(b.layer)}</b>: {escape(b.text)}</p>" for b in self.bounds)
        whole = self.spent.energy + self.idle
        rows = [
            (name, f"{spent.busy / self.timesteps:,.1f}", f"{spent.rows / self.timesteps:,.1f}",
             share(spent.energy, whole))
            for name, spent in self.layers.items()
            if spent.busy
        ]  # fmt: skip
        title = f"{self.name} on {self.target}, of a timestep"
        return said + table(title, ("layer", "busy cycles", "rows", "energy"), rows)

    def to_json(self) -> dict[str, Any]:
        """Plain data: instructions, totals, and what bounds each layer."""
        return {
            "name": self.name,
            "target": self.target,
            "frequency_mhz": self.frequency_mhz,
            "samples": self.samples,
            "timesteps": self.timesteps,
            "cycles": self.cycles,
            "clock_energy": self.idle,
            "instructions": [line.to_json() for line in self.lines],
            "layers": {name: asdict(spent) for name, spent in self.layers.items()},
            "ops": {name: asdict(spent) for name, spent in self.ops.items()},
            "units": {name: asdict(spent) for name, spent in self.units.items()},
            "total": asdict(self.spent),
            "bounds": [bound.to_json() for bound in self.bounds],
        }


def profile(program: "Program", result: "Result") -> Profile:
    """The profile of a program's run."""
    image, counts = program.image, result.counts
    report = energy(counts, image.target)
    works = [op.work(image.target) for op in image.code]
    lines = tuple(_lines(image, works, program.provenance, counts, report))
    return Profile(
        name=program.interface.name,
        target=image.target.name,
        frequency_mhz=image.target.frequency_mhz,
        samples=len(result.cycles),
        timesteps=int(result.lengths.sum()),
        cycles=counts.cycles,
        lines=lines,
        idle=report.idle,
        bounds=bounds(lines, counts.cycles, [bank.name for bank in image.target.bank]),
    )


def _lines(
    image: Image,
    works: list[Work],
    provenance: tuple[Provenance, ...],
    counts: Counts,
    report: EnergyReport,
) -> Iterable[Line]:
    stalls: dict[int, dict[str, int]] = defaultdict(dict)
    for (pc, _, cause), cycles in sorted(counts.stalls_at.items()):
        stalls[pc][cause] = cycles
    accesses: dict[int, dict[str, dict[str, int]]] = defaultdict(dict)
    for (pc, memory, direction), rows in sorted(counts.accesses_at.items()):
        accesses[pc].setdefault(memory, {"reads": 0, "writes": 0})[direction] = rows
    operations: dict[int, int] = defaultdict(int)
    for (pc, _, _), number in counts.operations_at.items():
        operations[pc] += number
    spent = report.by_instruction()
    for pc, (op, work, source) in enumerate(zip(image.code, works, provenance, strict=True)):
        yield Line(
            pc=pc,
            text=" ".join(assembly(op).split()),
            unit=work.unit,
            layer=source.layer or NOWHERE,
            path=source.path or NOWHERE,
            op=source.op or source.layer or NOWHERE,
            nodes=source.nodes,
            spent=Spent(
                counts.busy_at[pc, work.unit],
                stalls[pc],
                accesses[pc],
                operations[pc],
                spent.get(pc, 0.0),
            ),
        )


def _sum(parts: Iterable[Spent]) -> Spent:
    """What several took together."""
    busy, operations, spent = 0, 0, 0.0
    stalls: dict[str, int] = defaultdict(int)
    accesses: dict[str, dict[str, int]] = {}
    for part in parts:
        busy, operations, spent = (
            busy + part.busy, operations + part.operations, spent + part.energy
        )  # fmt: skip
        for cause, cycles in part.stalls.items():
            stalls[cause] += cycles
        for memory, of in part.accesses.items():
            to = accesses.setdefault(memory, {"reads": 0, "writes": 0})
            for direction, rows in of.items():
                to[direction] += rows
    return Spent(
        busy, dict(sorted(stalls.items())), dict(sorted(accesses.items())), operations, spent
    )
