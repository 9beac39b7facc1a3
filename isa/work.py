"""What an instruction asks of the machine: the input of timing and of the access counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isa.arithmetic import Int

Count = int | Int
"""A number for all samples, or one per sample of shape [batch] where it depends on the data."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The demand of one instruction.

    `operations` counts what lanes do, of one `kind` (a key of the target's energy table).

    A unit works through `groups` groups of neurons, `cycles` cycles each; where groups differ,
    `cycles` is [batch, period] and group g takes column g modulo the period. `reads` and `writes`
    name vector registers. An instruction on a bank either joins the next one on that bank (`join`)
    or closes the burst; a burst is handed, group by group, to the instruction that `consumes` it.
    `paired` work reads and writes a row of the unit's single-port memory for each group, the first
    at `row`. With `spill` partial sums lie in a memory of their own while rows are read.
    """

    unit: str
    cycles: Count = 1
    groups: int = 1
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    consumes: tuple[int, ...] = ()
    bank: int | None = None
    join: bool = False
    spill: bool = False
    paired: bool = False
    row: int = 0
    operations: Count = 0
    kind: str = "move"
    accesses: Mapping[tuple[str, str], Count] = field(default_factory=dict)
