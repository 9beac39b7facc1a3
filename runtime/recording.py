"""A sample on the machine of docs/microarchitecture.md, kept cycle by cycle, to be drawn.

It is run by the cycle engine, which knows in each cycle what passes through every port.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isa.arithmetic import Int
from isa.engines.cycle import CycleEngine, CycleSession
from isa.engines.cycle_units import Instance
from isa.engines.trace import Interval
from isa.errors import named
from isa.work import CONTROL
from runtime.errors import RuntimeFailure
from runtime.places import Left

if TYPE_CHECKING:
    from runtime.program import Program

MOST = 1_000_000
"""Cycles that are kept of a sample: each takes a few hundred bytes."""


@dataclass(frozen=True)
class Ran:
    """One execution of an instruction: issued, worked on in `start` .. `end` - 1, `done`.

    `number` is its place among all that were issued, `producers` are the numbers of those whose
    results it reads: registers, windows, or a bank's sums. `ready` is the cycle from which it could
    work, in a burst that may have begun without it. `timestep` is None outside their loop.
    """

    number: int
    pc: int
    unit: str
    timestep: int | None
    issued: int
    start: int
    end: int
    done: int
    ready: int
    producers: tuple[int, ...]


@dataclass(frozen=True)
class Issued:
    """What the sequencer issued in a cycle, or skipped; `iteration` of a loop over timesteps."""

    cycle: int
    pc: int
    iteration: int | None


@dataclass(frozen=True)
class Use:
    """Rows that went one a cycle through a port in cycles `since` .. `until` - 1."""

    port: str
    memory: str
    direction: str
    since: int
    until: int


@dataclass(frozen=True)
class Value:
    """What an instruction left, from the cycle in which all of it was in its place."""

    cycle: int
    left: Left
    data: Int


@dataclass(frozen=True)
class Recording:
    """Cycles `since` .. `until` - 1 of a sample.

    `units` are those that ever worked. `ran` and `issued` are in program order; of what `ran`, all
    that was somewhere in the machine in these cycles. `doing` are the stretches of units' cycles in
    which they were busy with one instruction or waited for one cause.
    """

    since: int
    until: int
    units: tuple[str, ...]
    ran: list[Ran] = field(default_factory=list)
    issued: list[Issued] = field(default_factory=list)
    doing: list[Interval] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def queue(self, unit: str) -> list[tuple[int, int]]:
        """Instructions in a unit's queue at the end of a cycle, from each cycle that changes it."""
        steps: dict[int, int] = defaultdict(int)
        for item in self.ran:
            if item.unit == unit:
                steps[max(item.issued, self.since)] += 1
                if item.start >= 0:
                    steps[max(item.start, self.since)] -= 1
        level, levels = 0, []
        for cycle, change in sorted(steps.items()):
            if change and cycle < self.until:
                level += change
                levels.append((cycle, level))
        return levels


def record(
    program: "Program",
    sample: Int,
    *,
    timesteps: range | None = None,
    watched: Iterable[Left] = (),
    cycles: int = 0,
) -> Recording:
    """Record one sample of the device's integers [timesteps, inputs], or some of its timesteps.

    Of timesteps, what is recorded are all cycles in which the machine worked on one of them, with
    whatever else it did in those. Raises RuntimeFailure where that is too much, at once if it is
    known how many `cycles` the sample takes; Trap as a run.
    """
    if timesteps is None and cycles > MOST:
        raise _too_long(program)
    watches = {item.place: item for item in watched}
    with named(program.origin):
        session = CycleEngine(program.image).reset(sample, watches)
        window = _Window(session, timesteps)
        ports = _Ports()
        while session.step("cycle"):
            if window.begun():
                ports.see(session.cycles - 1, session.machine.ports)
                if session.cycles - window.since > MOST:
                    raise _too_long(program)
                if window.over():
                    break
            else:
                window.forget()
    if not window.begun():
        raise RuntimeFailure(
            f"{program.origin}: the sample has {len(sample)} timesteps, from 0; "
            f"none of {window.wanted} is worked on"
        )
    since, until = window.since, window.until
    return Recording(
        since,
        until,
        tuple(name for name, unit in session.machine.units.items() if unit.log),
        list(_ran(session, since, until)),
        [
            Issued(i.issued, i.pc, None if i.timestep is None else i.timestep + i.op.stage)
            for i in session.instances
            if since <= i.issued < until
        ],
        list(_merged(session, since, until)),
        [use for use in ports.end() if use.since < until],
        list(_values(session, watches, until)),
    )


def _too_long(program: "Program") -> RuntimeFailure:
    hint = "choose --timesteps, such as 0:10"
    return RuntimeFailure(f"{program.origin}: a trace of more than {MOST:,} cycles; {hint}")


class _Window:
    """The cycles in which a machine works on some timesteps, as the machine goes on."""

    def __init__(self, session: CycleSession, timesteps: range | None) -> None:
        self.session, self.timesteps = session, timesteps
        self.since = -1 if timesteps else 0
        self._until: int | None = None
        self._read = 0
        self._inside: list[Instance] = []
        self._past = False
        self._stages = max((op.stage for op in session.prepared.code), default=0)

    @property
    def wanted(self) -> str:
        """The timesteps that were asked for."""
        assert self.timesteps
        return f"{self.timesteps[0]} .. {self.timesteps[-1]}"

    @property
    def until(self) -> int:
        """The end, of the sample if it came first."""
        return self.session.cycles if self._until is None else self._until

    def begun(self) -> bool:
        """Whether an instruction of one of the timesteps was issued; to be asked every cycle."""
        if self.timesteps is not None:
            self._look(self.timesteps)
        return self.since >= 0

    def _look(self, timesteps: range) -> None:
        for instance in self.session.instances[self._read :]:
            if instance.issued < 0:
                break  # the sequencer holds it
            self._read += 1
            if instance.timestep is None:
                self._past = self._past or bool(self._inside)
                continue
            iteration = instance.timestep + instance.op.stage
            self._past = self._past or iteration >= timesteps.stop + self._stages
            if instance.timestep in timesteps and instance.work.unit != CONTROL:
                self._inside.append(instance)
                if self.since < 0:
                    self.since = instance.issued

    def forget(self) -> None:
        """What units did before is not kept."""
        if self.session.cycles % 4096 == 0:
            for unit in self.session.machine.units.values():
                unit.log.clear()

    def over(self) -> bool:
        """Whether all of the timesteps is done, and it is known why units waited until then."""
        if not self._past:
            return False
        if self._until is None:
            if not all(i.done >= 0 or (i.work.join and i.end >= 0) for i in self._inside):
                return False
            self._until = max(max(i.done + 1, i.end) for i in self._inside)
        logs = [unit.log for unit in self.session.machine.units.values() if unit.log]
        return all(next(reversed(log)) >= self._until for log in logs)


class _Ports:
    """What goes through ports, as stretches of cycles."""

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self._open: dict[str, tuple[tuple[str, str], int, int]] = {}

    def see(self, cycle: int, ports: dict[str, tuple[str, str]]) -> None:
        """What goes through them in a cycle."""
        for port, what in ports.items():
            before, since, until = self._open.get(port, (what, cycle, cycle))
            if before != what or until != cycle:
                self.uses.append(Use(port, *before, since, until))
                since = cycle
            self._open[port] = what, since, cycle + 1

    def end(self) -> list[Use]:
        """All of them, by port and time."""
        left = (Use(port, *what, since, until) for port, (what, since, until) in self._open.items())
        return sorted([*self.uses, *left], key=lambda use: (use.port, use.since))


def _ran(session: CycleSession, since: int, until: int) -> Iterator[Ran]:
    """What ran, unless it was over before."""
    number = {id(instance): n for n, instance in enumerate(session.instances)}
    for n, i in enumerate(session.instances):
        if i.work.unit == CONTROL or not 0 <= i.issued < until:
            continue
        writers = [writer for _, writers in i.reads for writer in writers]
        ready = min(max([i.start, *(w.done for w in writers)]), max(i.start, i.end - 1))
        wrote = {number[id(w)] for w in writers}
        if i.work.bank is None:
            wrote |= {number[id(part)] for burst in i.bursts for part in burst.parts}
        if max(i.done, i.end) >= since or i.end < 0:
            yield Ran(n, i.pc, i.work.unit, i.timestep, i.issued, i.start, i.end, i.done, ready,
                      tuple(sorted(wrote)))  # fmt: skip


def _merged(session: CycleSession, since: int, until: int) -> Iterator[Interval]:
    """What units did, in stretches as long as they are."""
    for unit in session.machine.units.values():
        open_: Interval | None = None
        for cycle, (doing, pc) in sorted(unit.log.items()):
            if not since <= cycle < until:
                continue
            if open_ and open_.until == cycle and (open_.doing, open_.pc) == (doing, pc):
                open_ = Interval(unit.name, doing, open_.since, cycle + 1, pc)
                continue
            if open_:
                yield open_
            open_ = Interval(unit.name, doing, cycle, cycle + 1, pc)
        if open_:
            yield open_


def _values(
    session: CycleSession, watches: dict[tuple[int, str], Left], until: int
) -> Iterator[Value]:
    found = [
        Value(i.done, watches[i.pc, operand], data)
        for i in session.instances
        for operand, data in i.left.items()
        if 0 <= i.done < until
    ]
    yield from sorted(found, key=lambda value: value.cycle)
