"""NIR files from nodes to counted cycles."""

import itertools
from collections.abc import Iterator

import nir
import numpy as np
import pytest
from click.testing import CliRunner

from dmpc import Options
from dmpc import compile as compile_network
from dmpc.cli.main import main
from dmpc.compiler import import_layers
from dmpc.frontend import Timing
from dmpc.verification import verify

INPUTS, NEURONS, CLASSES = 12, 16, 5
X = np.random.default_rng(0).random((10, 30, INPUTS)) < 0.3


def lif(size: int, random: np.random.Generator) -> nir.LIF:
    tau = random.uniform(2e-4, 2e-3, size)
    return nir.LIF(
        tau=tau, r=tau / 1e-4, v_leak=np.zeros(size), v_threshold=random.uniform(0.8, 1.6, size)
    )


def layered(random: np.random.Generator) -> nir.NIRGraph:
    """Two layers and a readout, weighted and biased."""
    return nir.NIRGraph.from_list(
        nir.Affine(random.normal(0.1, 0.4, (NEURONS, INPUTS)), random.normal(0, 0.1, NEURONS)),
        lif(NEURONS, random),
        nir.Linear(random.normal(0.1, 0.5, (NEURONS, NEURONS))),
        lif(NEURONS, random),
        nir.Affine(random.normal(size=(CLASSES, NEURONS)), random.normal(size=CLASSES)),
    )


def recurrent(random: np.random.Generator) -> nir.NIRGraph:
    """A layer that feeds itself, in a nested graph as snnTorch's RLeaky, and its spikes counted."""
    shape = np.array([NEURONS])
    loop = nir.NIRGraph(
        {
            "input": nir.Input(shape),
            "lif": lif(NEURONS, random),
            "w_rec": nir.Linear(random.normal(0, 0.3, (NEURONS, NEURONS))),
            "output": nir.Output(shape),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    weight = nir.Linear(random.normal(0.2, 0.4, (NEURONS, INPUTS)))
    return nir.NIRGraph.from_list(weight, loop)


def delayed(random: np.random.Generator) -> nir.NIRGraph:
    """An axonal delay before each layer, some of no timestep."""

    def late(size: int) -> nir.Delay:
        return nir.Delay(random.integers(0, 7, size) * 1e-4)

    return nir.NIRGraph.from_list(
        late(INPUTS),
        nir.Linear(random.normal(0.2, 0.4, (NEURONS, INPUTS))),
        lif(NEURONS, random),
        late(NEURONS),
        nir.Linear(random.normal(0.2, 0.4, (NEURONS, NEURONS))),
        lif(NEURONS, random),
    )


def residual(random: np.random.Generator) -> nir.NIRGraph:
    """Two layers that the last weights read together, and further weights of the first."""
    shape = np.array([INPUTS])
    nodes = {
        "input": nir.Input(shape),
        "in": nir.Linear(random.normal(0.1, 0.4, (NEURONS, INPUTS))),
        "one": lif(NEURONS, random),
        "between": nir.Linear(random.normal(0.1, 0.5, (NEURONS, NEURONS))),
        "two": lif(NEURONS, random),
        "out": nir.Affine(random.normal(size=(CLASSES, NEURONS)), random.normal(size=CLASSES)),
        "aside": nir.Linear(random.normal(size=(CLASSES, NEURONS))),
        "output": nir.Output(np.array([CLASSES])),
    }
    way = ["input", "in", "one", "between", "two", "out", "output"]
    aside = [("one", "out"), ("one", "aside"), ("aside", "output")]
    return nir.NIRGraph(nodes, [*itertools.pairwise(way), *aside])


@pytest.mark.parametrize("reset", ["value", "subtract", "late"])
@pytest.mark.parametrize("make", [layered, recurrent, delayed, residual])
def test_file_float_graph_and_machine_agree(make, reset, tmp_path):
    path = tmp_path / "net.nir"
    nir.write(path, make(np.random.default_rng(4)))
    options = Options(timing=Timing(reset=reset))
    made = compile_network(path, calibration=X, options=options)
    climbed = verify(path, made.image, X, options=options, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in climbed.rungs if not rung.ok]


@pytest.mark.parametrize("make", [layered, recurrent, delayed])
@pytest.mark.parametrize("kept", [(), (0,), (1,), (2,)], ids=str)
def test_pruned_files_import(make, kept, tmp_path):
    """All weights zero but those of one node; the import is run against the file on the way."""
    graph = make(np.random.default_rng(4))
    weighted = [node for node in every(graph) if hasattr(node, "weight")]
    for number, node in enumerate(weighted):
        if number not in kept:
            node.weight[:] = 0
    nir.write(tmp_path / "net.nir", graph)
    layers = import_layers(tmp_path / "net.nir", Options())
    assert any(op.kind == "lif" for op in layers.ops)


def every(graph: nir.NIRGraph) -> Iterator[nir.NIRNode]:
    for node in graph.nodes.values():
        yield from every(node) if isinstance(node, nir.NIRGraph) else [node]


def test_the_verbs_take_nir_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nir.write("net.nir", layered(np.random.default_rng(4)))
    np.savez("x.npz", x=X)
    for command in (
        "check net.nir --reset late",
        "inspect net.nir --reset late",
        "compile net.nir --reset late --calibration x.npz",
        "verify net.nir net.elf --input x.npz --reset late --max-drop 100",
        "run net.elf --input x.npz",
    ):
        done = CliRunner().invoke(main, command.split())
        assert done.exit_code == 0, f"{command}: {done.output}"
