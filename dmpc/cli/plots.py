"""Pictures; the one place that loads a plotting library."""

import re

from dmpc.errors import DmpcError
from dmpc.reproduce import Reproduction


def plot_claims(found: Reproduction, path: str) -> None:
    """Published and measured ratios side by side, as horizontal bars; DmpcError if it cannot."""
    try:
        import matplotlib
    except ImportError:
        raise DmpcError(
            "drawing needs matplotlib", where=path, hint="pip install 'dmpc[plot]'"
        ) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

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
    try:
        figure.savefig(path, dpi=120, metadata={"Software": None})
    except (OSError, ValueError) as error:
        raise DmpcError(f"cannot write the picture: {error}", where=path) from error
