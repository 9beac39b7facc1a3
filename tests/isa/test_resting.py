"""Neurons that rest after a spike, `lif.resting`: fused and stage by stage, on all engines."""

import numpy as np
import pytest

from isa.instructions import AccumulateEvents, ClearMembranes
from isa.instructions.neurons import ALONE, FUSED
from isa.parameters import LEAK_BITS
from tests.isa.machine import LANES, TARGET, Seen, each_timestep, events, parameters, program, run

GROUPS = 2
NEURONS = GROUPS * LANES
U = {"threshold": 200, "reset": -30, "leak": 7360, "bias": 25}
STEPS = np.arange(NEURONS)  # one never rests


def stages():
    u, r = {"row": 0, "groups": GROUPS}, {"row": GROUPS, "groups": GROUPS}
    yield ALONE["leak"](**u, parameters=0)
    yield ALONE["integrate.events"](**u, banks=(0,), shift=0)
    yield ALONE["integrate.values"](**u, parameters=0, banks=())
    yield ALONE["rest"](**u, source=GROUPS, parameters=0)
    yield ALONE["fire"](**u, parameters=0, dest=1, subtract=False)
    yield ALONE["recover"](**r, parameters=GROUPS, spikes=1)


def resting(*, fused):
    weights = np.random.default_rng(0).integers(-128, 128, (GROUPS * 6, LANES))
    one = FUSED["lif.resting"](
        row=0, parameters=0, groups=GROUPS, dest=1, banks=(0,), shift=0, subtract=False
    )
    own = [parameters(NEURONS, **U), parameters(NEURONS, reset=STEPS)]
    return program(
        ClearMembranes(row=0, groups=2 * GROUPS),
        *each_timestep(
            events(0, 6),
            AccumulateEvents(bank=0, source=0, row=0, inputs=6, groups=GROUPS),
            *([one] if fused else stages()),
        ),
        spike=weights,
        parameter=np.concatenate(own),
    ), weights


def expected(weights, x):
    """Membranes after the last timestep in Python's integers; how often they rested, fired."""
    us, left, met = [0] * NEURONS, [0] * NEURONS, [0, 0]
    for timestep in x.tolist():
        for n in range(NEURONS):
            group, lane = divmod(n, LANES)
            u = (us[n] * U["leak"] + (1 << LEAK_BITS >> 1)) >> LEAK_BITS
            u += sum(int(weights[group * 6 + i, lane]) for i in range(6) if timestep[i]) + U["bias"]
            if left[n]:
                met[0] += 1
                left[n], us[n] = left[n] - 1, U["reset"]
            elif u >= U["threshold"]:
                met[1] += 1
                left[n], us[n] = int(STEPS[n]), U["reset"]
            else:
                us[n] = u
    return us, met


@pytest.mark.parametrize("fused", [True, False])
def test_against_plain_integers(fused):
    image, weights = resting(fused=fused)
    for steps in (4, 60):  # the cycle engine takes few
        x = np.random.default_rng(1).random((2, steps, 6)) < 0.6
        seen = Seen(u=(len(image.code) - (3 if fused else 4), "row"))
        run(image, x, seen=seen)
        u, met = expected(weights, x[0])
        assert seen["u"][0, -1].tolist() == u
    assert min(met) > 0, met


def test_rest_costs_a_visit_for_each_group():
    operands = {"row": 0, "parameters": 0, "groups": GROUPS, "dest": 1, "banks": (0,), "shift": 0}
    operands["subtract"] = False
    rests, plain = (FUSED[name](**operands).work(TARGET) for name in ("lif.resting", "lif"))
    assert (rests.states, plain.states) == (2, 1)
    assert (rests.read_only, rests.apart) == (0, GROUPS)
