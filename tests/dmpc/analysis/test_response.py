"""Impulse responses: the bound of a slow state is reached, up to rounding, and never left."""

import numpy as np
import pytest

import dmpc
from dmpc.analysis.bounds import prove
from dmpc.analysis.extremes import extremes
from dmpc.analysis.response import System
from dmpc.legendre import legendre_system, zero_order_hold
from isa.arithmetic import shift_round
from tests.networks import Layer, Shape, network

SHAPE = Shape(inputs=4, layers=(Layer(neurons=6, states=5),), seed=11)
TIGHT = 0.97


def worst_inputs(graph, outputs, direct, system, steps):
    """Events [outputs, steps + 1, inputs] that drive a memory as each output's response wants.

    In the last timestep the drive acts on the output at once, by `direct`.
    """
    weight = graph.constants["layer1.wx"].astype(int)
    pairs = zip(outputs, direct, strict=True)
    response = np.array([[*system.response(c)[:steps][::-1], d] for c, d in pairs])
    return np.where(response[:, :, None] > 0, weight > 0, weight < 0).astype(np.int64)


@pytest.mark.parametrize("broken", [True, False])
def test_the_worst_events_bring_states_and_slow_currents_to_their_bounds(broken):
    made = dmpc.compile(network(SHAPE), options=dmpc.Options(dependency_breaking=broken))
    graph = made.graph
    update = next(op for op in graph.ops if op.kind == "state_update")
    unit = 2.0 ** -update.attrs["shift"]
    system = System(*(graph.constants[name] * unit for name in update.operands[2:]))
    slow = next(op for op in graph.ops if op.kind == "matvec" and "slow" in op.results[0])
    outputs = [*np.eye(5), *graph.constants[slow.operands[1]].astype(float)]
    nu = graph.constants["layer1.nu"][:, 0] if broken else np.zeros(6)
    direct = [*np.zeros(5), *nu]
    outputs, direct = [*outputs, *(-c for c in outputs)], [*direct, *(-d for d in direct)]
    x = worst_inputs(graph, outputs, direct, system, 600)
    bounds, seen = prove(graph).proofs, extremes(graph, x).seen
    for cause in ("layer1: memory state", "layer1: value sums"):
        bound, reached = bounds[cause].bound, seen[cause]
        assert (reached.high <= bound.high).all()
        assert (reached.low >= bound.low).all()
        assert (reached.high >= TIGHT * bound.high).all(), (cause, reached.high, bound.high)
        assert (reached.low <= TIGHT * bound.low).all(), (cause, reached.low, bound.low)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_rounding_never_leaves_its_share_of_the_bound(size):
    """The machine's own recurrence with the worst drive, against the response in real numbers."""
    a, b = zero_order_hold(*legendre_system(size, 40.0))
    shift = 12
    whole = [np.rint(part * (1 << shift)).astype(np.int64) for part in (a, b)]
    system = System(*(part / (1 << shift) for part in whole))
    random = np.random.default_rng(size)
    m, bound = np.zeros((50, size), np.int64), system.gains(np.eye(size))[0].driven(0, 3.0, 0.5)
    for _ in range(400):
        x = random.integers(0, 4, (50, 1))
        m = shift_round(m @ whole[0].T + x * whole[1], shift)
        assert m in bound


@pytest.mark.parametrize("radius", [1.0, 1.01, 1e9])
def test_a_system_that_does_not_decay_says_so(radius):
    a = np.eye(2) * radius
    assert not System(a, np.ones(2)).decays
    short = System(np.eye(2), np.ones(2), steps=5)
    assert short.decays
    assert short.gains(np.eye(2))[0].positive[0] >= 5


def test_a_response_is_counted_to_its_end():
    """One state that forgets a thousandth a timestep: the sum is 1000, computed part or not."""
    (gains,) = System(np.array([[0.999]]), np.ones(1)).gains(np.ones((1, 1)))
    assert gains.positive[0] == pytest.approx(1000, rel=1e-6)
    assert gains.positive[0] >= 1000 * (1 - 1e-12)
    assert gains.noise[0] >= 1000 * (1 - 1e-12)
    assert gains.negative[0] == pytest.approx(0, abs=1e-3)
