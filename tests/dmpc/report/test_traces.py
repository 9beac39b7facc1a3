"""Files of traces, read back as others read them, tell what was recorded."""

import sys
from collections import Counter, defaultdict
from itertools import pairwise

import pylibfst
import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent
from pylibfst import ffi, lib
from vcd.reader import TokenKind, tokenize

from dmpc.errors import DmpcError
from dmpc.report.fst import fst_bytes
from dmpc.report.perfetto import trace_bytes
from dmpc.report.signals import Clock, signals
from dmpc.report.waves import vcd_text
from runtime.places import left
from runtime.recording import record
from tests.three_layers import inputs, three_layers

PROGRAM = three_layers()
IMAGE = PROGRAM.image
RECORDINGS = [(n, record(PROGRAM, inputs(n), watched=left(PROGRAM))) for n in (0, 2)]
CYCLES = [recording.until for _, recording in RECORDINGS]
PERIOD = 5000  # picoseconds at 200 MHz


# -- value change dumps ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    """Changes of every signal by its name, the time scale, and the last time."""
    path = tmp_path_factory.mktemp("dump") / "a.vcd"
    path.write_text(vcd_text(signals(RECORDINGS, IMAGE), "told"))
    names, found, scope, scale, time = {}, defaultdict(list), [], None, 0
    with path.open("rb") as file:
        for token in tokenize(file):
            match token.kind:
                case TokenKind.TIMESCALE:
                    scale = str(token.timescale)
                case TokenKind.SCOPE:
                    scope.append(token.scope.ident)
                case TokenKind.UPSCOPE:
                    scope.pop()
                case TokenKind.VAR:
                    names[token.var.id_code] = ".".join([*scope, token.var.reference])
                case TokenKind.CHANGE_TIME:
                    time = token.time_change
                case TokenKind.CHANGE_SCALAR | TokenKind.CHANGE_VECTOR | TokenKind.CHANGE_STRING:
                    change = token.data
                    found[names[change.id_code]].append((time, change.value))
    return found, scale, time


def by_cycle(changes):
    """What a signal shows in each cycle of all samples."""
    shown, now, turn = [], None, 0
    for cycle in range(sum(CYCLES)):
        while turn < len(changes) and changes[turn][0] <= cycle * PERIOD:
            now = changes[turn][1]
            turn += 1
        shown.append(now)
    return shown


def test_the_clock_is_the_targets(dump):
    found, scale, end = dump
    assert (scale, end) == ("1 ps", sum(CYCLES) * PERIOD)
    edges = [time for time, value in found["dmpc.clock"] if str(value) == "1"]
    assert edges == [cycle * PERIOD for cycle in range(sum(CYCLES))]
    assert [(Clock.of(f).unit, Clock.of(f).at(2)) for f in (100, 400, 300, 0.001)] == [
        ("ns", 10), ("ps", 2500), ("fs", 3333333), ("ns", 1000000)
    ]  # fmt: skip


def test_units_are_busy_and_wait_as_they_are_counted(dump):
    found, _, _ = dump
    counts = PROGRAM.engine.run(inputs(0)[None]).counts
    counts.add(PROGRAM.engine.run(inputs(2)[None]).counts)
    for unit in RECORDINGS[0][1].units:
        scope = f"dmpc.units.{unit}"
        busy = [str(bit) for bit in by_cycle(found[f"{scope}.busy"])]
        assert busy.count("1") == counts.busy[unit]
        waits = Counter(by_cycle(found[f"{scope}.stall"]))
        waits.pop("", None)
        assert waits == {c: n for (u, c), n in counts.stalls.items() if u == unit and n}
        assert {"0", "1"} == set(busy)
    reads = sum(str(bit) == "1" for bit in by_cycle(found["dmpc.ports.neuron.read"]))
    assert reads == counts.accesses["neuron", "reads"]


def test_the_sequencer_and_queues_show_what_was_recorded(dump):
    found, _, _ = dump
    pcs, samples = by_cycle(found["dmpc.sequencer.pc"]), by_cycle(found["dmpc.sample"])
    steps = by_cycle(found["dmpc.sequencer.timestep"])
    queue = by_cycle(found["dmpc.units.neuron.queue"])
    start = 0
    for number, recording in RECORDINGS:
        for item in recording.issued:
            assert pcs[start + item.cycle] == item.pc
            assert steps[start + item.cycle] == ("x" if item.iteration is None else item.iteration)
        assert all(queue[start + cycle] == level for cycle, level in recording.queue("neuron"))
        assert set(samples[start : start + recording.until]) == {number}
        start += recording.until


def test_values_show_when_they_are_complete(dump):
    found, _, _ = dump
    start = 0
    for _, recording in RECORDINGS:
        last = {(v.left.name, v.cycle): v for v in recording.values}
        for (name, cycle), value in last.items():
            at = start + cycle
            if name == "layer1.spikes":
                bits = sum(bit << n for n, bit in enumerate(value.data.tolist()))
                assert by_cycle(found["dmpc.values.layer1_spikes"])[at] == bits
            elif name == "layer2.u":
                shown = by_cycle(found["dmpc.values.layer2_u.3"])[at]
                assert shown == value.data[3] % (1 << value.left.bits)
        start += recording.until


# -- Perfetto -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracks():
    """Tracks by number, and their events in order."""
    trace = Trace.FromString(trace_bytes(RECORDINGS, IMAGE))
    assert trace_bytes(RECORDINGS, IMAGE) == trace.SerializeToString()
    described, events = {}, defaultdict(list)
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            described[packet.track_descriptor.uuid] = packet.track_descriptor
        else:
            assert packet.trusted_packet_sequence_id
            events[packet.track_event.track_uuid].append((packet.timestamp, packet.track_event))
    assert set(events) <= set(described)
    return described, events


def slices(events):
    """(since, until, event, depth) of a track; every end ends what began last."""
    open_, found = [], []
    for time, event in events:
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            open_.append((time, event))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            since, began = open_.pop()
            assert since < time
            found.append((since, time, began, len(open_)))
    assert not open_
    times = [time for time, _ in events]
    assert times == sorted(times)
    return found


def named(tracks, sample):
    """Events of a sample's tracks by name."""
    described, events = tracks
    (root,) = (t for t in described.values() if t.name.startswith(f"sample {sample} "))
    assert "1 ns shown is 1 cycle, 5 ns at 200 MHz" in root.name
    return {t.name: events[t.uuid] for t in described.values() if t.parent_uuid == root.uuid}


def test_every_instruction_is_a_slice_of_its_unit(tracks):
    for number, recording in RECORDINGS:
        found = named(tracks, number)
        for unit in recording.units:
            work = [s for s in slices(found[unit]) if "stall" not in s[2].categories]
            ran = [r for r in recording.ran if r.unit == unit]
            assert sorted(s[:2] for s in work) == sorted((r.ready, r.end) for r in ran)
            notes = {n.name: n for n in work[0][2].debug_annotations}
            assert IMAGE.code[notes["pc"].int_value].mnemonic in notes["instruction"].string_value
            assert {"layer", "nodes", "pathway", "issued in cycle"} <= notes.keys()
            stalls = Counter()
            for since, until, event, _ in slices(found[unit]):
                if "stall" in event.categories:
                    stalls[event.name.removeprefix("waits: ")] += until - since
            counts = PROGRAM.engine.run(inputs(number)[None]).counts
            assert stalls == {c: n for (u, c), n in counts.stalls.items() if u == unit and n}


def test_arrows_lead_from_who_makes_to_who_takes(tracks):
    for number, recording in RECORDINGS:
        found = named(tracks, number)
        made, taken = Counter(), Counter()
        for unit in recording.units:
            for since, _, event, _ in slices(found[unit]):
                made.update({(flow, since) for flow in event.flow_ids})
                taken.update({(flow, since) for flow in event.terminating_flow_ids})
        start, end = dict(made.keys()), dict(taken.keys())
        assert start.keys() == end.keys()
        assert len(made) == len(start) == sum(len(ran.producers) for ran in recording.ran)
        assert all(start[flow] <= end[flow] for flow in start)


def test_counters_count_events_and_queues(tracks):
    for number, recording in RECORDINGS:
        found = named(tracks, number)
        told = [(t, e.counter_value) for t, e in found["queue: neuron"]]
        assert told[1:] == recording.queue("neuron")
        spikes = [
            (v.cycle, v.data.sum()) for v in recording.values if v.left.name == "layer1.spikes"
        ]
        assert [(t, e.counter_value) for t, e in found["events: layer1.spikes"]] == spikes
        steps = [(since, until) for since, until, _, _ in slices(found["timesteps"])]
        assert all(until == since for (_, until), (since, _) in pairwise(steps))
        rows = sum(until - since for since, until, _, _ in slices(found["port: neuron"]))
        uses = [use for use in recording.uses if use.port == "neuron"]
        assert rows == sum(use.until - use.since for use in uses)


# -- Fast Signal Traces ---------------------------------------------------------------------------


def test_a_fast_signal_trace_says_what_the_dump_says(dump, tmp_path):
    found, _, end = dump
    content = fst_bytes(signals(RECORDINGS, IMAGE), "told", "a.fst")
    assert content == fst_bytes(signals(RECORDINGS, IMAGE), "told", "a.fst")
    (tmp_path / "a.fst").write_bytes(content)
    reader = lib.fstReaderOpen(str(tmp_path / "a.fst").encode())
    assert (lib.fstReaderGetTimescale(reader), lib.fstReaderGetEndTime(reader)) == (-12, end)
    _, there = pylibfst.get_scopes_signals2(reader)
    assert found.keys() <= there.by_name.keys()
    told = defaultdict(list)

    def changed(_, time, handle, value, size=None):
        text = ffi.string(value) if size is None else ffi.buffer(value, size)[:]
        told[handle].append((time, text.decode()))

    lib.fstReaderSetFacProcessMaskAll(reader)
    pylibfst.fstReaderIterBlocks2(reader, changed, changed, None)
    for name in ("dmpc.clock", "dmpc.sequencer.pc", "dmpc.units.neuron.stall"):
        signal = there.by_name[name]
        text = signal.length == 0 or name.endswith("stall")
        got = [(t, v if text else number(v)) for t, v in told[signal.handle]]
        wanted = [(t, v if text else number(v)) for t, v in found[name]]
        assert steps(got) == steps(wanted), name
    lib.fstReaderClose(reader)


def number(shown):
    """A number, from bits or as it is; None of what is not known."""
    text = shown if isinstance(shown, str) else format(shown, "b")
    return None if "x" in text.lower() else int(text, 2)


def steps(changes):
    """Changes without those that change nothing, and without what was at the beginning unknown."""
    last = dict(changes)
    kept, now = [], object()
    for time in sorted(last):
        if last[time] != now and not (not kept and last[time] in (None, "")):
            kept.append((time, last[time]))
        now = last[time]
    return kept


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pylibfst", None)
    with pytest.raises(DmpcError, match=r"^a\.fst: writing \.fst needs pylibfst \(pip install pyl"):
        fst_bytes(signals(RECORDINGS, IMAGE), "told", "a.fst")
