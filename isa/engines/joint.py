"""Sums that have one consumer are one sum, whichever banks work them out.

A machine adds up the parts of a sum in its banks and hands them to their consumer together. Where a
program's text shows which instruction that is, all parts are added in one place from the start, and
those that take the same register are one table: the shares of one weight matrix in several banks
are again that matrix. What a bank does in which cycle is not touched by this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from isa.arithmetic import Int
from isa.format import Instruction
from isa.instructions import Loop
from isa.work import CONTROL, Work


@dataclass(frozen=True)
class Part:
    """What an instruction adds to a burst: rows [inputs, n] of active events, or times values."""

    kind: str
    register: str
    rows: Int


@dataclass(frozen=True)
class Joint:
    """The bank in whose place an instruction's part is added; what it adds, if anything is left."""

    bank: int
    rows: Int | None


def joined(
    code: Sequence[Instruction], works: Sequence[Work], parts: dict[int, Part]
) -> dict[int, Joint]:
    """For the program counters of parts: what each of them does for their consumers."""
    ends = {pc + 1 + op.length for pc, op in enumerate(code) if isinstance(op, Loop)}
    made: dict[int, Joint] = {}
    groups: dict[tuple[int, str, str, tuple[int, ...]], list[int]] = {}
    for pc, part in parts.items():
        consumer = _consumer(code, works, ends, pc)
        if consumer is not None:
            key = (consumer, part.kind, part.register, part.rows.shape)
            groups.setdefault(key, []).append(pc)
    for (consumer, _, register, _), pcs in groups.items():
        home = min(works[consumer].consumes)
        first, rows = pcs[0], parts[pcs[0]].rows
        for before, pc in pairwise(pcs):
            if any(register in work.writes for work in works[before:pc]):
                made[first], first, rows = Joint(home, rows), pc, parts[pc].rows
            else:
                made[pc], rows = Joint(home, None), rows + parts[pc].rows
        made[first] = Joint(home, rows)
    return made


def _consumer(
    code: Sequence[Instruction], works: Sequence[Work], ends: set[int], pc: int
) -> int | None:
    """The instruction that takes a part, if nothing lies between that could change that."""
    for at in range(pc + 1, len(code)):
        if at in ends or works[at].unit == CONTROL:
            return None
        if works[at].consumes:
            bank = works[pc].bank
            runs = [(op.stage, op.timesteps) for op in (code[pc], code[at])]
            return at if runs[0] == runs[1] and bank in works[at].consumes else None
    return None
