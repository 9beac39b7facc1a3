"""A layer that reads what a later one kept of the timestep before: slow states, held or not."""

import numpy as np
import pytest

import dmpc
from dmpc.ir.graph import Op
from dmpc.ir.types import TensorType
from dmpc.verification import verify
from tests.networks import Layer, Shape, network, samples

SHAPE = Shape(5, (Layer(6, states=2), Layer(4, states=3, dilation=3), Layer(4)), seed=3)


def heard(state):
    """The network whose first neurons are charged by a state of the second layer, too."""
    graph = network(SHAPE)
    weight = np.random.default_rng(0).normal(size=(6, graph.types[state].size))
    graph.add_constant("layer1.later.weight", weight, TensorType("f32", weight.shape))
    at, neurons = next((at, op) for at, op in enumerate(graph.ops) if "layer1.spikes" in op.results)
    neurons.operands = (neurons.operands[0], "layer1.later", *neurons.operands[1:])
    graph.types["layer1.later"] = TensorType("f32", (6,))
    operands, attrs = (state, "layer1.later.weight"), {"layer": "layer1"}
    graph.ops.insert(at, Op("dense", operands, ("layer1.later",), attrs, ("/later",)))
    return graph


@pytest.mark.parametrize("target", ["paper", "pooled"])
@pytest.mark.parametrize("state", ["layer2.m", "layer2.held"])
@pytest.mark.parametrize("breaking", [True, False])
def test_slow_states_of_a_later_layer_are_read(state, target, breaking):
    graph, x = heard(state), samples(SHAPE)
    options = dmpc.Options(target=target, dependency_breaking=breaking)
    image = dmpc.compile(graph, calibration=x, options=options).image
    found = verify(graph, image, x, options=options, max_drop=100)
    assert found.ok, found.to_json()
