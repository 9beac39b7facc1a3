"""Networks written as NIR: read again they are the same program; what NIR cannot say is refused."""

import nir
import numpy as np
import pytest

import dmpc
from dmpc import Options
from dmpc.compiler import import_layers, to_layers
from dmpc.errors import CompileError
from dmpc.frontend import Timing, import_nir
from dmpc.ir.interpret import interpret
from dmpc.nir_export import export_nir
from tests.dmpc.frontend.in_space import DT as PICTURES_DT
from tests.dmpc.frontend.test_nir_import import (
    CLASSES,
    DT,
    INPUTS,
    NEURONS,
    RANDOM,
    X,
    affine,
    lif,
    recurrent,
)
from tests.dmpc.frontend.test_nir_shapes import SHAPES, drawn

ONE = np.ones(NEURONS)
OUT = np.ones(CLASSES)


def cuba() -> nir.CubaLIF:
    return nir.CubaLIF(
        3 * DT * ONE, 5 * DT * ONE, 2 * ONE, 0.1 * ONE, 0.6 * ONE, -0.2 * ONE,
        RANDOM.uniform(1, 2, NEURONS),
    )  # fmt: skip


def shared_synapse() -> nir.NIRGraph:
    """A current that two layers take, one of them beside weights of its own."""
    nodes = {
        "input": nir.Input(np.array([INPUTS])), "w": affine(INPUTS, NEURONS),
        "i": nir.LI(4 * DT * ONE, 3 * ONE, 0 * ONE), "a": lif(NEURONS), "b": lif(NEURONS),
        "more": affine(INPUTS, NEURONS), "f": affine(NEURONS, NEURONS),
        "out": affine(NEURONS, CLASSES), "beside": affine(NEURONS, CLASSES),
        "output": nir.Output(np.array([CLASSES])),
    }  # fmt: skip
    wires = "input>w w>i i>a input>more more>a a>f f>b b>out a>beside out>output beside>output"
    edges = [tuple(wire.split(">")) for wire in wires.split()]
    return nir.NIRGraph(nodes, edges)


NETS = {
    "two layers": nir.NIRGraph.from_list(
        affine(INPUTS, NEURONS), lif(NEURONS, 0.2, -0.1), affine(NEURONS, 5), lif(5),
        affine(5, CLASSES),
    ),
    "a loop": recurrent(inner=True)[0],
    "synapses": nir.NIRGraph.from_list(affine(INPUTS, NEURONS), cuba(), affine(NEURONS, CLASSES)),
    "a current for two": shared_synapse(),
    "integrate and fire": nir.NIRGraph.from_list(
        affine(INPUTS, NEURONS), nir.IF(0.3 / DT * ONE, 2 * ONE), affine(NEURONS, CLASSES)
    ),
    "delays": nir.NIRGraph.from_list(
        nir.Delay(np.arange(INPUTS) * DT), affine(INPUTS, NEURONS), lif(NEURONS),
        nir.Delay(2 * DT * ONE), affine(NEURONS, CLASSES),
    ),
    "a leaky readout": nir.NIRGraph.from_list(
        affine(INPUTS, NEURONS), lif(NEURONS), affine(NEURONS, CLASSES),
        nir.LI(4 * DT * OUT, 2 * OUT, 0 * OUT),
    ),
    "no membranes": nir.NIRGraph.from_list(
        affine(INPUTS, NEURONS), nir.Threshold(0.4 * ONE), affine(NEURONS, CLASSES)
    ),
}  # fmt: skip
WAYS = {
    "value": Timing(dt=DT), "subtract": Timing(dt=DT, reset="subtract"),
    "late, at the threshold": Timing(dt=DT, reset="late", spike_at=True),
}  # fmt: skip


LATE = "late, at the threshold"
CASES = [(n, way) for n in NETS for way in WAYS if (n, way) != ("no membranes", LATE)]
"""What keeps no membrane has no late reset."""


@pytest.mark.parametrize(("name", "way"), CASES)
def test_what_is_read_again_is_the_same_program(name, way, tmp_path):
    layers = import_layers(import_nir(NETS[name], timing=WAYS[way], readout="sum"), Options())
    made = export_nir(layers, DT)
    path = tmp_path / "net.nir"
    path.write_bytes(made.to_bytes())
    assert made.to_bytes() == path.read_bytes()
    reading = made.reading
    timing = Timing(DT, reading.reset, reading.spike_at)
    again = import_layers(import_nir(path, timing=timing, readout=reading.readout), Options())
    again.name = layers.name
    one, other = (dmpc.compile(graph, calibration=X).image for graph in (layers, again))
    assert one.code == other.code
    assert one.memories.keys() == other.memories.keys()
    for memory, rows in one.memories.items():
        np.testing.assert_array_equal(np.asarray(rows), np.asarray(other.memories[memory]))
    nir.read(path)  # with the checks of types of its own


PICTURES = {name: graph for name, (graph, _) in SHAPES.items() if name != "a vector as one channel"}


@pytest.mark.parametrize("name", PICTURES)
def test_convolutions(name):
    """Planes, as NIR has them, of what stands position by position: proven as it is written."""
    graph = import_nir(PICTURES[name], timing=Timing(dt=PICTURES_DT))
    layers = to_layers(graph, Options(), lanes=1)
    x = drawn(PICTURES[name])
    assert np.unique(interpret(layers, x).logits).size > 1
    made = export_nir(layers, PICTURES_DT)
    again = import_nir(made, timing=Timing(dt=PICTURES_DT))
    wanted, found = (interpret(one, x).outputs for one in (layers, again))
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_a_loop_with_a_delay():
    graph, _ = recurrent(inner=False)
    graph.nodes["delay"] = nir.Delay(3 * DT * ONE)
    graph.edges = [edge for edge in graph.edges if edge != ("lif", "rec")]
    graph.edges += [("lif", "delay"), ("delay", "rec")]
    layers = import_layers(import_nir(graph, timing=Timing(dt=DT)), Options())
    made = export_nir(layers, DT)
    (delay,) = (node["delay"] for node in made.nodes.values() if node["type"] == "Delay")
    np.testing.assert_allclose(delay, 3 * DT)


def test_the_command_says_how_to_read_it():
    layers = import_layers(import_nir(NETS["two layers"], timing=WAYS["subtract"]), Options())
    assert export_nir(layers, DT).reading.options == "--dt 0.001 --reset subtract"
    layers = import_layers(import_nir(NETS["delays"], timing=Timing(dt=DT)), Options())
    assert export_nir(layers, 1e-4).reading.options == ""


def test_any_amount_is_taken_off():
    """It is the file's threshold, counted from another rest."""
    graph = nir.NIRGraph.from_list(affine(INPUTS, NEURONS), lif(NEURONS), affine(NEURONS, CLASSES))
    layers = import_layers(import_nir(graph, timing=WAYS["subtract"]), Options())
    layers.constants["layer1.reset"] = 0.3 * ONE
    made = export_nir(layers, DT)
    (node,) = (node for node in made.nodes.values() if node["type"] == "LIF")
    np.testing.assert_array_equal(node["v_threshold"], 0.3 * ONE)
    assert node["v_leak"].all()


REFUSED = {
    "mixed leaks": (
        [lif(NEURONS)],
        {"beta": np.linspace(0.5, 1, NEURONS)},
        "neurons of one layer of which some leak and some do not",
    ),
}


@pytest.mark.parametrize(("nodes", "changed", "message"), REFUSED.values(), ids=REFUSED)
def test_what_nir_cannot_say(nodes, changed, message):
    graph = nir.NIRGraph.from_list(affine(INPUTS, NEURONS), *nodes, affine(NEURONS, CLASSES))
    layers = import_layers(import_nir(graph, timing=WAYS["subtract"]), Options())
    for role, value in changed.items():
        layers.constants[f"layer1.{role}"] = value
    with pytest.raises(CompileError, match="NIR cannot say it: .*" + message):
        export_nir(layers, DT)


def test_a_mean_over_later_timesteps_is_refused():
    layers = import_layers(import_nir(NETS["two layers"], timing=WAYS["subtract"]), Options())
    layers.attrs["since"] = 5
    said = "NIR cannot say it: a mean of outputs from timestep 5 on"
    with pytest.raises(CompileError, match=said):
        export_nir(layers, DT)


def test_slow_states_are_refused():
    from dmpc.nn import DMPNetwork

    network = DMPNetwork(4, [6], 3, memory=3, window=10.0)
    layers = import_layers(dmpc.from_torch(network, X[:1].astype(np.float32)), Options())
    with pytest.raises(CompileError, match="NIR cannot say it: a slow state"):
        export_nir(layers)
