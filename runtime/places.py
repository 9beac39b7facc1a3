"""What a program leaves where: the places that can be looked at, by the names that they have."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from isa.engines.counts import Place
from isa.format import layout
from isa.interface import left_by
from runtime.errors import RuntimeFailure

if TYPE_CHECKING:
    from runtime.program import Program

NEXT = ".next"


@dataclass(frozen=True)
class Left:
    """What an instruction leaves behind it.

    `name` is that of the graph's value, or `where` it lies if the program tells none: a register
    such as e1, or neuron[0:32], rows of a state memory. `bits` are an element's, 1 for events;
    `value` is the graph's own name of it, with which a state differs before and after a timestep.
    """

    place: Place
    name: str
    where: str
    layer: str
    bits: int
    value: str = ""

    @property
    def part(self) -> tuple[str, int]:
        """The name of the whole vector of which it may be a part, and its first element."""
        if self.name == self.where:
            return self.name, 0
        name, _, part = self.name.rstrip("]").partition("[")
        return name, int(part.partition(":")[0] or 0)

    @property
    def is_events(self) -> bool:
        """Whether it is a vector of events."""
        return self.where.startswith("e")


def left(program: "Program") -> list[Left]:
    """All that instructions of a program leave behind, in program order."""
    target = program.image.target
    found = []
    for pc, (op, source) in enumerate(zip(program.image.code, program.provenance, strict=True)):
        work = op.work(target)
        kinds = {placed.name: placed.field.kind for placed in layout(type(op))}
        for operand in left_by(op):
            if operand in op.left:
                row, groups = op.left[operand], getattr(op, "groups", 0)
                where = f"{work.unit}[{row}:{row + groups}]"
                bits = target.memories[work.unit].bits
            else:
                where = f"{kinds[operand][0]}{getattr(op, operand)}"
                bits = 1 if where.startswith("e") else target.values.bits
                written = (*work.writes, *work.appends)
                if where not in written and not (operand == "dest" and written):
                    continue  # a later piece of a vector names the whole of it
            graphs = source.values.get(operand, "")
            name = graphs.replace(NEXT, "") or where
            found.append(Left((pc, operand), name, where, source.layer, bits, graphs))
    return found


def chosen(program: "Program", wanted: Iterable[str]) -> list[Left]:
    """What is left under names or places that match one of the `wanted`, which may hold * and ?.

    Raises RuntimeFailure if one of them matches nothing.
    """
    there, found = left(program), dict[Place, Left]()
    for pattern in wanted:
        matching = [
            item
            for item in there
            if any(n == pattern or fnmatchcase(n, pattern) for n in (item.name, item.where))
        ]
        if not matching:
            known = sorted({name for item in there for name in (item.name, item.where)})
            near = get_close_matches(pattern, known, 3) or known[:8]
            raise RuntimeFailure(
                f"{program.origin}: the program leaves nothing called '{pattern}'; "
                f"it leaves {', '.join(near)}, or '*' for all"
            )
        found.update({item.place: item for item in matching})
    return [found[place] for place in sorted(found)]
