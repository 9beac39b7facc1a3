"""Layers on successive timesteps: what one keeps is not read by another a timestep late."""

from dataclasses import replace

import pytest

import dmpc
from dmpc.verification import verify
from tests.networks import Layer, Shape, network, samples


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("read", ["m", "held", "m.next", "held.next"])
def test_slow_states_of_an_earlier_layer(read, dilation):
    layers = (Layer(4, states=4, hard=False, dilation=dilation), Layer(4, states=4, hard=False))
    shape = Shape(6, layers, samples=8, steps=12, density=0.5, seed=3)
    graph = network(shape)
    name = f"layer1.{read}" if dilation > 1 else f"layer1.{read.replace('held', 'm')}"
    for at, op in enumerate(graph.ops):
        if op.results[0] == "layer2.slow":
            graph.ops[at] = replace(op, operands=(name, *op.operands[1:]))
    x = samples(shape)
    rungs = verify(graph, dmpc.compile(graph, calibration=x).image, x, max_drop=100).rungs
    assert [rung.ok for rung in rungs[2:]] == [True, True]
