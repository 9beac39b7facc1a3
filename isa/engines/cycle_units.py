"""The units of the cycle-by-cycle machine, and what passes between them.

Every unit is a process that runs up to its next `yield` in each cycle: it spends the cycle with
`yield from self.work(...)` or waits with `yield from self.stall(cause)`.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from isa.arithmetic import Int
from isa.core import Core
from isa.format import Instruction
from isa.instructions import DelayEvents
from isa.work import CONTROL, Work

if TYPE_CHECKING:
    from isa.engines.cycle import Machine

Process = Iterator[None]


@dataclass(eq=False)
class Page:
    """One page of a register or window: who wrote the value that it holds, and how many read it.

    Its first writer began the value; those after it made it longer.
    """

    writers: list["Instance"] = field(default_factory=list)
    readers: int = 0

    @property
    def complete(self) -> bool:
        """Whether all that was issued to write it has done so."""
        return all(writer.delivered for writer in self.writers)


@dataclass(eq=False)
class Burst:
    """Sums that `acc.*` instructions on one bank make together for one consumer."""

    bank: "Bank"
    parts: list["Instance"] = field(default_factory=list)
    closed: bool = False
    ended: bool = False
    ready: dict[int, list[int]] = field(default_factory=dict)

    @property
    def looks(self) -> bool:
        """Whether its groups are looked at ahead: it adds events of kernels, and nothing else."""
        rows = [part.work.rows for part in self.parts]
        return all(one and one.layout.kernel and not one.every for one in rows)

    def take(self, group: int) -> None:
        """The consumer takes a group's sums, which are free in the next cycle."""
        sums = self.ready.pop(group)
        self.bank.machine.after(1, lambda: self.bank.free_sums(sums))


@dataclass(eq=False)
class Instance:
    """One execution of an instruction.

    `cycles` of work, or `rows` by group modulo the period on a bank; `met` are the active events,
    rows and first spills that its counts depend on. It works in cycles `start` .. `end` - 1; what
    it writes is complete in cycle `done`. `timestep` is the one that it works on, if it stands in a
    loop over timesteps; `left` holds what it leaves at its operands, of those that are watched.
    """

    pc: int
    op: Instruction
    work: Work
    cycles: int = 0
    rows_by_group: Int | None = None
    met: tuple[int, int, int] = (0, 0, 0)
    issued: int = -1
    start: int = -1
    end: int = -1
    done: int = -1
    timestep: int | None = None
    delivered: bool = False
    left: dict[str, Int] = field(default_factory=dict)
    reads: list[tuple[Page, tuple["Instance", ...]]] = field(default_factory=list)
    writes: list[tuple[Page, "Instance"]] = field(default_factory=list)
    bursts: list[Burst] = field(default_factory=list)

    @classmethod
    def of(cls, pc: int, op: Instruction, work: Work, core: Core) -> "Instance":
        """An instruction that is about to be carried out on a core of one sample."""
        if work.unit == CONTROL:
            return cls(pc, op, work)
        active = int(core.active(work)[0])
        if work.rows is None:
            cycles = max(work.cycles.of(active, 0, 0), work.at_least)
            return cls(pc, op, work, cycles, met=(active, 0, 0))
        rows = core.bank_rows(work, work.rows)[0]
        total = int(rows[np.arange(work.groups) % len(rows)].sum())
        met = (0, total, int(core.first_to_spill(work)))
        return cls(pc, op, work, rows_by_group=rows, met=met)

    def rows(self, group: int) -> int:
        """Rows that an instruction on a bank reads for a group."""
        assert self.rows_by_group is not None
        return int(self.rows_by_group[group % len(self.rows_by_group)])

    @property
    def operations(self) -> int:
        """Lane operations."""
        return self.work.operations.of(*self.met)

    @property
    def accesses(self) -> Counter[tuple[str, str]]:
        """Rows by memory and direction."""
        return Counter({key: count.of(*self.met) for key, count in self.work.accesses.items()})

    @property
    def operands_complete(self) -> bool:
        """Whether all that it reads has been written."""
        return all(writer.delivered for _, writers in self.reads for writer in writers)

    def free_operands(self) -> None:
        """Nothing more is read."""
        for page, _ in self.reads:
            page.readers -= 1


class Unit:
    """A unit with its queue: a process, and an account of what each of its cycles was spent on."""

    def __init__(self, machine: "Machine", name: str, lanes: int, latency: int) -> None:
        self.machine, self.name, self.lanes, self.latency = machine, name, lanes, latency
        self.queue: deque[Instance] = deque()
        self.active: list[Instance] = []
        self.in_pipeline = Counter[str]()
        self.operations = 0
        self.busy = Counter[int]()
        self.stalls = Counter[tuple[int, str]]()
        self.log: dict[int, tuple[str, int]] = {}
        self.process = self.run()

    def run(self) -> Process:
        """Take one instruction after the other; waiting for one that never comes is idle."""
        while True:
            waited = 0
            while not (self.queue and self.whole(self.queue[0])):
                waited += 1
                yield
            head, now = self.queue[0], self.machine.cycle
            self.stalls[head.pc, "issue"] += waited
            self.log.update(dict.fromkeys(range(now - waited, now), ("issue", head.pc)))
            yield from self.execute(head)

    def whole(self, _: Instance) -> bool:
        """Whether all that belongs to an instruction has been issued."""
        return True

    def execute(self, op: Instance) -> Process:
        """Work on the head of the queue."""
        yield from self.stretch(op)

    def stretch(self, op: Instance) -> Process:
        """n cycles at a stretch."""
        while not op.operands_complete:
            yield from self.stall("operand", op)
        while self.in_pipeline["group"]:
            yield from self.stall("port", op)
        self.begin(op)
        operations, accesses, cycles = op.operations, op.accesses, op.cycles
        for cycle in range(cycles):
            done = min(operations, self.lanes)
            operations -= done
            for key in self.ports(accesses):
                accesses[key] -= 1
                self.machine.access(*key)
            if cycle == cycles - 1:
                self.finish(op, end=self.machine.cycle + 1)
                self.deliver(op, self.latency, "stretch")
            yield from self.work(done, op.pc)
        assert not operations, f"{op.op.mnemonic}: more operations than {cycles} cycles of lanes"
        assert not +accesses, f"{op.op.mnemonic}: more rows than {cycles} cycles of a port"

    def ports(self, accesses: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
        """Through which ports a row goes in this cycle, of those that have some left."""
        return list(+accesses)

    def begin(self, *ops: Instance) -> None:
        """Instructions leave the queue."""
        for op in ops:
            assert self.queue.popleft() is op
            assert op.operands_complete or isinstance(self, Bank)
            op.start = self.machine.cycle
            self.active.append(op)

    def finish(self, *ops: Instance, end: int) -> None:
        """Work ends before cycle `end`: from then on operands are free."""
        for op in ops:
            op.end = end
            if not op.work.paired:
                self.machine.after(end - self.machine.cycle, op.free_operands)
            self.machine.after(end - self.machine.cycle, partial(self.active.remove, op))

    def deliver(self, op: Instance, latency: int, kind: str) -> None:
        """In `latency` cycles the last result leaves the pipeline."""

        def delivered() -> None:
            self.in_pipeline[kind] -= 1
            for page, first in op.writes:
                assert page.writers[0] is first, f"{op.op.mnemonic}: its page was taken"
            op.delivered, op.done = True, self.machine.cycle
            if kind == "group":
                op.free_operands()

        self.in_pipeline[kind] += 1
        self.machine.after(latency, delivered)

    def work(self, operations: int, pc: int) -> Process:
        """A cycle of work on an instruction."""
        assert operations <= self.lanes, f"{self.name}: {operations} operations in a cycle"
        self.busy[pc] += 1
        self.log[self.machine.cycle] = ("busy", pc)
        self.operations += operations
        self.machine.progress = True
        yield

    def stall(self, cause: str, op: Instance) -> Process:
        """A cycle in which an instruction waits."""
        self.stalls[op.pc, cause] += 1
        self.log[self.machine.cycle] = (cause, op.pc)
        yield

    @property
    def drained(self) -> bool:
        """Whether nothing is queued, worked on or in the pipeline."""
        return not self.queue and not self.active and not +self.in_pipeline


class DelayUnit(Unit):
    """Events set bits of a ring memory, one cycle after their delays are read; then rows leave."""

    def execute(self, op: Instance) -> Process:
        """Take events one by one, then read and clear the timestep's rows."""
        if not isinstance(op.op, DelayEvents):
            yield from self.stretch(op)
            return
        while not op.operands_complete:
            yield from self.stall("operand", op)
        self.begin(op)
        for _ in range(op.operations):
            self.machine.access("axon", "reads")
            self.machine.after(1, lambda: self.machine.access("ring", "writes"))
            yield from self.work(1, op.pc)
        yield from self.work(0, op.pc)  # the last event's bit is set
        rows = -(-op.op.inputs // self.machine.target.delay.lanes)
        for row in range(rows):
            self.machine.access("ring", "reads")
            yield from self.work(0, op.pc)
            if row == rows - 1:
                self.finish(op, end=self.machine.cycle + 1)
                self.deliver(op, self.latency, "stretch")
            self.machine.access("ring", "writes")
            yield from self.work(0, op.pc)


class Loader(Unit):
    """The port to external memory; rows on the chip go through ports that only the loader uses."""

    def ports(self, accesses: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
        """One transfer outside the chip; any number of rows on it, which are counted at once."""
        near = {key: rows for key, rows in (+accesses).items() if key[0] != "external"}
        for key, rows in near.items():
            accesses[key] -= rows
            self.machine.accesses[key] += rows
        return [key for key in accesses if accesses[key]][:1]


class GroupUnit(Unit):
    """Neuron or readout unit: group by group on a single-port memory; clears and the like."""

    def __init__(self, machine: "Machine", name: str, lanes: int, latency: int) -> None:
        super().__init__(machine, name, lanes, latency)
        self.in_flight = set[int]()  # rows that were read and are not written back
        self.hold = 0  # cycles by which the latest group work writes them later

    def execute(self, op: Instance) -> Process:
        """Group work, or one stretch."""
        yield from self.groups(op) if op.work.paired else self.stretch(op)

    def groups(self, op: Instance) -> Process:
        """Two cycles for each state of each group: its row is read, and written back later."""
        work = op.work
        while not op.operands_complete:
            yield from self.stall("operand", op)
        while self.in_pipeline["stretch"] or (self.hold != work.hold and self.in_pipeline["group"]):
            yield from self.stall("port", op)
        self.hold = work.hold
        for group, state in product(range(work.groups), range(work.states)):
            bursts = op.bursts if state == 0 else []
            while not all(group in burst.ready for burst in bursts):
                yield from self.stall("sums", op)
            row = work.row + group + state * work.apart
            while row in self.in_flight or not self.may_read:
                yield from self.stall("port", op)
            if group == state == 0:
                self.begin(op)
            for burst in bursts:
                burst.take(group)
            last = group == work.groups - 1 and state == work.states - 1
            self.visit(op, row, written=state >= work.read_only)
            if state == work.states - 1:
                self.limits(op)
            if last:
                self.deliver(op, self.latency + self.hold + 1, "group")
            yield from self.work(self.lanes if state >= work.read_only else 0, op.pc)
            if last:
                self.finish(op, end=self.machine.cycle + 1)
            yield from self.work(0, op.pc)

    @property
    def may_read(self) -> bool:
        """Whether the port is free, or will be for a read: writes wait with an even latency."""
        return self.name not in self.machine.ports or (self.latency + self.hold) % 2 == 0

    def visit(self, op: Instance, row: int, *, written: bool) -> None:
        """Read a row, which is in flight until the cycle in which it is, or would be, written."""
        machine, latency = self.machine, self.latency + self.hold
        if self.name in machine.ports:  # a row to be written waits in a register
            machine.after(1, partial(machine.take, self.name, machine.ports.pop(self.name)))
        machine.access(self.name, "reads")
        self.in_flight.add(row)
        machine.after(latency + 1, partial(self.in_flight.remove, row))
        if not written:
            machine.after(latency, lambda: machine.take(self.name, (self.name, "nothing")))
        else:
            machine.after(latency, lambda: machine.access(self.name, "writes"))
        every = op.accesses["parameter", "reads"] >= op.work.groups * op.work.states
        if every or (written and op.accesses["parameter", "reads"]):
            machine.access("parameter", "reads", port=f"parameter of {self.name}")

    def limits(self, op: Instance) -> None:
        """A record more than states is read in the second cycle of the last one's visit."""
        if op.accesses["parameter", "reads"] > op.work.groups * op.work.states:
            port = f"parameter of {self.name}"
            self.machine.after(1, partial(self.machine.access, "parameter", "reads", port=port))


class Bank(Unit):
    """A weight memory with its lanes and accumulator slots."""

    def __init__(self, machine: "Machine", name: str, lanes: int, latency: int) -> None:
        super().__init__(machine, name, lanes, latency)
        self.sums_in_use = [False] * 2 * machine.target.accumulators.slots
        self.sums_taken = 0

    def free_sums(self, sums: list[int]) -> None:
        """Sums can be used again."""
        for number in sums:
            self.sums_in_use[number] = False

    def take_sums(self, burst: Burst) -> list[int] | None:
        """The sums that its next group takes, or None while one of them is in use."""
        every = len(self.sums_in_use)
        sums = [(self.sums_taken + n) % every for n in range(1 if burst.looks else 2)]
        if any(self.sums_in_use[number] for number in sums):
            return None
        for number in sums:
            self.sums_in_use[number] = True
        self.sums_taken += len(sums)
        return sums

    def whole(self, op: Instance) -> bool:
        """Whether the burst's last instruction has been issued."""
        return op.bursts[0].closed

    def execute(self, op: Instance) -> Process:
        """A whole burst."""
        (burst,) = op.bursts
        spilling = [op for op in burst.parts if op.work.spill]
        if spilling:
            self.begin(*burst.parts)
            yield from self.spill(spilling)
        others = [op for op in burst.parts if not op.work.spill]
        if not burst.looks:
            for group in range(op.work.groups):
                yield from self.group(burst, group, others)
        else:
            yield from self.group(burst, 0, others)
            yield from self.groups_ahead(burst)
        burst.ended = True
        self.finish(*burst.parts, end=self.machine.cycle)

    def spill(self, spilling: list[Instance]) -> Process:
        """Instruction by instruction over all groups; partial sums come and go on one port."""
        for op in spilling:
            while not op.operands_complete:
                yield from self.stall("operand", op)
            for _ in range(sum(map(op.rows, range(op.work.groups)))):
                self.machine.access(self.name, "reads")
                self.machine.access("partial", "reads", port=f"partial of {self.name}")
                yield from self.work(self.lanes, op.pc)
                self.machine.access("partial", "writes", port=f"partial of {self.name}")
                yield from self.work(0, op.pc)

    def group(self, burst: Burst, group: int, others: list[Instance]) -> Process:
        """All rows of the group; at the end its partial sum, if there is one, is brought back."""
        while (sums := self.take_sums(burst)) is None:
            yield from self.stall("slot", burst.parts[0])
        spilled = len(others) < len(burst.parts)
        if group == 0 and not spilled:
            self.begin(*burst.parts)
        rows = 0
        for op in others:
            while group == 0 and not op.operands_complete:
                yield from self.stall("operand", op)
            for _ in range(op.rows(group)):
                rows += 1
                self.machine.access(self.name, "reads")
                yield from self.work(self.lanes, op.pc)
        if spilled:
            self.machine.access("partial", "reads", port=f"partial of {self.name}")
        if spilled or not rows:
            yield from self.work(0, burst.parts[-1].pc)
        self.hand_on(burst, group, sums, self.latency - 1)  # now it is the cycle after its last

    def groups_ahead(self, burst: Burst) -> Process:
        """Groups from 1 on: in a cycle one is looked at, and a row is read of one that has some."""
        reads = deque[tuple[Instance, tuple[int, list[int]] | None]]()
        group, groups = 1, burst.parts[0].work.groups
        while reads or group < groups:
            sums = self.take_sums(burst) if group < groups else None
            if sums:
                rows = [part for part in burst.parts for _ in range(part.rows(group))]
                if rows:
                    reads += [(part, None) for part in rows[:-1]]
                    reads.append((rows[-1], (group, sums)))
                else:
                    self.hand_on(burst, group, sums, self.latency)
                group += 1
            if reads:
                part, whole = reads.popleft()
                self.machine.access(self.name, "reads")
                if whole:
                    self.hand_on(burst, *whole, self.latency)
                yield from self.work(self.lanes, part.pc)
            elif sums:
                yield from self.work(0, burst.parts[-1].pc)
            else:
                yield from self.stall("slot", burst.parts[0])

    def hand_on(self, burst: Burst, group: int, sums: list[int], latency: int) -> None:
        """In `latency` cycles the consumer can take a group's sums."""
        self.deliver(burst.parts[-1], latency, "sums")
        self.machine.after(latency, lambda: burst.ready.update({group: sums}))
