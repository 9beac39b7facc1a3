"""Traces as value change dumps, which wave viewers such as GTKWave show."""

import io
from collections import defaultdict

from vcd import VCDWriter

from isa.engines.trace import Interval, Trace
from isa.image import Image
from isa.interface import provenance

IDLE, NOTHING = "idle", "-"


def vcd_text(trace: Trace, image: Image) -> str:
    """What every unit did in every cycle, one nanosecond of the dump for a cycle.

    Each unit has `doing`: busy, idle, or what it waits for; and `on`: the layer and instruction
    that it works on, or that waits.
    """
    by_unit: dict[str, list[Interval]] = defaultdict(list)
    for interval in trace.intervals:
        by_unit[interval.unit].append(interval)
    names = [
        f"{source.layer}:{op.mnemonic}@{pc}"
        for pc, (op, source) in enumerate(zip(image.code, provenance(image), strict=True))
    ]
    changes = []
    for unit, intervals in by_unit.items():
        at = 0
        for interval in sorted(intervals, key=lambda i: i.since):
            if interval.since > at:
                changes.append((at, unit, IDLE, NOTHING))
            changes.append((interval.since, unit, interval.doing, names[interval.pc]))
            at = interval.until
        changes.append((at, unit, IDLE, NOTHING))
    out = io.StringIO()
    with VCDWriter(out, timescale="1 ns", date="", comment="one nanosecond is one cycle") as writer:
        doing = {u: writer.register_var(u, "doing", "string", init=IDLE) for u in by_unit}
        instruction = {u: writer.register_var(u, "on", "string", init=NOTHING) for u in by_unit}
        for time, unit, state, text in sorted(changes):
            writer.change(doing[unit], time, state)
            writer.change(instruction[unit], time, text)
        writer.close(trace.end)
    return out.getvalue()
