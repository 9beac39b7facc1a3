"""The simulator: batches, counts, observation, and which programs it takes."""

import numpy as np
import pytest

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
from isa.simulator import Simulator
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
    run(IMAGE, X, observe=spikes)
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


def test_progress_tells_finished_samples():
    seen = []
    run(IMAGE, X, batch=4, progress=seen.append)
    assert seen == [4, 4, 3]


def test_an_observer_sees_every_instruction_in_program_order():
    seen = []
    run(IMAGE, X[:1], observe=lambda pc, op, _: seen.append((pc, op)))
    assert all(IMAGE.code[pc] == op for pc, op in seen)
    head, body, tail = [0, 1, 2, 3], [4, 5, 6, 7, 8], [9, 10, 11]
    assert [pc for pc, _ in seen] == [*head, *body * X.shape[1], *tail]


def test_what_the_observer_keeps_does_not_change_later():
    seen = Seen(u=(6, "row"))
    run(IMAGE, X, observe=seen)
    again = Seen(u=(6, "row"))
    run(IMAGE, X[:, :3], observe=again)
    assert (seen["u"][:, :3] == again["u"]).all()


def test_spans_are_those_of_the_run():
    simulator = Simulator(IMAGE)
    spans = simulator.trace(X[0]).spans
    assert max(int(span.end[0]) for span in spans) <= int(run(IMAGE, X[:1]).cycles[0])
    units = {type(IMAGE.code[span.pc]).__name__: span.unit for span in spans}
    assert units["Lif"] == "neuron"
    assert units["Emit"] == "readout"
    assert all((span.issued < span.start).all() for span in spans)
    assert all((span.start < span.end).all() for span in spans)


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, 0, 1), (2, 3), (1, 1, 1, 1)])
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(IsaError) as caught:
        run(IMAGE, np.zeros(shape))
    assert str(caught.value) == f"inputs must be [samples, timesteps, inputs], not {list(shape)}"


TAKE = InputEvents(dest=0, inputs=1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ((), "pc 0: the program must begin with the loop over samples"),
        ((TAKE, Sync(), Halt()), "pc 0: the program must begin with the loop over samples"),
        (
            (Loop(counter="steps", length=2), TAKE, Sync(), Halt()),
            "pc 0: the program must begin with the loop over samples",
        ),
        (
            (Loop(counter="samples", length=1), Sync(), TAKE, Halt()),
            "pc 0: the loop over samples must reach up to the last word, halt",
        ),
        (
            (Loop(counter="samples", length=2), TAKE, Sync()),
            "pc 0: the loop over samples must reach up to the last word, halt",
        ),
        (
            (Loop(counter="samples", length=1), TAKE, Halt()),
            "pc 1: the loop over samples must end with sync",
        ),
    ],
)
def test_programs_of_another_shape_are_refused_before_they_run(code, message):
    with pytest.raises(IsaError) as caught:
        Simulator(Image(PAPER, code))
    assert str(caught.value) == message


def test_a_trap_in_one_sample_stops_the_run():
    x = X.copy()
    x[7, 3, 2] = 2
    with pytest.raises(Trap) as caught:
        run(IMAGE, x, batch=2)
    assert (caught.value.cause, caught.value.pc) == ("input outside 0 .. 1 in timestep 3", 4)
