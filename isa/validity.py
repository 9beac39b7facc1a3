"""What an image must satisfy before it is written, and after it was read."""

import re
from typing import TYPE_CHECKING

import numpy as np

from isa.core import Table
from isa.errors import IsaError
from isa.target import EXTERNAL, Target

if TYPE_CHECKING:
    from isa.image import Image, Symbol

TEXT, MEMORY, TARGET, NOTE = ".text", ".mem.", ".dmpc.target", ".note.dmpc"
"""Sections of an image's file; a memory's name follows MEMORY."""

RESERVED = (TEXT, TARGET, NOTE, ".symtab", ".strtab", ".shstrtab")
"""Section names that an image's own notes cannot take, beside those of memories."""

_NOTE_NAME = re.compile(r"\.[A-Za-z0-9_.-]+")


def check(image: "Image") -> None:
    """Raise IsaError unless the image fits its target and every part can be written."""
    if "\r" in image.target_text:
        raise IsaError(f"{TARGET}: carriage returns; write lines that end with a newline alone")
    target = image.target
    if len(image.code) > target.sequencer.program:
        raise IsaError(
            f"{TEXT}: {len(image.code)} instructions; "
            f"the program memory of target {target.name} has {target.sequencer.program} words"
        )
    for name, table in image.memories.items():
        _check_table(target, name, table)
    _check_external(target, image.memories)
    for name in image.notes:
        if not _NOTE_NAME.fullmatch(name) or name in RESERVED or name.startswith(MEMORY):
            raise IsaError(f"note {name!r}: not a free section name such as .dmpc.graph")
    _check_symbols(image)


def _check_table(target: Target, name: str, table: Table) -> None:
    memory = target.loadable.get(name)
    if memory is None:
        known, cleared = ", ".join(target.loadable), name in target.memories
        what = "clears at the start of each sample" if cleared else "does not have"
        raise IsaError(f"memory {name!r}: one that target {target.name} {what}; loaded: {known}")
    if not np.issubdtype(table.dtype, np.signedinteger) or table.shape[1:] != (memory.lanes,):
        raise IsaError(
            f"memory {name}: {table.dtype} of shape {list(table.shape)}; "
            f"the loader takes signed integers [rows, {memory.lanes}]"
        )
    if len(table) > memory.rows:
        raise IsaError(
            f"memory {name}: {len(table)} rows; target {target.name} has {memory.rows} there"
        )
    high = (1 << (memory.bits - 1)) - 1
    if table.size and (table.min() < ~high or table.max() > high):
        at = int(np.argmax(((table < ~high) | (table > high)).any(1)))
        raise IsaError(
            f"memory {name}: row {at}: an element outside {~high} .. {high}, its {memory.bits} bits"
        )


def _check_external(target: Target, tables: dict[str, Table]) -> None:
    """External memory holds rows bit by bit, and a place for the membranes of neurons."""
    if not (far := {name: len(table) for name, table in tables.items() if name in _far(target)}):
        return
    assert target.external
    bits = sum(rows * target.loadable[name].row_bits for name, rows in far.items())
    bits += far.get(EXTERNAL + "parameter", 0) * target.memories["neuron"].row_bits
    if bits > 8192 * target.external.kilobytes:
        raise IsaError(
            f"external memory: {-(-bits // 8192)} KB; "
            f"target {target.name} has {target.external.kilobytes} there"
        )


def _far(target: Target) -> set[str]:
    return target.loadable.keys() - target.memories.keys()


def _check_symbols(image: "Image") -> None:
    sizes = {MEMORY + name: len(table) for name, table in image.memories.items()}
    sizes[TEXT] = len(image.code)
    before: Symbol | None = None
    for s in sorted(image.symbols):
        if not s.name or not s.name.isprintable():
            raise IsaError(f"symbol {s.name!r}: a name takes one or more printable characters")
        if s.section not in sizes:
            raise IsaError(f"symbol {s.name}: the image has no section {s.section!r}")
        if s.offset < 0 or s.size < 0 or s.offset + s.size > sizes[s.section]:
            raise IsaError(
                f"symbol {s.name}: {s.offset} .. {s.offset + s.size} "
                f"of {sizes[s.section]} in {s.section}"
            )
        if before and (before.name, before.section) == (s.name, s.section):
            _check_apart(before, s)
        before = s


def _check_apart(a: "Symbol", b: "Symbol") -> None:
    if b.offset < a.offset + a.size:
        raise IsaError(
            f"symbol {a.name}: its ranges at {a.offset} and {b.offset} of {a.section} overlap"
        )
