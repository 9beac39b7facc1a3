"""Instructions of the readout unit: logits and counts."""

from collections.abc import Mapping

from isa.arithmetic import larger, shift_round
from isa.format import (
    Instruction,
    Timesteps,
    bank_set,
    choice,
    elements,
    event_register,
    flag,
    from_timestep,
    group_count,
    instruction,
    row_number,
    timestep_number,
    value_register,
)
from isa.machine import Machine
from isa.target import Target
from isa.work import ACTIVE, NONE, Active, Count, Kind, Work, registers


@instruction("clear.logits", 32)
class ClearLogits(Instruction):
    """Set logits to the value from which a mode starts: 0, or the least number for `max`."""

    row: int = row_number("first row in the readout memory")
    groups: int = group_count("rows")
    mode: str = choice(("sum", "last", "max"), "as in `readout`")

    def work(self, target: Target) -> Work:
        rows = Count(self.groups)
        return Work(unit="readout", cycles=rows, accesses={("readout", "writes"): rows})

    def execute(self, core: Machine) -> None:
        least = -(1 << (core.target.readout.bits - 1))
        core.write_state("readout", self.row, self.groups, least if self.mode == "max" else 0)


def logits_work(
    target: Target,
    row: int,
    groups: int,
    kind: Kind,
    *,
    consumes: tuple[int, ...] = (),
    source: int | None = None,
) -> Work:
    """A pass over logits: each row is read and written once, with its parameters, or, of `source`,
    after another row of logits that is only read."""
    rows, taken = Count(groups), source is not None
    return Work(
        unit="readout",
        groups=groups,
        states=1 + taken,
        read_only=int(taken),
        apart=0 if source is None else row - source,
        consumes=consumes,
        paired=True,
        row=row if source is None else source,
        operations=Count(groups * target.lanes),
        kind=kind,
        accesses={
            ("readout", "reads"): Count(groups * (1 + taken)),
            ("readout", "writes"): rows,
            ("parameter", "reads"): NONE if taken else rows,
        },
    )


@instruction("readout", 33)
class Readout(Instruction):
    """Combine a readout, sums plus bias, into the logits.

    The bias of a class is its parameter's `bias`, moved right by its `shift` (negative: left). At
    the end of a sample, `steps` counts it once for every timestep from `since` on. Sums come in
    their full width.
    """

    row: int = row_number("first row of logits in the readout memory")
    parameters: int = row_number("first row in the parameter memory")
    groups: int = group_count("rows of logits")
    banks: tuple[int, ...] = bank_set("banks whose sums to take")
    mode: str = choice(("sum", "last", "max"), "add to, replace, or keep the larger of the logits")
    steps: bool = flag("the bias counts once for every timestep")
    since: int = timestep_number("of `steps`, the first timestep that counts", 0)

    @property
    def left(self) -> Mapping[str, int]:
        """Logits."""
        return {"row": self.row}

    def work(self, target: Target) -> Work:
        return logits_work(target, self.row, self.groups, "add", consumes=self.banks)

    def execute(self, core: Machine) -> None:
        p = core.parameters(self.parameters, self.groups)
        wide = core.target.accumulators.bits + core.target.accumulators.guard
        events, values = core.take(self.banks, self.groups, wide)
        bias = shift_round(p.bias, p.shift) * (core.steps_from(self.since) if self.steps else 1)
        now = events + values + bias
        before = core.read_state("readout", self.row, self.groups)
        after = {"sum": before + now, "last": now, "max": larger(before, now)}[self.mode]
        bits = core.target.readout.bits
        core.write_state("readout", self.row, self.groups, core.saturate(after, bits, "logit"))


@instruction("count.events", 34)
class CountEvents(Instruction):
    """Add events to counts: how often each input was active so far. An event a cycle.

    In timesteps before `since` it takes its issue slot and nothing else: the counts stay as they
    are.
    """

    counts: int = value_register("the counts")
    source: int = event_register("events to count")
    size: int = elements("elements")
    since: int = timestep_number("the first timestep that counts", 0)

    @property
    def timesteps(self) -> Timesteps | None:
        return from_timestep(self.since)

    def work(self, target: Target) -> Work:
        counts = registers(target, "v", self.counts, self.size)
        return Work(
            unit="readout",
            active=Active(f"e{self.source}", self.size),
            cycles=ACTIVE,
            at_least=1,
            reads=(*registers(target, "e", self.source, self.size), *counts),
            writes=counts,
            operations=ACTIVE,
            kind="add",
        )

    def execute(self, core: Machine) -> None:
        counted = core.values.read(self.counts, self.size)
        counted = counted + core.events.read(self.source, self.size)
        core.values.write(self.counts, core.saturate(counted, core.target.values.bits, "count"))


@instruction("emit", 6)
class Emit(Instruction):
    """Send logits to the host, one a cycle."""

    row: int = row_number("first row of logits")
    groups: int = group_count("rows of logits")

    def work(self, target: Target) -> Work:
        words = Count(self.groups * target.lanes)
        reads = {("readout", "reads"): Count(self.groups)}
        return Work(unit="readout", cycles=words, operations=words, accesses=reads)

    def execute(self, core: Machine) -> None:
        core.emit(core.read_state("readout", self.row, self.groups))
