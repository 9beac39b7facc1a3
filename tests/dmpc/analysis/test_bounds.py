"""The range proof: tests that try to break it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import dmpc
from dmpc.analysis.bounds import ANALYSES, Assumptions, prove
from dmpc.analysis.extremes import extremes
from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_integer import INTEGER
from dmpc.ir.registry import all_ops
from isa.target import target_names
from tests.networks import Layer, Shape, compile_network, network, networks, samples

LONG = 40
MOVED_BY_A_CURRENT = Shape(
    1, (Layer(11, hard=False, current="now", adapts="threshold", again=2, bias=False),), classes=1
)
SILENT_DRIVE = Shape(
    inputs=6,
    layers=(
        Layer(8, hard=False, bias=False, legendre=False, delays=1),
        Layer(1, hard=False, bias=False, legendre=False, recurrent=True),
        Layer(5, states=8, hard=False, delays=1),
    ),
    classes=1,
    seed=31400082,
)
"""Its third layer's drive is never above zero, so its memory never moves."""


def compiled(shape, **chosen):
    """The scheduled graph of a shape, its scales taken from samples quieter than those to come."""
    x = samples(shape)
    x = x * 0.4 if shape.graded else x & (np.random.default_rng(1).random(x.shape) < 0.5)
    return compile_network(network(shape), calibration=x, options=dmpc.Options(**chosen)).graph


def hostile(graph, shape, seed=0, steps=LONG):
    """Integer inputs that push: silence, everything on, each input by itself, noise, bursts."""
    random = np.random.default_rng(seed)
    type_ = graph.types[graph.inputs[0]]
    top = 1 if type_.dtype == "event" else (1 << (type_.bits - 1)) - 1
    low = 0 if type_.dtype == "event" else -top
    n = shape.inputs
    x = [np.full((steps, n), end) for end in (low, top)]
    x += [np.where(random.random((steps, n)) < p, top, low) for p in (0.1, 0.5, 0.9)]
    x += [np.where(random.random((steps, 1)) < 0.5, top, low) * np.ones((1, n), int)]
    period = random.integers(1, steps + 1, (4, 1, 1)) * 2
    x += list(np.where(np.arange(steps)[:, None] // (period // 2) % 2, top, low) * np.ones(n, int))
    for name, weight in graph.constants.items():  # the signs of weights on the input, steadily
        if weight.ndim and weight.shape[-1] == n and name.endswith("weight"):
            rows = weight.reshape(-1, n)[:4]
            x += [
                np.where(sign * row > 0, top, low) * np.ones((steps, 1), int)
                for row in rows
                for sign in (1, -1)
            ]
    return np.array(x, np.int64)


def assert_holds(graph, x, assumed=None):
    bounds = prove(graph, assumed)
    watch = extremes(graph, x)
    assert watch.seen.keys() == {p.cause for p in bounds.proofs.values() if p.counted}
    for cause, seen in watch.seen.items():
        proof = bounds.proofs[cause]
        limit = proof.bound if not proof.grows else None
        if limit is None:
            steps = x.shape[1]
            limit = type(seen)(proof.bound.low * steps, proof.bound.high * steps).with_zero()
        assert (seen.low >= limit.low).all(), (cause, seen.low, limit.low)
        assert (seen.high <= limit.high).all(), (cause, seen.high, limit.high)
        safe = proof.safe_steps
        if safe is None or x.shape[1] <= safe:
            assert not watch.counts[cause], cause
    traced = [name for name in bounds.values if name in graph.types]
    traces = interpret(graph, x, trace=traced).traces
    for name in traced:
        assert traces[name].astype(np.int64) in bounds.values[name], name
    return bounds, watch


@settings(max_examples=30, deadline=None)
@given(
    networks(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(target_names()),
    st.integers(0, 99),
)
def test_no_input_leaves_its_bound(shape, broken, fused, target, seed):
    graph = compiled(shape, dependency_breaking=broken, fusion=fused, target=target)
    assert_holds(graph, hostile(graph, shape, seed))


def test_a_reset_to_a_value_takes_nothing_of_what_thresholds_adapt_by():
    adapting = Layer(1, hard=True, current="now", other="now", adapts="threshold", starts=True)
    graph = compiled(Shape(inputs=1, layers=(adapting,), classes=1))
    silence = np.zeros((1, 1, 1), np.int64)
    narrow, _ = assert_holds(graph, silence, Assumptions(1, None, 0))
    assert narrow.values["layer1.u"].low[0] == graph.constants["layer1.reset"][0]


@settings(max_examples=25, deadline=None)
@given(networks(), st.integers(1, 12), st.integers(0, 10))
def test_assumptions_narrow_the_bounds_and_hold(shape, steps, events):
    graph = compiled(shape)
    x = hostile(graph, shape, steps=steps)
    binary = graph.types[graph.inputs[0]].dtype == "event"
    if binary:
        keep = np.argsort(np.random.default_rng(3).random(x.shape), axis=2) < events
        x = x * keep
    narrow, _ = assert_holds(graph, x, Assumptions(steps, None, events if binary else None))
    wide = prove(graph)
    for cause, proof in narrow.proofs.items():
        if not wide.proofs[cause].grows:
            assert (proof.bound.high <= wide.proofs[cause].bound.high).all()
            assert (proof.bound.low >= wide.proofs[cause].bound.low).all()


def test_every_integer_op_has_an_analysis():
    known = {name for name, op in all_ops().items() if set(op.levels) & set(INTEGER)}
    assert set(ANALYSES) == known


def test_real_numbers_are_refused():
    with pytest.raises(CompileError, match="the graph is at level layers"):
        prove(network(Shape(inputs=2, layers=(Layer(2),))))


@example(SILENT_DRIVE)
@example(MOVED_BY_A_CURRENT)
@settings(max_examples=20, deadline=None)
@given(networks(graded=False))
def test_scales_from_the_weights_alone_leave_nothing_to_saturate(shape):
    """But for sums over time, in very long samples.

    Ranges of a membrane and a current that follows it do not know how their coupling is rounded.
    """
    plain = [one for one in shape.layers if one.adapts != "current"]
    assume(plain)
    shape = replace(shape, layers=tuple(replace(one, flavour="normal") for one in plain))
    proofs = prove(dmpc.compile(network(shape)).graph).proofs
    assert not [proof.cause for proof in proofs.values() if proof.safe_steps in range(4096)]


def test_a_ceiling_bounds_how_often_neurons_spike():
    """What the scales were chosen for: further spikes of a timestep that no membrane reaches."""
    shape = Shape(5, (Layer(8, clamped="above", times=3, hard=False), Layer(4)), seed=2)
    graph = dmpc.compile(network(shape)).graph
    fire = next(op for op in graph.ops if "layer1.spikes" in op.results)
    ceiling, threshold, reset = (
        graph.constants[f"layer1.{name}"].astype(int) for name in ("ceiling", "threshold", "reset")
    )
    may = prove(graph).values["layer1.spikes"].high.reshape(3, -1)
    for time in range(3):
        assert not may[time][ceiling - time * reset < threshold].any()
    assert fire.attrs["times"] == 3
    assert may[0].any()
    assert (may[2] < may[0]).any()
