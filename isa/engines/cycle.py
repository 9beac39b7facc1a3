"""The cycle engine: the machine of docs/microarchitecture.md, one cycle after the other.

In a cycle, first what was due in it happens (pipelines deliver, ports are taken by writes), then
every unit acts, then the sequencer issues: so an instruction issued in a cycle is seen by its unit
in the next. Nothing is computed ahead. What an instruction computes, and so how many rows it reads,
is worked out when the sequencer takes it up, on the reference engine's core: registers and memories
that a snapshot shows are those of program order. Assertions say what no machine that could be built
does.

It is written from the page alone, for whoever designs the hardware and as the oracle of the other
engines' timing, and it is slow.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from isa.arithmetic import Int
from isa.core import Core
from isa.engines.counts import Counts, Place, Run, Watched
from isa.engines.cycle_units import (
    Bank,
    Burst,
    DelayUnit,
    GroupUnit,
    Instance,
    Loader,
    Page,
    Unit,
)
from isa.engines.program import Prepared, Watch, gathered, watch
from isa.engines.reference import check_inputs, look, snapshot
from isa.engines.session import By, Snapshot
from isa.engines.trace import Interval, Span, Trace
from isa.errors import Trap
from isa.image import Image
from isa.instructions import Halt, Sync
from isa.target import Target
from isa.work import CONTROL, SKIPPED


class Machine:
    """All units, the sequencer, and a clock."""

    def __init__(self, target: Target, program: Iterator[Instance]) -> None:
        self.target = target
        self.cycle = 0
        self.progress = False
        self.due: dict[int, list[Callable[[], object]]] = defaultdict(list)
        self.ports: dict[str, tuple[str, str]] = {}
        self.accesses = Counter[tuple[str, str]]()
        lanes = target.lanes
        units: list[Unit] = [Bank(self, bank.name, lanes, bank.latency) for bank in target.bank]
        units += [
            Unit(self, "event", 1, 1),
            DelayUnit(self, "delay", 1, target.delay.latency),
            Unit(self, "drive", 1, target.drive.latency),
            Unit(self, "update", target.update.lanes, target.update.latency),
            GroupUnit(self, "neuron", lanes, target.neuron.latency),
            GroupUnit(self, "readout", lanes, target.readout.latency),
        ]
        if target.external:
            units.append(Loader(self, "loader", 1, target.external.latency))
        self.units = {unit.name: unit for unit in units}  # sums come before those who take them
        self.registers: dict[str, list[Page]] = defaultdict(lambda: [Page(), Page()])
        self.bursts: dict[int, Burst] = {}
        self.waiting: Instance | None = None
        self.last_issue = -1
        self.issued_all = False
        self.program = program

    def after(self, cycles: int, action: Callable[[], object]) -> None:
        """Do something at the start of a later cycle, or now."""
        if cycles:
            self.due[self.cycle + cycles].append(action)
        else:
            action()

    def access(self, memory: str, direction: str, port: str | None = None) -> None:
        """A row goes through a port; another in the same cycle is impossible."""
        self.take(memory if port is None else port, (memory, direction))
        self.accesses[memory, direction] += 1

    def take(self, port: str, use: tuple[str, str]) -> None:
        """A port has its cycle: for a row of a memory in a direction, or for nothing."""
        assert port not in self.ports, f"cycle {self.cycle}: two rows on the port of {port}"
        self.ports[port] = use

    @property
    def drained(self) -> bool:
        """Whether every unit is idle and every result in place."""
        return all(unit.drained for unit in self.units.values())

    def clock(self) -> bool:
        """One cycle; False, and it is none, when all has been issued and every unit is drained."""
        if self.waiting is None and not self.issued_all:
            self.waiting = next(self.program, None)
            self.issued_all = self.waiting is None
        self.ports.clear()
        actions = self.due.pop(self.cycle, [])
        self.progress = bool(actions)
        for action in actions:
            action()
        if self.issued_all and self.drained:
            return False
        for unit in self.units.values():
            next(unit.process)
        if self.waiting and self.can_issue(self.waiting):
            self.issue(self.waiting)
        self.check()
        if not self.progress and not self.due:
            self.deadlock()
        self.cycle += 1
        return True

    def can_issue(self, instance: Instance) -> bool:
        """Whether the sequencer may issue an instruction in this cycle."""
        if isinstance(instance.op, Sync):
            return self.drained
        if instance.work.unit == CONTROL:
            return True
        queue = self.units[instance.work.unit].queue
        return len(queue) < self.target.sequencer.queue and not self.occupied(instance)

    def deadlock(self) -> None:
        """Nothing can ever happen again."""
        instance = self.waiting
        assert instance is not None
        reason = f"a burst on {instance.work.unit} is longer than the queue before it"
        if isinstance(instance.op, Sync):
            stuck = next(n for n, burst in sorted(self.bursts.items()) if not burst.ended)
            bank = self.target.bank[stuck].name
            reason = f"sync waits for {bank}, whose burst waits for a consumer"
        elif self.occupied(instance):
            page = instance.work.writes[0]
            reason = f"{page} is written while a burst that reads it cannot end"
        raise Trap(f"deadlock: {reason}", pc=instance.pc, cycle=self.last_issue + 1)

    def occupied(self, instance: Instance) -> bool:
        """Whether a page that an instruction is going to write is read, or not even written."""
        pages = [self.registers[name][1] for name in instance.work.writes]
        return any(page.readers or not page.complete for page in pages)

    def issue(self, instance: Instance) -> None:
        """Bind registers to pages and sums to bursts, as program order has them; then queue."""
        self.progress, self.waiting, self.last_issue = True, None, self.cycle
        instance.issued = self.cycle
        if instance.work.unit == CONTROL:
            return
        unit = self.units[instance.work.unit]
        for name in instance.work.reads:
            page = self.registers[name][0]
            page.readers += 1
            instance.reads.append((page, tuple(page.writers)))
        for name in instance.work.appends:
            page = self.registers[name][0]
            page.writers.append(instance)
            instance.writes.append((page, page.writers[0]))
        for name in instance.work.writes:
            self.registers[name].reverse()
            page = self.registers[name][0]
            page.writers = [instance]
            instance.writes.append((page, instance))
        if isinstance(unit, Bank):
            assert instance.work.bank is not None
            burst = self.bursts.setdefault(instance.work.bank, Burst(unit))
            burst.parts.append(instance)
            burst.closed = not instance.work.join
            instance.bursts = [burst]
        else:
            instance.bursts = [self.bursts.pop(bank) for bank in instance.work.consumes]
        unit.queue.append(instance)

    def check(self) -> None:
        """What no cycle of a machine that could be built may show."""
        for unit in self.units.values():
            assert len(unit.queue) <= self.target.sequencer.queue
            for op in (*unit.queue, *unit.active):
                for page, writers in op.reads:
                    kept = tuple(page.writers[: len(writers)])
                    assert kept == writers, f"{op.op.mnemonic}: its operand was overwritten"


class CycleSession:
    """A sample on the machine of the page, between two cycles."""

    def __init__(self, prepared: Prepared, sample: Int, watches: list[Watch]) -> None:
        self.prepared = prepared
        self.core = Core(prepared.code, prepared.loaded, np.asarray(sample, np.int64)[None])
        self.machine = Machine(prepared.target, self._program())
        self.instances: list[Instance] = []
        self._carried_out = 0
        self.limit: int | None = None
        self.ended = False
        self._watches = watches
        self.seen: dict[Place, list[Int]] = {item.place: [] for item in watches}

    def _program(self) -> Iterator[Instance]:
        """Every instruction that the sequencer meets, carried out when it is asked for."""
        core, sequencer = self.core, self.core.sequencer
        while True:
            try:
                if self._carried_out == self.limit:
                    core.trap(f"the program ran longer than {self.limit} instructions")
                self._carried_out += 1
                op, pc = sequencer.fetch(), sequencer.pc
                enabled = sequencer.enabled(op)
                runs = enabled and sequencer.due(op)
                work = self.prepared.works[pc] if runs else SKIPPED
                instance = Instance.of(pc, op, work, core)
                if sequencer.iteration is not None:
                    instance.timestep = sequencer.iteration - op.stage
                if runs:
                    op.execute(core)
            except Trap as trap:
                cycle = self.machine.last_issue + 1
                raise Trap(trap.cause, pc=sequencer.pc, cycle=cycle) from None
            if isinstance(op, Halt):
                return
            self.instances.append(instance)
            for item in self._watches if enabled else ():
                if item.place[0] == pc:
                    found = look(core, item)
                    self.seen[item.place].append(found)
                    instance.left[item.place[1]] = found[0]
            sequencer.advance()
            yield instance

    def step(self, by: By = "instruction", count: int = 1) -> bool:
        """Go on by so many cycles, instructions issued or timesteps taken."""

        def done() -> int:
            return {
                "cycle": self.machine.cycle,
                "instruction": len(self.instances),
                "timestep": self.core.timestep,
            }[by]

        until = done() + count
        while done() < until and not self.ended:
            self.ended = not self.machine.clock()
        return not self.ended

    def finish(self) -> None:
        """Go on to the end."""
        while not self.ended:
            self.ended = not self.machine.clock()

    def snapshot(self) -> Snapshot:
        """Where the sample stands; the cycle is the next one."""
        logits = np.concatenate(self.core.outputs or [self.core.zeros(0)], axis=1)[0]
        return snapshot(self.core, self.machine.cycle, logits)

    @property
    def cycles(self) -> int:
        """Cycles so far; of a sample that has ended, all of its own."""
        return self.machine.cycle

    @property
    def instructions(self) -> int:
        """How many it took up, skipped ones among them."""
        return self._carried_out

    @property
    def saturations(self) -> Counter[tuple[int, str]]:
        """Elements that did not fit their width."""
        return +self.core.saturation.counts

    @property
    def counts(self) -> Counts:
        """What the sample did so far; rows and operations of all that was issued."""
        counts = Counts(cycles=self.cycles, instructions=self.instructions)
        for instance in self.instances:
            if instance.work.unit != CONTROL:
                counts.met(instance.pc, instance.work, 1, *instance.met)
        for unit in self.machine.units.values():
            for pc, number in unit.busy.items():
                counts.busy_at[pc, unit.name] = number
            for (pc, cause), number in (+unit.stalls).items():
                counts.stalls_at[pc, unit.name, cause] = number
        counts.saturable.update(self.core.saturation.total)
        counts.saturations.update(+self.core.saturation.counts)
        return counts

    def trace(self) -> Trace:
        """When instructions ran, and what units did in each cycle."""
        spans = [
            Span(i.pc, i.work.unit, i.issued, i.start, i.end)
            for i in self.instances
            if i.work.unit != CONTROL
        ]
        intervals = [
            Interval(unit.name, doing, cycle, cycle + 1, pc)
            for unit in self.machine.units.values()
            for cycle, (doing, pc) in sorted(unit.log.items())
        ]
        return Trace(spans, intervals, self.cycles)


class CycleEngine:
    """Steps every sample through every cycle."""

    name = "cycle"

    def __init__(self, image: Image, prepared: Prepared | None = None) -> None:
        self.prepared = prepared or Prepared(image)
        self.image = image

    def run(
        self,
        inputs: Int,
        *,
        batch: int = 1,
        watched: Watched = (),
        progress: Callable[[int], None] | None = None,
        limit: int | None = None,
        threads: int | None = None,
    ) -> Run:
        """Run `inputs`, int64 [samples, timesteps, inputs]; see `isa.engines.Engine`.

        One sample after the other on one thread, however many it may take together.
        """
        del batch, threads
        check_inputs(inputs)
        watches = [watch(self.prepared, place) for place in dict.fromkeys(watched)]
        counts, sessions = Counts(), []
        for sample in inputs:
            session = CycleSession(self.prepared, sample, watches)
            session.limit = limit
            session.finish()
            counts.add(session.counts)
            sessions.append(session)
            if progress:
                progress(1)
        return Run(
            np.stack([s.snapshot().logits for s in sessions]),
            np.array([s.cycles for s in sessions]),
            counts,
            {
                w.place: np.concatenate([gathered(w, s.seen[w.place], 1) for s in sessions])
                for w in watches
            },
        )

    def reset(self, sample: Int, watched: Watched = ()) -> CycleSession:
        """The start of one sample [timesteps, inputs], to be stepped through."""
        check_inputs(sample[None])
        watches = [watch(self.prepared, place) for place in dict.fromkeys(watched)]
        return CycleSession(self.prepared, sample, watches)

    def trace(self, sample: Int) -> Trace:
        """The timing of one sample [timesteps, inputs] in every cycle."""
        session = self.reset(sample)
        session.finish()
        return session.trace()
