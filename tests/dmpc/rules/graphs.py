"""NIR graphs that break one rule each, by the rule's name."""

from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np

from dmpc.check import Report, check
from tests.dmpc.frontend.test_nir_errors import ONE, W, graph, lif

GRAPHS = {
    "node-kind": lambda: graph(W, nir.Threshold(ONE)),
    "port-count": lambda: graph(W, lif(), ends=("Input",)),
    "unfed-node": lambda: graph(W, lif(), edges=[("input", "n0"), ("n1", "output")]),
    "node-size": lambda: graph(lif()),
    "timeless-loop": lambda: graph(
        W,
        nir.Scale(ONE),
        edges=[("input", "n0"), ("n0", "n1"), ("n1", "n1"), ("n1", "output")],
    ),
    "two kinds": lambda: graph(nir.Linear(np.full((2, 3), np.nan)), nir.Threshold(ONE)),
}


def checked(folder: Path, name: str) -> Report:
    """The report on a graph, written to a folder."""
    path = folder / f"{name.replace(' ', '_')}.nir"
    nir.write(path, GRAPHS[name]())
    return check(path)


def cases(folder: Path) -> dict[str, Callable[[], Report]]:
    """Every graph that breaks one rule."""
    return {name: lambda n=name: checked(folder, n) for name in GRAPHS if name != "two kinds"}
