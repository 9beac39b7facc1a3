"""What counts from a timestep on, on all engines: events, other rows of logits, a bias."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.assembler import assemble
from isa.engines import engine
from isa.errors import IsaError, Trap
from isa.format import Timesteps, decode, encode
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    ClearLogits,
    ClearValue,
    CountEvents,
    Emit,
    HoldValue,
    InputEvents,
    InputValues,
    Loop,
    Readout,
)
from isa.instructions.leaky_readout import CollectLogits
from tests.isa.machine import LANES, Seen, each_timestep, parameters, program, run

INPUTS = 3
WEIGHTS = np.arange(INPUTS * LANES).reshape(INPUTS, LANES) - 5
BIAS = 7


def counted(since, stage=0):
    """Events that are counted, and one product at the end of a sample."""
    loop = Loop(counter="steps", length=2, drain=stage)
    return program(
        ClearLogits(row=0, groups=1, mode="sum"),
        ClearValue(dest=0, size=INPUTS),
        loop,
        InputEvents(dest=0, inputs=INPUTS),
        CountEvents(counts=0, source=0, size=INPUTS, since=since, stage=stage),
        AccumulateValues(bank=1, source=0, row=0, inputs=INPUTS, groups=1),
        Readout(row=0, parameters=0, groups=1, banks=(1,), mode="sum", steps=True, since=since),
        Emit(row=0, groups=1),
        memory_a=WEIGHTS,
        parameter=parameters(LANES, bias=BIAS),
    )


def collected(since, mode="sum"):
    """Logits of each timestep in one row, and what they come to in another."""
    return program(
        ClearLogits(row=0, groups=1, mode="last"),
        ClearLogits(row=1, groups=1, mode=mode),
        *each_timestep(
            InputEvents(dest=0, inputs=INPUTS),
            AccumulateEvents(bank=0, source=0, row=0, inputs=INPUTS, groups=1),
            Readout(row=0, parameters=0, groups=1, banks=(0,), mode="last"),
            CollectLogits(row=1, source=0, groups=1, mode=mode, since=since),
        ),
        Emit(row=1, groups=1),
        spike=WEIGHTS,
        parameter=parameters(LANES, bias=BIAS),
    )


def outputs(x):
    """[samples, timesteps, lanes] of events [samples, timesteps, inputs]."""
    return x @ WEIGHTS + BIAS


SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.integers(0, 9), st.integers(1, 8))
def test_sums_take_in_what_comes_from_a_timestep_on(seed, since, steps):
    """Of a sample that ends before it they are zero."""
    x = np.random.default_rng(seed).integers(0, 2, (2, steps, INPUTS))
    expected = outputs(x)[:, since:].sum(axis=1)
    for made in (counted(since), collected(since)):
        assert (run(made, x).logits == expected).all()


@pytest.mark.parametrize("stage", [1, 2])
def test_the_timesteps_are_those_of_the_stage(stage):
    """In a later stage the first input that is counted was taken `stage` iterations before."""
    x = np.random.default_rng(1).integers(0, 2, (1, 6, INPUTS))
    found = run(counted(2, stage), x).logits
    seen = np.concatenate([x, np.repeat(x[:, -1:], stage, axis=1)], axis=1)
    assert (found == outputs(seen[:, 2 + stage : 6 + stage]).sum(axis=1)).all()


def test_largest_from_a_timestep_on():
    x = np.random.default_rng(2).integers(0, 2, (2, 6, INPUTS))
    assert (run(collected(4, "max"), x).logits == outputs(x)[:, 4:].max(axis=1)).all()


def test_before_it_an_instruction_takes_its_issue_slot_alone():
    x = np.ones((1, 6, INPUTS), int)
    early, late = run(counted(0), x).counts, run(counted(4), x).counts
    assert early.instructions == late.instructions
    assert late.operations["readout"] == early.operations["readout"] - 4 * INPUTS


def test_a_stream_answers_at_every_timestep():
    x = np.random.default_rng(3).integers(0, 2, (1, 6, INPUTS))
    for made in (counted(3), collected(3)):
        stream = engine(made).stream(INPUTS)
        for step in range(6):
            stream.feed(x[0, step : step + 1])
            assert (stream.logits == outputs(x)[0, 3 : step + 1].sum(axis=0)).all()


def held(*before):
    """Values that are held every three timesteps from timestep 2 on."""
    return program(
        ClearLogits(row=0, groups=1, mode="last"),
        *before,
        *each_timestep(
            InputValues(dest=0, inputs=INPUTS),
            HoldValue(dest=1, source=0, size=INPUTS, every=3, since=2),
        ),
        Emit(row=0, groups=1),
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_values_are_held_from_a_timestep_on(steps):
    x = np.random.default_rng(4).integers(-9, 9, (2, steps, INPUTS))
    made = held(ClearValue(dest=1, size=INPUTS))
    (pc,) = (pc for pc, op in enumerate(made.code) if isinstance(op, HoldValue))
    run(made, x, seen=(seen := Seen(copy=(pc, "dest"))))
    copied = [k - (k - 2) % 3 for k in range(steps)]
    expected = np.stack([x[:, k] if k >= 2 else 0 * x[:, 0] for k in copied], axis=1)
    assert (seen["copy"] == expected).all()


def test_rows_that_nothing_was_written_to_are_watched():
    x = np.ones((2, 2, INPUTS), int)
    made = program(
        ClearLogits(row=0, groups=1, mode="last"),
        *each_timestep(
            InputEvents(dest=0, inputs=INPUTS),
            CollectLogits(row=1, source=0, groups=1, mode="sum", since=5),
        ),
        Emit(row=0, groups=1),
    )
    (pc,) = (pc for pc, op in enumerate(made.code) if isinstance(op, CollectLogits))
    run(made, x, seen=(seen := Seen(row=(pc, "row"))))
    assert seen["row"].shape == (2, 2, 0)


def test_what_nothing_was_written_to_is_watched():
    """It has no elements, on all engines; once it has some, one array does not hold all."""
    x = np.ones((2, 2, INPUTS), int)
    made = held()
    (pc,) = (pc for pc, op in enumerate(made.code) if isinstance(op, HoldValue))
    run(made, x, seen=(seen := Seen(copy=(pc, "dest"))))
    assert seen["copy"].shape == (2, 2, 0)
    for name in ("fast", "reference", "cycle"):
        with pytest.raises(IsaError, match="is longer at one time than at another"):
            engine(made, name).run(np.ones((1, 3, INPUTS), int), watched=[(pc, "dest")])


def test_outside_a_loop_over_timesteps_there_is_none():
    made = program(
        InputEvents(dest=0, inputs=1),
        ClearValue(dest=0, size=1),
        CountEvents(counts=0, source=0, size=1, since=1),
    )
    with pytest.raises(Trap, match="counts timesteps stands outside their loop"):
        run(made, np.zeros((1, 1, 1), int))


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (CountEvents(counts=1, source=2, size=3, since=4),
         "count.events    counts=v1, source=e2, size=3, since=4"),
        (HoldValue(dest=1, source=2, size=3, every=4, since=5),
         "hold.value      dest=v1, source=v2, size=3, every=4, since=5"),
        (CollectLogits(row=1, source=2, groups=3, mode="sum", since=65535),
         "collect.logits  row=1, source=2, groups=3, mode=sum, since=65535"),
    ],
)  # fmt: skip
def test_text_and_word(op, text):
    assert decode(encode(op)) == op
    assert assemble(f".target paper\n.text\n        {text}\n", "a.s").code == (op,)


def test_timesteps():
    assert (
        [*Timesteps(2, 3).among(9)] == [n for n in range(9) if Timesteps(2, 3).has(n)] == [2, 5, 8]
    )
