"""Assembly text: whole images go there and back, and mistakes are told where they stand."""

import re

import numpy as np
import pytest
from hypothesis import given, settings

from isa.assembler import assemble
from isa.disassembler import assembly, disassemble
from isa.errors import IsaError
from isa.format import INSTRUCTIONS, build, layout
from isa.image import Image, Symbol, image_bytes
from tests.isa.programs import CLASSES, PAPER, any_instruction, images

HEAD = ".target paper\n.text\n"


def program(*lines: str) -> Image:
    return assemble(HEAD + "\n".join(lines), "test.s")


@given(images())
@settings(max_examples=100, deadline=None)
def test_whole_images_go_to_text_and_back(image):
    text = disassemble(image)
    again = assemble(text, "again.s")
    assert image_bytes(again) == image_bytes(image)
    assert disassemble(again) == text


@given(images())
@settings(max_examples=30, deadline=None)
def test_the_program_alone_goes_to_text_and_back(image):
    again = assemble(disassemble(image, data=False), "again.s")
    assert again.code == image.code
    assert again.target_text == image.target_text
    assert not again.memories
    assert not again.notes


@given(any_instruction)
def test_one_instruction(instruction):
    assert program(assembly(instruction)).code == (instruction,)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.mnemonic)
def test_defaults_are_left_out_and_filled_in(cls):
    values = {p.name: p.field.from_bits(1) for p in layout(cls) if p.default is None}
    instruction = build(cls, values)
    text = assembly(instruction)
    assert not any(f"{p.name}=" in text for p in layout(cls) if p.default is not None)
    assert program(text).code == (instruction,)


WRITTEN = """
    .text                   # sections come in any order
    main: loop counter=samples, length=outer    ; a label names the end of a body
          clear.membranes row=0x0, groups=32
          loop counter=steps, length=4, value=0, drain=2
    layer1:
          input.events dest=e0, inputs=140
          acc.events bank=b0, source=e0, row=0, inputs=140, groups=32, join=0
          lif dest=e1, row=0, parameters=0, groups=32, banks=b1+b0, shift=-3, stage=2
          integrate.values row=0, parameters=0, groups=32, banks=none
    .end layer1
          sync
    outer: .end main
    halt
    .target paper"""

LISTED = """\
.isa 2
.target paper

.text
main:
        loop            counter=samples, length=.L8
        clear.membranes row=0, groups=32
        loop            counter=steps, drain=2, length=.L7
layer1:
        input.events    dest=e0, inputs=140
        acc.events      bank=b0, source=e0, row=0, inputs=140, groups=32
        lif             dest=e1, row=0, parameters=0, groups=32, banks=b0+b1, shift=-3, stage=2
        integrate.values row=0, parameters=0, groups=32, banks=none
.end layer1
.L7:
        sync
.end main
outer:
.L8:
        halt
"""

WORDS = [
    ("0000", "0800000000e00002"),
    ("0001", "6000000000020000"),
    ("0002", "0800000000880001"),
    ("0003", "10000000000008c0"),
    ("0004", "4010008023000000"),
    ("0005", "65007ac200000001"),
    ("0006", "7000000020000000"),
    ("0007", "0400000000000000"),
    ("0008", "0000000000000000"),
]


def test_listing():
    listing = disassemble(assemble(WRITTEN, "test.s"), data=False)
    assert re.sub(" +#.*", "", listing) == LISTED
    assert re.findall(r"# (\d{4}): ([0-9a-f]{16})\n", listing) == WORDS


def test_memories_and_notes():
    image = assemble(
        HEAD + ".mem parameter\n 0xffffffffffffffff 1, 2 -3\nw: 1 2 3 4 # last\n.end w\n"
        ".mem drive\n-128\n127\n.note .a\n|  two\n|\n.note .b\n0x00ff\n0x01\n.note .c\n",
        "test.s",
    )
    assert image.memories["parameter"].tolist() == [[-1, 1, 2, -3], [1, 2, 3, 4]]
    assert image.memories["drive"].dtype == np.int16
    assert image.memories["drive"].tolist() == [[-128], [127]]
    assert image.symbols == (Symbol("w", ".mem.parameter", 1, 1),)
    assert image.notes == {".a": b" two\n", ".b": b"\x00\xff\x01", ".c": b""}


def test_lines_may_end_with_carriage_return():
    text = disassemble(program("halt")).replace("\n", "\r\n")
    assert image_bytes(assemble(text, "test.s")) == image_bytes(program("halt"))


LIF = "lif dest=e1, row=0, parameters=0, groups=1, banks=b0"
FAULTS = {
    "acc.event bank=b0": "3:1: no instruction acc.event; did you mean acc.events?",
    "xyzzy": "3:1: no instruction xyzzy; known: halt, sync, loop, ",
    ".txt": "3:1: no directive .txt; did you mean .text?",
    " halt halt": "3:11: the end of the line where one of these belongs: '='",
    "halt, halt": "3:5: ',' where one of these belongs: ':', a name, the end of the line",
    "é": "3:1: 'é' where one of these belongs: '.end', '.isa', ",
    "| text": "3:1: '|' where one of these belongs: '.end', '.isa', ",
    f"{LIF}, shift=32": "3:61: lif: shift: 32 is not a whole number from -32 to 31",
    f"{LIF}, shift=x": "3:61: lif: shift: 'x' is not a number",
    f"{LIF}, shft=1": "3:55: lif has no operand shft; did you mean shift?",
    f"{LIF}, row=1": "3:55: lif: row is given twice",
    LIF: "3:1: lif needs shift=, signed -32 .. 31: right shift of event sums; negative ",
    "loop counter=stepz, length=1": "3:14: loop: counter: 'stepz' is none of immediate, steps,",
    "loop counter=steps, length=.La\n.Lb: halt": "3:28: no label .La; did you mean .Lb?",
    "loop counter=steps, length=a": "3:28: no label a; known: none",
    ".La: .La: loop counter=steps, length=.La": "3:38: label .La stands in 2 places",
    "a: loop counter=steps, length=a": "3:31: label a stands before the body; it belongs behind",
    "loop counter=steps, length=": "3:28: the end of the line where one of these belongs: a qu",
    "loop counter=steps, length=-1": "3:28: no label -1; known: none",
    "loop counter=steps, length=65536": "3:28: loop: length: 65536 is not a whole number from",
    "layer: .end layr": "3:13: .end layr: not open here; did you mean layer?",
    '"a\\q": halt': '3:1: "a\\q" is not a quoted name: Invalid \\escape',
    ".text": "3:1: a second .text",
    ".target paper": "3:1: a second .target",
    ".target papr": "3:1: a second .target",
    ".isa 1": "3:6: ISA version 1; this is version 2",
    ".isa": "3:5: the end of the line where one of these belongs: numbers",
    ".mem spik": "3:6: target paper loads no memory spik; did you mean spike?",
    ".mem neuron": "3:6: target paper loads no memory neuron; known: spike, memory_a, ",
    ".mem drive\n.mem drive": "4:6: a second .mem drive",
    ".mem spike\n1 2 3": "4:1: 3 elements; a row of spike has 4",
    ".mem spike\n1 2 3 256": "4:1: 256 does not fit 8 bits: -128 .. 127",
    ".mem spike\n1 2 3 4x": "4:1: '1 2 3 4x' are not numbers",
    ".note .a\n0xgg": "4:1: '0xgg' is not hexadecimal bytes 0x...",
    ".note .a\n12": "4:1: '12' is not hexadecimal bytes 0x...",
    ".note .a\n.note .a": "4:7: a second .note .a",
    ".note .text": " note '.text': not a free section name such as .dmpc.graph",
    f"{LIF}, stage=8": "3:61: lif: stage: 8 is not a whole number from 0 to 7",
    "loop counter=steps, length=1, drain=8": "3:37: loop: drain: 8 is not a whole number from 0",
    "halt\n" * 4097: " .text: 4097 instructions; the program memory of target paper has 4096 ",
}


@pytest.mark.parametrize(("text", "message"), FAULTS.items(), ids=[f[:30] for f in FAULTS])
def test_faults_say_where_and_what(text, message):
    with pytest.raises(IsaError) as caught:
        program(text)
    assert str(caught.value).startswith(f"test.s:{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "test.s: no .target; name the machine, as in `.target paper`"),
        (".target paper", "test.s: no .text; the program stands below it"),
        (
            ".target papr\n.text",
            "test.s:1:9: target 'papr': neither a shipped target (paper, pooled) nor",
        ),
        (".target\n| lanes = 4\n.text", "test.s: .dmpc.target: name: Field required; "),
        (".target\n| lanes\n.text", "test.s: .dmpc.target: not TOML: "),
        (".target\n.text", "test.s:2:1: '.text' where one of these belongs: a '|' line"),
        ("halt", "test.s:1:1: 'halt' where one of these belongs: "),
    ],
)
def test_faults_of_the_whole(text, message):
    with pytest.raises(IsaError) as caught:
        assemble(text, "test.s")
    assert str(caught.value).startswith(message)


def test_an_image_that_cannot_be_written_cannot_be_shown():
    with pytest.raises(IsaError, match=re.escape("symbol a: 0 .. 9 of 1 in .text")):
        disassemble(Image(PAPER, (INSTRUCTIONS["halt"](),), symbols=(Symbol("a", ".text", 0, 9),)))
