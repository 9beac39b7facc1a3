"""When each instruction starts and ends: the microarchitecture, burst by burst.

The sequencer issues one instruction a cycle, in order, into the queue of its unit. It holds an
instruction back while that queue is full or while the older page of a register that the instruction
writes is still being read (registers have two pages). A unit starts the head of its queue when its
operands are complete. Banks hand sums to their consumer group by group through a few accumulator
slots, so the banks and the neuron unit work on neighbouring groups at the same time.

Times are arrays of shape [batch]: the samples of a batch run the same instructions and differ in
activity. `docs/architecture.md` describes the units; every rule there is one line here.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

import numpy as np

from isa.arithmetic import Int
from isa.errors import Trap
from isa.target import Target
from isa.work import Count, Work

PAGES = 2
CONSUMER_CYCLES = 2  # a row read and a row write on a single port
SPILL_CYCLES = 2  # likewise, of the partial sums


@dataclass
class Page:
    """One version of a register: when it is complete, and when its last reader is done."""

    ready: Int
    released: Int


@dataclass(frozen=True)
class Span:
    """When one instruction was issued, and the cycles in which its unit worked on it."""

    pc: int
    unit: str
    issued: Int
    start: Int
    end: Int


@dataclass
class Segment:
    """An issued instruction on a bank, waiting for the consumer of its burst."""

    pc: int
    work: Work
    start_after: Int
    operands: Int
    pages: list[Page]

    def rows(self, group: int) -> Int:
        """Row reads for a group: [batch]."""
        cycles = np.asarray(self.work.cycles)
        rows: Int = cycles[:, group % cycles.shape[1]]
        return rows


@dataclass
class Unit:
    """A unit's timeline: when it is free and drained, and when its latest instructions started."""

    free: Int
    drained: Int
    starts: deque[Int | None]
    reads: deque[Int] = field(default_factory=deque)
    slots: deque[Int] = field(default_factory=deque)
    segments: list[Segment] = field(default_factory=list)


class Timeline:
    """The timing of one sample, for a batch of samples at once."""

    def __init__(self, target: Target, batch: int) -> None:
        self.target = target
        self.zero = np.zeros(batch, np.int64)
        self.issued = self.zero - 1
        self.spans: list[Span] = []
        self.pages: dict[str, deque[Page]] = defaultdict(lambda: deque(maxlen=PAGES))
        self.busy: Counter[str] = Counter()
        self.stalls: Counter[tuple[str, str]] = Counter()
        self._latency = {
            "event": 1,
            "drive": target.drive.latency,
            "update": target.update.latency,
            "neuron": target.neuron.latency,
            "readout": target.readout.latency,
            **{bank.name: bank.latency for bank in target.bank},
        }
        self.units = {name: self._unit(name) for name in self._latency}

    def _unit(self, name: str) -> Unit:
        writes_in_flight = self._latency[name] // CONSUMER_CYCLES
        return Unit(
            free=self.zero,
            drained=self.zero,
            starts=deque(maxlen=self.target.sequencer.queue),
            reads=deque(maxlen=writes_in_flight),
            slots=deque(maxlen=self.target.accumulators.slots),
        )

    @property
    def end(self) -> Int:
        """The first cycle in which every unit is idle and every result in place."""
        end: Int = np.maximum.reduce(
            [self.issued + 1, *(unit.drained for unit in self.units.values())]
        )
        return end

    # -- issue ------------------------------------------------------------------------------------

    def issue(self, work: Work, pc: int = 0, *, sync: bool = False) -> None:
        """Add the next instruction in program order."""
        time = self.issued + 1
        if work.unit == "control":
            self.issued = np.maximum(time, self.end) if sync else time
            return
        unit = self.units[work.unit]
        if len(unit.starts) == unit.starts.maxlen:
            if unit.starts[0] is None:
                raise Trap(f"deadlock: the queue of {work.unit} is full of unconsumed bursts")
            time = np.maximum(time, unit.starts[0])
        for name in work.writes:
            pages = self.pages[name]
            if len(pages) == PAGES:
                time = np.maximum(time, pages[0].released)
        self.issued = time
        self._dispatch(work, unit, pc)

    def _dispatch(self, work: Work, unit: Unit, pc: int) -> None:
        pages = [self.pages[name][-1] for name in work.reads]
        operands = np.maximum.reduce([self.zero, *(page.ready for page in pages)])
        if work.bank is not None:
            unit.segments.append(Segment(pc, work, self.issued + 1, operands, pages))
            unit.starts.append(None)
        elif work.paired:
            self._consume(work, unit, pc)
        else:
            self._simple(work, unit, pc, operands, pages)

    def _write(self, names: tuple[str, ...], ready: Int) -> None:
        for name in names:
            self.pages[name].append(Page(ready, ready))

    # -- execution --------------------------------------------------------------------------------

    def _simple(self, work: Work, unit: Unit, pc: int, operands: Int, pages: list[Page]) -> None:
        """One stretch of cycles; on a unit with row reads in flight, after they are done."""
        free = unit.drained if unit.reads else unit.free
        start = self._start(work.unit, free, self.issued + 1, operands)
        end = start + work.cycles * work.groups
        self._count(work.unit, work.cycles * work.groups)
        self.spans.append(Span(pc, work.unit, self.issued, start, end))
        unit.starts.append(start)
        unit.reads.clear()
        unit.free = end
        unit.drained = end - 1 + self._latency[work.unit]
        for page in pages:
            page.released = np.maximum(page.released, end)
        self._write(work.writes, unit.drained)

    def _consume(self, work: Work, unit: Unit, pc: int) -> None:
        """A consumer and the bursts that feed it, group by group."""
        latency = self._latency[work.unit]
        bursts = [self._burst(number) for number in work.consumes]
        free = np.maximum(unit.free, unit.drained) if not unit.reads else unit.free
        free = self._start(work.unit, free, self.issued + 1, self.zero)
        for group in range(work.groups):
            ready = np.maximum.reduce([self.zero, *(b.group(self, group) for b in bursts)])
            start = np.maximum(free, ready)
            self._stall(work.unit, "sums", start - free)
            start = self._avoid_writes(work.unit, unit, start, latency)
            unit.reads.append(start)
            if group == 0:
                unit.starts.append(start)
                first = start
            for burst in bursts:
                burst.unit.slots.append(start + 1)
            free = start + CONSUMER_CYCLES
        self._count(work.unit, self.zero + CONSUMER_CYCLES * work.groups)
        for burst in bursts:
            burst.finish(self)
        self.spans.append(Span(pc, work.unit, self.issued, first, free))
        unit.free, unit.drained = free, start + latency + 1
        self._write(work.writes, unit.drained)

    def _avoid_writes(self, name: str, unit: Unit, start: Int, latency: int) -> Int:
        """A row read waits a cycle where the single port writes an earlier row back."""
        for read in unit.reads:
            clash = start == read + latency
            if clash.any():
                self._stall(name, "port", clash.astype(np.int64))
                start = start + clash
        return start

    def _burst(self, number: int) -> "Burst":
        name = self.target.bank[number].name
        unit = self.units[name]
        segments, unit.segments = unit.segments, []
        return Burst(name, unit, segments, self._latency[name])

    # -- accounting -------------------------------------------------------------------------------

    def _start(self, name: str, free: Int, issued: Int, operands: Int) -> Int:
        """First cycle in which a unit can start, with the wait charged to its cause."""
        started = np.maximum(free, issued)
        self._stall(name, "issue", started - free)
        ready = np.maximum(started, operands)
        self._stall(name, "operand", ready - started)
        return ready

    def _stall(self, unit: str, cause: str, cycles: Int) -> None:
        self.stalls[unit, cause] += int(cycles.sum())

    def _count(self, unit: str, cycles: Count) -> None:
        self.busy[unit] += int(np.sum(np.broadcast_to(cycles, self.zero.shape)))


@dataclass
class Burst:
    """The joined instructions on one bank that feed a consumer."""

    name: str
    unit: Unit
    segments: list[Segment]
    latency: int
    first: Int = field(init=False)

    def group(self, timeline: Timeline, number: int) -> Int:
        """Work through the next group; returns when its sums can be consumed."""
        if number == 0:
            issued = np.maximum(self.unit.free, self.segments[-1].start_after)
            timeline._stall(self.name, "issue", issued - self.unit.free)
            self.unit.free = issued
            if self.segments[0].work.spill:
                self._spill(timeline)
        start = self.unit.free
        if len(self.unit.slots) == self.unit.slots.maxlen:
            start = np.maximum(start, self.unit.slots[0])
            timeline._stall(self.name, "slot", start - self.unit.free)
        if number == 0:
            self._started(start)
            self.first = start
        self.unit.free = self._rows(timeline, start, number)
        return self.unit.free - 1 + self.latency

    def _rows(self, timeline: Timeline, start: Int, number: int) -> Int:
        """Read the rows of a group, segment by segment; at least one cycle. Returns the end."""
        if self.segments[0].work.spill:
            timeline._count(self.name, 1)
            return start + 1
        at, busy = start, timeline.zero
        for segment in self.segments:
            if number == 0:
                ready = np.maximum(at, segment.operands)
                timeline._stall(self.name, "operand", ready - at)
                at = ready
            cycles = segment.rows(number)
            at, busy = at + cycles, busy + cycles
        idle = (busy == 0).astype(np.int64)
        timeline._count(self.name, busy + idle)
        end: Int = at + idle
        return end

    def _spill(self, timeline: Timeline) -> None:
        """Work input by input: every row also reads and writes a partial sum, on a single port."""
        for segment in self.segments:
            ready = np.maximum(self.unit.free, segment.operands)
            timeline._stall(self.name, "operand", ready - self.unit.free)
            cycles = sum((segment.rows(g) for g in range(segment.work.groups)), timeline.zero)
            timeline._count(self.name, SPILL_CYCLES * cycles)
            self.unit.free = ready + SPILL_CYCLES * cycles

    def _started(self, start: Int) -> None:
        """The queue entries of the segments are free from now on."""
        starts = self.unit.starts
        for index, known in enumerate(starts):
            if known is None:
                starts[index] = start

    def finish(self, timeline: Timeline) -> None:
        """Release the operands; the unit drains when its last sums have been consumed."""
        self.unit.drained = np.maximum(timeline.zero, self.unit.free - 1 + self.latency)
        for segment in self.segments:
            issued = segment.start_after - 1
            timeline.spans.append(Span(segment.pc, self.name, issued, self.first, self.unit.free))
            for page in segment.pages:
                page.released = np.maximum(page.released, self.unit.free)
