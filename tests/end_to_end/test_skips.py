"""A layer that reads the input of a network beside the spikes of the layer before it."""

import numpy as np

import dmpc
from dmpc.ir.graph import Op
from dmpc.ir.types import f32
from dmpc.verification import verify
from tests.networks import Layer, Shape, network, samples

SHAPE = Shape(inputs=6, layers=(Layer(neurons=5), Layer(neurons=4)), samples=4, steps=9, seed=2)


def with_skip():
    """The second layer adds the input, one timestep later than the first layer takes it."""
    graph = network(SHAPE)
    lif = [op for op in graph.ops if op.kind == "lif"][1]
    weight = np.random.default_rng(0).normal(size=(4, 6))
    graph.add_constant("skip.weight", weight, f32(4, 6))
    operands = ("x", "skip.weight")
    skip = Op("dense", operands, ("skip",), {"layer": "layer2"}, ("/skip",))
    graph.ops.insert(graph.ops.index(lif), skip)
    graph.types["skip"] = f32(4)
    lif.operands = (*lif.operands[:1], "skip", *lif.operands[1:])
    return graph


def test_a_copy_of_the_input_is_made_before_the_next_one_is_taken():
    x = samples(SHAPE)
    compiled = dmpc.compile(with_skip(), calibration=x)
    assert any("move.events     dest=" in line for line in compiled.graph.listing)
    assert [rung.ok for rung in verify(with_skip(), compiled.image, x).rungs] == [True] * 4
