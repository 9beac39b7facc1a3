"""A recording tells what the engines tell: of instructions, units, ports, queues and values."""

from collections import Counter

import pytest

from isa.engines import engine
from isa.format import EVERY_ONE
from isa.work import CONTROL
from runtime.errors import RuntimeFailure
from runtime.places import chosen, left
from runtime.recording import record
from tests.three_layers import inputs, three_layers

PROGRAM = three_layers()
SAMPLE = inputs()
WHOLE = record(PROGRAM, SAMPLE, watched=left(PROGRAM))
RUN = PROGRAM.engine.run(SAMPLE[None], watched=[item.place for item in left(PROGRAM)])


def covered(recording, unit):
    """What a unit did in each cycle."""
    found = {}
    for interval in recording.doing:
        if interval.unit == unit:
            for cycle in range(interval.since, interval.until):
                assert cycle not in found
                found[cycle] = interval.doing, interval.pc
    return found


def test_instructions_and_units_do_what_the_fast_engine_says():
    trace = PROGRAM.engine.trace(SAMPLE)
    assert (WHOLE.since, WHOLE.until) == (0, trace.end)
    spans = sorted((s.issued, s.pc, s.unit, s.start, s.end) for s in trace.spans)
    assert [(r.issued, r.pc, r.unit, r.start, r.end) for r in WHOLE.ran] == spans
    for unit in WHOLE.units:
        told = {
            cycle: (interval.doing, interval.pc)
            for interval in trace.intervals
            if interval.unit == unit
            for cycle in range(interval.since, interval.until)
        }
        assert covered(WHOLE, unit) == told


def test_rows_go_through_ports_as_they_are_counted():
    rows = Counter()
    for use in WHOLE.uses:
        rows[use.memory, use.direction] += use.until - use.since
    assert rows == +RUN.counts.accesses


def test_queues_and_the_sequencer_are_those_of_the_machine():
    session = engine(PROGRAM.image, "cycle").reset(SAMPLE)
    levels = {unit: [] for unit in WHOLE.units}
    held = []
    while True:
        held.append(session.snapshot().cycle)
        if not session.step("cycle"):
            break
        for unit in WHOLE.units:
            levels[unit].append(len(session.machine.units[unit].queue))
    for unit in WHOLE.units:
        changes = dict(WHOLE.queue(unit))
        level, told = 0, []
        for cycle in range(WHOLE.until):
            level = changes.get(cycle, level)
            told.append(level)
        assert told == levels[unit], unit
    assert [i.cycle for i in WHOLE.issued] == [i.issued for i in session.instances]
    assert [i.pc for i in WHOLE.issued] == [i.pc for i in session.instances]


def test_values_are_those_of_a_run_and_complete_when_their_instruction_is():
    done = {(ran.pc, ran.done) for ran in WHOLE.ran}
    for item in left(PROGRAM):
        told = [value for value in WHOLE.values if value.left.place == item.place]
        assert told
        assert all((item.place[0], value.cycle) in done for value in told)
        seen = RUN.seen[item.place][0].tolist()
        runs = [value.data.tolist() for value in told]
        only = PROGRAM.image.code[item.place[0]].timesteps or EVERY_ONE
        assert runs == [seen[step] for step in only.among(len(seen))]


def test_producers_are_whoever_wrote_what_is_read():
    ran = {item.number: item for item in WHOLE.ran}
    works = {item.pc: PROGRAM.image.code[item.pc].work(PROGRAM.image.target) for item in WHOLE.ran}
    for item in WHOLE.ran:
        work, makers = works[item.pc], [ran[number] for number in item.producers]
        wrote = {name for m in makers for name in (*works[m.pc].writes, *works[m.pc].appends)}
        banks = {works[m.pc].bank for m in makers} - {None}
        assert set(work.reads) <= wrote
        assert set(work.consumes) == banks
        for maker in makers:  # a bank waits for operands in their turn, when it has begun
            if works[maker.pc].bank is None:
                assert maker.done <= (item.start if work.bank is None else item.end)
            assert maker.start < item.ready or works[maker.pc].bank is not None
        waited = [maker.done for maker in makers if works[maker.pc].bank is None]
        assert item.ready in (max([item.start, *waited]), item.end - 1)


def test_some_timesteps_are_a_part_of_the_whole():
    part = record(PROGRAM, SAMPLE, timesteps=range(2, 4), watched=left(PROGRAM))
    inside = [ran for ran in WHOLE.ran if ran.timestep in (2, 3)]
    assert part.since == min(ran.issued for ran in inside)
    assert part.until == max(max(ran.done + 1, ran.end) for ran in inside)
    assert {ran.number for ran in inside} <= {ran.number for ran in part.ran}
    window = range(part.since, part.until)
    for unit in part.units:
        whole = {c: what for c, what in covered(WHOLE, unit).items() if c in window}
        assert covered(part, unit) == whole
    ports = Counter((u.port, c) for u in WHOLE.uses for c in range(u.since, u.until) if c in window)
    told = Counter((u.port, c) for u in part.uses for c in range(u.since, u.until) if c in window)
    assert told == ports
    assert [i for i in WHOLE.issued if i.cycle in window] == part.issued


def test_timesteps_that_are_not_there():
    with pytest.raises(
        RuntimeFailure, match=r"^net\.elf: the sample has 7 timesteps, from 0; none"
    ):
        record(PROGRAM, SAMPLE, timesteps=range(7, 9))


def test_a_trace_that_would_be_too_long(monkeypatch):
    monkeypatch.setattr("runtime.recording.MOST", 50)
    with pytest.raises(
        RuntimeFailure, match=r"^net\.elf: a trace of more than 50 cycles; choose --"
    ):
        record(PROGRAM, SAMPLE)
    with pytest.raises(RuntimeFailure, match="a trace of more than 50 cycles"):
        record(PROGRAM, SAMPLE[:1], cycles=51)


def test_what_is_left_has_the_names_of_the_graph():
    names = {item.name: item.where for item in left(PROGRAM)}
    assert names["layer1.spikes"].startswith("e")
    assert names["layer1.u"].startswith("neuron[")
    assert {item.name for item in chosen(PROGRAM, ["layer2.*"])} >= {"layer2.u", "layer2.spikes"}
    register = names["layer1.spikes"]
    assert {item.where for item in chosen(PROGRAM, [register])} == {register}
    with pytest.raises(
        RuntimeFailure, match=r"leaves nothing called 'layer1.spike'; it leaves laye"
    ):
        chosen(PROGRAM, ["layer1.spike"])
    assert all(item.place[0] < len(PROGRAM.image.code) for item in left(PROGRAM))
    assert CONTROL not in {ran.unit for ran in WHOLE.ran}
