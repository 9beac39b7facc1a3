"""Recordings as Perfetto traces, in Perfetto's own protocol buffers.

Their time is nanoseconds, a machine's is cycles: a nanosecond stands for a cycle, and the tracks
of every sample say so. Cycles are those of the sample, so samples can be compared.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from isa.disassembler import assembly
from isa.image import Image
from isa.interface import provenance
from runtime.recording import Ran, Recording

if TYPE_CHECKING:
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket

SEQUENCE = 1  # every packet is of one writer
Slice = tuple[int, int, str, "dict[str, Any]"]
"""Cycles `since` .. `until` - 1, a name, and the rest of a TrackEvent."""


def trace_bytes(recordings: Sequence[tuple[int, Recording]], image: Image) -> bytes:
    """A trace of samples by number: a group of tracks each, with a track per unit and memory port.

    An instruction's slice is its work; arrows go to whoever reads what it made. The same recordings
    give the same bytes.
    """
    from perfetto.trace_builder.proto_builder import TraceProtoBuilder

    builder = TraceProtoBuilder()
    for number, recording in recordings:
        _Sample(builder.add_packet, number, recording, image).write()
    builder.trace.packet[0].sequence_flags = 1  # SEQ_INCREMENTAL_STATE_CLEARED
    return bytes(builder.serialize())


class _Sample:
    """The tracks of one sample. Numbers of tracks and arrows begin with the sample's."""

    def __init__(self, packet: Any, number: int, recording: Recording, image: Image) -> None:
        self.packet, self.number, self.recording, self.image = packet, number, recording, image
        self.sources = provenance(image)
        self.base = (number + 1) << 40
        self.tracks = 0
        self.shown = {
            ran.number: (max(ran.ready, recording.since), min(ran.end, recording.until))
            for ran in (replace(r, end=recording.until) if r.end < 0 else r for r in recording.ran)
            if 0 <= ran.ready < recording.until and ran.end > recording.since
        }
        self.consumers: dict[int, list[int]] = defaultdict(list)
        for ran in recording.ran:
            for producer in ran.producers if ran.number in self.shown else ():
                self.consumers[producer].append(ran.number)

    def write(self) -> None:
        """All packets."""
        image, recording = self.image, self.recording
        period = 1000 / image.target.frequency_mhz
        root = self.track(
            f"sample {self.number} on {image.target.name}, axis in cycles: "
            f"1 ns shown is 1 cycle, {period:g} ns at {image.target.frequency_mhz:g} MHz",
            process=True,
        )
        self.slices(self.track("timesteps", root), list(self._timesteps()))
        for unit in recording.units:
            self.slices(self.track(unit, root), list(self._unit(unit)))
        for port in dict.fromkeys(use.port for use in recording.uses):
            uses = (use for use in recording.uses if use.port == port)
            self.slices(
                self.track(f"port: {port}", root),
                [
                    (use.since, use.until, use.direction,
                     {"annotations": {"memory": use.memory, "rows": use.until - use.since}})
                    for use in uses
                ],
            )  # fmt: skip
        for unit in recording.units:
            levels = [(recording.since, 0), *recording.queue(unit)]
            self.counter(self.track(f"queue: {unit}", root, unit="instructions"), levels)
        counted: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for value in recording.values:
            if value.left.is_events and value.cycle >= recording.since:
                counted[value.left.name].append((value.cycle, int(value.data.sum())))
        for name, levels in counted.items():
            self.counter(self.track(f"events: {name}", root, unit="events"), levels)

    # -- tracks -----------------------------------------------------------------------------------

    def track(self, name: str, parent: int = 0, *, process: bool = False, unit: str = "") -> int:
        """A track's number; tracks stand in the order in which they are made."""
        self.tracks += 1
        packet = self.packet()
        packet.trusted_packet_sequence_id = SEQUENCE
        described = packet.track_descriptor
        described.uuid = self.base + self.tracks
        described.name = name
        described.sibling_order_rank = self.tracks
        if process:
            described.process.pid, described.process.process_name = self.number + 1, name
        else:
            described.parent_uuid = parent
        described.child_ordering = described.EXPLICIT
        if unit:
            described.counter.unit_name = unit
        return int(described.uuid)

    def slices(self, track: int, slices: list[Slice]) -> None:
        """Slices of a track, nested or one after the other."""
        open_: list[int] = []
        for since, until, name, rest in sorted(slices, key=lambda s: (s[0], -s[1])):
            while open_ and open_[-1] <= since:
                self._event(track, open_.pop())
            event = self._event(track, since, name)
            for key, value in rest.get("annotations", {}).items():
                note = event.debug_annotations.add(name=key)
                setattr(note, "int_value" if isinstance(value, int) else "string_value", value)
            event.categories.extend(rest.get("categories", ()))
            event.flow_ids.extend(rest.get("flows", ()))
            event.terminating_flow_ids.extend(rest.get("ends", ()))
            open_.append(until)
        while open_:
            self._event(track, open_.pop())

    def _event(self, track: int, cycle: int, name: str | None = None) -> Any:
        packet: TracePacket = self.packet()
        packet.timestamp, packet.trusted_packet_sequence_id = cycle, SEQUENCE
        event = packet.track_event
        event.track_uuid = track
        event.type = event.TYPE_SLICE_END if name is None else event.TYPE_SLICE_BEGIN
        if name is not None:
            event.name = name
        return event

    def counter(self, track: int, levels: list[tuple[int, int]]) -> None:
        """A number over time."""
        for cycle, level in levels:
            packet = self.packet()
            packet.timestamp, packet.trusted_packet_sequence_id = cycle, SEQUENCE
            event = packet.track_event
            event.track_uuid, event.type, event.counter_value = track, event.TYPE_COUNTER, level

    # -- what is on them --------------------------------------------------------------------------

    def _timesteps(self) -> Iterator[Slice]:
        """The sequencer's iterations of the loop over timesteps."""
        begins: dict[int, int] = {}
        last = self.recording.since
        for item in self.recording.issued:
            if item.iteration is not None:
                begins.setdefault(item.iteration, last)
            last = item.cycle + 1
        for (step, since), (_, until) in pairwise([*begins.items(), (-1, last)]):
            yield since, max(until, since + 1), f"timestep {step}", {}

    def _unit(self, unit: str) -> Iterator[Slice]:
        """The work of instructions, and in and between it the unit's stalls."""
        recording = self.recording
        bounds = set[int]()
        for ran in recording.ran:
            if ran.unit == unit and ran.number in self.shown:
                yield *self.shown[ran.number], *self._instruction(ran)
                bounds.update(self.shown[ran.number])
        cuts = sorted(bounds)
        for stall in recording.doing:
            if stall.unit == unit and stall.doing != "busy":
                inside = cuts[bisect_right(cuts, stall.since) : bisect_left(cuts, stall.until)]
                for since, until in pairwise([stall.since, *inside, stall.until]):
                    yield since, until, f"waits: {stall.doing}", self._stall(stall.pc)

    def _stall(self, pc: int) -> dict[str, Any]:
        text = " ".join(assembly(self.image.code[pc]).split())
        return {"annotations": {"instruction": text, "pc": pc}, "categories": ["stall"]}

    def _instruction(self, ran: Ran) -> tuple[str, dict[str, Any]]:
        op, source = self.image.code[ran.pc], self.sources[ran.pc]
        notes: dict[str, Any] = {
            "instruction": " ".join(assembly(op).split()),
            "pc": ran.pc,
            "layer": source.layer,
            "pathway": source.path,
            "nodes": ", ".join(source.nodes),
            "issued in cycle": ran.issued,
        }
        if ran.done >= 0:
            notes["complete in cycle"] = ran.done
        if ran.timestep is not None:
            notes["timestep"] = ran.timestep
        flows = [self._arrow(ran.number, other) for other in self.consumers[ran.number]]
        ends = [self._arrow(n, ran.number) for n in ran.producers if n in self.shown]
        name = f"{source.layer}: {op.mnemonic}" if source.layer else op.mnemonic
        return name, {
            "annotations": notes,
            "categories": [source.path or "control"],
            "flows": flows,
            "ends": ends,
        }

    def _arrow(self, producer: int, consumer: int) -> int:
        """The number of the arrow between two executions."""
        return self.base + (producer << 20) + consumer
