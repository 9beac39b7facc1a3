"""Rows of neurons: whole for each time that they spike, whatever a graph's layers are called."""

import re

import dmpc
from dmpc import Options
from dmpc.backend.onnx_writer import to_onnx
from dmpc.compiler import to_layers
from dmpc.ir.parser import parse
from dmpc.ir.printer import to_text
from dmpc.verification import verify
from tests.networks import Layer, Shape, network, samples


def holds(graph, x):
    image = dmpc.compile(graph, calibration=x).image
    return all(rung.ok for rung in verify(graph, image, x, max_drop=100).rungs[2:])


def test_neurons_without_a_limit_have_whole_rows():
    """Six of them, on four lanes, hear how often they spiked timesteps ago."""
    layer = Layer(6, hard=False, recurrent=True, echo=3, flavour="sparse")
    shape = Shape(3, (layer,), samples=8, seed=2)
    graph = network(shape)
    (lif,) = (op for op in graph.ops if op.kind == "lif")
    lif.attrs["endless"] = True
    assert holds(graph, samples(shape))
    assert to_onnx(to_layers(graph, Options())).graph.node  # neurons that fill a row take something


def test_currents_of_another_name_are_those_of_the_neurons():
    shape = Shape(4, (Layer(6, hard=False, times=2, current="now"),), samples=8, density=0.9)
    text = re.sub(r'(= li\(.*layer = )"layer1"', r'\1"other"', to_text(network(shape)))
    assert holds(parse(text), samples(shape))
