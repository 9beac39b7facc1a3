"""Other dataflows give the same bits: scans, spilled sums, neurons step by step, stages."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.engines import engine
from isa.errors import Trap
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    ClearLogits,
    ClearMembranes,
    ClearValue,
    CountEvents,
    Emit,
    Fire,
    IntegrateEvents,
    IntegrateValues,
    Leak,
    Lif,
    Loop,
    MoveEvents,
    Readout,
)
from tests.isa.machine import (
    LANES,
    TARGET,
    Seen,
    each_timestep,
    events,
    parameters,
    program,
    run,
    values,
)

seeds = st.integers(0, 2**32 - 1)


class Layer:
    """Random weights, parameters and inputs of neurons that saturate now and then."""

    def __init__(self, seed, inputs, groups):
        random = np.random.default_rng(seed)
        self.inputs, self.groups, count = inputs, groups, groups * LANES
        self.memories = {
            "spike": random.integers(-128, 128, (groups * inputs, LANES)),
            "memory_a": random.integers(-128, 128, (groups * inputs, LANES)),
            "parameter": parameters(
                count,
                threshold=random.integers(-50, 5000, count),
                bias=random.integers(-300, 300, count),
                reset=random.integers(-100, 100, count),
                leak=32 * random.integers(0, 257, count),
                shift=random.integers(-2, 12, count),
            ),
        }
        self.binary = random.integers(0, 2, (2, 6, inputs))
        self.graded = random.integers(-(2**15), 2**15, (2, 6, inputs))

    def run(self, x, take, *body):
        """What `body` leaves behind each timestep: spikes (e1) and membranes; and the counts."""
        image = program(
            ClearMembranes(row=0, groups=self.groups),
            *each_timestep(take(0, self.inputs), *body),
            **self.memories,
        )
        return left_by(image, x)

    def events(self, **changed):
        given = {"bank": 0, "source": 0, "row": 0, "inputs": self.inputs, "groups": self.groups}
        return AccumulateEvents(**given | changed)

    def values(self, **changed):
        given = {"bank": 1, "source": 0, "row": 0, "inputs": self.inputs, "groups": self.groups}
        return AccumulateValues(**given | changed)

    def lif(self, *banks, **changed):
        given = {"dest": 1, "row": 0, "parameters": 0, "groups": self.groups, "shift": -2}
        return Lif(banks=banks, **given | changed)


def left_by(image, x):
    """Spikes and membranes that every `lif` or `fire` left behind, timestep by timestep; counts."""
    pcs = [pc for pc, op in enumerate(image.code) if isinstance(op, Lif | Fire)]
    seen = Seen(**{f"{operand}{pc}": (pc, operand) for pc in pcs for operand in ("dest", "row")})
    found = run(image, x, seen=seen)
    left = [
        (seen[f"dest{pc}"][:, step].tolist(), seen[f"row{pc}"][:, step].tolist())
        for step in range(np.shape(x)[1])
        for pc in pcs
    ]
    return left, found.counts


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 20), st.integers(1, 5), st.integers(0, 15), st.integers(1, 16))
def test_a_scan_reads_every_row_of_its_share_and_adds_the_same(seed, inputs, groups, first, share):
    layer = Layer(seed, inputs, groups)
    layer.memories["spike"] = np.resize(layer.memories["spike"], (groups * 32, LANES))
    acc = layer.events(first=first, share=share)
    scan = dataclasses.replace(acc, scan=True)
    plain, _ = layer.run(layer.binary, events, acc, layer.lif(0))
    scanned, counts = layer.run(layer.binary, events, scan, layer.lif(0))
    every, all_on = layer.run(np.ones_like(layer.binary), events, acc, layer.lif(0))
    assert scanned == plain
    assert len(every) == 6
    assert counts.accesses["spike", "reads"] == all_on.accesses["spike", "reads"]


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 20), st.integers(1, 5))
def test_spilled_sums_are_the_same_sums(seed, inputs, groups):
    layer = Layer(seed, inputs, groups)
    kept, before = layer.run(layer.graded, values, layer.values(), layer.lif(1))
    spilled, after = layer.run(layer.graded, values, layer.values(spill=True), layer.lif(1))
    assert spilled == kept
    rows = layer.graded.size * groups
    handed = layer.graded.size // inputs * groups
    assert before.accesses["partial", "reads"] == before.accesses["partial", "writes"] == 0
    assert after.accesses["partial", "writes"] == after.accesses["memory_a", "reads"] == rows
    assert after.accesses["partial", "reads"] == rows + handed


def test_more_groups_than_the_spill_memory_holds_trap():
    groups = TARGET.accumulators.spill_rows + 1
    layer = Layer(0, 1, groups)
    with pytest.raises(Trap, match=f"{groups} groups spill to {groups - 1} rows"):
        layer.run(layer.graded, values, layer.values(spill=True), layer.lif(1))


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_neurons_step_by_step_are_the_neurons_of_lif(seed, inputs, groups, subtract):
    """Events into one bank, counts of them into another, so that both integrations matter."""
    layer = Layer(seed, inputs, groups)
    count = CountEvents(counts=1, source=0, size=inputs)
    acc = (layer.events(), layer.values(source=1))
    place = {"row": 0, "groups": groups}
    unfused = (
        Leak(parameters=0, **place),
        IntegrateEvents(banks=(0,), shift=-2, **place),
        IntegrateValues(parameters=0, banks=(1,), **place),
        Fire(dest=1, parameters=0, subtract=subtract, **place),
    )

    def left(*neurons):
        image = program(
            ClearMembranes(**place), ClearValue(dest=1, size=inputs),
            *each_timestep(events(0, inputs), count, *acc, *neurons), **layer.memories,
        )  # fmt: skip
        return left_by(image, layer.binary)

    fused, once = left(layer.lif(0, 1, subtract=subtract))
    stepwise, again = left(*unfused)
    assert stepwise == fused
    assert sum(once.saturations.values()) == sum(again.saturations.values())
    updates = layer.binary.size // inputs * groups
    assert once.accesses["neuron", "reads"] == updates
    assert again.accesses["neuron", "reads"] == 4 * updates


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 6), st.integers(1, 9))
def test_counts_and_copies_of_events(seed, steps, size):
    x = np.random.default_rng(seed).integers(0, 2, (3, steps, size))
    image = program(
        ClearValue(dest=2, size=size),
        *each_timestep(
            events(0, size),
            CountEvents(counts=2, source=0, size=size),
            MoveEvents(dest=3, source=0, size=size),
        ),
    )
    seen = Seen(counts=(4, "counts"), copy=(5, "dest"))
    run(image, x, seen=seen)
    assert seen["counts"].tolist() == x.cumsum(1).tolist()
    assert seen["copy"].tolist() == x.tolist()


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_bias_for_every_timestep(steps):
    readout = Readout(row=0, parameters=0, groups=1, banks=(), mode="sum", steps=True)
    image = program(
        ClearLogits(row=0, groups=1, mode="sum"), readout, Emit(row=0, groups=1),
        parameter=parameters(LANES, bias=[1, -2, 300, 0]),
    )  # fmt: skip
    logits = run(image, np.zeros((1, steps, 1))).logits
    assert logits.tolist() == [[steps, -2 * steps, 300 * steps, 0]]


# -- stages ---------------------------------------------------------------------------------------


def iterations(steps, drain, *body, before=()):
    """Program counter and iteration of the loop over timesteps of all that ran in the body."""
    loop = Loop(counter="steps", length=len(body), drain=drain)
    image = program(*before, loop, *body)
    first = len(before) + 2
    session, ran = engine(image, "reference").reset(np.zeros((steps, 1), np.int64)), []
    sequencer = session.batch.core.sequencer
    while not sequencer.halted:
        pc, frames = sequencer.pc, sequencer.frames
        inside = pc >= first and frames and frames[-1].steps is not None
        if inside and sequencer.enabled(image.code[pc]):
            ran.append((pc - first, frames[-1].iteration))
        session.step()
    return ran, run(image, np.zeros((1, steps, 1)))


def clear(stage):
    return ClearMembranes(row=stage, groups=1, stage=stage)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("drain", [0, 1, 3])
def test_stages_run_from_their_iteration_on_once_for_each_timestep(steps, drain):
    ran, found = iterations(steps, drain, clear(0), clear(1), clear(3))
    expected = [
        (pc, iteration)
        for iteration in range(steps + drain)
        for pc, stage in enumerate((0, 1, 3))
        if stage <= iteration < stage + steps
    ]
    assert ran == expected
    assert found.counts.accesses["neuron", "writes"] == len(expected)
    assert found.counts.instructions == 4 + 3 * (steps + drain)  # loops, sync, halt; skipped, too


def test_a_drained_loop_lets_the_last_stage_see_the_last_timestep():
    x = np.random.default_rng(0).integers(0, 2, (2, 5, 4))
    move = MoveEvents(dest=1, source=0, size=4, stage=1)
    body = (move, events(0, 4))
    image = program(Loop(counter="steps", length=2, drain=1), *body)
    seen = Seen(late=(2, "dest"))
    run(image, x, seen=seen)
    assert seen["late"].tolist() == x.tolist()


@pytest.mark.parametrize(
    "body",
    [
        (clear(1),),
        (Loop(counter="immediate", value=2, length=1), clear(1)),
        (*each_timestep(Loop(counter="immediate", value=2, length=1), clear(2)),),
    ],
    ids=["no loop", "counted loop", "counted loop inside"],
)
def test_a_stage_outside_a_loop_over_timesteps_traps(body):
    with pytest.raises(Trap, match=r"stage [12] outside a loop over timesteps") as caught:
        run(program(*body), [[[0]]])
    assert caught.value.pc == len(body)
