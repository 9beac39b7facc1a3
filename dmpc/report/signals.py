"""Recordings as signals of a digital circuit, whatever file they go to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from isa.image import Image
from isa.interface import provenance
from runtime.recording import Recording

FEMTOSECONDS = 1_000_000_000  # in a microsecond
UNITS = {1_000_000: "ns", 1_000: "ps", 1: "fs"}

Shown = int | str | None
"""What a signal shows: a number, a text, or nothing that is known."""


@dataclass(frozen=True)
class Clock:
    """When cycles begin, in units of a dump's time."""

    femtoseconds: float
    step: int

    @classmethod
    def of(cls, megahertz: float) -> "Clock":
        """The coarsest unit in which both edges of a clock are whole numbers, or the finest."""
        period = FEMTOSECONDS / megahertz
        fits = (step for step in UNITS if (period / 2) % step == 0)
        return cls(period, next(fits, 1))

    @property
    def unit(self) -> str:
        """The name of the unit."""
        return UNITS[self.step]

    def at(self, half: int) -> int:
        """The time after so many half cycles."""
        return round(half * self.femtoseconds / self.step / 2)


@dataclass(frozen=True)
class Signal:
    """A wire of `bits`, or a text if it has none, in nested scopes."""

    scope: tuple[str, ...]
    name: str
    bits: int = 0


@dataclass
class Signals:
    """Signals and their changes: half cycle, number of the signal, what it shows from then on.

    Until its first change a signal shows nothing. Changes come in order, the last ones at `end`.
    """

    clock: Clock
    signals: list[Signal] = field(default_factory=list)
    changes: list[tuple[int, int, Shown]] = field(default_factory=list)
    end: int = 0


def signals(recordings: Sequence[tuple[int, Recording]], image: Image) -> Signals:
    """Samples by number, one after the other, as a machine with one clock would run them.

    Signals change at the beginning of a cycle, which is the rising edge of `clock`. A vector shows
    what was left in it from the cycle on in which all of that is in its place.
    """
    made = _Maker(image, [recording for _, recording in recordings])
    for number, recording in recordings:
        made.sample(number, recording)
    return made.finished()


class _Maker:
    def __init__(self, image: Image, recordings: Sequence[Recording]) -> None:
        self.image = image
        self.sizes: dict[str, int] = {}  # of vectors, which may be made piece by piece
        for value in (value for recording in recordings for value in recording.values):
            self.sizes[value.left.name] = max(len(value.data), self.sizes.get(value.left.name, 0))
        self.result = Signals(Clock.of(image.target.frequency_mhz))
        self.at = 0  # the cycle in which the next recording begins
        self.numbers: dict[tuple[tuple[str, ...], str], int] = {}
        self.names = [
            f"{source.layer or 'control'}:{op.mnemonic}@{pc}"
            for pc, (op, source) in enumerate(zip(image.code, provenance(image), strict=True))
        ]
        self.clock = self.signal((), "clock", 1)
        self.number = self.signal((), "sample", 32)
        self.cycle = self.signal((), "cycle", 32)

    def signal(self, scope: tuple[str, ...], name: str, bits: int = 0) -> int:
        """The number of a signal."""
        scope, name = tuple(map(_plain, ("dmpc", *scope))), _plain(name)
        if (scope, name) not in self.numbers:
            self.numbers[scope, name] = len(self.result.signals)
            self.result.signals.append(Signal(scope, name, bits))
        return self.numbers[scope, name]

    def change(self, cycle: int, signal: int, value: Shown) -> None:
        """Let a signal show something from the beginning of a recording's cycle on."""
        self.result.changes.append((2 * (cycle + self.shift), signal, value))

    def sample(self, number: int, recording: Recording) -> None:
        """A recording after those before."""
        self.shift = self.at - recording.since
        self.change(recording.since, self.number, number)
        for cycle in range(recording.since, recording.until):
            self.change(cycle, self.clock, 1)
            self.result.changes.append((2 * (cycle + self.shift) + 1, self.clock, 0))
            self.change(cycle, self.cycle, cycle)
        self._sequencer(recording)
        for unit in recording.units:
            self._unit(unit, recording)
        for port in dict.fromkeys(use.port for use in recording.uses):
            self._port(port, recording)
        self._values(recording)
        self.at += recording.until - recording.since

    def finished(self) -> Signals:
        """All of it, in order; of a signal's changes in one moment the last one stands."""
        self.result.end = 2 * self.at
        last = {(half, signal): value for half, signal, value in self.result.changes}
        self.result.changes = [(*key, last[key]) for key in sorted(last)]
        return self.result

    def _sequencer(self, recording: Recording) -> None:
        """The instruction that the sequencer holds, until it is issued."""
        pc = self.signal(("sequencer",), "pc", 16)
        text = self.signal(("sequencer",), "instruction")
        timestep = self.signal(("sequencer",), "timestep", 32)
        since = recording.since
        for item in recording.issued:
            self.change(since, pc, item.pc)
            self.change(since, text, self.names[item.pc])
            self.change(since, timestep, item.iteration)
            since = item.cycle + 1
        if since < recording.until:
            for signal in (pc, timestep):
                self.change(since, signal, None)
            self.change(since, text, "")

    def _unit(self, unit: str, recording: Recording) -> None:
        scope = ("units", unit)
        busy, stall = self.signal(scope, "busy", 1), self.signal(scope, "stall")
        pc, text = self.signal(scope, "pc", 16), self.signal(scope, "instruction")
        queue = self.signal(scope, "queue", 8)

        def show(cycle: int, doing: str, at: int | None) -> None:
            self.change(cycle, busy, int(doing == "busy"))
            self.change(cycle, stall, "" if doing == "busy" else doing)
            self.change(cycle, pc, at)
            self.change(cycle, text, "" if at is None else self.names[at])

        cycle = recording.since
        for interval in (i for i in recording.doing if i.unit == unit):
            if interval.since > cycle:
                show(cycle, "", None)
            show(interval.since, interval.doing, interval.pc)
            cycle = interval.until
        if cycle < recording.until:
            show(cycle, "", None)
        self.change(recording.since, queue, 0)
        for cycle, level in recording.queue(unit):
            self.change(cycle, queue, level)

    def _port(self, port: str, recording: Recording) -> None:
        for direction in ("read", "write"):
            signal = self.signal(("ports", port), direction, 1)
            self.change(recording.since, signal, 0)
            uses = [u for u in recording.uses if (u.port, u.direction) == (port, f"{direction}s")]
            for use in uses:
                self.change(max(use.since, recording.since), signal, 1)
            begins = {use.since for use in uses}
            for use in uses:
                if use.until < recording.until and use.until not in begins:
                    self.change(use.until, signal, 0)

    def _values(self, recording: Recording) -> None:
        for value in recording.values:
            left, cycle = value.left, max(value.cycle, recording.since)
            if left.is_events:
                signal = self.signal(("values",), left.name, self.sizes[left.name])
                bits = "".join(str(int(bit)) for bit in reversed(value.data.tolist()))
                self.change(cycle, signal, int(bits or "0", 2))
                continue
            for number, element in enumerate(value.data.tolist()):
                signal = self.signal(("values", left.name), f"{number}", left.bits)
                self.change(cycle, signal, element)


def _plain(name: str) -> str:
    """A name without blanks and dots, which dumps part names with."""
    return re.sub(r"[\s.]", "_", name) or "_"
