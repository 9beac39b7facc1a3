"""The cycle-by-cycle machine and the burst-by-burst timing count the same of everything."""

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.random_programs import EVENTS, VALUES, first_values, hand_made
from dmpc.compiler import Options
from isa.engines import ENGINES, engine
from isa.engines.counts import Counts
from isa.engines.trace import Span
from isa.errors import Trap
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    ClearDelays,
    ClearEvents,
    ClearLogits,
    ClearMembranes,
    ClearValue,
    CountEvents,
    DelayEvents,
    DescribeKernel,
    DriveEvents,
    DriveValues,
    Emit,
    InputEvents,
    InputValues,
    Lif,
    Loop,
    MoveEvents,
    Sync,
    Update,
)
from isa.kernel import Axis, Kernel
from isa.target import load_target, target_names, target_text
from tests.isa.machine import (
    LANES,
    PAPER,
    TARGET,
    each_timestep,
    outcome,
    parameters,
    program,
)
from tests.networks import compile_network, network, networks, samples

SPOKEN = Path(__file__).parents[2] / "examples" / "spoken_digits"


def agree(image, sample):
    """All engines count the same, by cause, row and operation, and do the same in each cycle."""
    session = engine(image, "cycle").reset(sample)
    session.finish()
    told_by = {name: engine(image, name).trace(sample) for name in ("fast", "reference")}
    runs = {name: engine(image, name).run(sample[None], batch=1) for name in ("fast", "reference")}
    stepped = session.trace()
    for name in told_by:
        counts, trace = runs[name].counts, told_by[name]
        assert sorted(stepped.spans) == sorted(trace.spans)
        assert stepped.end == trace.end == counts.cycles
        assert vars(session.counts) == vars(counts), name
        assert cycle_by_cycle(stepped) == cycle_by_cycle(trace)
        # What went through ports and lanes, cycle by cycle, is what instructions asked for.
        assert +session.machine.accesses == +counts.accesses
        worked = {u.name: u.operations for u in session.machine.units.values() if u.operations}
        assert worked == dict(+counts.operations)
    assert session.snapshot().logits.tolist() == runs["fast"].logits[0].tolist()
    return Stepped(session.cycles, runs["fast"].counts, stepped.spans)


@dataclass(frozen=True)
class Stepped:
    """What all engines told of a sample."""

    cycles: int
    counts: Counts
    spans: list[Span]

    @property
    def busy(self):
        return +self.counts.busy

    @property
    def accesses(self):
        return self.counts.accesses


def cycle_by_cycle(trace):
    """What every unit did in each cycle in which it was not idle; no cycle is told twice."""
    log = defaultdict(dict)
    for interval in trace.intervals:
        for cycle in range(interval.since, interval.until):
            assert cycle not in log[interval.unit]
            log[interval.unit][cycle] = interval.doing, interval.pc
    return log


def agree_or_stop(image, sample):
    """They agree, or all of them stop, for the same reason and at the same instruction."""
    if not stopped_by(image, "fast", sample):
        agree(image, sample)
        return
    stopped = {name: str(stopped_by(image, name, sample)) for name in ENGINES}
    assert len(set(stopped.values())) == 1, stopped


def stopped_by(image, name, sample):
    """The trap that stops a sample, or None."""
    found = outcome(image, name, sample[None], (), {})
    return found if isinstance(found, Trap) else None


# -- other machines -------------------------------------------------------------------------------


def machine(name="paper", *, slots=16, queue=4, bits=64, latencies=(2, 3, 3, 3, 3, 3, 3, 2, 24)):
    """Text of a shipped target with other sizes; latencies in the order of its file."""
    text = re.sub(r"\bslots = \d+", f"slots = {slots}", target_text(name))
    text = re.sub(r"\bqueue = \d+", f"queue = {queue}", text)
    text = re.sub(r"\blanes = 64\b", f"lanes = {bits}", text)
    turns = iter(latencies)
    text = re.sub(r"\blatency = \d+", lambda _: f"latency = {next(turns)}", text)
    assert next(turns, None) is None
    return text


def sizes(bits):
    """Sizes of machines, with a ring of some row widths; a compiled program lays its out for 64."""
    return st.fixed_dictionaries(
        {
            "slots": st.sampled_from((1, 2, 4, 16)),
            "queue": st.sampled_from((1, 2, 4)),
            "bits": st.sampled_from(bits),
            "latencies": st.tuples(*[st.integers(1, 5)] * 9),
        }
    )


machines = st.builds(
    lambda name, chosen: machine(name, **chosen),
    st.sampled_from([name for name in target_names() if load_target(name).lanes == LANES]),
    sizes((1, 3, 64)),
)


def on(text, image):
    """The image on another machine."""
    return replace(image, target_text=text)


# -- compiled networks ----------------------------------------------------------------------------

switches = st.builds(
    Options,
    target=st.sampled_from(target_names()),
    **{
        name: st.booleans()
        for name in (
            "dependency_breaking",
            "fusion",
            "heterogeneous_stationarity",
            "count_readout",
            "overlap",
        )
    },
)


def compiled(shape, options):
    """An image, and samples as its program takes them."""
    options = replace(options, input_range=(-1.0, 1.0) if shape.graded else None)
    x = samples(shape)
    x = np.rint(x * 1000).astype(np.int64) if shape.graded else x.astype(np.int64)
    return compile_network(network(shape), options=options).image, x


@settings(max_examples=25, deadline=None)
@given(networks(), switches)
def test_compiled_networks(shape, options):
    image, x = compiled(shape, options)
    agree(image, x[0])
    agree(image, x[-1])


@settings(max_examples=30, deadline=None)
@given(networks(), switches, sizes((64,)))
def test_compiled_networks_on_other_machines(shape, options, chosen):
    image, x = compiled(shape, options)
    agree_or_stop(on(machine(options.target, **chosen), image), x[0])


@pytest.mark.parametrize("target", target_names())
def test_spoken_digits(target):
    with np.load(SPOKEN / "train.npz") as train, np.load(SPOKEN / "test.npz") as test:
        calibration, x = train["x"][:20], test["x"][:3, :8].astype(np.int64)
    options = Options(target=target)
    image = compile_network(SPOKEN / "model.onnx", calibration=calibration, options=options).image
    for sample in x:
        stepped = agree(image, sample)
        assert stepped.cycles > 60 * len(sample)
        assert len(stepped.busy) == 8  # every unit and bank has something to do


# -- hand-made programs ---------------------------------------------------------------------------

loops = st.builds(Loop, counter=st.just("immediate"), value=st.integers(1, 3), length=st.just(0))
loops |= st.builds(Loop, counter=st.just("steps"), drain=st.integers(0, 2), length=st.just(0))


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 25), loops, machines)
def test_hand_made_programs(random, length, loop, text):
    agree_or_stop(on(text, hand_made(random, length, loop)), np.zeros((3, 1), np.int64))


# -- one rule each --------------------------------------------------------------------------------

TABLES = {
    "spike": np.ones((64, LANES)),
    "memory_b": np.ones((64, LANES)),
    "parameter": parameters(12 * LANES, threshold=1),
}
NO_INPUT = np.zeros((1, 1), np.int64)


def sums(bank=0, groups=1, source=0, inputs=EVENTS, **operands):
    return AccumulateEvents(
        bank=bank, source=source, row=0, inputs=inputs, groups=groups, **operands
    )


def neurons(banks=(), row=0, groups=1, dest=0):
    return Lif(dest=dest, row=row, parameters=0, groups=groups, banks=banks, shift=0)


def stepped(*body, text=PAPER):
    """Spans of the random part's instructions: start and end by position in `body`."""
    image = on(text, program(*first_values(), *body, **TABLES))
    found = agree(image, NO_INPUT)
    first = 1 + len(first_values())
    return {s.pc - first: (s.start, s.end) for s in found.spans if s.pc >= first}


def starts(spans):
    return [start for start, _ in (spans[at] for at in sorted(spans))]


def test_a_row_in_the_pipeline_is_read_when_it_is_written_back():
    same, other = stepped(neurons(), neurons()), stepped(neurons(), neurons(row=1))
    assert np.diff(starts(same)).tolist() == [4]  # read, two cycles of work, write; then read
    assert np.diff(starts(other)).tolist() == [2]


@pytest.mark.parametrize("latency", range(1, 6))
def test_reads_never_wait_for_writes_of_their_own_instruction(latency):
    """Six rows, two cycles each: writes alternate with reads, or wait in a register for it."""
    text = machine(latencies=(2, 3, 3, latency, 3, 3, 3, 2, 24))
    ((start, end),) = stepped(neurons(groups=6), text=text).values()
    assert end - start == 12


@pytest.mark.parametrize(("latency", "cycles"), [(2, 0), (3, 1), (4, 0)])
def test_after_a_gap_a_read_waits_for_a_write_with_an_odd_latency_alone(latency, cycles):
    """Sums come every three cycles, or every one: a read then falls on an earlier row's write."""
    text = machine(latencies=(2, 3, 3, latency, 3, 3, 3, 2, 24))
    waits = []
    for inputs in (3, 1):
        body = (sums(groups=2, inputs=inputs, scan=True), neurons((0,), groups=2))
        found = agree(on(text, program(*first_values(), *body, **TABLES)), NO_INPUT)
        waits.append(found.counts.stalls["neuron", "port"])
    assert waits[0] - waits[1] == cycles


@pytest.mark.parametrize("slots", [1, 2, 16])
def test_slots_let_a_bank_run_ahead_of_its_consumer(slots):
    """The neuron unit is kept from the sums by a long clear."""
    hold = ClearMembranes(row=0, groups=12)
    spans = stepped(hold, sums(groups=6), neurons((0,), groups=6), text=machine(slots=slots))
    ahead = spans[1][1] <= spans[2][0]
    assert ahead == (slots == 16)


def test_a_value_is_not_replaced_before_it_is_written():
    """Three values of e0 from two units: the third waits for the first, which nobody reads."""
    body = (neurons(groups=6), MoveEvents(dest=0, source=1, size=4))
    spans = stepped(*body, MoveEvents(dest=0, source=2, size=4))
    assert spans[2][0] > spans[0][1]


def test_a_sync_may_stand_between_a_burst_and_its_consumer_if_there_are_slots():
    spans = stepped(sums(groups=4), Sync(), neurons((0,), groups=4), text=machine(slots=4))
    assert spans[2][0] > spans[0][1]


def test_rows_that_spill_and_rows_that_do_not_make_one_burst():
    spill = AccumulateValues(
        bank=2, source=1, row=0, inputs=VALUES, groups=3, spill=True, join=True
    )
    again = replace(spill, source=2)
    scan = sums(bank=2, groups=3, scan=True)
    image = program(*first_values(), spill, again, scan, neurons((2,), groups=3), **TABLES)
    found = agree(image, NO_INPUT)
    assert found.accesses["partial", "writes"] == 2 * 3 * VALUES
    assert found.accesses["partial", "reads"] == 2 * 3 * VALUES + 3
    assert found.busy["memory_b"] == 2 * (2 * 3 * VALUES) + 3 * (EVENTS + 1)


JOINED = [sums(join=True) for _ in range(4)]
FREE = "deadlock: e0 is written while a burst that reads it cannot end"
DEADLOCKS = {
    "burst": ((*JOINED, sums(), neurons((0,))), "deadlock: a burst on spike is longer than the"),
    "sync": (
        (sums(groups=3), Sync(), neurons((0,), groups=3)),
        "deadlock: sync waits for spike, whose burst waits for a consumer",
    ),
    "page": ((sums(groups=3), neurons(), neurons(), neurons((0,), groups=3)), FREE),
    "page of an open burst": ((sums(join=True), neurons(), neurons(), sums(), neurons((0,))), FREE),
}


@pytest.mark.parametrize("name", DEADLOCKS)
def test_what_never_comes_traps(name):
    body, cause = DEADLOCKS[name]
    image = on(machine(slots=2), program(*first_values(), *body, **TABLES))
    agree_or_stop(image, NO_INPUT)
    with pytest.raises(Trap) as caught:
        engine(image).run(NO_INPUT[None])
    assert caught.value.cause.startswith(cause)
    assert caught.value.pc > len(first_values())
    assert caught.value.cycle is not None


def test_a_burst_as_long_as_the_queue_runs():
    assert stepped(*JOINED[1:], sums(), neurons((0,)))


TABLE = [  # the table of the page; samples of 7 inputs, of which 3 are active
    (InputEvents(dest=0, inputs=7), 3 + 1),
    (InputValues(dest=0, inputs=7), 7 + 1),
    (ClearEvents(dest=1, size=7), 1),
    (MoveEvents(dest=1, source=0, size=7), 1),
    (DelayEvents(dest=0, source=0, row=0, axons=0, inputs=7, length=2), 3 + 1 + 2),
    (ClearDelays(row=0, rows=5), 5),
    (DriveEvents(dest=0, source=0, row=0, inputs=7, shift=0, bias=0), 3),
    (DriveEvents(dest=0, source=0, row=0, inputs=0, shift=0, bias=0), 1),
    (DriveValues(dest=0, source=1, row=0, inputs=7, shift=0, bias=0), 7),
    (DriveValues(dest=0, source=1, row=0, inputs=0, shift=0, bias=0), 1),
    (Update(state=1, drive=0, row=0, size=17, shift=0), 2 * 18),
    (ClearValue(dest=0, size=7), 1),
    (ClearMembranes(row=0, groups=5), 5),
    (ClearLogits(row=0, groups=5, mode="sum"), 5),
    (CountEvents(counts=1, source=0, size=7), 3),
    (CountEvents(counts=1, source=0, size=0), 1),
    (Emit(row=0, groups=5), 4 * 5),
]


@pytest.mark.parametrize(("op", "cycles"), TABLE, ids=[op.mnemonic for op, _ in TABLE])
def test_units_take_the_cycles_that_the_page_says(op, cycles):
    work = op.work(TARGET)
    active = 0 if work.active is None else min(3, work.active.size)
    assert max(work.cycles.of(active, 0, 0), work.at_least) == cycles


# -- groups of kernels, looked at ahead ------------------------------------------------------------

GRID = Kernel(Axis(5, 3, 1, 1), Axis(5, 3, 1, 1), 2, 5, 2)
GROUPS = 5 * 5 * 2  # more than are in flight


def seen_by(groups, **operands):
    return sums(1, groups, inputs=GRID.inputs, kernel=0, **operands)


BURSTS = {
    "events of a kernel": (seen_by(GROUPS),),
    "of two": (seen_by(GROUPS - 9, start=9, join=True), seen_by(GROUPS - 9)),
    "with values": (
        AccumulateValues(bank=1, source=0, row=0, inputs=2, groups=GROUPS, join=True),
        seen_by(GROUPS),
    ),
    "with all inputs": (sums(1, GROUPS, inputs=5, join=True), seen_by(GROUPS)),
}


@pytest.mark.parametrize("slots", [1, 16])
@pytest.mark.parametrize("name", BURSTS)
def test_groups_of_kernels(name, slots):
    """Whatever a group sees, and whatever shares the slots: a burst without a kernel follows."""
    groups = BURSTS[name][0].groups
    image = program(
        DescribeKernel.of(0, GRID),
        ClearMembranes(row=0, groups=GROUPS),
        ClearValue(dest=0, size=2),
        *each_timestep(
            InputEvents(dest=0, inputs=GRID.inputs),
            *BURSTS[name],
            neurons((1,), groups=groups, dest=8),
            sums(1, 2, inputs=3),
            neurons((1,), groups=2, dest=8),
        ),
        memory_a=np.random.default_rng(0).integers(-3, 4, (400, LANES)),
        parameter=parameters(GROUPS * LANES, threshold=1),
    )
    x = (np.random.default_rng(slots).random((2, GRID.inputs)) < 0.06).astype(np.int64)
    assert agree(on(machine(slots=slots), image), x).busy["memory_a"] > 2 * GROUPS // 2


def test_groups_that_see_nothing_take_no_cycle_beside_rows():
    """A corner is seen by groups 0 .. 3 and 10 .. 13, two rows each.

    The last row of group 3 is read in cycle 7. Group 10 is looked at in cycle 11, and its first row
    read then, the last of group 13 in cycle 18. Group 19 is looked at in cycle 20.
    """
    image = program(
        DescribeKernel.of(0, GRID),
        ClearMembranes(row=0, groups=20),
        *each_timestep(
            InputEvents(dest=0, inputs=GRID.inputs),
            seen_by(20),
            neurons((1,), groups=20, dest=8),
        ),
        memory_a=np.ones((40, LANES)),
        parameter=parameters(20 * LANES),
    )
    x = np.zeros((1, GRID.inputs), np.int64)
    x[0, [0, 1]] = 1
    counts = agree(image, x).counts
    assert counts.accesses["memory_a", "reads"] == 16
    assert counts.busy["memory_a"] == 16 + 3 + 2
