"""When instructions ran and what units did in every cycle of a sample."""

from dataclasses import dataclass
from typing import Any

from isa.engines.program import Prepared
from isa.native import records


@dataclass(frozen=True, order=True)
class Span:
    """When one instruction was issued, and the cycles in which its unit worked on it."""

    pc: int
    unit: str
    issued: int
    start: int
    end: int


@dataclass(frozen=True)
class Interval:
    """What a unit did in cycles `since` .. `until` - 1: `busy` on the instruction at `pc`, or why
    that waited.
    """

    unit: str
    doing: str
    since: int
    until: int
    pc: int


@dataclass(frozen=True)
class Trace:
    """The timing of one sample: `spans` as they completed, `intervals` by unit, `end` cycles."""

    spans: list[Span]
    intervals: list[Interval]
    end: int


def traced(prepared: Prepared, spans: Any, intervals: Any, end: int) -> Trace:
    """A trace from the records of the compiled engine."""
    names = {prepared.unit_number(name): name for name in prepared.units}
    return Trace(
        [Span(pc, names[unit], *times) for pc, unit, *times in spans.tolist()],
        [
            Interval(
                names[unit], records.CAUSES[why] if why >= 0 else "busy", since, until, pc
            )
            for unit, why, pc, _, since, until in intervals.tolist()
        ],
        end,
    )  # fmt: skip
