"""Whether a target holds a network, what is scarce on it, and the smallest that would do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dmpc.backend.lower import lower
from dmpc.backend.places import section_of
from dmpc.compiler import Options
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph
from dmpc.lowering import sketch
from dmpc.passes.base import apply_all
from dmpc.passes.schedule import Schedule
from isa.limits import ROW_BITS
from isa.target import EXTERNAL, Target, load_target, target_names

MOST_ROWS = 1 << (ROW_BITS - 1)
REGISTERS = {"events": "event registers", "values": "value registers"}


@dataclass(frozen=True)
class Room:
    """What a network wants of a memory, and what is there: rows, registers or words.

    `wanted` is what would keep everything on the chip; `outside` of it went to external memory.
    """

    name: str
    wanted: int
    there: int
    outside: int = 0

    @property
    def used(self) -> float:
        """The share that is wanted; more than 1 of what is short."""
        return self.wanted / self.there


@dataclass(frozen=True)
class Fit:
    """How a network fits a target of so many `bits` of memory on the chip.

    `reason` says what it lacks if it does not hold the network; `grown` is the target with rows
    enough for all of it, where rows are what it lacks.
    """

    target: Target
    rooms: tuple[Room, ...]
    reason: str = ""
    grown: Target | None = None

    @property
    def bits(self) -> int:
        """Of all its memories on the chip."""
        return memory_bits(self.target)

    @property
    def fits(self) -> bool:
        """Whether the target holds the network, in external memory if need be."""
        return not self.reason

    @property
    def on_chip(self) -> bool:
        """Whether it holds all of it on the chip."""
        return self.fits and not any(room.outside for room in self.rooms)

    @property
    def scarcest(self) -> Room | None:
        """Where least is left."""
        return max(self.rooms, key=lambda room: room.used, default=None)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "target": self.target.name,
            "bits": self.bits,
            "fits": self.fits,
            "on_chip": self.on_chip,
            "reason": self.reason or None,
            "rooms": [vars(room) for room in self.rooms],
            "grown": self.grown and {m.name: m.rows for m in self.grown.memories.values()},
        }


def memory_bits(target: Target) -> int:
    """Bits of all memories on the chip."""
    return sum(memory.rows * memory.row_bits for memory in target.memories.values())


def fit(layers: Graph, target: Target, options: Options) -> Fit:
    """How a network at level layers fits a target.

    What is wrong with the network itself raises CompileError: no target would help.
    """
    reason, placed = "", None
    try:
        placed = sketch(layers, target, options)
    except CompileError as error:
        reason = error.message
    if placed is not None and not _outside(placed, target):
        return Fit(target, tuple(_rooms(placed, target, placed, target)))
    roomy = _with_rows(target, dict.fromkeys(target.memories, MOST_ROWS), external=False)
    try:
        whole = sketch(layers, roomy, options)
    except CompileError as error:
        if placed is None:
            return Fit(target, (), error.message)
        return Fit(target, tuple(_rooms(placed, target, placed, target)))
    rooms = tuple(_rooms(whole, roomy, placed, target))
    grown = _grown(layers, target, rooms, options)
    return Fit(target, rooms, reason, grown)


def smallest(fits: Sequence[Fit]) -> Fit | None:
    """Of targets the smallest that holds the network on the chip, or else with what is outside."""
    able = [one for one in fits if one.on_chip] or [one for one in fits if one.fits]
    return min(able, key=lambda one: (one.bits, one.target.name), default=None)


def shipped() -> list[Target]:
    """The targets that ship, from the smallest on."""
    return sorted(map(load_target, target_names()), key=lambda one: (memory_bits(one), one.name))


def _rooms(whole: Graph, roomy: Target, placed: Graph | None, target: Target) -> Iterator[Room]:
    """What `whole`, placed where nothing is short, wants of a target on which `placed` lies."""
    wanted = _rows(whole, roomy)
    outside = _outside(placed, target) if placed is not None else {}
    for name, memory in target.memories.items():
        if wanted.get(name):
            yield Room(name, wanted[name], memory.rows, outside.get(name, 0))
    if placed is None:
        return
    there = {"events": target.events.count, "values": target.values.count}
    held = _rows(placed, target)
    yield from (Room(REGISTERS[name], held.get(name, 0), there[name]) for name in REGISTERS)
    scheduled = apply_all([Schedule(target)], placed, None) if placed.level == "placed" else placed
    yield Room("program", len(lower(scheduled, target)), target.sequencer.program)


def _rows(placed: Graph, target: Target) -> dict[str, int]:
    """Rows of each memory, external ones by their section, and registers that a graph takes."""
    found: dict[str, int] = {}
    for place in placed.placement.values():
        section, first = place.memory, 0
        if section in target.memories:
            section, first = section_of(target, place.memory, place.row)
        found[section] = max(found.get(section, 0), place.row - first + place.rows)
    return found


def _outside(placed: Graph, target: Target) -> dict[str, int]:
    rows = _rows(placed, target)
    return {
        name.removeprefix(EXTERNAL): count
        for name, count in rows.items()
        if name.startswith(EXTERNAL) and count
    }


def _grown(layers: Graph, target: Target, rooms: Sequence[Room], options: Options) -> Target | None:
    """The target with rows enough, powers of two; None if rows are not what it lacks."""
    rows = {r.name: 1 << (r.wanted - 1).bit_length() for r in rooms if r.wanted > r.there}
    rows = {name: count for name, count in rows.items() if name in target.memories}
    if not rows or max(rows.values()) > MOST_ROWS:
        return None
    grown = _with_rows(target, rows, external=True)
    try:
        placed = sketch(layers, grown, options)
    except CompileError:
        return None
    return None if _outside(placed, grown) else grown


def _with_rows(target: Target, rows: dict[str, int], *, external: bool) -> Target:
    """A target with other numbers of rows in some memories; without external memory, if asked."""

    def changed(part: Any, **names: str) -> Any:
        return part.model_copy(
            update={field: rows[name] for field, name in names.items() if name in rows}
        )

    neuron = max(
        (rows[name] for name in ("neuron", "parameter") if name in rows),
        default=target.neuron.rows,
    )
    made = {
        "bank": tuple(changed(bank, rows=bank.name) for bank in target.bank),
        "drive": changed(target.drive, rows="drive"),
        "update": changed(target.update, rows="update"),
        "neuron": target.neuron.model_copy(update={"rows": max(neuron, target.neuron.rows)}),
        "readout": changed(target.readout, rows="readout"),
        "delay": changed(target.delay, rows="ring", axons="axon"),
        "accumulators": changed(target.accumulators, spill_rows="partial"),
    }
    outside = target.external if external else None
    kept = {name: getattr(target, name) for name in Target.model_fields}
    return Target.model_validate({**kept, **made, "external": outside})
