"""When each instruction starts and ends: the microarchitecture, burst by burst.

The sequencer issues one instruction a cycle, in order, into the queue of its unit. It holds an
instruction back while that queue is full or while the older page of a register that the instruction
writes is still being read (registers have two pages). A unit starts the head of its queue when its
operands are complete. Banks hand sums to their consumer group by group through a few accumulator
slots, so the banks and the neuron unit work on neighbouring groups at the same time.

Times are arrays of shape [batch]: the samples of a batch run the same instructions and differ in
activity. `docs/microarchitecture.md` describes the units; every rule there is one line here.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

import numpy as np

from isa.arithmetic import Int
from isa.errors import Trap
from isa.target import Target
from isa.work import Work

PAGES = 2
CONSUMER_CYCLES = 2  # a row read and a row write on a single port
SPILL_CYCLES = 2  # likewise, of the partial sums


@dataclass
class Page:
    """One version of a register: when it is complete, and when its last reader is done.

    `held` counts readers in bursts of which that is not known yet.
    """

    ready: Int
    released: Int
    held: int = 0


@dataclass(frozen=True)
class Span:
    """When one instruction was issued, and the cycles in which its unit worked on it."""

    pc: int
    unit: str
    issued: Int
    start: Int
    end: Int


@dataclass(frozen=True)
class Interval:
    """What a unit did in cycles `since` .. `until` - 1: `busy` on an instruction, or why it waited.

    `pc` is that of the instruction it was busy with.
    """

    unit: str
    doing: str
    since: int
    until: int
    pc: int | None = None


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
    """A unit's timeline: when it is free and drained, and when its latest instructions started.

    `reads` are the latest row reads of group work, (row, cycle); `slots` the cycles from which
    accumulator slots can be used, in turn; `burst` the one that has no consumer yet.
    """

    free: Int
    drained: Int
    starts: deque[Int | None]
    reads: deque[tuple[int, Int]]
    slots: deque[Int]
    burst: "Burst | None" = None


class Timeline:
    """The timing of one sample, for a batch of samples at once.

    With `trace` (and a batch of one) it also keeps what every unit did in every cycle.
    """

    def __init__(self, target: Target, batch: int, *, trace: bool = False) -> None:
        self.target = target
        self.zero = np.zeros(batch, np.int64)
        self.issued = self.zero - 1
        self.spans: list[Span] = []
        self.intervals: list[Interval] = []
        self._trace = trace
        self.pages: dict[str, deque[Page]] = defaultdict(lambda: deque(maxlen=PAGES))
        self.busy: Counter[str] = Counter()
        self.stalls: Counter[tuple[str, str]] = Counter()
        self._latency = {
            "event": 1,
            "delay": target.delay.latency,
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
            slots=deque([self.zero] * self.target.accumulators.slots),
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
            self.issued = self._sync(time) if sync else time
            return
        unit = self.units[work.unit]
        if len(unit.starts) == unit.starts.maxlen:
            if unit.starts[0] is None:
                raise Trap(f"deadlock: a burst on {work.unit} is longer than the queue before it")
            time = np.maximum(time, unit.starts[0])
        for name in work.writes:
            pages = self.pages[name]
            if len(pages) == PAGES:
                if pages[0].held:
                    raise Trap(
                        f"deadlock: {name} is written while a burst that reads it cannot end"
                    )
                time = np.maximum(time, pages[0].released)
        self.issued = time
        self._dispatch(work, unit, pc)

    def _sync(self, time: Int) -> Int:
        for name, unit in self.units.items():
            if unit.burst and not unit.burst.ended:
                raise Trap(f"deadlock: sync waits for {name}, whose burst waits for a consumer")
        return np.maximum(time, self.end)

    def _dispatch(self, work: Work, unit: Unit, pc: int) -> None:
        pages = [self.pages[name][-1] for name in work.reads]
        operands = np.maximum.reduce([self.zero, *(page.ready for page in pages)])
        if work.bank is not None:
            unit.starts.append(None)
            if unit.burst is None:
                unit.burst = Burst(self, work.unit, unit, self._latency[work.unit])
            unit.burst.add(Segment(pc, work, self.issued + 1, operands, pages))
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
        start = self._start(work.unit, unit.free, self.issued + 1, operands)
        if unit.reads:
            start = self._wait(work.unit, "port", start, unit.drained)
        end = start + work.cycles * work.groups
        self._busy(work.unit, pc, start, end)
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
        free = self._start(work.unit, unit.free, self.issued + 1, self.zero)
        if not unit.reads:
            free = self._wait(work.unit, "port", free, unit.drained)
        for group in range(work.groups):
            ready = np.maximum.reduce([self.zero, *(b.group(group) for b in bursts)])
            start = self._wait(work.unit, "sums", free, ready)
            start = self._avoid_writes(work.unit, unit, work.row + group, start, latency)
            unit.reads.append((work.row + group, start))
            if group == 0:
                unit.starts.append(start)
                first = start
            for burst in bursts:
                burst.unit.slots.append(start + 1)
            free = start + CONSUMER_CYCLES
            self._busy(work.unit, pc, start, free)
        self.spans.append(Span(pc, work.unit, self.issued, first, free))
        unit.free, unit.drained = free, start + latency + 1
        self._write(work.writes, unit.drained)

    def _avoid_writes(self, name: str, unit: Unit, row: int, start: Int, latency: int) -> Int:
        """A row in the pipeline is read when it is written; any, when the single port is free."""
        for earlier, read in unit.reads:
            if earlier == row:
                start = self._wait(name, "port", start, read + latency + 1)
        for _, read in unit.reads:
            clash = start == read + latency
            if clash.any():
                start = self._wait(name, "port", start, start + clash)
        return start

    def _burst(self, number: int) -> "Burst":
        unit = self.units[self.target.bank[number].name]
        burst, unit.burst = unit.burst, None
        assert burst is not None  # the core has taken its sums
        return burst

    # -- accounting -------------------------------------------------------------------------------

    def _start(self, name: str, free: Int, issued: Int, operands: Int) -> Int:
        """First cycle in which a unit can start, with the wait charged to its cause."""
        return self._wait(name, "operand", self._wait(name, "issue", free, issued), operands)

    def _wait(self, unit: str, cause: str, since: Int, until: Int) -> Int:
        """The later of two cycles, with the wait charged to its cause."""
        later: Int = np.maximum(since, until)
        self.stalls[unit, cause] += int((later - since).sum())
        self._record(unit, cause, since, later, None)
        return later

    def _busy(self, unit: str, pc: int, since: Int, until: Int) -> None:
        """Charge cycles of work on an instruction."""
        self.busy[unit] += int((until - since).sum())
        self._record(unit, "busy", since, until, pc)

    def _record(self, unit: str, doing: str, since: Int, until: Int, pc: int | None) -> None:
        if self._trace and until[0] > since[0]:
            self.intervals.append(Interval(unit, doing, int(since[0]), int(until[0]), pc))


@dataclass
class Burst:
    """The joined instructions on one bank that feed a consumer.

    Its groups are worked out as soon as there are slots for them; the rest as the consumer takes
    sums and leaves slots behind.
    """

    timeline: Timeline
    name: str
    unit: Unit
    latency: int
    segments: list[Segment] = field(default_factory=list)
    ready: list[Int] = field(default_factory=list)
    first: Int = field(init=False)
    ended: bool = False

    def add(self, segment: Segment) -> None:
        """One more instruction; the last one starts the burst."""
        self.segments.append(segment)
        for page in segment.pages:
            page.held += 1
        if not segment.work.join:
            self._begin(segment.start_after)
            for _ in range(min(segment.work.groups, len(self.unit.slots))):
                self._next()

    def group(self, number: int) -> Int:
        """When the sums of a group can be consumed."""
        while len(self.ready) <= number:
            self._next()
        return self.ready[number]

    def _begin(self, issued: Int) -> None:
        """The bank is free and the whole burst issued; instructions that spill go first."""
        self.unit.free = self._wait("issue", issued)
        spilling = [segment for segment in self.segments if segment.work.spill]
        if spilling:
            self._leave_queue()
        for segment in spilling:
            ready = self._wait("operand", segment.operands)
            rows = sum(map(segment.rows, range(segment.work.groups)), self.timeline.zero)
            self._work(segment, ready, SPILL_CYCLES * rows)

    def _next(self) -> None:
        """Work through the next group, in the next slot."""
        number = len(self.ready)
        self.unit.free = self._wait("slot", self.unit.slots.popleft())
        spilled = any(segment.work.spill for segment in self.segments)
        if number == 0 and not spilled:
            self._leave_queue()
        begun = self.unit.free
        waited = self.timeline.zero
        for segment in self.segments:
            if segment.work.spill:
                continue
            if number == 0:
                before = self.unit.free
                self.unit.free = self._wait("operand", segment.operands)
                waited = waited + self.unit.free - before
            self._work(segment, self.unit.free, segment.rows(number))
        empty = (self.unit.free - begun == waited).astype(np.int64)
        last = np.maximum(empty, int(spilled))  # an empty group, or partial sums brought back
        self._work(self.segments[-1], self.unit.free, last)
        self.ready.append(self.unit.free - 1 + self.latency)
        if len(self.ready) == self.segments[0].work.groups:
            self._end()

    def _wait(self, cause: str, until: Int) -> Int:
        return self.timeline._wait(self.name, cause, self.unit.free, until)

    def _work(self, segment: Segment, start: Int, cycles: Int) -> None:
        self.unit.free = start + cycles
        self.timeline._busy(self.name, segment.pc, start, self.unit.free)

    def _leave_queue(self) -> None:
        """The queue entries of the segments are free from now on."""
        self.first = self.unit.free
        starts = self.unit.starts
        for index, known in enumerate(starts):
            if known is None:
                starts[index] = self.first

    def _end(self) -> None:
        """The last group is done: release the operands."""
        self.ended = True
        self.unit.drained = self.ready[-1]
        for segment in self.segments:
            issued = segment.start_after - 1
            span = Span(segment.pc, self.name, issued, self.first, self.unit.free)
            self.timeline.spans.append(span)
            for page in segment.pages:
                page.held -= 1
                page.released = np.maximum(page.released, self.unit.free)
