"""Neurons on a current that another instruction keeps: `lif.fed`, `cuba.fed`, and split."""

import numpy as np
import pytest

from isa.instructions import AccumulateEvents, ClearMembranes
from isa.instructions.neurons import ALONE, FUSED
from isa.parameters import LEAK_BITS
from tests.isa.machine import LANES, Seen, each_timestep, events, parameters, program, run

GROUPS = 2
NEURONS = GROUPS * LANES
J = {"leak": 7000, "shift": 2, "bias": 5, "reset": 3}  # the last is how far it moves
I = {"leak": 6000, "bias": -4}  # noqa: E741
U = {"threshold": 700, "reset": 40, "leak": 7360, "bias": 3, "shift": 1}


def instructions(kind, *, fused, late):
    """What keeps the current j, and neurons that take it: states and parameters in rows j, i, u."""
    i = 1 if kind != "lif.fed" else None
    at = {"j": 0, "i": GROUPS, "u": GROUPS * (2 if i else 1)}
    rows = {name: {"row": row, "parameters": row, "groups": GROUPS} for name, row in at.items()}
    keep = [FUSED["li"](**rows["j"], banks=(1,), shift=1)]
    burst = [AccumulateEvents(bank=1, source=0, row=0, inputs=3, groups=GROUPS)]
    first = rows["i" if i else "u"]
    if fused:
        take = [FUSED[kind](**rows["j"], dest=1, banks=(0,), shift=0, subtract=True)]
    else:
        where = {name: first[name] for name in ("row", "groups")}
        take = [
            ALONE["leak"](**first),
            ALONE["integrate.events"](**where, banks=(0,), shift=0),
            ALONE["integrate.values"](**first, banks=()),
        ]
        if i:
            take.append(ALONE["leak"](**rows["u"]))
            take.append(ALONE["integrate.state"](**rows["u"], source=at["i"]))
        given = {**rows["u"], "parameters": 0}
        take.append(ALONE["integrate.current"](**given, source=0))
        take.append(ALONE["fire"](**rows["u"], dest=1, subtract=True))
    taken = [AccumulateEvents(bank=0, source=0, row=0, inputs=3, groups=GROUPS), *take]
    return [*taken, *burst, *keep] if late else [*burst, *keep, *taken]


def machine(kind, *, fused, late):
    draw = np.random.default_rng(0).integers
    weights, others = draw(0, 100, (GROUPS * 3, LANES)), draw(-100, 20, (GROUPS * 3, LANES))
    of = [J, *([I] if kind == "cuba.fed" else []), U]
    image = program(
        ClearMembranes(row=0, groups=len(of) * GROUPS),
        *each_timestep(events(0, 3), *instructions(kind, fused=fused, late=late)),
        spike=weights,
        memory_a=others,
        parameter=np.concatenate([parameters(NEURONS, **one) for one in of]),
    )
    return image, weights, others


def rounded(value, shift):
    return (value + (1 << shift >> 1)) >> shift


def expected(kind, weights, others, x, *, late):
    """Membranes after the last timestep, and how often neurons fired, in Python's integers."""
    us, fired = [], 0
    for n in range(NEURONS):
        group, lane = divmod(n, LANES)
        u = i = j = 0
        for active in x.tolist():
            mine, theirs = (
                sum(int(w[group * 3 + k, lane]) for k in range(3) if active[k])
                for w in (weights, others)
            )
            taken = j
            j = rounded(j * J["leak"], LEAK_BITS) + rounded(theirs, 1) + J["bias"]
            taken = taken if late else j
            if kind == "cuba.fed":
                i = rounded(i * I["leak"], LEAK_BITS) + mine + I["bias"]
                mine = rounded(i, U["shift"])
            u = rounded(u * U["leak"], LEAK_BITS) + mine + U["bias"]
            u += rounded(taken, J["reset"])
            spike = u >= U["threshold"]
            u, fired = u - U["reset"] * spike, fired + spike
        us.append(u)
    return us, fired


@pytest.mark.parametrize("kind", ["lif.fed", "cuba.fed"])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("fused", [True, False])
def test_against_plain_integers(kind, late, fused):
    image, weights, others = machine(kind, fused=fused, late=late)
    last = next(n for n, op in enumerate(image.code) if getattr(op, "dest", None) == 1)
    for steps in (4, 40):  # the cycle engine takes few
        x = np.random.default_rng(1).random((2, steps, 3)) < 0.7
        seen = Seen(u=(last, "row"))
        run(image, x, seen=seen)
        u, fired = expected(kind, weights, others, x[0], late=late)
        assert seen["u"][0, -1].tolist() == u
    assert fired > 0
