"""Partition, fusion and quantization's refusals; the text tests show what the passes do."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from dmpc.errors import CompileError
from dmpc.ir.graph import Op
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.break_dependency import BreakDependency
from dmpc.passes.calibration import calibrate
from dmpc.passes.fuse import Fuse
from dmpc.passes.partition import DENSITY, Partition
from dmpc.passes.quantize import Quantize
from dmpc.passes.static_ranges import static_ranges
from isa.target import load_target
from tests.networks import Layer, Shape, network, networks, samples

SLOW = Shape(inputs=3, layers=(Layer(neurons=4, states=3),), seed=5)
TARGET = load_target("paper")


def integer(shape, *, broken=True, ranges=None):
    graph = network(shape)
    if broken:
        graph = apply(BreakDependency(), graph)
    if ranges is None and any(layer.adapts == "current" for layer in shape.layers):
        x = samples(shape).astype(np.float64)  # weights alone may give no ranges
        ranges = calibrate(graph, x, samples=len(x), margin=1.25)
    found = ranges or static_ranges(graph, (-1.0, 1.0) if shape.graded else None)
    return apply(Quantize(TARGET, found), graph)


def anything(graph, shape, seed):
    """Integers of the input's whole range, so that everything saturates sooner or later."""
    random = np.random.default_rng(seed)
    size = (shape.samples, shape.steps, shape.inputs)
    if graph.types[graph.inputs[0]].dtype == "event":
        return random.integers(0, 2, size)
    return random.choice([-32767, -1, 0, 1, 32767], size)


@settings(max_examples=60, deadline=None)
@given(networks())
def test_fusion_leaves_every_bit_as_it_was(shape):
    """Also where sums, membranes and states saturate: weights and shifts are made too large."""
    unfused = apply(Partition(), integer(shape))
    for op in unfused.ops:
        if op.kind == "integrate_events" and shape.seed % 2:
            op.attrs["shift"] -= 8
    fused = apply(Fuse(), unfused)
    kept = sorted(set(fused.types) - set(fused.constants))
    x = anything(unfused, shape, shape.seed)
    before = interpret(unfused, x, trace=kept)
    after = interpret(fused, x, trace=kept)
    for name in kept:
        assert (before.traces[name] == after.traces[name]).all(), name
    assert (before.logits == after.logits).all()
    assert before.saturations == after.saturations
    if not any(map(stays_split, shape.layers)):
        assert not {"leak", "integrate_events", "integrate_values", "fire"} & {
            op.kind for op in fused.ops
        }


def stays_split(layer):
    """Neurons that adapt, rest, or are cut off, and have more than a current, or all that they can;
    and those that take in late what their own spikes fed."""
    beside = bool(layer.current and layer.other), bool(layer.current and layer.straight)
    hears = layer.straight and layer.current == "late" and layer.recurrent and not layer.echo
    kind = bool(layer.adapts or layer.clamped or layer.rests)
    return any(beside) and (all(beside) or hears or kind)


def test_the_saturations_of_that_test_happen():
    """The differential test above would be worth less if nothing ever saturated."""
    graph = apply(Partition(), integer(replace(SLOW, seed=1)))
    for op in graph.ops:
        if op.kind == "integrate_events":
            op.attrs["shift"] -= 8
    assert interpret(graph, anything(graph, SLOW, 0)).saturations["layer1: membrane"] > 0


def test_a_membrane_that_two_ops_read_cannot_be_fused():
    graph = apply(Partition(), integer(SLOW))
    at = next(i for i, op in enumerate(graph.ops) if op.kind == "fire")
    fire = graph.ops[at]
    twin = replace(fire, results=("spikes.twin", "u.twin"), loc=("/twin",))
    graph.ops.insert(at, twin)
    graph.types["spikes.twin"], graph.types["u.twin"] = (graph.types[n] for n in fire.results)
    with pytest.raises(CompileError) as caught:
        apply(Fuse(), graph)
    assert str(caught.value) == (
        "/twin: %layer1.u.charged is read by more than one op, so it cannot stay in a register"
    )


def test_products_go_to_the_paths_of_their_operands():
    graph = apply(Partition(heterogeneous=False), integer(SLOW))
    paths = {op.results[0]: op.attrs["path"] for op in graph.ops if op.kind == "matvec"}
    assert paths == {
        "layer1.fast": "spike", "layer1.slow": "memory_a", "layer1.direct": "memory_b",
        "readout": "spike",
    }  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(networks(graded=False))
def test_moving_busy_events_never_makes_the_busiest_path_busier(shape):
    def busiest(heterogeneous):
        graph = apply(Partition(heterogeneous), integer(shape))
        load = dict.fromkeys(("spike", "memory_a", "memory_b"), 0.0)
        for op in (op for op in graph.ops if op.kind == "matvec"):
            source, sums = graph.types[op.operands[0]], graph.types[op.results[0]]
            active = DENSITY if source.dtype == "event" else 1
            groups = -(-sums.shape[0] // TARGET.lanes)
            load[op.attrs["path"]] += groups * source.shape[0] * active
        return max(load.values())

    assert busiest(heterogeneous=True) <= busiest(heterogeneous=False) + 1e-9


def test_a_graded_input_goes_where_there_are_multipliers():
    graph = apply(Partition(), integer(replace(SLOW, graded=True)))
    paths = {op.results[0]: op.attrs["path"] for op in graph.ops if op.kind == "matvec"}
    assert paths["layer1.fast"] == "memory_b"


# -- quantization ---------------------------------------------------------------------------------


def refused(graph, ranges=None):
    with pytest.raises(CompileError) as caught:
        Quantize(TARGET, ranges or static_ranges(graph, None)).run(graph)
    return str(caught.value)


def test_memories_that_do_not_start_at_zero_are_refused():
    graph = network(SLOW)
    held = graph.state("layer1.m")
    held.init = graph.add_constant("start", np.ones(3), graph.types[held.name])
    assert refused(graph) == (
        "/layer1/memory: memory states of layer1 start from %start, not from zero "
        "(reset the model's states before exporting it)"
    )


@pytest.mark.parametrize("beta", [-0.25, 1.5])
def test_a_leak_that_the_machine_does_not_have_is_refused(beta):
    graph = network(SLOW)
    ranges = static_ranges(graph, None)
    graph.constants["layer1.beta"] = np.array([0.5, 0.5, beta, 0.5])
    assert refused(graph, ranges) == (
        f"/layer1/lif: 1 of 4 neurons of layer1 keep {beta:g} of their membrane a timestep; the "
        "machine keeps 0 .. 1 of it (clamp the leak to 0 .. 1 in training, as exp(-1 / tau) or a "
        "sigmoid does)"
    )


def test_a_readout_of_something_else_than_spikes_is_refused():
    graph = network(SLOW)
    graph.constants["readout.weight"] = np.ones((3, 3))
    graph.types["readout.weight"] = graph.types["layer1.A"]
    graph.ops[-1].operands = ("layer1.m.next", *graph.ops[-1].operands[1:])
    assert refused(graph) == (
        "/out: the readout takes %layer1.m.next, which are not spikes "
        "(read out the spikes of layers)"
    )


def test_a_bias_that_no_sample_showed_is_not_cut_off():
    """Calibrated on a set that always cancels the bias, a silent timestep must still be right."""
    shape = Shape(inputs=1, layers=(Layer(neurons=1, bias=True),), steps=4)
    graph = network(shape)
    graph.constants["layer1.fast.weight"] = np.array([[100.0]])
    graph.constants["layer1.fast.bias"] = np.array([-100.0])
    ranges = calibrate(graph, np.ones((1, 4, 1)), samples=1, margin=1.25)
    made = apply(Quantize(TARGET, ranges), graph)
    step = made.constants["layer1.scale"]
    assert made.constants["layer1.bias"] * step == pytest.approx(-100, rel=4e-3)
    result = interpret(made, np.ones((1, 4, 1), np.int64), trace=["layer1.u"])
    assert not result.saturations
    assert (np.abs(result.traces["layer1.u"] * step) < 0.2).all()


def test_a_reset_that_no_sample_showed_is_not_cut_off():
    """Calibrated on silence, the neuron never fired; its reset lies far below its threshold."""
    graph = network(Shape(inputs=1, layers=(Layer(neurons=1, bias=False),)))
    for name, value in (("fast.weight", [[2.0]]), ("threshold", [1.0]), ("reset", [-50.0])):
        graph.constants[f"layer1.{name}"] = np.array(value)
    ranges = calibrate(graph, np.zeros((1, 4, 1)), samples=1, margin=1.25)
    made = apply(Quantize(TARGET, ranges), graph)
    after = interpret(made, np.ones((1, 1, 1), np.int64), trace=["layer1.u.next"])
    step = made.constants["layer1.scale"]
    np.testing.assert_allclose(after.traces["layer1.u.next"] * step, -50, rtol=1e-3)


def test_a_drive_bias_that_no_sample_overcame_is_not_cut_off():
    """relu(x - 2) of a binary input is zero; a bias cut off would let the input through."""
    graph = network(replace(SLOW, inputs=1))
    graph.constants["layer1.wx"], graph.constants["layer1.bx"] = np.ones(1), np.full(1, -2.0)
    for ranges in (
        static_ranges(graph, None),
        calibrate(graph, np.ones((1, 4, 1)), samples=1, margin=1),
    ):
        made = apply(Quantize(TARGET, ranges), graph)
        result = interpret(made, np.ones((1, 4, 1), np.int64), trace=["layer1.x"])
        assert (result.traces["layer1.x"] == 0).all()


def test_drive_weights_beside_a_large_bias_do_not_saturate_it():
    graph = network(replace(SLOW, inputs=2, graded=True))
    graph.constants["layer1.wx"], graph.constants["layer1.bx"] = np.full(2, 1e-12), np.ones(1)
    made = apply(Quantize(TARGET, static_ranges(graph, (-1.0, 1.0))), graph)
    result = interpret(made, np.full((1, 3, 2), 32767), trace=["layer1.x"])
    step = made.types["layer1.x"].scale
    np.testing.assert_allclose(result.traces["layer1.x"] * step, 1, rtol=1e-3)
    assert "layer1: drive" not in result.saturations


@pytest.mark.parametrize("weight", [0.0, 1e-14, 1e-3, 1e9])
def test_readout_biases_of_any_size_beside_the_weights(weight):
    graph = network(SLOW)
    graph.constants["readout.weight"] = np.full((3, 4), weight)
    graph.constants["readout.bias"] = np.array([1.0, -0.5, 0.25])
    made = apply(Quantize(TARGET, static_ranges(graph, None)), graph)
    silent = interpret(made, np.zeros((1, 1, 3), np.int64), trace=["layer1.spikes"])
    step = made.types[made.outputs[0]].scale
    fired = silent.traces["layer1.spikes"][0, 0].sum()
    expected = graph.constants["readout.bias"] + weight * fired
    np.testing.assert_allclose(silent.logits[0] * step, expected, atol=step, rtol=1e-2)


def test_an_op_that_no_pathway_takes():
    graph = integer(SLOW)
    graph.ops.append(Op("mystery", (), (), {"layer": "layer1"}, ("/odd",)))
    with pytest.raises(CompileError, match="/odd: no pathway takes mystery"):
        Partition().run(graph)


@pytest.mark.parametrize("strict", [False, True])
def test_strict_and_loose_comparison_differ_at_the_threshold_alone(strict):
    """A charge of exactly the threshold, here a bias, fires a loose neuron and not a strict one."""
    layer = Layer(neurons=3, strict=strict)
    graph = network(Shape(inputs=1, layers=(layer,)))
    graph.constants["layer1.fast.weight"] = np.zeros((3, 1))
    graph.constants["layer1.fast.bias"] = np.array([0.99, 1.0, 1.01])
    graph.constants["layer1.threshold"] = np.ones(3)
    made = apply(Quantize(TARGET, static_ranges(graph, None)), graph)
    spikes = interpret(made, np.zeros((1, 1, 1), np.int64), trace=["layer1.spikes"])
    fired = spikes.traces["layer1.spikes"].ravel().tolist()
    assert fired == [False, not strict, True]
