"""The image: a program, the contents of its memories and the target it was built for, in ELF.

The file is a function of the image: the same image gives the same bytes. Its first section, an ELF
note, holds the instruction set's version and a SHA-256 digest over everything else in the file.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from isa import elf
from isa import instructions as instructions  # so that `decode` knows them
from isa.core import Contents, Table
from isa.elf import ElfSymbol, Section
from isa.errors import IsaError, named
from isa.files import read_file, write_file
from isa.format import ISA_VERSION, WORD_BITS, Instruction, decode, encode
from isa.kinds import kind_of
from isa.target import EXTERNAL, Memory, Target, parse_target
from isa.validity import MEMORY, NOTE, RESERVED, TARGET, TEXT, check

_WORD_BYTES = WORD_BITS // 8
_SEAL = struct.Struct("<III8sI")  # sizes of owner and description, type, owner, version
_DIGEST = slice(elf.HEADER_BYTES + _SEAL.size, elf.HEADER_BYTES + _SEAL.size + 32)


@dataclass(frozen=True, order=True)
class Symbol:
    """A named range: of words in ".text", or of rows in ".mem.<memory>"."""

    name: str
    section: str
    offset: int
    size: int


@dataclass(frozen=True, eq=False)
class Image:
    """A program for one target.

    `memories` maps a memory to its rows from 0 on, [rows, lanes]; rows beyond are unwritten. Those
    of "external.<memory>" lie outside the chip; their numbers follow those of all on the chip.
    `notes` maps section names to bytes that mean nothing to the machine. The order of symbols and
    notes has no meaning. `origin` is the file that it came from, for errors about it.
    """

    target_text: str
    code: tuple[Instruction, ...]
    memories: dict[str, Table] = field(default_factory=dict)
    symbols: tuple[Symbol, ...] = ()
    notes: dict[str, bytes] = field(default_factory=dict)
    origin: str = ""

    @cached_property
    def target(self) -> Target:
        """The target the image was built for; IsaError if its text does not describe one."""
        return parse_target(self.target_text, TARGET)


def contents(image: Image) -> dict[str, Contents]:
    """What the loader writes into each memory of the target; nothing where the image has none."""
    loaded = {}
    for name, memory in image.target.memories.items():
        nothing = np.zeros((0, memory.lanes), memory.dtype)
        rows = image.memories.get(name, nothing)
        external = image.memories.get(EXTERNAL + name, nothing)
        loaded[name] = Contents(rows, np.ones(len(rows), np.bool_), external)
    return loaded


# -- writing --------------------------------------------------------------------------------------


def image_bytes(image: Image) -> bytes:
    """The file of an image; IsaError if the image does not satisfy `check` or cannot be encoded."""
    check(image)
    memories = [m for m in image.target.loadable.values() if m.name in image.memories]
    sections = list(_sections(image, memories))
    order = {section.name: number for number, section in enumerate(sections)}
    units = {MEMORY + m.name: _row_bytes(m) for m in memories} | {TEXT: _WORD_BYTES}
    symbols = [
        ElfSymbol(
            s.name, s.section, s.offset * units[s.section], s.size * units[s.section],
            elf.FUNC if s.section == TEXT else elf.OBJECT,
        )
        for s in sorted(image.symbols, key=lambda s: (order[s.section], s.offset, -s.size, s.name))
    ]  # fmt: skip
    data = bytearray(elf.elf_bytes(sections, symbols))
    data[_DIGEST] = hashlib.sha256(data).digest()
    return bytes(data)


def _sections(image: Image, memories: list[Memory]) -> Iterator[Section]:
    seal = _SEAL.pack(len(b"dmpc\0"), 4 + 32, 1, b"dmpc", ISA_VERSION)
    yield Section(NOTE, seal + bytes(32), elf.NOTE)
    words = b"".join(encode(i).to_bytes(_WORD_BYTES, "little") for i in image.code)
    flags = elf.ALLOC | elf.EXECINSTR
    yield Section(TEXT, words, flags=flags, entry_size=_WORD_BYTES)
    for memory in memories:
        table = image.memories[memory.name].astype(_stored(memory)).tobytes()
        yield Section(MEMORY + memory.name, table, flags=elf.ALLOC, entry_size=_row_bytes(memory))
    yield Section(TARGET, image.target_text.encode())
    for name in sorted(image.notes):
        yield Section(name, image.notes[name])


def _stored(memory: Memory) -> np.dtype[np.signedinteger]:
    return memory.dtype.newbyteorder("<")


def _row_bytes(memory: Memory) -> int:
    return memory.lanes * memory.dtype.itemsize


def write_image(image: Image, path: Path | str) -> None:
    """Write the image's file, whole or not at all; IsaError if it cannot be written."""
    data = image_bytes(image)
    try:
        write_file(path, data)
    except OSError as error:
        raise IsaError(f"{path}: cannot write the image: {error.strerror or error}") from error


# -- reading --------------------------------------------------------------------------------------


def read_image(path: Path | str) -> Image:
    """The image in a file; IsaError names the file and what is wrong with it."""
    try:
        data = read_file(path)
    except OSError as error:
        raise IsaError(f"{path}: cannot read the image: {error.strerror or error}") from error
    return parse_image(data, str(path))


def parse_image(data: bytes, origin: str) -> Image:
    """The image in the bytes of a file; IsaError names `origin` and what is wrong."""
    with named(origin):
        _check_seal(data)
        image = _image(*elf.read_elf(data), origin)
        if image_bytes(image) != data:
            raise IsaError("not in the form that this version writes; compile it again")
    return image


def _check_seal(data: bytes) -> None:
    """Nothing of a file is looked at before its digest agrees, so damage has one message."""
    if not data.startswith(elf.MAGIC):
        found = kind_of(data)
        what = f"{found}, not an image" if found else "not an image"
        raise IsaError(f"{what} (`dmpc compile` and `dmpc asm` make images)")
    if len(data) < _DIGEST.stop or len(data) < elf.stated_size(data):
        raise IsaError(f"truncated after {len(data)} bytes; copy or compile it again")
    *sizes, owner, version = _SEAL.unpack_from(data, elf.HEADER_BYTES)
    if sizes != [5, 36, 1] or owner != b"dmpc".ljust(8, b"\0"):
        raise IsaError("an ELF file, but not a dmpc image")
    zeroed = data[: _DIGEST.start] + bytes(32) + data[_DIGEST.stop :]
    if hashlib.sha256(zeroed).digest() != data[_DIGEST]:
        raise IsaError("checksum differs: the file was damaged or edited; compile it again")
    if version != ISA_VERSION:
        raise IsaError(
            f"built for ISA version {version}, this is version {ISA_VERSION}; compile it again"
        )


def _image(sections: dict[str, bytes], symbols: list[ElfSymbol], origin: str) -> Image:
    missing = [name for name in (NOTE, TEXT, TARGET) if name not in sections]
    if missing:
        raise IsaError(f"no section {missing[0]}")
    try:
        target_text = sections[TARGET].decode()
    except UnicodeDecodeError as error:
        raise IsaError(f"{TARGET}: not UTF-8") from error
    target = parse_target(target_text, TARGET)
    tables = {
        name.removeprefix(MEMORY): _table(target, name, data)
        for name, data in sections.items()
        if name.startswith(MEMORY)
    }
    units = {MEMORY + name: _row_bytes(target.loadable[name]) for name in tables}
    units[TEXT] = _WORD_BYTES
    return Image(
        target_text,
        tuple(_code(sections[TEXT])),
        tables,
        tuple(_symbol(s, units) for s in symbols),
        {n: d for n, d in sections.items() if n not in RESERVED and not n.startswith(MEMORY)},
        origin,
    )


def _code(data: bytes) -> Iterator[Instruction]:
    for at in range(0, len(data), _WORD_BYTES):
        try:
            yield decode(int.from_bytes(data[at : at + _WORD_BYTES], "little"))
        except IsaError as error:
            raise IsaError(f"{TEXT}: word {at // _WORD_BYTES}: {error}") from error


def _table(target: Target, section: str, data: bytes) -> Table:
    memory = target.loadable.get(section.removeprefix(MEMORY))
    if memory is None:
        raise IsaError(f"{section}: target {target.name} has no such memory")
    if len(data) % _row_bytes(memory):
        raise IsaError(f"{section}: {len(data)} bytes are no whole number of rows")
    flat = np.frombuffer(data, _stored(memory)).astype(memory.dtype)
    return flat.reshape(-1, memory.lanes)


def _symbol(s: ElfSymbol, units: dict[str, int]) -> Symbol:
    unit = units.get(s.section)
    if unit is None:
        raise IsaError(f"symbol {s.name}: in {s.section}, which is neither code nor a memory")
    return Symbol(s.name, s.section, s.value // unit, s.size // unit)
