"""What can be looked at while a program is stopped: registers, values of the graph, memories."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.engines.cycle import CycleSession
from runtime.debugger import Debugger
from runtime.errors import RuntimeFailure
from runtime.places import Left

ROWS = 4  # of a memory that are printed unless others are asked for
SHOWN = 16  # elements of a vector that are printed unless more are asked for
RANGE = re.compile(r"(\d{1,9})(?::(\d{1,9}))?")


@dataclass(frozen=True)
class Vector:
    """A vector, or rows of a memory, by `name`; `where` it lies, `first` its first element.

    `reals` are what its integers stand for in the model, if they stand for anything.
    """

    name: str
    where: str
    integers: Int
    reals: NDArray[np.float64] | None = None
    is_events: bool = False
    first: int = 0

    def part(self, first: int, last: int) -> "Vector":
        """Some of its elements, as they are numbered in the whole."""
        if not 0 <= first < last <= len(self.integers):
            most = len(self.integers)
            raise RuntimeFailure(f"{self.name} has elements 0 to {most - 1}, not {first}:{last}")
        reals = None if self.reals is None else self.reals[first:last]
        return Vector(
            self.name, self.where, self.integers[first:last], reals, self.is_events, first
        )

    def element(self, number: int) -> str:
        """One element as text, counted from its own first."""
        integer = str(self.integers[number])
        return integer if self.reals is None else f"{integer} ({self.reals[number]:.6g})"

    def summary(self) -> str:
        """The vector on one line."""
        if self.is_events:
            active = (np.flatnonzero(self.integers) + self.first).tolist()
            listed = f": {' '.join(map(str, active))}" if active else ""
            return f"{len(active)} of {len(self.integers)} active{listed}"
        few = ", ".join(self.element(n) for n in range(min(4, len(self.integers))))
        return f"[{few}, ...]" if len(self.integers) > 4 else f"[{few}]"

    def lines(self) -> list[str]:
        """The vector as it is printed."""
        where = "" if self.where in ("", self.name) else f"  {self.where}"
        if self.is_events:
            return [f"{self.name}{where}  {self.summary()}"]
        shown = min(len(self.integers), SHOWN)
        rows = [f"  {self.first + n:5}  {self.element(n)}" for n in range(shown)]
        if shown < len(self.integers):
            last = self.first + len(self.integers)
            rows.append(f"  ... print {self.name} {self.first + shown}:{last} shows the others")
        return [f"{self.name}{where}", *rows]


def look(debugger: Debugger, name: str, part: str = "") -> list[Vector]:
    """What lies under a name now, or a `part` of it, as 3 or 0:8; of a memory, those rows.

    Raises RuntimeFailure if there is no such name, or nothing lies there yet.
    """
    match = RANGE.fullmatch(part) if part else None
    if part and not match:
        raise RuntimeFailure(f"'{part}' is neither a number nor a range such as 0:8")
    span = (int(match[1]), int(match[2] or int(match[1]) + 1)) if match else None
    if name in debugger.program.image.target.loadable or name in debugger.now.memories:
        return list(_rows(debugger, name, span))
    vector = _vector(debugger, name)
    return [vector.part(*span) if span else vector]


def names(debugger: Debugger) -> list[str]:
    """What can be looked at: values of the graph, registers, memories."""
    loaded = [name for name, table in debugger.program.image.memories.items() if len(table)]
    written = [name for name, rows in debugger.now.memories.items() if rows]
    found = [*values(debugger), *debugger.now.registers, *written, *loaded]
    return list(dict.fromkeys([*found, "input", "logits"]))


def values(debugger: Debugger) -> list[str]:
    """Values of the graph that the program leaves somewhere."""
    items = (item for items in debugger.places.values() for item in items)
    return list(dict.fromkeys(item.part[0] for item in items if item.value))


def _vector(debugger: Debugger, name: str) -> Vector:
    if (data := debugger.now.registers.get(name)) is not None:
        return Vector(name, name, data, is_events=name.startswith("e"))
    pieces = {
        item.part[1]: item
        for items in debugger.places.values()
        for item in items
        if item.value and item.part[0] == name
    }
    if not pieces:
        return _of_host(debugger, name)
    parts = [_held(debugger, item) for _, item in sorted(pieces.items())]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        raise RuntimeFailure(f"nothing was written to {name} yet in this sample")
    data, meaning = np.concatenate(found), debugger.meanings.get(name)
    where = "+".join(item.where for _, item in sorted(pieces.items()))
    events = next(iter(pieces.values())).is_events
    if meaning is None:
        return Vector(name, where, data, is_events=events)
    data = data[: meaning.size]
    return Vector(name, where, data, meaning.real(data), events)


def _of_host(debugger: Debugger, name: str) -> Vector:
    """What the host gives and takes."""
    if name == "input":
        step = min(debugger.now.timestep, len(debugger.inputs) - 1)
        events = debugger.program.takes_events
        scale = None if events else debugger.program.interface.input.scale
        data = debugger.inputs[step]
        return Vector(
            name, f"timestep {step}", data, None if scale is None else data * scale, events
        )
    if name == "logits":
        return Vector(name, "sent to the host so far", debugger.now.logits)
    near = get_close_matches(name, names(debugger), 3) or names(debugger)[:8]
    raise RuntimeFailure(f"there is no '{name}' now; there is {', '.join(near)}")


def _held(debugger: Debugger, item: Left) -> Int | None:
    """What lies where an instruction leaves something, unless it is something else by now."""
    other = debugger.holds.get(item.where)
    cleared = other and debugger.code[other.place[0]].mnemonic.startswith("clear.")
    if other is not None and other.part[0] != item.part[0] and not cleared:
        raise RuntimeFailure(f"{item.part[0]} is over: {item.where} holds {other.part[0]} now")
    return None if other is None else debugger.lying_at(item.where)


def _rows(debugger: Debugger, name: str, span: tuple[int, int] | None) -> Iterator[Vector]:
    """Rows of a memory: of one that holds state what was written, else what was loaded."""
    if name in debugger.now.memories:
        known = debugger.now.memories[name]
    else:
        known = dict(enumerate(debugger.program.image.memories.get(name, ())))
    wanted = range(*span) if span else list(known)[:ROWS]
    known = {row: known[row] for row in wanted if row in known}
    if not known:
        what = "written in this sample" if name in debugger.now.memories else "loaded"
        raise RuntimeFailure(f"none of these rows of {name} was {what}")
    for row, data in known.items():
        yield Vector(f"{name}[{row}]", "", data)


def queues(debugger: Debugger) -> dict[str, list[str]]:
    """Instructions by unit: at work, then waiting, in order; RuntimeFailure of other engines."""
    if not isinstance(debugger.session, CycleSession):
        raise RuntimeFailure("only the cycle engine has queues: --engine cycle")
    machine = debugger.session.machine
    found = {}
    for name, unit in machine.units.items():
        work = [f"{op.pc} works" for op in unit.active]
        wait = [f"{op.pc} waits" for op in unit.queue if op not in unit.active]
        found[name] = [*work, *wait]
    return found
