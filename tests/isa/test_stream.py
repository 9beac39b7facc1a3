"""Streams of programs of any shape on the fast engine: what they tell, and traps."""

from random import Random

import numpy as np
import pytest

from benchmarks.random_programs import hand_made
from isa.engines import engine
from isa.engines.stream import Stream
from isa.errors import IsaError, Trap
from isa.image import Image
from isa.instructions import ClearLogits, Emit, Halt, InputValues, Loop, Readout
from tests.isa.machine import (
    LANES,
    PAPER,
    each_timestep,
    events,
    outcome,
    parameters,
    program,
    values,
)


def fed(stream, x):
    """Logits after further timesteps."""
    stream.feed(x)
    return stream.logits.tolist()


def agree(image, x, places=()):
    """A stream of a program, timestep by timestep, beside runs; the trap that they meet, if any."""
    stream = engine(image).stream(x.shape[1], places)
    for at in range(1, len(x) + 1):
        run = outcome(image, "fast", x[None, :at], places, {})
        if isinstance(run, Trap):
            with pytest.raises(Trap) as caught:
                fed(stream, x[at - 1 : at])
            assert str(caught.value) == str(run)
            return str(run)
        assert fed(stream, x[at - 1 : at]) == run.logits[0].tolist()
        assert (stream.cycles, stream.counts) == (run.cycles[0], run.counts)
        for place in places:
            new, all_ = stream.seen(place), run.seen[place][0]
            assert new.tolist() == all_[len(all_) - len(new) :].tolist()
    return None


@pytest.mark.parametrize("seed", range(25))
def test_hand_made_programs(seed):
    loop = Loop(counter="steps", length=0, drain=seed % 3)
    image = hand_made(Random(seed), 25, loop)
    places = [(pc, "dest") for pc, op in enumerate(image.code) if op.mnemonic in ("lif", "fire")]
    agree(image, np.zeros((4, 1), np.int64), places)


def logits(*body, steps=False):
    """A program that reads nothing but its bias into the logits, beside `body`."""
    return program(
        ClearLogits(row=0, groups=1, mode="sum"),
        *body,
        Readout(row=0, parameters=0, groups=1, banks=(), mode="sum", steps=steps),
        Emit(row=0, groups=1),
        parameter=parameters(LANES, bias=[1, 2, 3, 4]),
    )


STEPS = np.arange(12).reshape(4, 3)


def test_inputs_that_are_taken_late_or_together():
    """In a later stage, twice an iteration, or before the loop: the stream keeps what waits."""
    late = Loop(counter="steps", length=1, drain=2), InputValues(dest=0, inputs=3, stage=2)
    assert agree(logits(*late), STEPS) is None
    first = logits(values(0, 3))
    assert agree(first, STEPS) is None
    message = agree(logits(*each_timestep(values(0, 3), values(1, 3))), STEPS)
    assert "the input stream ended after 1 timesteps" in message
    twice = logits(Loop(counter="immediate", value=3, length=1), values(0, 3))
    stream = engine(twice).stream(3)
    with pytest.raises(Trap, match="the input stream ended after 1 timesteps") as caught:
        fed(stream, STEPS[:1])
    with pytest.raises(Trap, match=f"^{caught.value}$"):
        stream.feed(STEPS[1:])


def test_a_program_that_asks_how_long_the_sample_is():
    """Within its loop the answer is worked out anew each time; after it, it is known at the end."""
    inside = Readout(row=0, parameters=0, groups=1, banks=(), mode="sum", steps=True)
    assert agree(logits(*each_timestep(values(0, 3), inside)), STEPS) is None
    assert agree(logits(*each_timestep(values(0, 3)), steps=True), STEPS) is None


def test_loops_within_and_after_each_other():
    within = Loop(counter="immediate", value=2, length=2), *each_timestep(values(0, 3))
    assert "the input stream ended" in agree(logits(*within), STEPS)
    empty = *each_timestep(values(0, 3)), *each_timestep(ClearLogits(row=0, groups=1, mode="sum"))
    assert agree(logits(*empty), STEPS) is None
    nested = each_timestep(
        values(0, 3), Loop(counter="immediate", value=3, length=1), Emit(row=0, groups=1)
    )
    assert agree(logits(*nested), STEPS) is None
    counting = each_timestep(*each_timestep(ClearLogits(row=0, groups=1, mode="sum")))
    assert agree(logits(*counting), STEPS) is None


def test_a_program_that_needs_no_input():
    assert agree(Image(PAPER, (Halt(),)), STEPS) is None
    assert agree(logits(), STEPS) is None


def test_inputs_out_of_range_trap_where_they_stand():
    image = logits(*each_timestep(events(0, 3)))
    for value in (2, -1, 300, -(1 << 40)):
        x = np.zeros((3, 3), np.int64)
        x[2, 1] = value
        assert "input outside 0 .. 1 in timestep 2" in agree(image, x)


def test_inputs_of_another_width():
    assert "the program takes 3 inputs, the stream has 2" in agree(
        logits(*each_timestep(events(0, 3))), np.zeros((2, 2), np.int64)
    )
    with pytest.raises(IsaError, match=r"^\[3\] are no timesteps of 3 inputs"):
        Stream(engine(logits()).prepared, 3).feed(np.zeros(3, np.int64))
