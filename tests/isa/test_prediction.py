"""Cycles for given activity: the compiled engine's, held to those of the reference and of runs."""

from random import Random

import numpy as np
import pytest

from benchmarks.random_programs import hand_made
from isa.engines import engine
from isa.engines.playback import spiking
from isa.engines.program import Prepared
from isa.errors import IsaError, Trap
from isa.instructions import AccumulateEvents, ClearMembranes, Fire, Lif, Loop
from isa.prediction import by_reference, predict_cycles
from tests.isa.machine import LANES, each_timestep, events, parameters, program
from tests.isa.test_fuzz import base


def activity(image, x):
    """Cycles of a run, and the events that every instruction of it left."""
    works = Prepared(image).works
    places = [
        (pc, "dest") for pc, op in enumerate(image.code) if spiking(op, works[pc]) is not None
    ]
    run = engine(image).run(x, watched=places)
    return run.cycles, {pc: seen for (pc, _), seen in run.seen.items()}


def layer(*more, groups=2, inputs=5):
    random = np.random.default_rng(0)
    memories = {
        "spike": random.integers(-9, 30, (groups * inputs, LANES)),
        "parameter": parameters(groups * LANES, threshold=[20] * (groups * LANES)),
    }
    acc = AccumulateEvents(bank=0, source=0, row=0, inputs=inputs, groups=groups)
    lif = Lif(dest=1, row=0, parameters=0, groups=groups, shift=0, banks=(0,))
    body = each_timestep(events(0, inputs), acc, lif, *more)
    image = program(ClearMembranes(row=0, groups=groups), *body, **memories)
    return image, random.integers(0, 2, (20, 7, inputs))


@pytest.mark.parametrize("samples", [1, 3, 16, 20])
def test_given_activity_takes_the_cycles_of_the_run(samples):
    image, x = layer()
    cycles, spikes = activity(image, x[:samples])
    assert spikes
    assert any(series.any() for series in spikes.values())
    assert predict_cycles(image, x[:samples], spikes).tolist() == cycles.tolist()
    assert by_reference(Prepared(image), x[:samples], spikes).tolist() == cycles.tolist()


@pytest.mark.parametrize("number", range(6))
def test_of_networks_too(number):
    image, x = base(number)
    cycles, spikes = activity(image, x)
    given = np.asarray(x, np.int64)
    assert predict_cycles(image, given, spikes).tolist() == cycles.tolist()
    assert by_reference(Prepared(image), given, spikes).tolist() == cycles.tolist()


def test_of_programs_of_any_kind_too():
    ran = 0
    for seed in range(25):
        image = hand_made(Random(seed), 12, Loop(counter="steps", length=0, drain=2))
        x = np.zeros((2, 3, 1), np.int64)
        try:
            cycles, spikes = activity(image, x)
        except IsaError:
            continue
        ran += bool(spikes)
        assert predict_cycles(image, x, spikes).tolist() == cycles.tolist()
    assert ran


def test_activity_that_is_missing_or_too_short_is_told():
    image, x = layer()
    _, spikes = activity(image, x)
    (pc,) = spikes
    assert isinstance(image.code[pc], Lif | Fire)
    with pytest.raises(IsaError, match=f"pc {pc}: no activity is given for lif"):
        predict_cycles(image, x, {})
    with pytest.raises(IsaError, match=f"pc {pc}: activity is given for 3 runs of lif"):
        predict_cycles(image, x, {pc: spikes[pc][:, :3]})


def test_a_program_that_never_ends_says_why():
    image, x = layer(AccumulateEvents(bank=1, source=0, row=0, inputs=5, groups=2))
    pc = next(pc for pc, op in enumerate(image.code) if isinstance(op, Lif))
    with pytest.raises(Trap, match="deadlock: e0 is written while"):
        predict_cycles(image, x, {pc: np.zeros((20, 7, 8), np.int64)})
