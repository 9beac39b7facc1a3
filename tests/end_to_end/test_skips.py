"""Layers that read the input of a network, or a later layer, beside the layer before them."""

from dataclasses import replace

import numpy as np
import pytest

import dmpc
from dmpc.analysis.bounds import prove
from dmpc.analysis.engine import Assumptions
from dmpc.analysis.extremes import extremes
from dmpc.ir.graph import Op
from dmpc.ir.types import f32
from dmpc.verification import verify
from runtime.program import Program
from tests.networks import Layer, Shape, network, samples

BESIDES = Shape(6, (Layer(7, states=3), Layer(5), Layer(4)), besides=3, samples=8, steps=9, seed=3)
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


def test_layers_that_feed_each_other_share_a_stage_and_others_overlap():
    layers = (Layer(12), Layer(10, heard=1), Layer(9, recurrent=True), Layer(7))
    shape = Shape(8, layers, steps=10, samples=4, seed=4)
    x = samples(shape)
    cycles = []
    for overlap in (True, False):
        options = dmpc.Options(overlap=overlap)
        compiled = dmpc.compile(network(shape), calibration=x, options=options)
        assert [rung.ok for rung in verify(network(shape), compiled.image, x).rungs] == [True] * 4
        cycles.append(Program(compiled.image, "feedback").run(x).cycles.sum())
        stages = {op.attrs["layer"]: op.attrs.get("stage", 0) for op in compiled.graph.ops}
        found = [stages[f"layer{number}"] for number in range(1, 5)]
        assert found == ([0, 1, 1, 2] if overlap else [0] * 4)
    assert cycles[0] < 0.9 * cycles[1]


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("leaks", [0, 2])
@pytest.mark.parametrize("readout", ["mean", "sum", "last", "max"])
def test_a_readout_reads_all_layers_and_the_input(readout, leaks, calibrated):
    shape = replace(BESIDES, readout=readout, leaks=leaks)
    x = samples(shape)
    compiled = dmpc.compile(network(shape), calibration=x if calibrated else None)
    (logits,) = [op for op in compiled.graph.ops if len(op.operands) >= 6 and "logits" in op.kind]
    counted = readout in ("mean", "sum") and not leaks
    kind = "leaky_logits" if leaks else "total_logits" if counted else "accumulate_logits"
    assert logits.kind == kind
    assert len([op for op in compiled.graph.ops if op.kind == "count"]) == 4 * counted
    assert [rung.ok for rung in verify(network(shape), compiled.image, x).rungs] == [True] * 4


@pytest.mark.parametrize("leaks", [0, 2])
@pytest.mark.parametrize("since", [1, 5, 99])
def test_a_mean_begins_with_a_timestep(since, leaks):
    """Or is zero, where the samples end before."""
    shape = replace(BESIDES, readout="mean", leaks=leaks)
    x, graph = samples(shape), network(shape)
    graph.attrs["since"] = since
    for counted in (True, False):
        options = dmpc.Options(count_readout=counted)
        compiled = dmpc.compile(graph, calibration=x, options=options)
        found = verify(graph, compiled.image, x, options=options, max_drop=100)
        assert [rung.ok for rung in found.rungs] == [True] * 4
        assert Program(compiled.image, "late").run(x).logits.any() == (since < shape.steps)


def test_counts_of_layers_of_several_sizes_are_proved():
    made = dmpc.compile(network(BESIDES), calibration=samples(BESIDES))
    x = samples(BESIDES)
    bound = prove(made.graph, Assumptions(steps=BESIDES.steps)).proofs["readout: count"].bound
    assert extremes(made.graph, x).seen["readout: count"].high <= bound.high
