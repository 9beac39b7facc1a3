"""One timestep of a sample's trace: when its instructions ran, and what units did meanwhile."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from isa.engines.trace import Interval, Span, Trace
from isa.format import EVERY_ONE, Instruction
from runtime.errors import RuntimeFailure


@dataclass(frozen=True)
class Timestep:
    """The instructions of one timestep, and everything that units did from the first's issue on.

    `spans` are one for each instruction, by program counter. Layers of later stages work on this
    timestep while the first works on the next; so `intervals`, cut to cycles `first` .. `last` - 1,
    are of other timesteps, too. `number` counts from 0.
    """

    number: int
    spans: tuple[Span, ...]
    intervals: tuple[Interval, ...]
    first: int
    last: int


def timestep_of(
    trace: Trace, code: Sequence[Instruction], steps: int, number: int | None = None
) -> Timestep:
    """Timestep `number` of a sample of `steps`, or the one in the middle.

    Raises RuntimeFailure if there is none.
    """
    wanted = steps // 2 if number is None else number
    if wanted >= steps:
        raise RuntimeFailure(f"there is no timestep {wanted}; the last is {steps - 1}")
    by_pc: dict[int, list[Span]] = defaultdict(list)
    for span in trace.spans:
        by_pc[span.pc].append(span)
    spans = []
    for pc in sorted(by_pc):
        ran = (code[pc].timesteps or EVERY_ONE).among(steps)
        # What runs once a sample, or several times a timestep, belongs to none.
        if len(by_pc[pc]) == len(ran) and wanted in ran:
            spans.append(by_pc[pc][ran.index(wanted)])
    if steps == 1 or not spans:
        raise RuntimeFailure("a schedule needs a sample of two timesteps or more")
    first, last = min(span.issued for span in spans), max(span.end for span in spans)
    return Timestep(wanted, tuple(spans), tuple(_cut(trace.intervals, first, last)), first, last)


def whole(trace: Trace) -> Timestep:
    """A sample of one timestep: all that ran, what comes before and after the timestep as well."""
    spans = tuple(sorted(trace.spans))
    return Timestep(0, spans, tuple(_cut(trace.intervals, 0, trace.end)), 0, trace.end)


def _cut(intervals: Sequence[Interval], first: int, last: int) -> list[Interval]:
    """The part of intervals in a stretch of cycles, neighbours that tell the same as one."""
    found: dict[str, list[Interval]] = defaultdict(list)
    for item in sorted(intervals, key=lambda item: (item.unit, item.since)):
        since, until = max(item.since, first), min(item.until, last)
        if since >= until:
            continue
        before = found[item.unit]
        same = before and (before[-1].doing, before[-1].pc, before[-1].until) == (
            item.doing, item.pc, since
        )  # fmt: skip
        if same:
            since = before.pop().since
        before.append(Interval(item.unit, item.doing, since, until, item.pc))
    return [item for unit in sorted(found) for item in found[unit]]
