"""Pictures; the one place that loads a plotting library."""

import io
import re
from typing import Any

from dmpc.cli.files import write_bytes
from dmpc.errors import DmpcError
from dmpc.precision.impulse import Impulse
from dmpc.reproduce import Reproduction


def _pyplot(path: str) -> Any:
    """The plotting library, drawing to PNG files; DmpcError if it is not installed."""
    if not path.lower().endswith(".png"):
        raise DmpcError("pictures are PNG", where=path, hint="a name that ends in .png")
    try:
        import matplotlib
    except ImportError:
        raise DmpcError(
            "drawing needs matplotlib", where=path, hint="pip install matplotlib"
        ) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: str) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
    write_bytes(path, picture.getvalue())


def plot_claims(found: Reproduction, path: str) -> None:
    """Published and measured ratios side by side, as horizontal bars; DmpcError if it cannot."""
    pyplot = _pyplot(path)
    claims = [claim for claim in found.claims() if not claim.published.startswith("(")]
    numbers = [re.findall(r"\d+\.?\d*", claim.published) for claim in claims]
    published = [float(part[0]) if part else float("nan") for part in numbers]
    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    above, below = ([place + side for place in range(len(claims))] for side in (-0.2, 0.2))
    axes.barh(above, published, 0.4, label="published", color="#b0b0b0")
    measured = [claim.measured for claim in claims]
    bars = axes.barh(below, measured, 0.4, label="measured", color="#20639b")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_yticks(range(len(claims)), [claim.name for claim in claims])
    axes.margins(x=0.1)
    axes.invert_yaxis()
    axes.set_xlabel("ratio")
    axes.set_title("Ratios of the paper, published and counted")
    axes.legend()
    _save(figure, path)


STATES = 4  # of a memory, whose responses are drawn


def plot_impulses(found: list[Impulse], path: str) -> None:
    """Responses of each memory's first and last states, real and integer, above the difference.

    Raises DmpcError if there is no memory, or the picture cannot be drawn.
    """
    if not found:
        raise DmpcError("the network has no memory whose response to draw", where=path)
    pyplot = _pyplot(path)
    figure, rows = pyplot.subplots(
        2, len(found), figsize=(5.5 * len(found), 6), sharex="col", squeeze=False,
        height_ratios=(2, 1), layout="constrained",
    )  # fmt: skip
    for one, (above, below) in zip(found, rows.T, strict=True):
        size = one.real.shape[1]
        for state in sorted({round(i * (size - 1) / (STATES - 1)) for i in range(STATES)}):
            (line,) = above.plot(one.real[:, state], linewidth=1, label=f"state {state}")
            above.plot(one.machine[:, state], ".", markersize=4, color=line.get_color())
            error = 100 * (one.machine - one.real)[:, state] / abs(one.real).max()
            below.plot(error, linewidth=1, color=line.get_color())
        above.set_title(f"{one.layer}: real (lines), machine (dots), {one.bits}-bit coefficients")
        above.legend()
        below.set_xlabel("timesteps after the impulse")
        below.set_ylabel("difference, % of the largest")
    _save(figure, path)
