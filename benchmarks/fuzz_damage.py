"""Damage: one mutator for each structure that files are made of."""

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (
    "0", "-1", "1", "2", "-0.0", "1e30", "-1e-30", "1e400", "nan", "inf", "0x10", "9" * 5000,
    "2147483648", "9223372036854775807", "-9223372036854775808", "18446744073709551616",
    "1000000000", "0.5", "1_000", "07",
)  # fmt: skip
INTEGERS = (0, 1, -1, 2, 3, 5, 7, -2, 64, 255, 65536, 10**6, 10**9, 2**31 - 1, -(2**31))
WIDE = (*INTEGERS, 2**31, 2**63 - 1, -(2**63))
REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, -1e30, 3e38, float("nan"), float("inf"))
WORDS = (
    "", "x", "0", ".", "..", "/", "/dev/null", "a b", "x" * 300, "é", "\u202e", "\x1b[31m", "\x07",
    "a\nb", "%s", "{}", "{0.x}", "'", '"', "\\", "\0", "true", "None", "\ud800", "[bold]", "[/]",
)  # fmt: skip
TOKEN = re.compile(r"-?\d[\w.+-]*|\w+|\s+|.", re.DOTALL)
NUMBER = re.compile(r"-?\d[\w.]*")


def some(random: Random) -> int:
    """How many times to damage an input: mostly once."""
    return random.choice((1, 1, 1, 1, 2, 2, 3, 5))


# -- bytes ----------------------------------------------------------------------------------------


def damaged_bytes(random: Random, data: bytes) -> bytes:
    """Bytes changed, lost, doubled or added; now and then cut off."""
    for _ in range(some(random)):
        if not data:
            break
        data = random.choice(BYTES)(random, data, random.randrange(len(data)))
    return data


def _flip(random: Random, data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _byte(random: Random, data: bytes, at: int) -> bytes:
    value = random.choice((0, 1, 0x1B, 0x7F, 0x80, 0xC0, 0xFF, random.randrange(256)))
    return data[:at] + bytes([value]) + data[at + 1 :]


def _word(random: Random, data: bytes, at: int) -> bytes:
    new = struct.pack("<q", random.choice(WIDE))[: random.choice((2, 4, 8))]
    return data[:at] + new + data[at + len(new) :]


def _lose(random: Random, data: bytes, at: int) -> bytes:
    return data[:at] + data[at + random.choice((1, 2, 4, 8, 64)) :]


def _double(random: Random, data: bytes, at: int) -> bytes:
    size = random.choice((1, 4, 8, 64))
    return data[: at + size] + data[at:]


def _insert(random: Random, data: bytes, at: int) -> bytes:
    return data[:at] + random.randbytes(random.choice((1, 2, 4, 8))) + data[at:]


def _cut(random: Random, data: bytes, at: int) -> bytes:
    return data[: random.choice((at, at, 0, 1, 64, len(data) - 1))]


BYTES: tuple[Callable[[Random, bytes, int], bytes], ...] = (
    _flip, _flip, _byte, _byte, _word, _lose, _double, _insert, _cut,
)  # fmt: skip


# -- text -----------------------------------------------------------------------------------------


def damaged_text(random: Random, text: str) -> str:
    """Tokens and lines replaced, lost, doubled or exchanged; deep nesting; odd numbers."""
    for _ in range(some(random)):
        text = random.choice(TEXTS)(random, text)
    return text


def _token(random: Random, text: str) -> str:
    tokens = TOKEN.findall(text) or [""]
    at, other = random.randrange(len(tokens)), random.randrange(len(tokens))
    match random.randrange(6):
        case 0:
            del tokens[at]
        case 1:
            tokens.insert(at, tokens[other])
        case 2:
            tokens[at] = tokens[other]
        case 3:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        case 4:
            tokens[at] = random.choice(WORDS)
        case 5:
            tokens[at] = random.choice("()[]{}<>=,;:%#*\"'") * random.choice((1, 1, 2, 3000))
    return "".join(tokens)


def _number(random: Random, text: str) -> str:
    found = list(NUMBER.finditer(text))
    if not found:
        return text + random.choice(NUMBERS)
    at = random.choice(found)
    return text[: at.start()] + random.choice(NUMBERS) + text[at.end() :]


def _line(random: Random, text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = lines[other]
    return "".join(lines)


def _rest(random: Random, text: str) -> str:
    return text[: random.randrange(len(text) + 1)]


TEXTS: tuple[Callable[[Random, str], str], ...] = (_token, _token, _number, _number, _line, _rest)


# -- JSON -----------------------------------------------------------------------------------------


def damaged_json(random: Random, data: bytes) -> bytes:
    """One place of a JSON document, or of any other text, changed."""
    try:
        document = json.loads(data)
    except ValueError:
        return damaged_text(random, data.decode("utf-8", "replace")).encode("utf-8", "replace")
    places = list(_places(document))
    if not places:
        return damaged_bytes(random, data)
    for _ in range(some(random)):
        holder, key = random.choice(places)
        holder[key] = _leaf(random, holder[key])
    return json.dumps(document).encode()


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _leaf(random: Random, old: Any) -> Any:
    new = random.choice((None, True, [], {}, [[]], {"x": 1}, *WORDS, *INTEGERS, *REALS))
    if isinstance(old, bool):
        return random.choice((not old, new))
    if isinstance(old, int):
        return random.choice((old + 1, old - 1, random.choice(WIDE), random.choice(WIDE), new))
    if isinstance(old, str):
        return random.choice((damaged_text(random, old), random.choice(WORDS), new))
    if isinstance(old, list) and old:
        return random.choice((old[:-1], [*old, old[0]], old[::-1], new))
    return new


# -- zip ------------------------------------------------------------------------------------------


def damaged_zip(
    random: Random, data: bytes, inner: Callable[[Random, str, bytes], bytes] | None = None
) -> bytes:
    """An archive with an entry changed by `inner`, lost, renamed, doubled, or packed otherwise."""
    if random.random() < 0.15:
        return damaged_bytes(random, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    packing = zipfile.ZIP_STORED
    at = random.randrange(len(entries))
    name, content = entries[at]
    match random.choice((0, 1, 2, 3, 4, 5, *[6] * 12)):
        case 0:
            del entries[at]
        case 1:
            entries[at] = (name + random.choice(WORDS), content)
        case 2:
            entries.append((name, damaged_bytes(random, content)))
        case 3:
            packing = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        case 4:
            entries.append((random.choice(WORDS), content))
        case 5:
            entries[at] = (name, entries[random.randrange(len(entries))][1])
        case 6:
            change = inner or (lambda random, _, content: damaged_bytes(random, content))
            entries[at] = (name, change(random, name, content))
    made = bytearray(_zipped(entries, packing))
    if random.random() < 0.05:  # says that it is encrypted
        for found in re.finditer(rb"PK\x01\x02", bytes(made)):
            made[found.start() + 8] |= 1
    return bytes(made)


def _zipped(entries: list[tuple[str, bytes]], packing: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        seen: set[str] = set()
        for name, content in entries:
            name = name.encode("utf-8", "replace").decode()[:60000]
            if name not in seen:
                archive.writestr(zipfile.ZipInfo(name), content, packing)
            seen.add(name)
    return file.getvalue()
