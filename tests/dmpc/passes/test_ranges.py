"""Ranges: bounds that no input can leave, and what a calibration set shows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dmpc
from dmpc.analysis.bounds import Assumptions
from dmpc.analysis.report import report
from dmpc.compiler import Options, find_ranges
from dmpc.errors import CompileError, SampleError
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_layers import NEURONS
from dmpc.ir.registry import op_def
from dmpc.passes.base import apply
from dmpc.passes.break_dependency import BreakDependency
from dmpc.passes.calibration import calibrate
from dmpc.passes.static_ranges import static_ranges
from isa.image import image_bytes
from tests.networks import Layer, Shape, network, networks, samples

ONE = Shape(inputs=3, layers=(Layer(neurons=4, states=3),), seed=5)


def traced(graph, x):
    vectors = [name for name, type_ in graph.types.items() if len(type_.shape) == 1]
    names = [name for name in vectors if name not in graph.constants]
    return interpret(graph, x.astype(np.float64), trace=names).traces


def charges(graph, traces):
    """Membranes before reset and half-way, by the name of the layer's spikes, from the equations.

    Half-way holds the leaked membrane and the products of events: what the machine adds first.
    """
    for lif in (op for op in graph.ops if op.kind in NEURONS):
        bound = op_def(lif.kind).bind(lif.operands)
        (u,), currents = bound["u"], bound["currents"]
        beta = graph.constants[bound["beta"][0]]
        whole = beta * traces[u] + sum(traces[name] for name in currents)
        if lif.attrs.get("adapts") == "current":
            whole = whole + traces[bound["a"][0]]
        half = beta * traces[u]
        for dense in map(graph.producer, currents):
            if dense is None or dense.kind != "dense":
                continue
            if graph.types[dense.operands[0]].dtype == "event" or dense.operands[0] in graph.inputs:
                half = half + traces[dense.operands[0]] @ graph.constants[dense.operands[1]].T
        yield lif.results[0], whole, half


def bounds_of(graph, ranges, name):
    """A value's bounds; those of a membrane are known under its next value."""
    return ranges.bounds[name if name in ranges.bounds else graph.state(name).next]


def assert_within(trace, interval, name):
    slack = 1e-9 * (1 + interval.magnitude)
    assert (trace >= interval.low - slack).all(), name
    assert (trace <= interval.high + slack).all(), name


@settings(max_examples=80, deadline=None)
@given(networks(), st.booleans(), st.integers(0, 1000))
def test_no_input_leaves_the_static_ranges(shape, broken, seed):
    graph = network(shape)
    if broken:
        graph = apply(BreakDependency(), graph)
    ranges = static_ranges(graph, (-1.0, 1.0) if shape.graded else None)
    x = samples(replace(shape, samples=6, steps=20), seed=seed).astype(np.float64)
    x[0] = np.round(np.abs(x[0]))  # extremes
    traces = traced(graph, x)
    for name, trace in traces.items():
        assert_within(trace.astype(np.float64), bounds_of(graph, ranges, name), name)
    for name, whole, half in charges(graph, traces):
        assert_within(whole, ranges.charge[name], name)
        if not shape.graded:
            assert_within(half, ranges.charge[name], name)


def test_rest_may_begin_below_zero():
    shape = Shape(3, (Layer(8, rests=2, starts=True),), seed=1)
    graph = network(shape)
    assert graph.constants["layer1.r.init"].min() < 0
    bounds = static_ranges(graph, None).bounds
    assert_within(graph.constants["layer1.r.init"], bounds["layer1.r"], "layer1.r")


@settings(max_examples=30, deadline=None)
@given(networks())
def test_a_calibration_set_stays_within_the_ranges_seen_on_it(shape):
    graph = network(shape)
    x = samples(shape)
    ranges = calibrate(graph, x, samples=len(x), margin=1.5)
    traces = traced(graph, x)
    for name, trace in traces.items():
        seen = ranges.bounds[name]
        assert seen.low.tolist() == trace.min(axis=(0, 1)).tolist()
        assert seen.high.tolist() == trace.max(axis=(0, 1)).tolist()
    for name, whole, half in charges(graph, traces):
        assert_within(whole, ranges.charge[name], name)
        if ranges.events:
            assert_within(half, ranges.charge[name], name)


@settings(max_examples=20, deadline=None)
@given(networks())
def test_ranges_seen_a_timestep_at_a_time_are_those_of_whole_samples(shape):
    graph = network(shape)
    x = samples(shape)
    whole = calibrate(graph, x, samples=len(x), margin=1.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dmpc.ir.interpret.ROWS", 1)
        parts = calibrate(graph, x, samples=len(x), margin=1.5)
    for name in whole.bounds:  # products of other sizes may be summed in another order
        np.testing.assert_allclose(parts.bounds[name].low, whole.bounds[name].low, 1e-9, 1e-6)
        np.testing.assert_allclose(parts.bounds[name].high, whole.bounds[name].high, 1e-9, 1e-6)
    for mine, theirs in zip(vars(parts).values(), vars(whole).values(), strict=True):
        assert not isinstance(mine, dict) or list(mine) == list(theirs)
    for name, counts in whole.activity.items():
        np.testing.assert_array_equal(parts.activity[name], counts)
    for name, moments in whole.moments.items():
        np.testing.assert_allclose(parts.moments[name], moments, 1e-9, 1e-6)


def test_calibration_takes_samples_evenly_over_the_set():
    graph = network(ONE)
    x = np.zeros((9, 4, 3))
    x[4] = 1
    ranges = calibrate(graph, x, samples=3, margin=1.25)
    assert ranges.bounds["x"].high.tolist() == [1, 1, 1]
    assert ranges.origin == "calibration on 3 samples"
    # Three inputs of every third sample.
    assert ranges.activity["x"].mean() == pytest.approx(1, abs=0.1)
    assert ranges.events


RAGGED = Shape(
    inputs=5,
    layers=(Layer(neurons=7, states=3, recurrent=True), Layer(neurons=4, states=0, hard=False)),
    classes=3,
    samples=6,
    steps=9,
    seed=11,
)


def test_nothing_behind_a_samples_length_is_looked_at():
    graph, x = network(RAGGED), samples(RAGGED)
    lengths = np.array([9, 3, 1, 9, 5, 3])
    within = np.arange(9) < lengths[:, None]
    wild = np.where(within[..., None], x, True)
    found = calibrate(graph, wild, samples=6, margin=1, lengths=lengths)
    pieces = [
        (calibrate(graph, x[lengths == each, :each], samples=6, margin=1), each * count)
        for each, count in zip(*np.unique(lengths, return_counts=True), strict=True)
    ]
    for key in ("bounds", "charge", "values"):
        for name, interval in getattr(found, key).items():
            parts = [getattr(piece, key)[name] for piece, _ in pieces]
            assert (interval.low == np.min([one.low for one in parts], axis=0)).all()
            assert (interval.high == np.max([one.high for one in parts], axis=0)).all()
    steps = sum(size for _, size in pieces)
    for name, rates in found.rates.items():
        parts = [size * piece.rates[name] for piece, size in pieces]
        np.testing.assert_allclose(rates, sum(parts) / steps)
    for key, moments in found.moments.items():
        assert moments[-1, -1] > 0
        assert np.isfinite(moments).all()
        if key == graph.outputs[0]:  # of a sample's mean
            parts = [
                piece.moments[key] * (size // each)
                for (piece, size), each in zip(pieces, (1, 3, 5, 9), strict=True)
            ]
            np.testing.assert_allclose(moments, sum(parts) / len(x))
    assert found.examples.shape == (6, 1, 5)
    alike = calibrate(graph, x, samples=6, margin=1, lengths=np.full(6, 9))
    plain = calibrate(graph, x, samples=6, margin=1)
    assert all((alike.moments[name] == plain.moments[name]).all() for name in plain.moments)


def test_a_set_with_lengths_is_compiled_as_if_nothing_were_behind():
    graph, x, lengths = network(RAGGED), samples(RAGGED), np.array([9, 3, 1, 9, 5, 3])
    quiet = x & (np.arange(9) < lengths[:, None])[..., None]
    made = [dmpc.compile(graph, calibration=each, lengths=lengths).image for each in (x, quiet)]
    assert image_bytes(made[0]) == image_bytes(made[1])
    for wrong in (np.array([9, 3]), np.array([10] * 6), np.array([0] * 6), np.full(6, 1.0)):
        with pytest.raises(SampleError, match="whole numbers from 1 to 9, one for each of its 6"):
            dmpc.compile(graph, calibration=x, lengths=wrong)


def test_values_other_than_0_and_1_make_the_input_graded():
    assert not calibrate(network(ONE), np.full((1, 2, 3), 0.5), samples=1, margin=1).events


def test_the_slow_state_is_bounded_by_its_impulse_response():
    graph = network(ONE)
    a, b = graph.constants["layer1.A"], graph.constants["layer1.B"]
    drive = static_ranges(graph, None).bounds["layer1.x"].high[0]
    response, total = b, np.zeros(3)
    for _ in range(3000):
        total += np.abs(response)
        response = a @ response
    interval = static_ranges(graph, None).bounds["layer1.m"]
    np.testing.assert_allclose(interval.high - interval.low, total * drive, rtol=1e-6)


def test_the_bound_of_the_slow_state_is_reached():
    """The worst input of one state holds the drive wherever the response is positive."""
    graph = network(ONE)
    a, b = graph.constants["layer1.A"], graph.constants["layer1.B"]
    responses = [b]
    for _ in range(400):
        responses.append(a @ responses[-1])
    bound = static_ranges(graph, None).bounds
    worst = np.array(responses)[::-1] > 0
    for state in range(3):
        m = np.zeros(3)
        for on in worst[:, state]:
            m = a @ m + b * bound["layer1.x"].high[0] * on
        assert m[state] == pytest.approx(bound["layer1.m"].high[state], rel=1e-3)


def test_the_input_range_counts():
    graph = network(replace(ONE, graded=True))
    narrow, wide = (static_ranges(graph, (-w, w)).bounds["layer1.fast"] for w in (1.0, 2.0))
    assert (wide.high > narrow.high).all()


def refused(graph, input_range=None):
    with pytest.raises(CompileError) as caught:
        static_ranges(graph, input_range)
    return str(caught.value)


@pytest.mark.parametrize("radius", [1.0, 1.1])
def test_a_memory_that_does_not_decay_is_refused_by_the_name_of_its_node(radius):
    graph = network(ONE)
    graph.constants["layer1.A"] = np.eye(3) * radius
    assert refused(graph) == (
        "/layer1/memory: the memory of layer1 does not decay within 100000 timesteps "
        "(a window that fits float32; or a calibration set, which gives ranges in their place)"
    )


def without_leak(hard, threshold=1.0, weight=1.0):
    shape = Shape(inputs=1, layers=(Layer(neurons=2, hard=hard, bias=False),))
    graph = network(shape)
    graph.constants["layer1.beta"] = np.ones(2)
    graph.constants["layer1.fast.weight"] = np.full((2, 1), weight)
    graph.constants["layer1.threshold"] = np.full(2, threshold)
    if not hard:
        graph.constants["layer1.reset"] = np.full(2, threshold)
    return graph


@pytest.mark.parametrize(
    ("graph", "how"),
    [
        (without_leak(hard=True, weight=-1.0), "fall"),
        (without_leak(hard=False, weight=-1.0), "fall"),
        (without_leak(hard=False, weight=1.5), "rise"),
        (without_leak(hard=False, threshold=-0.5, weight=0.0), "rise"),
    ],
)
def test_membranes_that_can_grow_for_ever_are_refused(graph, how):
    message = f"/layer1/lif: membranes of layer1 do not leak and can {how} without bound"
    hint = "a leak below 1; or a calibration set, which gives ranges in their place"
    assert refused(graph) == f"{message} ({hint})"


@pytest.mark.parametrize("graph", [without_leak(hard=True, weight=1.5), without_leak(hard=False)])
def test_membranes_without_leak_are_bounded_where_spikes_bound_them(graph):
    ranges = static_ranges(graph, None)
    traces = traced(graph, np.ones((1, 300, 1)))
    assert_within(traces["layer1.u"], ranges.bounds["layer1.u.next"], "u")


def test_subtracting_a_negative_threshold_is_bounded_too():
    graph = without_leak(hard=False, threshold=-0.5)
    graph.constants["layer1.beta"] = np.full(2, 0.5)
    ranges = static_ranges(graph, None)
    traces = traced(graph, np.ones((1, 50, 1)))
    assert_within(traces["layer1.u"], ranges.bounds["layer1.u.next"], "u")


def test_a_current_that_is_no_dense_product_is_refused():
    graph = network(ONE)
    lif = next(op for op in graph.ops if op.kind == "lif")
    lif.operands = (lif.operands[0], "layer1.threshold", *lif.operands[2:])
    assert (
        "current %layer1.threshold of layer1 is neither a dense product nor a current"
        in refused(graph)
    )


def test_a_proof_is_taken_where_it_costs_nothing():
    graph = apply(BreakDependency(), network(ONE))
    drive = next(op for op in graph.ops if op.kind == "drive")
    name = drive.results[0]
    pushing = (graph.constants[drive.operands[1]] > 0).astype(np.float64)
    x = np.broadcast_to(pushing, (2, 30, 3))
    proved, seen = static_ranges(graph, None), calibrate(graph, x, samples=2, margin=1.25)
    both = find_ranges(graph, x, Options(margin=1.25))
    assert both.bounds[name].high * both.margin == proved.bounds[name].high * proved.margin
    assert both.bounds[name].high < seen.bounds[name].high  # no margin is needed
    quiet = find_ranges(graph, x * 0, Options(margin=1.25))
    assert quiet.bounds[name] == calibrate(graph, x * 0, samples=2, margin=1.25).bounds[name]
    compiled = dmpc.compile(graph, calibration=x)
    verdicts = {item.what: item.verdict for item in report(compiled.graph, Assumptions()).ranges}
    assert verdicts["drive"] == "impossible"


def test_what_has_no_proof_is_seen():
    lasting = network(replace(ONE, layers=(Layer(neurons=4),)))
    lif = next(op for op in lasting.ops if op.kind == "lif")
    beta = lif.operands[-3]
    lasting.constants[beta] = np.ones_like(lasting.constants[beta])
    x = samples(ONE)
    found = find_ranges(lasting, x, Options())
    assert found.charge == calibrate(lasting, x, samples=256, margin=1.25).charge


def test_weights_that_round_to_one_side_stay_within_the_proof():
    """Most weights of one neuron are rounded away from zero: 3 % more than static ranges hold."""
    shape = Shape(inputs=6, layers=(Layer(11, bias=False, recurrent=True),), seed=865)
    compiled = dmpc.compile(network(shape))
    verdicts = {item.what: item.verdict for item in report(compiled.graph, Assumptions()).ranges}
    assert verdicts["membrane"] == "impossible"


def test_responses_are_followed_to_their_end_whatever_is_fed_in():
    """Ranges of what follows a membrane grow as the weights do."""
    shape = Shape(5, (Layer(6, adapts="current", hard=False, strict=False),), seed=1)

    def reach(factor):
        graph = network(shape)
        for name in ("layer1.fast.weight", "layer1.fast.bias"):
            graph.constants[name] = graph.constants[name] * factor
        return static_ranges(graph, None).bounds["layer1.a"].magnitude

    assert np.allclose(reach(1e12), 1e6 * reach(1e6), rtol=1e-4)
