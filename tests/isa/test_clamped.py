"""Membranes with a floor and a ceiling, `lif.clamped`: fused and stage by stage, on all engines."""

from dataclasses import replace

import numpy as np
import pytest

from isa.instructions import AccumulateEvents, ClearMembranes
from isa.instructions.neurons import ALONE, FUSED
from isa.parameters import LEAK_BITS
from tests.isa.machine import LANES, TARGET, Seen, each_timestep, events, parameters, program, run

GROUPS = 2
NEURONS = GROUPS * LANES
U = {"threshold": 300, "reset": 280, "leak": 7360, "bias": -40}
FLOORS = np.arange(NEURONS) * 30 - 150
CEILINGS = np.arange(NEURONS) * 60 + 250


def stages(subtract):
    u = {"row": 0, "groups": GROUPS}
    yield ALONE["leak"](**u, parameters=0)
    yield ALONE["integrate.events"](**u, banks=(0,), shift=0)
    yield ALONE["integrate.values"](**u, parameters=0, banks=())
    yield ALONE["clamp"](**u, parameters=GROUPS)
    yield ALONE["fire"](**u, parameters=0, dest=1, subtract=subtract)


def clamped(*, subtract, fused):
    weights = np.random.default_rng(0).integers(-128, 128, (GROUPS * 6, LANES))
    one = FUSED["lif.clamped"](
        row=0, parameters=0, groups=GROUPS, dest=1, banks=(0,), shift=0, subtract=subtract
    )
    limits = parameters(NEURONS, reset=FLOORS, threshold=CEILINGS)
    return program(
        ClearMembranes(row=0, groups=GROUPS),
        *each_timestep(
            events(0, 6),
            AccumulateEvents(bank=0, source=0, row=0, inputs=6, groups=GROUPS),
            *([one] if fused else stages(subtract)),
        ),
        spike=weights,
        parameter=np.concatenate([parameters(NEURONS, **U), limits]),
    ), weights


def expected(weights, x, *, subtract):
    """Membranes after the last timestep in Python's integers; how often each limit was met."""
    us, met = [0] * NEURONS, [0, 0, 0]
    for timestep in x.tolist():
        for n in range(NEURONS):
            group, lane = divmod(n, LANES)
            u = (us[n] * U["leak"] + (1 << LEAK_BITS >> 1)) >> LEAK_BITS
            u += sum(int(weights[group * 6 + i, lane]) for i in range(6) if timestep[i]) + U["bias"]
            met[0] += u < FLOORS[n]
            met[1] += u > CEILINGS[n]
            u = min(max(u, int(FLOORS[n])), int(CEILINGS[n]))
            if u >= U["threshold"]:
                met[2] += 1
                u = u - U["reset"] if subtract else U["reset"]
            us[n] = u
    return us, met


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("fused", [True, False])
def test_against_plain_integers(subtract, fused):
    image, weights = clamped(subtract=subtract, fused=fused)
    for steps in (4, 40):  # the cycle engine takes few
        x = np.random.default_rng(1).random((2, steps, 6)) < 0.5
        seen = Seen(u=(len(image.code) - 3, "row"))
        run(image, x, seen=seen)
        u, met = expected(weights, x[0], subtract=subtract)
        assert seen["u"][0, -1].tolist() == u
    assert min(met) > 0, met


def test_limits_cost_a_row_of_parameters_and_no_cycle():
    operands = {"row": 0, "parameters": 0, "groups": GROUPS, "dest": 1, "banks": (0,), "shift": 0}
    operands["subtract"] = True
    limited, plain = (FUSED[name](**operands).work(TARGET) for name in ("lif.clamped", "lif"))
    rows = "parameter", "reads"
    assert (limited.accesses[rows].fixed, plain.accesses[rows].fixed) == (2 * GROUPS, GROUPS)
    assert replace(limited, accesses=plain.accesses) == plain
