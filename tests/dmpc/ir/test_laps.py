"""Rings played from a tape give what rings give that are interpreted, to the last bit."""

from random import Random
from unittest.mock import patch

import numpy as np
import pytest

import dmpc
from benchmarks.random_networks import Shape, network, random_shape, samples
from dmpc.backend.interface import interface_of
from dmpc.errors import CompileError
from dmpc.ir import interpret as interpreter
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import Result, interpret
from dmpc.ir.laps import Lap, lap
from dmpc.ir.registry import Tensor

Graphs = dict[str, Graph]


def levels(shape: Shape) -> Graphs:
    """The graph of a random network before passes and after each."""
    layers = network(shape)
    found = {"": layers}
    dmpc.compile(layers, observe=found.__setitem__)
    return found


def everything(graph: Graph, x: Tensor, worth: int) -> tuple[Result, set[str]]:
    """All that a graph computes, and the kinds of op in rings that no tape could hold."""
    refused = set[str]()

    def asked(timestep, *given):  # type: ignore[no-untyped-def]
        made: Lap | None = lap(timestep, *given)
        refused.update(op.kind for op in timestep.args[0].ops if made is None)
        return made

    names = [*(name for op in graph.ops for name in op.results), *(s.name for s in graph.states)]
    with patch.object(interpreter, "WORTH", worth), patch.object(interpreter, "lap", asked):
        return interpret(graph, x, trace=names), refused


@pytest.mark.parametrize("seed", range(40))
def test_laps_are_what_a_ring_computes(seed: int) -> None:
    shape = random_shape(Random(seed))
    try:
        graphs = levels(shape)
    except CompileError:
        pytest.skip("the machine cannot hold it")
    for name in ("", "quantize", "fuse"):
        graph, x = graphs[name], samples(shape)
        if name:
            x, _ = interface_of(graph).input.integers(x)
        (one, refused), (other, _) = everything(graph, x, 1), everything(graph, x, 100)
        for value, series in other.traces.items():
            assert one.traces[value].dtype == series.dtype
            assert np.array_equal(one.traces[value], series), value
        assert np.array_equal(one.logits, other.logits)
        assert one.saturations == other.saturations
        assert not refused, "a tape cannot hold what they do"
