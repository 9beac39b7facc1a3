"""An image made ready to run: loaded memories, demands, and the records of the compiled engine."""

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.core import Loaded
from isa.engines.counts import Place
from isa.engines.microcode import Recorder, Saturable
from isa.engines.playback import Playback, Silent
from isa.errors import IsaError
from isa.format import Instruction, layout
from isa.image import Image, contents
from isa.instructions import Halt, Loop, Sync
from isa.instructions.kernels import linked
from isa.limits import MOST_BANKS, MOST_REGISTERS
from isa.native import records
from isa.target import Target
from isa.work import CONTROL, INPUT, Work

Records = NDArray[np.void]


def record_type(fields: records.Fields) -> np.dtype[np.void]:
    """The NumPy type of a record."""
    return np.dtype(records.described(fields), align=True)


class Prepared:
    """A program on its target, as engines take it."""

    def __init__(self, image: Image) -> None:
        self.image, self.code, self.target = image, linked(image.code), image.target
        self.loaded = Loaded(self.target, contents(image))
        for pc, op in enumerate(self.code):
            if isinstance(op, Loop | Sync | Halt) and op.stage:
                raise IsaError(f"pc {pc}: {op.mnemonic} belongs to all stages; its stage must be 0")
        self.works = [op.work(self.target) for op in self.code]
        self.units = (*(bank.name for bank in self.target.bank), *records.UNITS)

    @cached_property
    def native(self) -> "Native":
        """The program for the compiled engine."""
        return Native(self, Recorder(self.loaded, self.code))

    @cached_property
    def schedule(self) -> "Native":
        """The program without its microcode: what its timing alone needs."""
        return Native(self, Silent(self.loaded))

    def playback(self, spikes: Mapping[int, Int]) -> "Native":
        """The program with events that are given in the place of what neurons compute."""
        return Native(self, Playback(self.loaded, self.code, self.works, spikes))

    def unit_number(self, name: str) -> int:
        """A unit's number in the records."""
        number = self.units.index(name)
        banks = len(self.target.bank)
        return number if number < banks else number - banks + MOST_BANKS


def latencies(target: Target) -> list[int]:
    """Of every unit by its number in the records; a bank that is not there has any."""
    banks = [bank.latency for bank in target.bank]
    others = (target.delay, target.drive, target.update, target.neuron, target.readout)
    far = target.external.latency if target.external else 1
    unused = [1] * (MOST_BANKS - len(banks))
    return [*banks, *unused, 1, *(o.latency for o in others), far]


@dataclass(frozen=True)
class Watch:
    """A place that is kept after its instruction: what lies there, and where."""

    place: Place
    kind: str
    number: int
    rows: int


def watch(prepared: Prepared, place: Place) -> Watch:
    """What an operand of an instruction names: a register, or rows of its unit's state memory."""
    pc, operand = place
    if not 0 <= pc < len(prepared.code):
        raise IsaError(f"pc {pc}: the program has {len(prepared.code)} instructions")
    op, unit = prepared.code[pc], prepared.works[pc].unit
    kinds = {placed.name: placed.field.kind for placed in layout(type(op))}
    value = getattr(op, operand, None)
    if kinds.get(operand) in ("event register", "value register"):
        return Watch(place, kinds[operand].split()[0] + "s", int(value or 0), 0)
    groups: int = getattr(op, "groups", 0)
    if operand in op.left and groups:
        return Watch(place, unit, op.left[operand], groups)
    raise IsaError(f"pc {pc}: {op.mnemonic} leaves nothing at {operand!r}")


def gathered(item: Watch, seen: Sequence[Int], samples: int) -> Int:
    """What a watch saw at each time, [samples, elements], as [samples, times, elements]."""
    if len({part.shape for part in seen}) > 1:
        raise uneven(item)
    return np.stack(seen, axis=1) if seen else np.zeros((samples, 0, 0), np.int64)


def uneven(item: Watch) -> IsaError:
    """What is watched has not always the same size."""
    pc, operand = item.place
    return IsaError(f"pc {pc}: what lies at {operand!r} is longer at one time than at another")


class Native:
    """A program in the records that the compiled engine reads.

    `structure` is the C `Program`; everything that it points to lives as long as this object.
    """

    def __init__(self, prepared: Prepared, recorder: Recorder) -> None:
        self.prepared, self.recorder = prepared, recorder
        self.target, self.code = prepared.target, prepared.code
        self.instructions = np.zeros(len(self.code) + 1, record_type(records.INSTR))
        for pc, (op, work) in enumerate(zip(self.code, prepared.works, strict=True)):
            self._fill(self.instructions[pc], pc, op, work)
        self.micros = np.zeros(len(self.recorder.micros) + 1, record_type(records.MICRO))
        for record, micro in zip(self.micros, self.recorder.micros, strict=False):
            for name, value in micro.items():
                record[name] = value
        constants = self.recorder.constants
        self.pointers = (ctypes.c_void_p * (len(constants) + 1))(
            *(c.ctypes.data for c in constants)
        )

    @property
    def saturable(self) -> list[Saturable]:
        """Where values are clipped."""
        return self.recorder.saturable

    def structure(self, watches: Sequence[Watch] = ()) -> "Structure":
        """The C `Program`, with values to keep."""
        return Structure(self, watches)

    def _fill(self, to: Any, pc: int, op: Instruction, work: Work) -> None:
        """The record of an instruction."""
        only = op.timesteps
        to["stage"], to["every"] = op.stage, -1 if only is None else only.every
        to["since"] = 0 if only is None else only.since
        to["active"], to["bank"] = records.NO_EVENTS, -1
        to["write"] = to["append"] = -1
        to["period"] = 1
        kind = self._kind(op, work)
        if isinstance(op, Loop):
            to["counter"] = records.COUNTERS.index(op.counter.upper())
            for name in ("value", "drain", "length"):
                to[name] = getattr(op, name)
        if kind in ("STRETCH", "BANK", "GROUP"):
            named = max(map(_register, (*work.reads, *work.writes, *work.appends)), default=0)
            if work.unit in self.prepared.units and named < records.PAGED:
                self._fill_demand(to, work)
            else:
                kind = "TRAP"
        recorded = self.recorder.record(pc)
        if recorded is None:
            kind = "TRAP"
        else:
            to["code"], to["codes"] = recorded
        to["kind"] = records.KINDS.index(kind)

    @staticmethod
    def _kind(op: Instruction, work: Work) -> str:
        for cls, kind in ((Loop, "LOOP"), (Sync, "SYNC"), (Halt, "HALT")):
            if isinstance(op, cls):
                return kind
        if work.unit == CONTROL:
            return "SLOT"
        return "BANK" if work.bank is not None else "GROUP" if work.paired else "STRETCH"

    def _fill_demand(self, to: Any, work: Work) -> None:
        to["unit"] = self.prepared.unit_number(work.unit)
        if work.active:
            register, size = work.active
            to["active"] = records.ARRIVING if register == INPUT else int(register[1:])
            to["active_size"] = size
        to["cycles_fixed"], to["cycles_active"] = work.cycles.fixed, work.cycles.active
        to["at_least"], to["groups"], to["row"] = work.at_least, work.groups, work.row
        to["states"], to["apart"], to["hold"] = work.states, work.apart, work.hold
        if work.rows:
            rows = work.rows
            to["inputs"] = rows.layout.inputs
            to["first"], to["share"] = rows.layout.first, rows.layout.share
            to["every_row"] = rows.every
            to["period"] = rows.layout.period
            if rows.layout.kernel:
                to["kernel"] = self.recorder.geometry(rows.layout)
        reads = list(_stretches(work.reads))
        to["reads"] = len(reads)
        for number, (first, count) in enumerate(reads):
            to[f"read{number}"], to[f"count{number}"] = first, count
        for first, count in _stretches(work.writes):
            to["write"], to["writes"] = first, count
        for name in work.appends:
            to["append"] = _register(name)
        to["consumes"] = sum(1 << bank for bank in work.consumes)
        if work.bank is not None:
            to["bank"] = work.bank
        to["join"], to["spill"] = work.join, work.spill


def _register(name: str) -> int:
    return int(name[1:]) + MOST_REGISTERS * "evw".index(name[0])


def _stretches(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """First and number of registers that lie side by side among some."""
    numbers = [_register(name) for name in names]
    for _, beside in groupby(enumerate(numbers), key=lambda item: item[1] - item[0]):
        stretch = [number for _, number in beside]
        yield stretch[0], len(stretch)


class Structure:
    """A C `Program`."""

    def __init__(self, native: Native, watches: Sequence[Watch]) -> None:
        self.native = native
        target, recorder = native.target, native.recorder
        self.watches = np.zeros(len(watches) + 1, record_type(records.WATCH))
        for record, item in zip(self.watches, watches, strict=False):
            record["pc"], record["kind"] = item.place[0], records.WATCHED.index(item.kind)
            record["number"], record["rows"] = item.number, item.rows
        sizes = {
            "banks": len(target.bank), "queue": target.sequencer.queue,
            "slots": target.accumulators.slots, "loops": target.sequencer.loops,
            "lanes": target.lanes,
            "event_count": target.events.count, "event_register": target.events.width,
            "event_width": max(target.events.width, recorder.widest["e"]),
            "value_count": target.values.count, "value_register": target.values.width,
            "value_width": max(target.values.width, recorder.widest["v"]),
            "neuron_rows": native.prepared.loaded.all_rows("neuron"),
            "readout_rows": target.readout.rows,
            "ring_rows": target.delay.rows, "ring_lanes": target.delay.lanes,
            "wide": int(recorder.wide), "temporaries": recorder.temporaries + 1,
            "temporary_size": recorder.largest, "saturations": recorder.counters,
            "instructions": len(native.code), "micros": len(recorder.micros),
            "watches": len(watches), "period": int(native.instructions["period"].max()),
        }  # fmt: skip
        integers = [sizes[name] for name, _ in records.SIZES] + latencies(target)
        if len(integers) % 2:
            integers.append(0)  # pointers are aligned
        pointers = (
            native.instructions.ctypes.data, native.micros.ctypes.data,
            ctypes.addressof(native.pointers), self.watches.ctypes.data,
        )  # fmt: skip
        self._block = (
            np.array(integers, np.int32).tobytes() + np.array(pointers, np.int64).tobytes()
        )
        self._buffer = ctypes.create_string_buffer(self._block, len(self._block))

    @property
    def pointer(self) -> int:
        """Its address."""
        return ctypes.addressof(self._buffer)
