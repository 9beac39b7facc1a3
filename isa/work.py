"""What an instruction asks of the machine: the input of timing and of the access counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isa.arithmetic import Int

Count = int | Int
"""A number per run, or one per sample of shape [batch] where it depends on the data."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The demand of one instruction.

    A unit works through `groups` groups of neurons, `cycles` cycles each. `reads` and `writes`
    name vector registers. An instruction on a bank either joins the next one on that bank (`join`)
    or closes the burst; a burst is handed, group by group, to the instruction that `consumes` it.
    """

    unit: str
    cycles: Count = 1
    groups: int = 1
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    consumes: tuple[int, ...] = ()
    bank: int | None = None
    join: bool = False
    operations: Count = 0
    accesses: Mapping[tuple[str, str], Count] = field(default_factory=dict)
