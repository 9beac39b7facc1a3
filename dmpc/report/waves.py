"""Signals in the files of wave viewers: value change dumps, which GTKWave and Surfer show."""

import io

from vcd import VCDWriter

from dmpc.report.signals import Signals


def vcd_text(made: Signals, comment: str) -> str:
    """A value change dump; the same signals give the same text."""
    out = io.StringIO()
    with VCDWriter(out, timescale=f"1 {made.clock.unit}", date="", comment=comment) as writer:
        variables = [
            writer.register_var(s.scope, s.name, "wire", s.bits, init="x")
            if s.bits
            else writer.register_var(s.scope, s.name, "string", init="")
            for s in made.signals
        ]
        for half, signal, value in made.changes:
            shown = "x" if value is None else value
            writer.change(variables[signal], made.clock.at(half), shown)
        writer.close(made.clock.at(made.end))
    return out.getvalue()
