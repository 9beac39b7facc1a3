"""Neurons that adapt, `lif.adaptive` and `lif.pulled`: fused and stage by stage, on all engines."""

import numpy as np
import pytest

from isa.instructions import AccumulateEvents, ClearMembranes
from isa.instructions.neurons import ALONE, FUSED
from isa.parameters import KEPT, LEAK_BITS
from tests.isa.machine import LANES, Seen, each_timestep, events, parameters, program, run

GROUPS = 2
NEURONS = GROUPS * LANES
U = {"threshold": 900, "reset": 40, "leak": 7360, "bias": 3}
A = {"coupling": 91, "exponent": 6, "jump": 300, "leak": KEPT - 64, "shift": 1}
FIELDS = {"coupling": "threshold", "exponent": "bias", "jump": "reset"}


def record(of):
    return parameters(NEURONS, **{FIELDS.get(name, name): value for name, value in of.items()})


def stages(kind, subtract):
    """The stages of a model, each an instruction of its own: u in rows 0 .., a behind them."""
    u = {"row": 0, "parameters": 0, "groups": GROUPS}
    a = {"row": GROUPS, "parameters": GROUPS, "groups": GROUPS}
    charge = [
        ALONE["leak"](**u),
        ALONE["integrate.events"](row=0, groups=GROUPS, banks=(0,), shift=0),
        ALONE["integrate.values"](**u, banks=()),
    ]
    if kind == "lif.pulled":
        yield from charge
        yield ALONE["adapt"](**{**u, "parameters": GROUPS}, source=GROUPS)
        yield ALONE["fire"](**u, dest=1, subtract=subtract)
        yield ALONE["leak"](**a)
        yield ALONE["couple"](**a, source=0)
    else:
        yield from charge
        yield ALONE["fire.adaptive"](**u, dest=1, source=GROUPS, subtract=subtract)
        yield ALONE["leak"](**a)
    yield ALONE["jump"](**a, spikes=1)


def adapting(kind, *, subtract, fused):
    weights = np.random.default_rng(0).integers(0, 128, (GROUPS * 3, LANES))
    one = FUSED[kind](
        row=0, parameters=0, groups=GROUPS, dest=1, banks=(0,), shift=0, subtract=subtract
    )
    return program(
        ClearMembranes(row=0, groups=2 * GROUPS),
        *each_timestep(
            events(0, 3),
            AccumulateEvents(bank=0, source=0, row=0, inputs=3, groups=GROUPS),
            *([one] if fused else stages(kind, subtract)),
        ),
        spike=weights,
        parameter=np.concatenate([record(U), record(A)]),
    ), weights


def expected(kind, weights, x, *, subtract):
    """Membranes and adaptations after the last timestep, in Python's integers."""

    def rounded(value, shift):
        return (value + (1 << shift >> 1)) >> shift

    def clipped(value):
        return max(-(1 << 15), min((1 << 15) - 1, value))

    us, ads = [0] * NEURONS, [0] * NEURONS
    for timestep in x.tolist():
        for n in range(NEURONS):
            group, lane = divmod(n, LANES)
            u, a = us[n], ads[n]
            u = rounded(u * U["leak"], LEAK_BITS)
            u = clipped(u + sum(int(weights[group * 3 + i, lane]) for i in range(3) if timestep[i]))
            u = clipped(u + U["bias"])
            threshold, amount = U["threshold"], U["reset"]
            if kind == "lif.pulled":
                u = clipped(u + rounded(a, A["shift"]))
            else:
                threshold += rounded(a, A["shift"])
                amount += rounded(a * A["coupling"], A["exponent"])
            spike = u >= threshold
            if spike:
                u = clipped(u - amount) if subtract else U["reset"]
            a = rounded(a * A["leak"], LEAK_BITS)
            if kind == "lif.pulled":
                a = clipped(a + rounded(u * A["coupling"], A["exponent"]))
            us[n], ads[n] = u, clipped(a + A["jump"] * spike)
    return us, ads


@pytest.mark.parametrize("kind", ["lif.adaptive", "lif.pulled"])
@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("fused", [True, False])
def test_against_plain_integers(kind, subtract, fused):
    image, weights = adapting(kind, subtract=subtract, fused=fused)
    for steps in (4, 40):  # the cycle engine takes few
        x = np.random.default_rng(1).random((2, steps, 3)) < 0.7
        last = len(image.code) - 3
        seen = Seen(u=(last, "row"), a=(last, "row.a")) if fused else Seen(a=(last, "row"))
        run(image, x, seen=seen)
        u, a = expected(kind, weights, x[0], subtract=subtract)
        assert seen["a"][0, -1].tolist() == a
        assert not fused or seen["u"][0, -1].tolist() == u
    assert max(a) > A["jump"], "they never fired"
