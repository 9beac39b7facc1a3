"""The machine of docs/microarchitecture.md, one cycle after the other, for one sample.

In a cycle, first what was due in it happens (pipelines deliver, ports are taken by writes), then
every unit acts, then the sequencer issues: so an instruction issued in a cycle is seen by its unit
in the next. Nothing is computed ahead; what instructions compute, and so how many rows they read,
comes from running them on a `Core` before. Assertions say what no machine that could be built does.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isa.core import Core
from isa.image import Image, contents
from isa.instructions import Sync
from isa.target import Target
from tests.isa.stepper_units import Bank, Burst, DelayUnit, GroupUnit, Instance, Page, Process, Unit


class Deadlock(Exception):
    """Nothing can ever happen again."""


def unrolled(image: Image, sample: np.ndarray) -> list[Instance]:
    """Every instruction that the sequencer meets for `sample` [timesteps, inputs], in order."""
    core = Core(image.target, contents(image), sample[None])
    met = []
    ended = False
    while not ended:
        pc, op = core.pc, image.code[core.pc]
        enabled = core.enabled(op.stage)
        work = op.work(core) if enabled else None
        if enabled:
            op.execute(core)
        met.append(Instance(pc, op, work if work and work.unit != "control" else None))
        ended = core.advance()
    return met


class Machine:
    """All units, the sequencer, and a clock."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.cycle = 0
        self.progress = False
        self.due: dict[int, list[Callable[[], object]]] = defaultdict(list)
        self.ports: set[str] = set()
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
        self.units = {unit.name: unit for unit in units}  # sums come before those who take them
        self.registers: dict[str, list[Page]] = defaultdict(lambda: [Page(), Page()])
        self.bursts: dict[int, Burst] = {}

    def after(self, cycles: int, action: Callable[[], object]) -> None:
        """Do something at the start of a later cycle, or now."""
        if cycles:
            self.due[self.cycle + cycles].append(action)
        else:
            action()

    def access(self, memory: str, direction: str, port: str | None = None) -> None:
        """A row goes through a port; another in the same cycle is impossible."""
        port = memory if port is None else port
        assert port not in self.ports, f"cycle {self.cycle}: two rows on the port of {port}"
        self.ports.add(port)
        self.accesses[memory, direction] += 1

    def run(self, program: list[Instance]) -> int:
        """Step until the last instruction, `sync`, is issued; the cycles of the sample."""
        sequencer = self.sequence(program)
        while True:
            self.ports.clear()
            actions = self.due.pop(self.cycle, [])
            self.progress = bool(actions)
            for action in actions:
                action()
            for unit in self.units.values():
                next(unit.process)
            if next(sequencer, "issued all") is not None:
                return self.cycle
            self.check()
            if not self.progress and not self.due:
                raise Deadlock(f"cycle {self.cycle}")
            self.cycle += 1

    def sequence(self, program: list[Instance]) -> Process:
        """Issue in order, one instruction a cycle."""
        for instance in program:
            if isinstance(instance.op, Sync):
                while not all(unit.drained for unit in self.units.values()):
                    yield
            elif instance.work:
                unit = self.units[instance.work.unit]
                while len(unit.queue) == self.target.sequencer.queue or self.occupied(instance):
                    yield
                self.issue(instance, unit)
            self.progress = True
            yield

    def occupied(self, instance: Instance) -> bool:
        """Whether a page that an instruction is going to write is read, or not even written."""
        pages = [self.registers[name][1] for name in instance.work.writes]
        return any(page.readers or (page.writer and not page.complete) for page in pages)

    def issue(self, instance: Instance, unit: Unit) -> None:
        """Bind registers to pages and sums to bursts, as program order has them; then queue."""
        instance.issued = self.cycle
        for name in instance.work.reads:
            page = self.registers[name][0]
            page.readers += 1
            instance.reads.append((page, page.writer))
        for name in instance.work.writes:
            self.registers[name].reverse()
            page = self.registers[name][0]
            page.writer, page.complete = instance, False
            instance.writes.append(page)
        if isinstance(unit, Bank):
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
                for page, writer in op.reads:
                    assert page.writer is writer, f"{op.op.mnemonic}: its operand was overwritten"


@dataclass(frozen=True)
class Stepped:
    """What stepping a sample counted."""

    cycles: int
    busy: dict[str, int]
    stalls: dict[tuple[str, str], int]
    accesses: dict[tuple[str, str], int]
    operations: dict[str, int]
    spans: list[tuple[int, str, int, int, int]]
    log: dict[str, dict[int, str]]


def step(image: Image, sample: np.ndarray) -> Stepped:
    """Run one sample [timesteps, inputs]; AssertionError where the page asks the impossible."""
    machine = Machine(image.target)
    program = unrolled(image, np.asarray(sample, np.int64))
    cycles = machine.run(program)
    units = machine.units.values()
    return Stepped(
        cycles,
        {unit.name: unit.busy for unit in units if unit.busy},
        {(unit.name, cause): n for unit in units for cause, n in (+unit.stalls).items()},
        dict(machine.accesses),
        {unit.name: unit.operations for unit in units if unit.operations},
        [(i.pc, i.work.unit, i.issued, i.start, i.end) for i in program if i.work],
        {unit.name: unit.log for unit in units if unit.log},
    )
