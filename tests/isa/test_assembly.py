"""Assembly text: whole images go there and back, and mistakes are told where they stand."""

import re
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings

from isa.assembler import assemble
from isa.disassembler import assembly, disassemble
from isa.errors import IsaError
from isa.format import INSTRUCTIONS, build, layout
from isa.image import Image, Symbol, image_bytes
from isa.interface import INTERFACE, Input, Interface, Output, interface
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
    values = {p.name: p.field.from_bits(1) for p in layout(cls) if p.required}
    instruction = build(cls, values)
    text = assembly(instruction)
    assert not any(f"{p.name}=" in text for p in layout(cls) if not p.required)
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
.isa 4
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
    ("0000", "08000000000000000000000007000002"),
    ("0001", "60000000000000000000000020000000"),
    ("0002", "08000000000000000000000004080001"),
    ("0003", "10000000000000000000000000002300"),
    ("0004", "40000000000001000020008c00000000"),
    ("0005", "6420000000007ac00800000000000001"),
    ("0006", "70000000000000000020000000000000"),
    ("0007", "04000000000000000000000000000000"),
    ("0008", "00000000000000000000000000000000"),
]


def test_listing():
    listing = disassemble(assemble(WRITTEN, "test.s"), data=False)
    assert re.sub(" +#.*", "", listing) == LISTED
    assert re.findall(r"# (\d{4}): ([0-9a-f]{32})\n", listing) == WORDS


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
    "é": "3:1: 'é' where one of these belongs: '.end', '.io', '.isa', ",
    "| text": "3:1: '|' where one of these belongs: '.end', '.io', '.isa', ",
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
    ".isa 1": "3:6: ISA version 1; this is version 4",
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
    f"{LIF}, stage=64": "3:61: lif: stage: 64 is not a whole number from 0 to 63",
    "loop counter=steps, length=1, drain=64": "3:37: loop: drain: 64 is not a whole number from 0",
    f"{LIF}, shift={'9' * 5000}": "3:61: lif: shift: '99999",
    f".mem spike\n{'9' * 5000} 1 2 3": "4:1: '9999",
    "x" * 9000: "3:1: no instruction xxxx",
    "\0": "3:1: '\\x00' where one of these belongs: ",
    "\ud800": " not text: 'utf-8' codec can't encode character",
    "halt\n" * 4097: " .text: 4097 instructions; the program memory of target paper has 4096 ",
}


@pytest.mark.parametrize(("text", "message"), FAULTS.items(), ids=[f[:30] for f in FAULTS])
def test_faults_say_where_and_what(text, message):
    with pytest.raises(IsaError) as caught:
        program(text)
    assert str(caught.value).startswith(f"test.s:{message}")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "test.s: no .target; name the machine, as in `.target paper`"),
        (".target paper", "test.s: no .text; the program stands below it"),
        (
            ".target papr\n.text",
            "test.s:1:9: target 'papr': neither a shipped target (edge, paper, pooled) nor",
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


# -- the interface --------------------------------------------------------------------------------

IO = '.target paper\n.io "my program"\n{}\n.text\nhalt\n'
FULL = (
    "input kind=values, size=3, bits=8, scale=0.1\noutput size=2, scale=1e-30, average=1, since=3"
)


def test_an_interface_is_text_both_ways():
    image = assemble(IO.format(FULL), "test.s")
    assert interface(image) == Interface(
        name="my program",
        input=Input(kind="values", size=3, bits=8, scale=0.1),
        output=Output(size=2, scale=1e-30, average=True, since=3),
    )
    text = disassemble(image)
    assert re.sub(" +", " ", text).count(FULL.replace("\n", "\n ")) == 1
    assert ".note" not in text
    assert image_bytes(assemble(text, "again.s")) == image_bytes(image)


def test_what_an_interface_leaves_out():
    events = interface(assemble(IO.format("input kind=events, size=3\noutput size=2"), "test.s"))
    assert (events.input.bits, events.input.scale) == (1, 1.0)
    assert (events.output.scale, events.output.average) == (1.0, False)
    values = interface(assemble(IO.format("output size=2\ninput kind=values, size=3"), "test.s"))
    assert values.input.bits == 16


def test_an_interface_that_is_not_as_text_would_make_it_stays_a_note():
    note = assemble(IO.format(FULL), "test.s").notes[INTERFACE]
    for changed in (note.replace(b",", b", "), b"{}", b"\xff"):
        image = Image(PAPER, (INSTRUCTIONS["halt"](),), notes={INTERFACE: changed})
        text = disassemble(image)
        assert f".note {INTERFACE}" in text
        if changed != note.replace(b",", b", "):
            with pytest.raises(IsaError, match=r"again\.s: \.dmpc\.io: "):
                assemble(text, "again.s")
        else:
            assert image_bytes(assemble(text, "again.s")) == image_bytes(image)


IO_FAULTS = {
    "": "2:5: input kind: Field required",
    "input kind=events": "3:1: input size: Field required",
    "input kind=sound, size=3": "3:12: input kind: Input should be 'events' or 'values'",
    "input kind=events, size=x": "3:25: input size: Input should be a valid integer",
    f"input kind=events, size={'9' * 5000}": "3:25: input size: ",
    "input kind=events, size=3, scale=nan": "3:34: input scale: Input should be ",
    "input kind=events, size=3": "2:5: output size: Field required",
    "input kind=events, size=3\noutput size=0": "4:13: output size: Input should be greater than",
    "input kind=events, size=3\noutput size=1, average=maybe": "4:24: output average: Input should",
    "inputs kind=events": "3:1: no inputs in .io; did you mean input?",
    "input size=1\ninput size=1": "4:1: a second input",
    "input size=1, size=1": "3:15: input: size is given twice",
    "input sizes=1": "3:7: input has no sizes; did you mean size?",
    FULL + "\n.io other": "5:1: a second .io",
    FULL + f"\n.note {INTERFACE}\n| x": "2:1: .io says what .note .dmpc.io says; one of them",
    "input kind=events, size=3, bits=2\noutput size=1": " .dmpc.io: input.bits: 2; events of ",
    FULL
    + "\n.text\ninput.values dest=v0, inputs=4": " .dmpc.io: input: 3 values, but the program ",
}


@pytest.mark.parametrize(("text", "message"), IO_FAULTS.items(), ids=[f[:30] for f in IO_FAULTS])
def test_faults_of_an_interface(text, message):
    whole = IO.format(text)
    if "\n.text\n" in text:
        whole = whole.replace("\n.text\nhalt", "")
    with pytest.raises(IsaError) as caught:
        assemble(whole, "test.s")
    assert str(caught.value).startswith(f"test.s:{message}")
    assert "\n" not in str(caught.value)


def test_a_target_file_lies_in_the_texts_own_folder(tmp_path, monkeypatch):
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    for path in (inside / "mine.toml", inside / "deep" / "mine.toml", tmp_path / "mine.toml"):
        path.write_text(PAPER.replace('name = "paper"', 'name = "mine"'))
    (inside / "link.toml").symlink_to(tmp_path / "mine.toml")
    origin = str(inside / "a.s")
    for name in ("mine.toml", "deep/mine.toml", "./deep/../mine.toml"):
        image = assemble(f'.target "{name}"\n.text\nhalt', origin)
        assert image.target.name == "mine"
        text = disassemble(image)
        assert image_bytes(assemble(text, "elsewhere.s")) == image_bytes(image)
    for name in ("../mine.toml", "link.toml", str(inside / "mine.toml"), "deep/../../mine.toml"):
        with pytest.raises(IsaError) as caught:
            assemble(f'.target "{name}"\n.text\nhalt', origin)
        message = (
            f"{origin}:1:9: target {name!r}: neither a shipped target (edge, paper, pooled) nor"
        )
        assert str(caught.value).startswith(message)
    monkeypatch.chdir(inside)
    assert assemble('.target "mine.toml"\n.text\nhalt', "a.s").target.name == "mine"


@pytest.mark.parametrize("name", ["\\ud800", "\\u0000", "a\\nb"])
def test_odd_names_are_refused_in_one_line(name):
    for text in (f'.target "{name}"\n.text', f'{HEAD}"{name}": halt'):
        with pytest.raises(IsaError) as caught:
            assemble(text, "test.s")
        assert str(caught.value).startswith("test.s:")
        assert str(caught.value).isprintable()


PIECES = (
    *[
        ".text",
        ".mem",
        ".note",
        ".io",
        ".end",
        ".isa",
        ".target",
        "|",
        ":",
        ",",
        "=",
        '"',
        "\\",
        "#",
        ";",
        "halt",
        "lif",
        "loop",
        "e0",
        "v99",
        "b0+b0",
    ],
    *["none", "0xg", "-1", "0x", "1_0", "²", "nan", ".L8", "size=3", "\\ud800"],
    *("\n", "\0", "\r", "\ufeff", ".mem spike", ".note .x", '"\\ud800"', "9" * 5000, "x" * 5000),
)
MORE = "\n.io a\ninput kind=events, size=140\noutput size=9\n.mem drive\n1\nw: 2\n.end w\n"


@pytest.mark.parametrize("seed", range(2))
def test_mutated_text(seed):
    """It is a program still, which goes there and back, or is refused in one line."""
    random, refused = Random(seed), 0
    whole = (
        WRITTEN
        + "\n.io name\ninput kind=events, size=140\noutput size=9\n.mem drive\n1\nw: 2\n.end w\n"
    )
    assemble(whole, "a.s")
    for _ in range(100):
        tokens = re.findall(r"\s+|[\w.]+|.", whole)
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(tokens))
            new = random.choice((random.choice(PIECES), random.choice(tokens)))
            tokens[at : at + random.randint(0, 2)] = [new]
        said = None
        try:
            image = assemble("".join(tokens), "a.s")
            assert image_bytes(assemble(disassemble(image), "b.s")) == image_bytes(image)
        except IsaError as error:
            said = str(error)
        if said is not None:
            refused += 1
            assert said.startswith("a.s:")
            assert said.isprintable()
            assert len(said) < 2000
    assert 30 < refused < 100
