"""ELF64 files, little-endian: a small deterministic writer, and a reader over pyelftools."""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isa.errors import IsaError

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

PROGBITS, SYMTAB, STRTAB, NOTE = 1, 2, 3, 7
ALLOC, EXECINSTR = 2, 4
OBJECT, FUNC = 1, 2

MAGIC = b"\x7fELF"
HEADER_BYTES = 64
_ALIGN = 8
_ET_EXEC, _EM_NONE, _EV_CURRENT = 2, 0, 1
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


@dataclass(frozen=True)
class Section:
    """One section: `kind` is its sh_type, `entry_size` the bytes of one entry or 0."""

    name: str
    data: bytes
    kind: int = PROGBITS
    flags: int = 0
    entry_size: int = 0
    link: int = 0
    info: int = 0


@dataclass(frozen=True)
class ElfSymbol:
    """A named range of a section: `value` and `size` in bytes, `kind` its symbol type."""

    name: str
    section: str
    value: int
    size: int
    kind: int


class _Strings:
    """A string table in the making; equal strings share a place."""

    def __init__(self) -> None:
        self.data = b"\0"
        self._places = {"": 0}

    def place(self, text: str) -> int:
        if text not in self._places:
            self._places[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._places[text]


def elf_bytes(sections: Sequence[Section], symbols: Sequence[ElfSymbol]) -> bytes:
    """An executable of `sections`, the first right behind the header, and their `symbols`.

    Symbol and string tables come last, the section headers end the file. Symbols are local, so
    that one name may stand for several ranges.
    """
    numbers = {section.name: number for number, section in enumerate(sections, start=1)}
    strings = _Strings()
    table = [_SYMBOL.pack(0, 0, 0, 0, 0, 0)]
    table += [
        _SYMBOL.pack(strings.place(s.name), s.kind, 0, numbers[s.section], s.value, s.size)
        for s in symbols
    ]
    link = len(sections) + 2
    symtab = Section(".symtab", b"".join(table), SYMTAB, 0, _SYMBOL.size, link, len(table))
    names = _Strings()
    everything = [*sections, symtab, Section(".strtab", strings.data, STRTAB)]
    for name in (*(section.name for section in everything), ".shstrtab"):
        names.place(name)
    return _lay_out([*everything, Section(".shstrtab", names.data, STRTAB)], names)


def _lay_out(sections: Sequence[Section], names: _Strings) -> bytes:
    body, headers = bytearray(HEADER_BYTES), [bytes(_SECTION.size)]
    for s in sections:
        headers.append(
            _SECTION.pack(
                names.place(s.name), s.kind, s.flags, 0, len(body), len(s.data),
                s.link, s.info, 4 if s.kind == NOTE else _ALIGN, s.entry_size,
            )
        )  # fmt: skip
        body += s.data + bytes(-len(s.data) % _ALIGN)
    ident = MAGIC + bytes((2, 1, _EV_CURRENT)) + bytes(9)
    _HEADER.pack_into(
        body, 0, ident, _ET_EXEC, _EM_NONE, _EV_CURRENT, 0, 0, len(body), 0, HEADER_BYTES,
        0, 0, _SECTION.size, len(headers), len(headers) - 1,
    )  # fmt: skip
    return bytes(body) + b"".join(headers)


def stated_size(header: bytes) -> int:
    """Bytes that a file of `elf_bytes` has by its own header: up to the end of section headers."""
    fields = _HEADER.unpack(header[:HEADER_BYTES])
    offset, entry, count = fields[6], fields[11], fields[12]
    return int(offset + entry * count)


def read_elf(data: bytes) -> tuple[dict[str, bytes], list[ElfSymbol]]:
    """Section contents by name, tables apart, and the symbols; IsaError if `data` is malformed."""
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        return _read(ELFFile(io.BytesIO(data)))
    except (
        ELFError, ConstructError, LookupError, ValueError, TypeError, AttributeError,
        AssertionError, OverflowError, MemoryError, struct.error, zlib.error,
    ) as error:  # fmt: skip
        # pyelftools raises any of these on a file that is not what its headers say
        raise IsaError(f"malformed ELF file: {' '.join(str(error).split())}") from error


def _read(file: "ELFFile") -> tuple[dict[str, bytes], list[ElfSymbol]]:
    from elftools.elf.sections import SymbolTableSection

    contents: dict[str, bytes] = {}
    symbols: list[ElfSymbol] = []
    for section in file.iter_sections():
        if section["sh_type"] in ("SHT_NULL", "SHT_STRTAB"):
            continue
        if isinstance(section, SymbolTableSection):
            symbols += [
                ElfSymbol(
                    symbol.name,
                    file.get_section(symbol["st_shndx"]).name,
                    symbol["st_value"],
                    symbol["st_size"],
                    FUNC if symbol["st_info"]["type"] == "STT_FUNC" else OBJECT,
                )
                for symbol in section.iter_symbols()
                if symbol.name
            ]
        else:
            contents[section.name] = section.data()
    return contents, symbols
