"""What each instruction computes, against plain Python integers."""

from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.errors import Trap
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    ClearDelays,
    ClearEvents,
    ClearLogits,
    ClearMembranes,
    ClearValue,
    DelayEvents,
    DriveEvents,
    DriveValues,
    Emit,
    HoldValue,
    Lif,
    Loop,
    Readout,
    Update,
)
from isa.parameters import LEAK_BITS
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


def rounded(x: int, shift: int) -> int:
    """`x / 2**shift` to nearest, ties upward."""
    return (x + (1 << shift >> 1)) >> shift if shift >= 0 else x << -shift


def clip(x: int, bits: int) -> int:
    return max(-(1 << bits - 1), min((1 << bits - 1) - 1, x))


def by_group(matrix, lanes=LANES):
    """Rows of a weight memory: for each group of neurons, a row for each input."""
    neurons, inputs = matrix.shape
    groups = -(-neurons // lanes)
    rows = np.zeros((groups * inputs, lanes), np.int64)
    for n in range(neurons):
        for j in range(inputs):
            rows[n // lanes * inputs + j, n % lanes] = matrix[n, j]
    return rows


def whole(count):
    """Number of elements of whole groups."""
    return -(-count // LANES) * LANES


# -- events ---------------------------------------------------------------------------------------


def test_no_events():
    """Whatever the register held before, in every sample."""
    image = program(events(1, 3), ClearEvents(dest=1, size=3))
    seen = Seen(cleared=(2, "dest"))
    run(image, np.ones((2, 1, 3)), seen=seen)
    assert seen["cleared"].tolist() == [[[0, 0, 0]]] * 2


WIDE = TARGET.delay.lanes + 3  # a timestep of the ring takes two rows
seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(seeds, st.sampled_from((1, 5, WIDE)), st.integers(0, 4), st.integers(1, 3))
def test_delayed_events(seed, inputs, longest, spare):
    """Each input's events of `delay` timesteps ago, however long the ring is."""
    random = np.random.default_rng(seed)
    delays = random.integers(0, longest + 1, inputs)
    x = random.integers(0, 2, (2, 9, inputs))
    length = longest + spare
    rows = length * (2 if inputs == WIDE else 1)
    op = DelayEvents(dest=1, source=0, row=7, axons=3, inputs=inputs, length=length)
    body = each_timestep(events(0, inputs), op)
    axon = np.concatenate([[0, 0, 0], delays])[:, None]
    seen = Seen(late=(4, "dest"))
    run(program(ClearDelays(row=7, rows=rows), *body, axon=axon), x, seen=seen)
    for sample, trace in zip(x, seen["late"], strict=True):
        for k, late in enumerate(trace):
            then = [k - int(d) for d in delays]
            expected = [int(sample[t, i]) if t >= 0 else 0 for i, t in enumerate(then)]
            assert late.tolist() == expected


@pytest.mark.parametrize(
    ("rows", "axon", "cause"),
    [
        (2, [[0], [3]], "delays outside 0 .. 2, the ring's timesteps"),
        (2, [[0], [-1]], "delays outside 0 .. 2, the ring's timesteps"),
        (2, [[0]], "axon rows 0 .. 1 were read, not all are loaded"),
        (1, [[0], [1]], "ring rows 0 .. 2 were read before they were written"),
    ],
)
def test_events_that_cannot_be_delayed(rows, axon, cause):
    op = DelayEvents(dest=1, source=0, row=0, axons=0, inputs=2, length=3)
    rows = 3 if "delays" in cause or "axon" in cause else rows
    image = program(ClearDelays(row=0, rows=rows), *each_timestep(events(0, 2), op), axon=axon)
    with pytest.raises(Trap) as caught:
        run(image, np.ones((1, 2, 2)))
    assert caught.value.cause == cause


# -- slow state -----------------------------------------------------------------------------------


def drive_reference(x, weights, shift, bias):
    total = sum(int(a) * int(w) for a, w in zip(x, weights, strict=True))
    return clip(max(rounded(total, shift) + bias, 0), TARGET.values.bits)


@settings(deadline=None)
@given(seeds, st.integers(1, 9), st.integers(-12, 12), st.integers(-300, 300))
def test_scalar_drive_of_events(seed, inputs, shift, bias):
    random = np.random.default_rng(seed)
    weights = random.integers(-128, 128, inputs)
    x = random.integers(0, 2, (3, 4, inputs))
    op = DriveEvents(dest=2, source=0, row=3, inputs=inputs, shift=shift, bias=bias)
    drive = np.concatenate([[0, 0, 0], weights])[:, None]
    seen = Seen(x=(3, "dest"))
    run(program(*each_timestep(events(0, inputs), op), drive=drive), x, seen=seen)
    expected = [[[drive_reference(s, weights, shift, bias)] for s in sample] for sample in x]
    assert seen["x"].tolist() == expected


@settings(deadline=None)
@given(seeds, st.integers(1, 9), st.integers(-4, 20), st.integers(-300, 300))
def test_scalar_drive_of_values(seed, inputs, shift, bias):
    random = np.random.default_rng(seed)
    weights = random.integers(-128, 128, inputs)
    x = random.integers(-(2**15), 2**15, (3, 4, inputs))
    op = DriveValues(dest=2, source=0, row=0, inputs=inputs, shift=shift, bias=bias)
    seen = Seen(x=(3, "dest"))
    run(program(*each_timestep(values(0, inputs), op), drive=weights[:, None]), x, seen=seen)
    expected = [[[drive_reference(s, weights, shift, bias)] for s in sample] for sample in x]
    assert seen["x"].tolist() == expected


@pytest.mark.parametrize("linear", [False, True])
def test_a_vector_of_drives_moves_a_memory_each_by_a_column_of_its_own(linear):
    """The second drive adds up two sums, one of them of values; what was made before stays."""
    random = np.random.default_rng(5)
    inputs, size = 3, TARGET.update.lanes + 2
    weights = random.integers(-128, 128, (3, inputs))
    a, b = (
        random.integers(-(2**10), 2**10, (size, size)),
        random.integers(-(2**12), 2**12, (size, 2)),
    )
    shared = {"source": 0, "inputs": inputs, "shift": 2}
    body = [
        DriveValues(dest=1, row=0, bias=5, linear=linear, **shared),
        DriveValues(dest=3, row=inputs, bias=0, linear=True, **shared),
        DriveValues(
            dest=1, row=2 * inputs, bias=-7, linear=linear, offset=1, added=3, **shared
        ),
        Update(state=2, drive=1, row=0, size=size, shift=12, more=1),
    ]  # fmt: skip
    table = by_group(np.concatenate([a, b], axis=1), TARGET.update.lanes)
    x = random.integers(-(2**8), 2**8, (2, 5, inputs))
    seen = Seen(x=(6, "dest"), m=(7, "state"))
    code = each_timestep(values(0, inputs), *body)
    tables = {"drive": weights.reshape(-1, 1), "update": table}
    run(program(ClearValue(dest=2, size=size), *code, **tables), x, seen=seen)
    floor_ = -(2**15) if linear else 0
    for sample, vectors, states in zip(x, seen["x"].tolist(), seen["m"].tolist(), strict=True):
        m = [0] * size
        for s, vector, state in zip(sample, vectors, states, strict=True):
            one, added, other = (rounded(int(row @ s), 2) for row in weights)
            assert vector == [max(one + 5, floor_), max(other - 7 + added, floor_)]
            sums = a @ m + b @ vector
            m = [clip(rounded(int(total), 12), TARGET.values.bits) for total in sums]
            assert state == m


def test_a_drive_comes_right_behind_those_before_it():
    op = DriveValues(dest=1, source=0, row=0, inputs=1, shift=0, bias=0, offset=2)
    code = [ClearValue(dest=1, size=1), *each_timestep(values(0, 1), op)]
    image = program(*code, drive=np.ones((1, 1)))
    with pytest.raises(Trap, match="v1 holds 1 elements, 2 lie before the next"):
        run(image, np.ones((1, 1, 1)))


@settings(deadline=None)
@given(seeds, st.integers(1, 20), st.integers(0, 16))
def test_memory_update(seed, size, shift):
    random = np.random.default_rng(seed)
    a, b = random.integers(-(2**15), 2**15, (size, size)), random.integers(-(2**15), 2**15, size)
    table = by_group(np.concatenate([a, b[:, None]], axis=1), TARGET.update.lanes)
    body = each_timestep(values(0, 1), Update(state=1, drive=0, row=0, size=size, shift=shift))
    x = random.integers(-(2**15), 2**15, (2, 5, 1))
    seen = Seen(m=(4, "state"))
    run(program(ClearValue(dest=1, size=size), *body, update=table), x, seen=seen)
    for sample, trace in zip(x, seen["m"], strict=True):
        m = [0] * size
        for (drive,), got in zip(sample.tolist(), trace.tolist(), strict=True):
            sums = [
                sum(int(a[i, j]) * m[j] for j in range(size)) + int(b[i]) * drive
                for i in range(size)
            ]
            m = [clip(rounded(total, shift), TARGET.values.bits) for total in sums]
            assert got == m


@settings(deadline=None)
@given(seeds, st.integers(1, 9), st.integers(1, 5), st.integers(1, 12), st.integers(0, 2))
def test_a_held_value_is_that_of_the_last_timestep_that_counts(seed, size, every, steps, stage):
    """In a later stage, the timesteps are those of the stage."""
    x = np.random.default_rng(seed).integers(-(2**15), 2**15, (2, steps, size))
    hold = HoldValue(dest=1, source=0, size=size, every=every, stage=stage)
    loop = Loop(counter="steps", length=2, drain=stage)
    seen = Seen(held=(3, "dest"))
    # The hold stands behind the input, which in its iteration is `stage` timesteps ahead.
    run(program(loop, values(0, size), hold), x, seen=seen)
    expected = [
        [sample[min(k // every * every + stage, steps - 1)].tolist() for k in range(steps)]
        for sample in x
    ]
    assert seen["held"].tolist() == expected


def test_a_hold_between_its_timesteps_takes_its_issue_slot_alone():
    x = np.zeros((1, 7, 2))
    hold = HoldValue(dest=1, source=0, size=2, every=3)
    found = run(program(*each_timestep(values(0, 2), hold)), x)
    assert found.counts.busy["update"] == 3
    assert found.counts.instructions == 3 + 1 + 2 * 7  # loops, sync, halt
    assert found.counts.operations["update"] == 3 * 2


# -- neurons --------------------------------------------------------------------------------------


class Neurons:
    """Random neurons with an event and a value path, and their timestep in plain integers."""

    def __init__(self, seed, neurons, inputs, size, subtract, event_shift):
        random = np.random.default_rng(seed)
        self.count, self.subtract, self.event_shift = whole(neurons), subtract, event_shift
        self.w = random.integers(-128, 128, (self.count, inputs))
        self.p = random.integers(-128, 128, (self.count, size))
        self.columns = {
            "threshold": random.integers(-50, 3000, self.count),
            "bias": random.integers(-200, 200, self.count),
            "reset": random.integers(-100, 100, self.count),
            "leak": 32 * random.integers(0, 257, self.count),
            "shift": random.integers(-3, 12, self.count),
        }
        self.u = [0] * self.count

    def step(self, spikes, vector):
        fired = []
        for n in range(self.count):
            threshold, bias, reset, beta, shift = (int(c[n]) for c in self.columns.values())
            total = sum(int(w) for w, s in zip(self.w[n], spikes, strict=True) if s)
            slow = sum(int(p) * int(v) for p, v in zip(self.p[n], vector, strict=True))
            u = rounded(self.u[n] * beta, LEAK_BITS)
            bits = TARGET.neuron.membrane_bits
            u = clip(u + rounded(clip(total, TARGET.accumulators.bits), self.event_shift), bits)
            u = clip(u + rounded(clip(slow, TARGET.accumulators.bits), shift) + bias, bits)
            fired.append(int(u >= threshold))
            if u >= threshold:
                u = clip(u - reset, bits) if self.subtract else reset
            self.u[n] = u
        return fired


@settings(max_examples=40, deadline=None)
@given(
    seeds, st.integers(1, 9), st.integers(1, 6), st.integers(1, 5),
    st.booleans(), st.integers(-5, 4),
)  # fmt: skip
def test_lif_with_events_and_values(seed, neurons, inputs, size, subtract, event_shift):
    model = Neurons(seed, neurons, inputs, size, subtract, event_shift)
    groups = model.count // LANES
    random = np.random.default_rng(seed + 1)
    vector = random.integers(-(2**15), 2**15, size)
    x = random.integers(0, 2, (1, 6, inputs))
    # The value register is filled through an update whose coefficients are the vector itself.
    drive = DriveEvents(dest=0, source=0, row=0, inputs=inputs, shift=0, bias=1)
    update = Update(state=1, drive=0, row=0, size=size, shift=0)
    coefficients = np.concatenate([np.zeros((size, size)), vector[:, None]], axis=1)
    body = [
        events(0, inputs),
        drive,
        update,
        AccumulateEvents(bank=0, source=0, row=0, inputs=inputs, groups=groups),
        AccumulateValues(bank=1, source=1, row=2, inputs=size, groups=groups),
        Lif(
            dest=1, row=4, parameters=0, groups=groups, banks=(0, 1),
            shift=event_shift, subtract=subtract,
        ),
    ]  # fmt: skip
    image = program(
        ClearMembranes(row=4, groups=groups),
        ClearValue(dest=1, size=size),
        *each_timestep(*body),
        drive=np.zeros((inputs, 1)),
        update=by_group(coefficients.astype(np.int64), TARGET.update.lanes),
        spike=by_group(model.w),
        memory_a=np.concatenate([np.zeros((2, LANES), np.int64), by_group(model.p)]),
        parameter=parameters(model.count, **model.columns),
    )
    lif = image.code.index(body[-1])
    seen = Seen(spikes=(lif, "dest"), u=(lif, "row"))
    run(image, x, seen=seen)
    for step, spikes in enumerate(x[0]):
        assert model.step(spikes, vector) == seen["spikes"][0, step].tolist()
        assert model.u == seen["u"][0, step].tolist()


def test_bursts_of_several_banks_and_joined_instructions_add_up():
    """One row of ones a bank and instruction: the sum counts the instructions."""
    ones = np.ones((2, LANES))
    acc = [
        AccumulateEvents(bank=0, source=0, row=0, inputs=2, groups=1, join=True),
        AccumulateEvents(bank=0, source=0, row=0, inputs=2, groups=1),
        AccumulateEvents(bank=1, source=0, row=0, inputs=2, groups=1),
        AccumulateEvents(bank=2, source=0, row=0, inputs=2, groups=1),
    ]
    lif = Lif(dest=1, row=0, parameters=0, groups=1, banks=(0, 1, 2), shift=0)
    image = program(
        ClearMembranes(row=0, groups=1), *each_timestep(events(0, 2), *acc, lif),
        spike=ones, memory_a=ones, memory_b=ones, parameter=parameters(LANES, threshold=100),
    )  # fmt: skip
    seen = Seen(u=(image.code.index(lif), "row"))
    run(image, [[[1, 1]]], seen=seen)
    assert seen["u"].tolist() == [[[8] * LANES]]


def test_saturated_membranes_are_counted_by_instruction_and_cause():
    lif = Lif(dest=1, row=0, parameters=0, groups=1, banks=(0,), shift=-12)
    image = program(
        ClearMembranes(row=0, groups=1),
        *each_timestep(
            events(0, 1), AccumulateEvents(bank=0, source=0, row=0, inputs=1, groups=1), lif
        ),
        spike=[[127, -128, 1, 0]],
        parameter=parameters(LANES, threshold=32767),
    )
    found = run(image, [[[1]], [[0]]])
    assert dict(found.counts.saturations) == {(image.code.index(lif), "membrane"): 2}


# -- readout --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 9), st.integers(1, 6), st.sampled_from(("sum", "last", "max")))
def test_readout_over_time(seed, classes, inputs, mode):
    random = np.random.default_rng(seed)
    count = whole(classes)
    w = random.integers(-128, 128, (count, inputs))
    bias, shift = random.integers(-500, 500, count), random.integers(-4, 4, count)
    groups = count // LANES
    readout = Readout(row=1, parameters=0, groups=groups, banks=(0,), mode=mode)
    image = program(
        ClearLogits(row=1, groups=groups, mode=mode),
        *each_timestep(
            events(0, inputs),
            AccumulateEvents(bank=0, source=0, row=0, inputs=inputs, groups=groups),
            readout,
        ),
        Emit(row=1, groups=groups),
        spike=by_group(w),
        parameter=parameters(count, bias=bias, shift=shift),
    )
    x = random.integers(0, 2, (3, 5, inputs))
    logits = run(image, x).logits
    for sample, got in zip(x, logits.tolist(), strict=True):
        steps = [
            [
                sum(int(w[c, j]) for j in np.flatnonzero(s)) + rounded(int(bias[c]), int(shift[c]))
                for c in range(count)
            ]
            for s in sample
        ]
        combine = {"sum": sum, "last": lambda column: column[-1], "max": max}[mode]
        assert got == [combine(column) for column in zip(*steps, strict=True)]


def test_events_are_delayed_by_timesteps_alone():
    """Outside their loop there is no timestep, and nothing may be written where it would lie."""
    image = program(
        ClearEvents(dest=0, size=3),
        ClearDelays(row=0, rows=2),
        DelayEvents(dest=1, source=0, row=0, axons=0, inputs=3, length=2),
        axon=np.zeros((3, 1)),
    )
    with pytest.raises(Trap, match="counts timesteps stands outside their loop"):
        run(image, np.zeros((1, 1, 1)))


@pytest.mark.parametrize(("mode", "value"), [("sum", 0), ("last", 0), ("max", -(2**31))])
def test_logits_start_where_their_mode_starts(mode, value):
    image = program(ClearLogits(row=0, groups=2, mode=mode), Emit(row=0, groups=2))
    assert run(image, np.zeros((2, 1, 1))).logits.tolist() == [[value] * 2 * LANES] * 2


def test_emitted_logits_come_in_the_order_of_the_program():
    image = program(
        ClearLogits(row=0, groups=1, mode="sum"), ClearLogits(row=1, groups=1, mode="max"),
        Emit(row=1, groups=1), Emit(row=0, groups=1),
    )  # fmt: skip
    least = floor(-(2**31))
    assert run(image, np.zeros((1, 1, 1))).logits.tolist() == [[least] * LANES + [0] * LANES]
