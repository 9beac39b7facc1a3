"""The cycle-by-cycle machine and the burst-by-burst timing count the same of everything."""

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmpc.compiler import Options
from dmpc.compiler import compile as compile_network
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
    DriveEvents,
    DriveValues,
    Emit,
    Fire,
    HoldValue,
    InputEvents,
    InputValues,
    IntegrateEvents,
    IntegrateValues,
    Leak,
    Lif,
    Loop,
    MoveEvents,
    Readout,
    Sync,
    Update,
)
from isa.target import target_names, target_text
from tests.isa.machine import LANES, PAPER, TARGET, outcome, parameters, program
from tests.networks import network, networks, samples

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
    stopped = {name: str(stopped_by(image, name, sample)) for name in ENGINES}
    assert len(set(stopped.values())) == 1, stopped
    if not stopped_by(image, "fast", sample):
        agree(image, sample)


def stopped_by(image, name, sample):
    """The trap that stops a sample, or None."""
    found = outcome(image, name, sample[None], (), {})
    return found if isinstance(found, Trap) else None


# -- other machines -------------------------------------------------------------------------------


def machine(name="paper", *, slots=16, queue=4, bits=64, latencies=(2, 3, 3, 3, 3, 3, 3, 2)):
    """Text of a shipped target with other sizes; latencies in the order of its file."""
    text = re.sub(r"\bslots = \d+", f"slots = {slots}", target_text(name))
    text = re.sub(r"\bqueue = \d+", f"queue = {queue}", text)
    text = re.sub(r"\blanes = 64\b", f"lanes = {bits}", text)
    turns = iter(latencies)
    text = re.sub(r"\blatency = \d+", lambda _: f"latency = {next(turns)}", text)
    assert next(turns, None) is None
    return text


def machines_with(bits):
    """Machines with a ring of some row widths; a compiled program lays its rows out for 64."""
    return st.builds(
        machine,
        st.sampled_from(target_names()),
        slots=st.sampled_from((1, 2, 4, 16)),
        queue=st.sampled_from((1, 2, 4)),
        bits=st.sampled_from(bits),
        latencies=st.tuples(*[st.integers(1, 5)] * 8),
    )


machines = machines_with((1, 3, 64))


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


@settings(max_examples=60, deadline=None)
@given(networks(), switches)
def test_compiled_networks(shape, options):
    image, x = compiled(shape, options)
    agree(image, x[0])
    agree(image, x[-1])


@settings(max_examples=60, deadline=None)
@given(networks(), switches, machines_with((64,)))
def test_compiled_networks_on_other_machines(shape, options, text):
    image, x = compiled(shape, options)
    agree_or_stop(on(text, image), x[0])


@pytest.mark.parametrize("target", target_names())
def test_spoken_digits(target):
    with np.load(SPOKEN / "train.npz") as train, np.load(SPOKEN / "test.npz") as test:
        calibration, x = train["x"][:20], test["x"][:3, :8].astype(np.int64)
    options = Options(target=target)
    image = compile_network(SPOKEN / "model.onnx", calibration=calibration, options=options).image
    for sample in x:
        stepped = agree(image, sample)
        assert stepped.cycles > 1000
        assert len(stepped.busy) == 8  # every unit and bank has something to do


# -- hand-made programs ---------------------------------------------------------------------------

ROWS, EVENTS, VALUES, REGISTERS, LONGEST = 12, 4, 8, 4, 3
"""Rows of state memories, elements of event and of value registers, registers of each kind, delay.

v0 holds a scalar drive, v1 and v2 memory states, v3 counts.
"""


class Author:
    """Writes a random program that no rule of the instruction set forbids."""

    def __init__(self, random, staged):
        self.random, self.staged = random, staged
        self.bursts = {}  # bank: groups, stage, whether closed
        self.body = []

    def write(self, length):
        """The body of a loop; every burst that it begins finds its consumer."""
        acts = [self.accumulate] * 4 + [self.consume] * 3 + [self.other] * 4
        for _ in range(length):
            self.random.choice(acts)()
        while self.bursts:
            self.close()
            self.consume()
        return self.body

    def add(self, op, stage=None):
        if stage is None:
            stage = self.random.randrange(3) if self.staged else 0
        self.body.append(replace(op, stage=stage))

    def number(self, low, high):
        return self.random.randint(low, high)

    def place(self, groups=None):
        """Rows of a state memory."""
        groups = self.number(1, 6) if groups is None else groups
        return {"row": self.number(0, ROWS - groups), "groups": groups}

    def accumulate(self, bank=None, last=False):
        """A new burst, or one more instruction of an open one."""
        able = [b for b in range(3) if b not in self.bursts or not self.bursts[b][2]]
        if bank is None and not able:
            return
        bank = self.random.choice(able) if bank is None else bank
        groups, stage, _ = self.bursts.get(
            bank, (self.number(1, 6), self.number(0, 2) if self.staged else 0, False)
        )
        join = not last and self.number(0, 2) == 0
        share = self.random.choice((16, 16, 7, 2))
        common = {"bank": bank, "groups": groups, "join": join, "share": share, "row": 0}
        common["first"] = self.number(0, 15)
        flag = self.number(0, 2) == 0
        if bank and self.number(0, 1):
            source, size = self.random.choice(((0, 1), (1, VALUES), (2, VALUES), (3, EVENTS)))
            inputs = self.number(0, size)
            self.add(AccumulateValues(source=source, inputs=inputs, spill=flag, **common), stage)
        else:
            source, inputs = self.number(0, REGISTERS - 1), self.number(0, EVENTS)
            self.add(AccumulateEvents(source=source, inputs=inputs, scan=flag, **common), stage)
        self.bursts[bank] = (groups, stage, not join)

    def close(self):
        for bank, (_, _, closed) in list(self.bursts.items()):
            if not closed:
                self.accumulate(bank, last=True)

    def consume(self):
        """Group work that takes the sums of one bank or of several that have the same groups."""
        ready = [bank for bank, (_, _, closed) in self.bursts.items() if closed]
        if not ready:
            return
        chosen = self.bursts[self.random.choice(ready)]
        alike = [bank for bank in ready if self.bursts[bank] == chosen]
        banks = tuple(sorted(self.random.sample(alike, self.number(1, len(alike)))))
        for bank in banks:
            del self.bursts[bank]
        self.group_work(chosen[0], banks, chosen[1])

    def group_work(self, groups=None, banks=(), stage=None):
        place, neurons = self.place(groups), {"parameters": 0}
        ops = [
            Lif(dest=self.number(0, 3), banks=banks, shift=0, **neurons, **place),
            Readout(banks=banks, mode="sum", **neurons, **place),
            IntegrateEvents(banks=banks, shift=0, **place),
            IntegrateValues(banks=banks, **neurons, **place),
        ]
        if not banks:
            ops += [Leak(**neurons, **place), Fire(dest=self.number(0, 3), **neurons, **place)]
        self.add(self.random.choice(ops), stage)

    def other(self):
        source, dest = self.number(0, 3), self.number(0, 3)
        drive = {"dest": 0, "row": 0, "shift": 0, "bias": 5}
        size = self.number(0, VALUES)
        held = {"dest": self.number(1, 2), "source": self.number(1, 2)}
        makers = [
            lambda: self.group_work(),
            lambda: self.group_work(),
            lambda: self.add(ClearEvents(dest=dest, size=EVENTS)),
            lambda: self.add(MoveEvents(dest=dest, source=source, size=EVENTS)),
            lambda: self.add(DriveEvents(source=source, inputs=self.number(0, EVENTS), **drive)),
            lambda: self.add(DriveValues(source=1, inputs=size, **drive)),
            lambda: self.add(
                Update(state=self.number(1, 2), drive=0, row=0, size=VALUES, shift=15)
            ),
            lambda: self.add(ClearValue(dest=self.number(1, 3), size=VALUES)),
            lambda: (
                self.staged and self.add(HoldValue(every=self.number(1, 3), size=VALUES, **held))
            ),
            lambda: (
                self.staged
                and self.add(
                    DelayEvents(
                        dest=dest,
                        source=source,
                        row=self.number(0, 2),
                        axons=self.number(0, 2),
                        inputs=EVENTS,
                        length=self.number(LONGEST + 1, 5),
                    )
                )
            ),
            lambda: self.add(ClearDelays(row=0, rows=self.number(1, ROWS))),
            lambda: self.add(CountEvents(counts=3, source=source, size=EVENTS)),
            lambda: self.add(ClearMembranes(**self.place())),
            lambda: self.add(ClearLogits(mode="sum", **self.place())),
            lambda: self.add(Emit(**self.place())),
            lambda: self.number(0, 3) or self.add(Sync(), 0),
        ]
        self.random.choice(makers)()


def first_values():
    """Every row and register is written before the random part reads it."""
    whole = {"row": 0, "groups": ROWS}
    return (
        ClearMembranes(**whole),
        ClearLogits(mode="sum", **whole),
        ClearDelays(row=0, rows=2 + 5 * EVENTS),
        ClearValue(dest=0, size=1),
        *(ClearValue(dest=number, size=VALUES) for number in range(1, REGISTERS)),
        *(
            Lif(dest=number, row=number, parameters=number, groups=1, banks=(), shift=0)
            for number in range(REGISTERS)
        ),
    )


def hand_made(random, length, loop):
    """A whole program; the loop says what its body runs in."""
    author = Author(random, staged=loop.counter == "steps")
    body = author.write(length)
    draw = np.random.default_rng(random.randrange(1 << 32)).integers
    count = ROWS * LANES
    loop = replace(loop, length=len(body))
    return program(
        *first_values(),
        *((loop, *body) if body else ()),
        spike=draw(-20, 20, (96, LANES)),
        memory_a=draw(-20, 20, (96, LANES)),
        memory_b=draw(-20, 20, (96, LANES)),
        drive=draw(-20, 20, (VALUES, 1)),
        update=draw(-9999, 9999, (VALUES + 1, 16)),
        axon=draw(0, LONGEST + 1, (2 + EVENTS, 1)),
        parameter=parameters(
            count, threshold=draw(-5, 30, count), bias=draw(-5, 15, count), leak=200 * 32
        ),
    )


loops = st.builds(Loop, counter=st.just("immediate"), value=st.integers(1, 3), length=st.just(0))
loops |= st.builds(Loop, counter=st.just("steps"), drain=st.integers(0, 2), length=st.just(0))


@settings(max_examples=300, deadline=None)
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


@pytest.mark.parametrize(("latency", "cycles"), [(1, 12), (2, 17), (3, 12), (4, 14), (5, 12)])
def test_an_even_latency_makes_reads_wait_for_writes(latency, cycles):
    """Six rows: two cycles each, and one more wherever a write falls on the next read."""
    text = machine(latencies=(2, 3, 3, latency, 3, 3, 3, 2))
    ((start, end),) = stepped(neurons(groups=6), text=text).values()
    assert end - start == cycles


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
