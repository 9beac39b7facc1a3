"""What `dmpc inspect --ranges` prints: what is proved of every width, and what samples show."""

import numpy as np

from dmpc.analysis.bounds import Assumptions
from dmpc.analysis.report import IMPOSSIBLE, SEEN, VERDICTS, Range, Report, report
from dmpc.backend.emit import embedded_graph
from dmpc.cli.samples import CalibrationSet
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from dmpc.errors import DmpcError
from isa.image import Image
from runtime.program import Program


def range_report(
    image: Image,
    origin: str,
    samples: CalibrationSet,
    steps: int | None,
    events: int | None,
    declared: tuple[float, float] | None = None,
) -> Report:
    """The report on an image's own graph.

    `declared` is the range of a graded input. Raises DmpcError if `samples` lie outside, or are not
    what `steps` and `events` assume, RuntimeFailure if they cannot be run.
    """
    program, (x, lengths) = Program(image, origin), samples
    inputs = None if x is None else program.encode(x)[0]
    if inputs is not None:
        longest = inputs.shape[1] if lengths is None else int(lengths.max())
        _check_assumed(steps, longest, "timesteps a sample", origin)
        if program.takes_events:
            active = int(np.count_nonzero(inputs, axis=2).max(initial=0))
            _check_assumed(events, active, "active inputs in a timestep", origin)
    ends = None
    if declared is not None and not program.takes_events:
        low, high = program.interface.input.integers(np.array(declared))[0]
        ends = int(low), int(high)
        if x is not None and inputs is not None and not low <= inputs.min() <= inputs.max() <= high:
            raise DmpcError(
                f"the samples hold {x.min():g} .. {x.max():g}, which is not within the declared "
                f"input range {declared[0]:g} .. {declared[1]:g}",
                where=origin,
                hint="declare the range that the input really has",
            )
    return report(embedded_graph(image), Assumptions(steps, ends, events), inputs, lengths)


def _check_assumed(most: int | None, found: int, what: str, origin: str) -> None:
    if most is not None and found > most:
        raise DmpcError(
            f"the samples have up to {found} {what}, where {most} are assumed to be the most",
            where=origin,
            hint="assume what the input really has",
        )


def print_ranges(found: Report, out: Output) -> None:
    """The table and what it says as a whole."""
    made = table(
        "ranges of the machine's integers",
        "layer", "what", "bits", "proved", "seen", "used", "verdict", text=2,
    )  # fmt: skip
    made.columns[-1].justify = "left"
    for item in found.ranges:
        used = "" if item.used is None else f"{100 * item.used:.1f} %"
        cells = (str(item.bits), _proved(item), _span(item.seen), used, _verdict(item))
        made.add_row(item.layer, item.what, *cells)
    out.print(made)
    out.print(_summary(found))


def _span(ends: tuple[int, int] | None) -> str:
    return "" if ends is None else f"{ends[0]:,} .. {ends[1]:,}"


def _proved(item: Range) -> str:
    return _span(item.proved) + (" a timestep" if item.grows else "")


def _verdict(item: Range) -> str:
    if item.verdict == SEEN:
        return f"seen, {item.saturated:,} times"
    if item.steps is not None and item.verdict != IMPOSSIBLE:
        return f"impossible up to {item.steps:,} timesteps"
    return item.verdict


def _summary(found: Report) -> str:
    open_ = [item for item in found.ranges if item.verdict != IMPOSSIBLE and item.steps is None]
    if not open_:
        return "nothing can saturate, whatever the input"
    verdicts = sorted({item.verdict for item in open_})
    return "; ".join(f"{verdict}: {VERDICTS[verdict]}" for verdict in verdicts)
