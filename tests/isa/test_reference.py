"""The committed reference page is the generated one, and what it says of words is what they are."""

import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isa.assembler import assemble
from isa.errors import IsaError
from isa.format import INSTRUCTIONS, decode, encode, layout
from isa.parameters import Parameters
from isa.reference import reference
from tests.isa.programs import CLASSES

PAGE = Path(__file__).parents[2] / "docs" / "isa.md"


def test_the_page_is_up_to_date():
    stale = "docs/isa.md differs: run `python -m isa.reference > docs/isa.md`"
    assert PAGE.read_text("utf-8") == reference(), stale


def test_the_module_prints_it():
    printed = subprocess.run(
        [sys.executable, "-m", "isa.reference"], capture_output=True, text=True, check=True
    )
    assert printed.stdout == reference()


def test_every_instruction_has_its_place():
    page = reference()
    for cls in CLASSES:
        section = section_of(page, cls.mnemonic)
        assert f"| 127:122 | opcode {cls.opcode} |" in section
        assert "def execute(self, core: Machine)" in section
        assert "def work(self, target: Target)" in section
        for placed in layout(cls):
            assert f"| `{placed.name}` | {placed.field.kind} | {placed.field.range} |" in section


# -- an encoder of the page alone -----------------------------------------------------------------


def section_of(page: str, title: str) -> str:
    """The text under a heading `### title`."""
    start = page.index(f"\n### {title}\n")
    end = re.compile(r"\n##", re.MULTILINE).search(page, start + 4)
    return page[start : end.start() if end else None]


def rows(section: str, *head: str) -> list[list[str]]:
    """The rows of the table with these columns; none where there is no such table."""
    found: list[list[str]] = []
    inside = False
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells == list(head):
            inside = True
        elif inside and not line.startswith("|"):
            break
        elif inside and set(line) - set("| -"):
            found.append(cells)
    return found


def bits_of(text: str) -> range:
    """The bits that `57:55` or `3` names."""
    high, _, low = text.partition(":")
    return range(int(low or high), int(high) + 1)


def legal(kind: str, allowed: str, width: int) -> dict[str, int]:
    """Operands as written, and what stands in their bits: by the kinds the page explains."""
    mask = (1 << width) - 1
    if kind in ("window", "kernel", "value register or none"):
        count = int(re.findall(r"\d+", allowed)[-1]) + 1
        names = ["none", *(f"{kind[0]}{n}" for n in range(count))]
        return dict(zip(names, range(count + 1), strict=True))
    if kind in ("event register", "value register", "window register", "kernel number", "bank"):
        low, high = (int(name[1:]) for name in re.findall(r"[evwkb]\d+", allowed))
        return {f"{allowed[0]}{n}": n for n in range(low, high + 1)}
    if kind == "bank set":
        sets = ([b for b in range(3) if n >> b & 1] for n in range(8))
        return {"+".join(f"b{b}" for b in s) or "none": sum(1 << b for b in s) for s in sets}
    if kind in ("flag", "choice"):
        return {name: place for place, name in enumerate(allowed.split(", "))}
    low, high = map(int, allowed.split(" .. "))
    drawn = random.Random(width)
    numbers = {low, high, 0, 1, low + 1, high - 1, *(drawn.randint(low, high) for _ in range(20))}
    return {str(n): n & mask for n in sorted(numbers) if low <= n <= high}


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text("utf-8")


@pytest.mark.parametrize("mnemonic", INSTRUCTIONS)
def test_every_bit_has_one_meaning(page, mnemonic):
    places = [bit for bits, _ in encoding(page, mnemonic) for bit in reversed(bits)]
    assert places == list(range(127, -1, -1))


def encoding(page: str, mnemonic: str) -> list[tuple[range, str]]:
    section = section_of(page, mnemonic)
    return [(bits_of(bits), what) for bits, what in rows(section, "bits", "field")]


@pytest.mark.parametrize("mnemonic", INSTRUCTIONS)
def test_words_made_from_the_page_are_the_encoders(page, mnemonic):
    places = encoding(page, mnemonic)
    (opcode,) = [int(what.split()[1]) for _, what in places if what.startswith("opcode")]
    at = {what.strip("`"): bits for bits, what in places if what.startswith("`")}
    table = rows(section_of(page, mnemonic), "operand", "kind", "range", "default", "meaning")
    may = {row[0].strip("`"): legal(row[1], row[2], len(at[row[0].strip("`")])) for row in table}
    assert may.keys() == at.keys()
    drawn = random.Random(mnemonic)
    chosen = [
        # each value of each operand, the others at random
        {**{other: drawn.choice(list(may[other])) for other in may}, name: value}
        for name in may
        for value in may[name]
    ]
    lines = [f"{mnemonic} {', '.join(f'{n}={v}' for n, v in one.items())}" for one in chosen]
    words = [
        (opcode << 122) | sum(may[name][value] << at[name].start for name, value in one.items())
        for one in chosen
    ]
    code = assemble("\n".join((".target paper", ".text", *lines)), "page.s").code
    assert [encode(op) for op in code] == words
    assert [decode(word) for word in words] == list(code)


@pytest.mark.parametrize("mnemonic", INSTRUCTIONS)
def test_words_that_the_page_gives_no_meaning_are_illegal(page, mnemonic):
    places = encoding(page, mnemonic)
    (opcode,) = [int(what.split()[1]) for _, what in places if what.startswith("opcode")]
    section = section_of(page, mnemonic)
    table = rows(section, "operand", "kind", "range", "default", "meaning")
    base = opcode << 122
    decode(base)
    for bits, what in places:
        if what == "0":
            for bit in bits:
                with pytest.raises(IsaError, match="unused bits are not 0"):
                    decode(base | 1 << bit)
        for name, kind, allowed, *_ in table:
            if name == what and kind not in ("unsigned", "signed"):
                known = set(legal(kind, allowed, len(bits)).values())
                for number in set(range(1 << len(bits))) - known:
                    with pytest.raises(IsaError, match="illegal instruction"):
                        decode(base | number << bits.start)


def test_parameters_made_from_the_page_are_what_the_machine_reads(page):
    table = rows(section_of(page, "Neuron parameters"), "field", "bits", "width")
    at = {name.strip("`"): bits_of(bits) for name, bits, _ in table}
    assert sorted(bit for bits in at.values() for bit in bits) == list(range(64))
    drawn = random.Random(0)
    for _ in range(200):
        fields = {name: drawn.getrandbits(len(bits)) for name, bits in at.items()}
        word = sum(value << at[name].start for name, value in fields.items())
        read = Parameters.unpack(np.array([word], np.uint64).view(np.int64))
        code = fields.pop("leak")
        for name, value in fields.items():
            width = len(at[name])
            assert getattr(read, name)[0] == value - (value >> (width - 1) << width)
        # "8192 - leak, what is lost: itself below 256, from there on an exponent and 7 bits"
        lost = code if code < 256 else (128 + code % 128) << (code // 128 - 1)
        assert read.leak[0] == 8192 - lost
