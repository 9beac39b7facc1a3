"""The compiled engine's machines and timelines, as Python calls them."""

import ctypes
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.engines.counts import Counts
from isa.engines.program import Native, Prepared, Structure, Watch, record_type, uneven
from isa.engines.session import Snapshot
from isa.errors import IsaError
from isa.limits import MOST_LOOPS, MOST_REGISTERS
from isa.native import records
from isa.native.library import library

DONE, TRAPPED, PAUSED, STARVED, LONG_BURST, HELD_PAGE, OPEN_BURST = range(len(records.STATUSES))
UNBOUNDED = 1 << 60
_STORED = {"neuron": np.int32, "readout": np.int64, "ring": np.uint8}
KEPT = {"events": np.uint8, "values": np.int32, "neuron": np.int32, "readout": np.int64}

Inputs = NDArray[Any]
"""[samples, timesteps, inputs], uint8 or int32, contiguous."""


class View(ctypes.Structure):
    """Where a machine stands; `View` in engine.c."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("pc", "halted", "loops", "unused")),
        *(
            (name, ctypes.c_int64)
            for name in ("timestep", "arrived", "steps", "instructions", "output_count", "issued")
        ),
        ("iteration", ctypes.c_int64 * MOST_LOOPS),
        *(
            (name, ctypes.c_void_p)
            for name in ("outputs", "runs", "active_sum", "row_sum", "spills", "saturated")
        ),
        ("events", ctypes.c_void_p * MOST_REGISTERS),
        ("values", ctypes.c_void_p * MOST_REGISTERS),
        ("event_size", ctypes.c_int32 * MOST_REGISTERS),
        ("value_size", ctypes.c_int32 * MOST_REGISTERS),
        ("state", ctypes.c_void_p * len(records.MEMORIES)),
        ("written", ctypes.c_void_p * len(records.MEMORIES)),
        ("spans", ctypes.c_void_p),
        ("intervals", ctypes.c_void_p),
        ("span_count", ctypes.c_int64),
        ("interval_count", ctypes.c_int64),
    )


class Answer(ctypes.Structure):
    """What a sample says if it ends here; `Answer` in engine.c."""

    _fields_ = (
        ("cycles", ctypes.c_int64),
        ("output_count", ctypes.c_int64),
        ("outputs", ctypes.c_void_p),
    )


class Seen(ctypes.Structure):
    """What a watch saw since the last answer; `Seen` in engine.c."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("times", "ahead", "width")),
    )


def _library() -> ctypes.CDLL:
    found = library()
    for name in ("dmpc_open", "dmpc_timeline", "dmpc_kept"):
        getattr(found, name).restype = ctypes.c_void_p
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.dmpc_push.argtypes = pointer, pointer, number, number, pointer
    found.dmpc_answer.argtypes = pointer, pointer, pointer, pointer
    return found


def copied(address: int | None, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """A copy of what lies at an address."""
    size = prod(shape) * np.dtype(dtype).itemsize
    if not size or address is None:
        return np.zeros(shape, dtype)
    return np.frombuffer(ctypes.string_at(address, size), dtype).reshape(shape)


def as_input(inputs: Inputs) -> Inputs:
    """Inputs in a form that the engine reads, without a copy if they are bytes already."""
    if inputs.dtype.itemsize == 1 and inputs.dtype.kind in "bu":
        return np.ascontiguousarray(inputs).view(np.uint8)
    if inputs.size and inputs.min() >= 0 and inputs.max() < 256:
        return np.ascontiguousarray(inputs, np.uint8)
    limits = np.iinfo(np.int32)
    return np.ascontiguousarray(np.clip(inputs, limits.min, limits.max), np.int32)


class Machine:
    """Up to `lanes` samples of a program in lockstep on the compiled engine.

    `native` are other records of the program than those of all that it computes.
    """

    def __init__(
        self,
        prepared: Prepared,
        lanes: int,
        watches: Sequence[Watch] = (),
        native: Native | None = None,
    ) -> None:
        self.prepared, self.lanes, self.watches = prepared, lanes, watches
        self._native = native or prepared.native
        self._program: Structure = self._native.structure(watches)
        self._library = _library()
        pointer = ctypes.c_void_p(self._program.pointer)
        self.handle = ctypes.c_void_p(self._library.dmpc_open(pointer, lanes))
        if not self.handle:
            raise IsaError("memory is short for the simulator")
        self.used = 0
        self._spent = no_cycles(prepared)
        self._input: Inputs = np.zeros((0, 0, 0), np.uint8)
        self._count = ctypes.c_int64()
        self._counted = ctypes.addressof(self._count)
        self._addresses = ctypes.c_void_p * lanes

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._library.dmpc_close(self.handle)

    def begin(self, inputs: Inputs, *, steps: int | None = None, trace: bool = False) -> None:
        """The start of samples [samples, timesteps, inputs]; with `steps`, more will be fed."""
        self._input, self.used = inputs, len(inputs)
        arrived, width = inputs.shape[1:]
        closed = steps is None
        self._library.dmpc_begin(
            self.handle, self.used, self._pointers(inputs), width, int(inputs.itemsize == 4),
            ctypes.c_int64(arrived), ctypes.c_int64(arrived if steps is None else steps),
            int(closed), int(trace),
        )  # fmt: skip

    def _pointers(self, inputs: Inputs) -> Any:
        first, stride = inputs.ctypes.data, inputs.strides[0]
        return self._addresses(*[first + stride * n for n in range(len(inputs))])

    def push(self, address: int, first: int, count: int) -> tuple[int, int]:
        """`count` more timesteps of a sample that began without an end: int32, one after the other.

        At the address lies timestep `first`; those from the first one on that was not taken yet are
        there. It runs until it needs more: DONE, TRAPPED or STARVED, and how many it has taken.
        """
        status: int = self._library.dmpc_push(self.handle, address, first, count, self._counted)
        return status, self._count.value

    def run(self, budget: int = UNBOUNDED) -> int:
        """Run until something ends it: DONE, TRAPPED, PAUSED or STARVED."""
        status: int = self._library.dmpc_run(self.handle, ctypes.c_int64(budget))
        return status

    def answer(self, stream: "Machine", answer: Answer, seen: "ctypes.Array[Seen]") -> int:
        """Become what another machine of this program and its watches is if its sample ends here.

        How it ended. The other one forgets what its watches kept.
        """
        self.used = stream.used
        told = ctypes.addressof(answer), ctypes.addressof(seen)
        status: int = self._library.dmpc_answer(self.handle, stream.handle, *told)
        return status

    def view(self) -> View:
        """Where it stands."""
        view = View()
        self._library.dmpc_view(self.handle, ctypes.byref(view))
        return view

    def cycles(self) -> Int:
        """Cycles until every unit is idle: [samples]."""
        cycles = np.zeros(self.used, np.int64)
        self._library.dmpc_cycles(self.handle, ctypes.c_void_p(cycles.ctypes.data))
        return cycles

    def outputs(self) -> Int:
        """What the program emitted so far: [samples, numbers]."""
        view = self.view()
        return emitted(view.outputs, view.output_count, self.used)

    def kept(self, number: int) -> Int:
        """What a watch saw since the samples began: [samples, times, elements]."""
        times, elements = ctypes.c_int64(), ctypes.c_int32()
        told = ctypes.byref(times), ctypes.byref(elements)
        address = self._library.dmpc_kept(self.handle, number, *told)
        if elements.value < 0:
            raise uneven(self.watches[number])
        kind = KEPT[self.watches[number].kind]
        seen = copied(address, (times.value, self.used, elements.value), kind)
        return seen.astype(np.int64).transpose(1, 0, 2)

    def snapshot(self) -> Snapshot:
        """Where the first sample stands."""
        view, target = self.view(), self.prepared.target
        registers = {}
        for n in range(MOST_REGISTERS):
            for letter, sizes, data, kind in (
                ("e", view.event_size, view.events, np.uint8),
                ("v", view.value_size, view.values, np.int32),
            ):
                if sizes[n] >= 0:
                    registers[f"{letter}{n}"] = copied(data[n], (sizes[n],), kind).astype(np.int64)
        memories: dict[str, dict[int, Int]] = {}
        for n, name in enumerate(records.MEMORIES):
            memory = target.memories[name]
            number = self.prepared.loaded.all_rows(name)
            written = np.flatnonzero(copied(view.written[n], (number,), np.uint8))
            rows = copied(view.state[n], (number, memory.lanes), _STORED[name])
            memories[name] = {int(row): rows[row].astype(np.int64) for row in written}
        return Snapshot(
            view.pc, view.issued + 1, view.timestep, bool(view.halted), self.outputs()[0],
            registers, memories,
        )  # fmt: skip

    def settle(self, spent: Int | None = None) -> None:
        """Add what units did for these samples to the counts, or to an array of one's own."""
        spent = self._spent if spent is None else spent
        self._library.dmpc_spent(self.handle, ctypes.c_void_p(spent.ctypes.data))

    def counts(self, *, settled: bool = True) -> Counts:
        """Everything that it counted; of units what was settled, or what they did by now."""
        view = self.view()
        spent = self._spent
        if not settled:
            spent = no_cycles(self.prepared)
            self.settle(spent)
        counts = Counts(instructions=view.instructions)
        number = len(self.prepared.code)
        sums = [
            copied(address, (number,), np.int64).tolist()
            for address in (view.runs, view.active_sum, view.row_sum, view.spills)
        ]
        for pc, (work, *met) in enumerate(zip(self.prepared.works, *sums, strict=True)):
            counts.met(pc, work, *met)
        runs, saturable = sums[0], self._native.saturable
        clipped = copied(view.saturated, (self._native.recorder.counters,), np.int64)
        for item in saturable:
            if runs[item.pc]:
                counts.saturable[item.pc, item.cause] += runs[item.pc] * item.elements
            if item.counter is not None and clipped[item.counter]:
                counts.saturations[item.pc, item.cause] += int(clipped[item.counter])
        count_spent(self.prepared, spent, counts)
        return counts


def emitted(address: int | None, count: int, samples: int) -> Int:
    """What a program emitted, `count` numbers at an address: [samples, numbers]."""
    flat = copied(address, (count,), np.int64)
    parts, at = [], 0
    while at < len(flat):
        size = int(flat[at]) * samples
        parts.append(flat[at + 1 : at + 1 + size].reshape(samples, -1))
        at += 1 + size
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts or [np.zeros((samples, 0), np.int64)], axis=1)


def no_cycles(prepared: Prepared) -> Int:
    """Room for cycles by instruction: of work, and of waiting by cause."""
    return np.zeros((len(prepared.code), 1 + len(records.CAUSES)), np.int64)


def count_spent(prepared: Prepared, spent: Int, counts: Counts) -> None:
    """Count what units did, from the sums of the compiled engine."""
    for pc, ((busy, *stalls), work) in enumerate(zip(spent.tolist(), prepared.works, strict=True)):
        if busy:
            counts.busy_at[pc, work.unit] += busy
        for cause, cycles in zip(records.CAUSES, stalls, strict=True):
            if cycles:
                counts.stalls_at[pc, work.unit, cause] += cycles


class Timeline:
    """The timing of a batch whose semantics are worked out elsewhere.

    With `trace` (and one sample) it keeps when instructions ran and what units did in each cycle.
    """

    def __init__(self, prepared: Prepared, samples: int, *, trace: bool = False) -> None:
        self.prepared, self.samples = prepared, samples
        self._structure = prepared.schedule.structure()
        self._library = _library()
        pointer = ctypes.c_void_p(self._structure.pointer)
        self.handle = ctypes.c_void_p(self._library.dmpc_timeline(pointer, samples, int(trace)))
        if not self.handle:
            raise IsaError("memory is short for the simulator")
        self._first = prepared.schedule.instructions.ctypes.data
        self._size = prepared.schedule.instructions.itemsize
        self._skip = prepared.schedule.instructions[-1:]  # kind SLOT: it takes its issue cycle

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._library.dmpc_timeline_close(self.handle)

    def issue(self, pc: int, demand: Int, *, skipped: bool) -> str:
        """The next instruction: rows by group or cycles [samples, columns]; why it never starts."""
        record = self._skip.ctypes.data if skipped else self._first + pc * self._size
        columns = demand.shape[1]
        given = np.ascontiguousarray(np.broadcast_to(demand, (self.samples, columns)), np.int32)
        status: int = self._library.dmpc_timeline_issue(
            self.handle, ctypes.c_void_p(record), pc, ctypes.c_void_p(given.ctypes.data), columns
        )
        if status == DONE:
            return ""
        work = self.prepared.works[pc]
        if status == LONG_BURST:
            return f"a burst on {work.unit} is longer than the queue before it"
        if status == HELD_PAGE:
            return f"{work.writes[0]} is written while a burst that reads it cannot end"
        bank = self.prepared.target.bank[status - OPEN_BURST].name
        return f"sync waits for {bank}, whose burst waits for a consumer"

    def times(self) -> tuple[Int, Int]:
        """The cycle of the latest issue, and the first in which all is idle: [samples] each."""
        issued, end = np.zeros((2, self.samples), np.int64)
        self._library.dmpc_timeline_times(
            self.handle, ctypes.c_void_p(issued.ctypes.data), ctypes.c_void_p(end.ctypes.data)
        )
        return issued, end

    def count(self, counts: Counts) -> None:
        """Count what units did."""
        spent = no_cycles(self.prepared)
        self._library.dmpc_timeline_spent(self.handle, ctypes.c_void_p(spent.ctypes.data))
        count_spent(self.prepared, spent, counts)

    def log(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Spans and intervals that were kept, as records."""
        view = View()
        self._library.dmpc_timeline_log(self.handle, ctypes.byref(view))
        return logged(view)


def logged(view: View) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Spans and intervals that a trace kept."""
    return (
        copied(view.spans, (view.span_count,), record_type(records.SPAN)),
        copied(view.intervals, (view.interval_count,), record_type(records.INTERVAL)),
    )
