"""What changed between two images, two runs, two targets: what, from what, to what, by how much."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from isa.disassembler import assembly
from isa.image import Image
from isa.interface import INTERFACE, interface, provenance
from isa.target import Target
from isa.validity import MEMORY
from runtime.maps import memory_map


@dataclass(frozen=True)
class Change:
    """Something in a `section` that is not what it was; None where it was, or is, not there."""

    section: str
    what: str
    before: Any
    after: Any

    @property
    def by(self) -> str:
        """By how much, of numbers: the difference, and its share of what it was."""
        numbers = (int, float)
        one, other = self.before, self.after
        if not isinstance(one, numbers) or not isinstance(other, numbers):
            return ""
        if isinstance(one, bool) or isinstance(other, bool):
            return ""
        share = f" ({100 * (other - one) / abs(one):+.1f} %)" if one else ""
        return f"{other - one:+.6g}{share}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "by": self.by or None}


def changed(section: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What differs between two tables, key by key, in their order."""
    for key in {**before, **after}:
        one, other = before.get(key), after.get(key)
        if one != other or (key in before) != (key in after):
            yield Change(section, key, one, other)


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested plain data as one table: names with dots, elements of lists by name or number."""
    if isinstance(value, Mapping):
        items = [(str(name), part) for name, part in value.items()]
    elif isinstance(value, list | tuple):
        named = all(isinstance(part, Mapping) and "name" in part for part in value)
        items = [(part["name"] if named else str(n), part) for n, part in enumerate(value)]
    else:
        return {key: value}
    found: dict[str, Any] = {}
    for name, part in items:
        found |= flat(part, f"{key}.{name}" if key else name)
    return found


def of_targets(before: Target, after: Target) -> Iterator[Change]:
    """What differs between two targets."""
    yield from changed("target", flat(before.model_dump()), flat(after.model_dump()))


# -- runs -----------------------------------------------------------------------------------------


def of_runs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What differs between what two runs wrote with --json, or two profiles.

    Of samples how many there are, and which predictions differ; of instructions nothing, which
    `of_images` tells.
    """
    one, other = ({k: v for k, v in run.items() if k not in LISTS} for run in (before, after))
    for section in {**one, **other}:
        yield from changed(
            section, flat(one.get(section), section), flat(other.get(section), section)
        )
    mine, theirs = before.get("samples"), after.get("samples")
    if isinstance(mine, list) and isinstance(theirs, list):
        yield from _of_samples(mine, theirs)


LISTS = ("samples", "instructions", "bounds")


def _of_samples(before: list[Any], after: list[Any]) -> Iterator[Change]:
    if len(before) != len(after):
        yield Change("samples", "samples", len(before), len(after))
    for number, (one, other) in enumerate(zip(before, after, strict=False)):
        for key in ("label", "prediction", "timesteps"):
            if one.get(key) != other.get(key):
                yield Change("samples", f"{number}.{key}", one.get(key), other.get(key))
    for key in ("cycles", "logits"):
        one, other = ([sample.get(key) for sample in run] for run in (before, after))
        if one != other and len(one) == len(other):
            number = sum(a != b for a, b in zip(one, other, strict=True))
            yield Change("samples", f"samples with other {key}", 0, number)


# -- images ---------------------------------------------------------------------------------------


def of_images(before: Image, after: Image) -> Iterator[Change]:
    """What differs between two images: target, interface, code by layer, memories by symbol."""
    yield from of_targets(before.target, after.target)
    if INTERFACE in before.notes and INTERFACE in after.notes:
        one, other = (flat(interface(image).model_dump()) for image in (before, after))
        yield from changed("interface", one, other)
    yield from _of_code(before, after)
    yield from _of_memories(before, after)
    sizes = [{name: len(data) for name, data in image.notes.items()} for image in (before, after)]
    for name in sorted({*before.notes, *after.notes}):
        if before.notes.get(name) != after.notes.get(name):
            yield Change("notes", f"{name} (bytes)", sizes[0].get(name), sizes[1].get(name))


def _of_code(before: Image, after: Image) -> Iterator[Change]:
    """Instructions that came, went, or have other operands, each under its layer."""
    one, other = (_texts(image) for image in (before, after))
    keys = [[(*origin, text.partition(" ")[0]) for origin, text in side] for side in (one, other)]
    matched = SequenceMatcher(None, keys[0], keys[1], autojunk=False)
    for kind, a, b, c, d in matched.get_opcodes():
        both = min(b - a, d - c) if kind in ("equal", "replace") else 0
        for x, y in zip(range(a, a + both), range(c, c + both), strict=True):
            if one[x][1] != other[y][1]:
                yield Change(f"code: {other[y][0][0]}", f"pc {x}", one[x][1], other[y][1])
        for x in range(a + both, b):
            yield Change(f"code: {one[x][0][0]}", f"pc {x}", one[x][1], None)
        for y in range(c + both, d):
            yield Change(f"code: {other[y][0][0]}", f"pc {y}", None, other[y][1])


def _texts(image: Image) -> list[tuple[tuple[str, str], str]]:
    """Every instruction's layer, op and text."""
    origins = [(item.layer or "control", item.op) for item in provenance(image)]
    texts = [" ".join(assembly(op).split()) for op in image.code]
    return list(zip(origins, texts, strict=True))


def _of_memories(before: Image, after: Image) -> Iterator[Change]:
    """Symbols that moved or have other elements; rows that no symbol names."""
    places: list[dict[tuple[str, str], tuple[int, int]]] = [
        {(s.memory, s.symbol): (s.first, s.rows) for s in memory_map(image)}
        for image in (before, after)
    ]
    for key in {**places[0], **places[1]}:
        section, (memory, symbol) = f"memory {key[0]}", key
        spans = [side.get(key) for side in places]
        shown = [None if at is None else f"rows {at[0]} .. {at[0] + at[1] - 1}" for at in spans]
        if shown[0] != shown[1]:
            yield Change(section, symbol, *shown)
        if spans[0] and spans[1]:
            rows = [
                image.memories[memory][at : at + count] if memory in image.memories else None
                for image, (at, count) in zip((before, after), (spans[0], spans[1]), strict=True)
            ]
            yield from _of_rows(section, symbol, *rows)
    for memory in sorted({*before.memories, *after.memories}):
        tables = [image.memories.get(memory) for image in (before, after)]
        if not any((MEMORY + memory) == s.section for i in (before, after) for s in i.symbols):
            yield from _of_rows(f"memory {memory}", "rows", *tables)


def _of_rows(section: str, what: str, before: Any, after: Any) -> Iterator[Change]:
    shapes = [None if rows is None else rows.shape for rows in (before, after)]
    if shapes[0] != shapes[1]:
        yield Change(section, f"{what} (shape)", *(None if s is None else list(s) for s in shapes))
    elif before is not None and not np.array_equal(before, after):
        odd = before != after
        most = np.abs(after.astype(np.float64) - before.astype(np.float64)).max()
        told = f"{int(odd.sum()):,} of {odd.size:,} elements differ, by {most:g} at most"
        yield Change(section, f"{what} (contents)", "", told)


def by_section(changes: list[Change]) -> dict[str, list[Change]]:
    """Changes by their sections, in order."""
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.section, []).append(change)
    return found
