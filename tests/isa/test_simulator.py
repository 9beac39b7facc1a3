"""The simulator: batches, counts, observation, and which programs it takes."""

import numpy as np
import pytest

from isa.engines import engine
from isa.errors import IsaError, Trap
from isa.image import Image
from isa.instructions import (
    AccumulateEvents,
    ClearLogits,
    ClearMembranes,
    Emit,
    Halt,
    InputEvents,
    Lif,
    Loop,
    Readout,
    Sync,
)
from tests.isa.machine import LANES, PAPER, Seen, each_timestep, events, parameters, program, run

INPUTS, GROUPS = 5, 3
RANDOM = np.random.default_rng(3)


def network():
    """A layer of neurons and a readout of its spikes."""
    neurons = GROUPS * LANES
    weights = RANDOM.integers(-20, 60, (GROUPS * INPUTS, LANES))
    out = RANDOM.integers(-60, 60, (neurons, LANES))
    return program(
        ClearMembranes(row=0, groups=GROUPS),
        ClearLogits(row=0, groups=1, mode="sum"),
        *each_timestep(
            events(0, INPUTS),
            AccumulateEvents(bank=0, source=0, row=0, inputs=INPUTS, groups=GROUPS),
            Lif(dest=1, row=0, parameters=0, groups=GROUPS, banks=(0,), shift=0),
            AccumulateEvents(bank=0, source=1, row=len(weights), inputs=neurons, groups=1),
            Readout(row=0, parameters=GROUPS, groups=1, banks=(0,), mode="sum"),
        ),
        Emit(row=0, groups=1),
        spike=np.concatenate([weights, out]),
        parameter=np.concatenate(
            [parameters(neurons, threshold=60, leak=200 * 32), parameters(LANES, bias=3)]
        ),
    )


IMAGE = network()
X = (np.random.default_rng(4).random((11, 7, INPUTS)) < 0.4).astype(np.int64)


def comparable(found):
    return found.logits.tolist(), found.cycles.tolist(), found.counts


@pytest.mark.parametrize("batch", [1, 2, 4, 11, 256])
def test_the_batch_changes_nothing(batch):
    assert comparable(run(IMAGE, X, batch=batch)) == comparable(run(IMAGE, X))


def test_samples_do_not_depend_on_their_order():
    found, turned = run(IMAGE, X), run(IMAGE, X[::-1])
    assert turned.logits.tolist() == found.logits[::-1].tolist()
    assert turned.cycles.tolist() == found.cycles[::-1].tolist()


def test_counts_are_those_of_the_work_done():
    counts = run(IMAGE, X).counts
    samples, steps = X.shape[:2]
    spikes = Seen(spikes=(6, "dest"))
    run(IMAGE, X, seen=spikes)
    active = int(X.sum())
    fired = int(spikes["spikes"].sum())
    assert fired > 0
    assert counts.accesses["spike", "reads"] == active * GROUPS + fired
    assert counts.accesses["neuron", "reads"] == samples * steps * GROUPS
    assert counts.accesses["neuron", "writes"] == samples * (steps + 1) * GROUPS
    assert counts.accesses["parameter", "reads"] == samples * steps * (GROUPS + 1)
    assert counts.accesses["readout", "reads"] == samples * (steps + 1)
    assert counts.operations["event"] == active
    assert counts.operations["spike"] == (active * GROUPS + fired) * LANES
    assert counts.operations["neuron"] == samples * steps * GROUPS * LANES
    body = 5
    assert counts.instructions == samples * (steps * body + 5) + 2 * samples
    assert counts.cycles == int(run(IMAGE, X).cycles.sum())


@pytest.mark.parametrize(("name", "told"), [("fast", [4, 4, 3]), ("reference", [2, 2, 2, 2, 2, 1])])
def test_progress_tells_finished_samples(name, told):
    seen = []
    engine(IMAGE, name).run(X, batch=4, progress=seen.append)
    assert seen == told


def test_what_was_seen_does_not_change_later():
    seen = Seen(u=(6, "row"))
    run(IMAGE, X, seen=seen)
    again = Seen(u=(6, "row"))
    run(IMAGE, X[:, :3], seen=again)
    assert (seen["u"][:, :3] == again["u"]).all()


def test_spans_are_those_of_the_run():
    spans = engine(IMAGE).trace(X[0]).spans
    assert max(span.end for span in spans) <= int(run(IMAGE, X[:1]).cycles[0])
    units = {type(IMAGE.code[span.pc]).__name__: span.unit for span in spans}
    assert units["Lif"] == "neuron"
    assert units["Emit"] == "readout"
    assert all(span.issued < span.start < span.end for span in spans)


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, 0, 1), (2, 3), (1, 1, 1, 1)])
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(IsaError) as caught:
        run(IMAGE, np.zeros(shape))
    assert str(caught.value) == f"inputs must be [samples, timesteps, inputs], not {list(shape)}"


TAKE = InputEvents(dest=0, inputs=INPUTS)
STEPS = Loop(counter="steps", length=1)
SHAPES = {
    "no loop over samples": (STEPS, TAKE, Sync(), Halt()),
    "no sync": (Loop(counter="samples", length=2), STEPS, TAKE, Halt()),
    "work around the loop over samples": (
        ClearMembranes(row=0, groups=2), Loop(counter="samples", length=2), STEPS, TAKE,
        ClearMembranes(row=2, groups=3), Halt(),
    ),
    "halt in the middle": (Loop(counter="samples", length=3), STEPS, TAKE, Halt(), TAKE, Halt()),
    "two loops over timesteps": (
        Loop(counter="immediate", value=3, length=1), TAKE,
        Loop(counter="immediate", value=4, length=2), Loop(counter="immediate", value=1, length=1),
        TAKE, Halt(),
    ),
    "nothing": (Halt(),),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_programs_of_any_shape_run(name):
    """On all engines alike; each sample is one run of the whole program."""
    found = run(Image(PAPER, SHAPES[name]), X[:2])
    taken = 0 if name == "nothing" else int(X[:2].sum())
    assert found.counts.operations["event"] == taken


def test_a_program_that_never_halts_runs_past_its_end():
    with pytest.raises(Trap, match="the program ran past its end"):
        run(Image(PAPER, (STEPS, TAKE)), X)


@pytest.mark.parametrize("op", [Loop(counter="steps", length=1, stage=1), Sync(stage=2)])
def test_control_belongs_to_all_stages(op):
    with pytest.raises(IsaError, match=f"pc 0: {op.mnemonic} belongs to all stages"):
        engine(Image(PAPER, (op, TAKE, Halt())))


def test_a_trap_in_one_sample_stops_the_run():
    x = X.copy()
    x[7, 3, 2] = 2
    with pytest.raises(Trap) as caught:
        run(IMAGE, x, batch=2)
    assert (caught.value.cause, caught.value.pc) == ("input outside 0 .. 1 in timestep 3", 4)
