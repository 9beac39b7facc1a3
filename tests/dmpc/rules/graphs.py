"""NIR graphs that break one rule each, by the rule's name."""

from collections.abc import Callable
from pathlib import Path

import h5py
import nir
import numpy as np

from dmpc.check import Report, check
from dmpc.compiler import Options
from tests.dmpc.frontend.in_space import convolved, in_space
from tests.dmpc.frontend.test_nir_errors import ONE, W, graph, lif


class Resonator(nir.Threshold):
    """A kind of neuron that NIR does not have."""


GRAPHS = {
    "node-kind": lambda: graph(W, Resonator(ONE)),
    "port-count": lambda: graph(W, lif(), ends=("Input",)),
    "unfed-node": lambda: graph(W, lif(), edges=[("input", "n0"), ("n1", "output")]),
    "node-size": lambda: graph(lif()),
    "timeless-loop": lambda: graph(
        W,
        nir.Scale(ONE),
        edges=[("input", "n0"), ("n0", "n1"), ("n1", "n1"), ("n1", "output")],
    ),
    "nir-value": lambda: graph(nir.Linear(np.full((2, 3), 1j)), lif()),
    "delayed-bias": lambda: graph(nir.Affine(np.ones((2, 3)), ONE), nir.Delay(1e-4 * ONE), lif()),
    "echo": lambda: graph(
        W,
        nir.Delay(1e-4 * ONE),
        lif(),
        edges=[("input", "n0"), ("n0", "n1"), ("n1", "n1"), ("n1", "n2"), ("n2", "output")],
    ),
    "timestep": lambda: graph(W, lif(tau=20 * ONE)),
    "nir-convolution": lambda: in_space(convolved(2, 1), nir.SumPool2d((4, 4), (4, 4), (0, 0))),
    "uneven-convolution": lambda: in_space(convolved(2, 1), nir.Scale(np.arange(1.0, 9))),
    "position-thresholds": lambda: in_space(convolved(2, 1), thresholds=np.arange(1.0, 9)),
    "delayed-positions": lambda: in_space(convolved(2, 1), after=nir.Delay(1e-4 * np.ones(8))),
    "two kinds": lambda: graph(nir.Linear(np.full((2, 3), np.nan)), Resonator(ONE)),
}


def checked(folder: Path, name: str) -> Report:
    """The report on a graph, written to a folder."""
    path = folder / f"{name.replace(' ', '_')}.nir"
    nir.write(path, GRAPHS[name]())
    # Two outputs of two positions fill four lanes.
    return check(path, options=Options(target="edge" if name == "delayed-positions" else "paper"))


def linked(folder: Path) -> Report:
    """The report on a file of which a weight lies elsewhere."""
    path = folder / "nir-link.nir"
    nir.write(path, graph(W, lif()))
    with h5py.File(path, "r+") as file:
        file.pop("node/nodes/n0/weight")
        file["node/nodes/n0/weight"] = h5py.ExternalLink("/etc/hostname", "/weight")
    return check(path)


def cases(folder: Path) -> dict[str, Callable[[], Report]]:
    """Every graph that breaks one rule."""
    made = {name: lambda n=name: checked(folder, n) for name in GRAPHS if name != "two kinds"}
    return {**made, "nir-link": lambda: linked(folder)}
