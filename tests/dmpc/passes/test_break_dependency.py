"""Dependency breaking: another order of the same sums."""

import numpy as np
from hypothesis import assume, given, settings

from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.break_dependency import BreakDependency
from dmpc.passes.fold import Fold
from tests.networks import Layer, Shape, network, networks, samples

SLOW = Shape(inputs=3, layers=(Layer(neurons=4, states=3),), seed=5)


def currents_near_threshold(graph, traces):
    """True if some charge is so near its threshold that rounding may decide about the spike."""
    for lif in (op for op in graph.ops if op.kind == "lif"):
        u, *currents = lif.operands[:-3]
        beta, threshold = (graph.constants[lif.operands[len(currents) + i]] for i in (1, 2))
        charge = beta * traces[u] + sum(traces[name] for name in currents)
        size = 1 + np.abs(charge).max()
        if (np.abs(charge - threshold) < 1e-9 * size).any():
            return True
    return False


@settings(max_examples=60, deadline=None)
@given(networks())
def test_the_broken_network_computes_the_same(shape):
    graph = network(shape)
    broken = apply(BreakDependency(), graph)
    x = samples(shape).astype(np.float64)
    shared = sorted(set(graph.types) & set(broken.types) - set(graph.constants))
    shared = [name for name in shared if not name.endswith(".slow")]  # it is split
    traces = interpret(graph, x, trace=[n for n in graph.types if n not in graph.constants]).traces
    assume(not currents_near_threshold(graph, traces))
    after = interpret(broken, x, trace=shared).traces
    for name in shared:
        size = 1 + np.abs(traces[name].astype(float)).max()
        np.testing.assert_allclose(after[name], traces[name], rtol=0, atol=1e-9 * size)


def test_a_held_memory_is_broken_into_its_old_value_and_the_drive():
    layer = Layer(neurons=4, states=3, dilation=3)
    broken = apply(BreakDependency(), network(Shape(inputs=3, layers=(layer,), seed=5)))
    holds = [(op.operands, op.results) for op in broken.ops if op.kind == "hold"]
    assert holds == [
        (("layer1.m.held3", "layer1.m"), ("layer1.m.held3.next",)),
        (("layer1.x.held3", "layer1.x"), ("layer1.x.held3.next",)),
    ]
    assert [op.operands[0] for op in broken.ops if op.kind == "dense"][1:3] == [
        "layer1.m.held3.next",
        "layer1.x.held3.next",
    ]
    assert "layer1.held" not in broken.types


def test_the_slow_current_no_longer_reads_the_updated_memory():
    broken = apply(BreakDependency(), network(SLOW))
    updated = "layer1.m.next"
    assert [op.kind for op in broken.users(updated)] == []
    assert [op.kind for op in broken.users("layer1.m")] == ["memory", "dense"]
    assert [op.kind for op in broken.users("layer1.x")] == ["memory", "dense"]
    assert "layer1.slow.weight" not in broken.constants


def test_a_network_without_memory_stays_as_it_is():
    graph = apply(Fold(), network(Shape(inputs=3, layers=(Layer(neurons=4),))))
    assert apply(BreakDependency(), graph) == graph


def test_a_memory_that_something_else_than_neurons_reads_is_left_alone():
    """A dense product that is the network's output is no current."""
    graph = network(SLOW)
    readout = graph.ops[-1]
    graph.add_constant("w", np.ones((3, 3)), graph.types["layer1.A"])
    readout.operands = ("layer1.m.next", "w", readout.operands[2])
    broken = apply(BreakDependency(), graph)
    assert broken.users("layer1.m.next") == [broken.ops[-1]]
