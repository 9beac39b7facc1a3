"""The image's file: deterministic, listed by standard tools, refused when damaged in any way."""

import hashlib
import os
import shutil
import subprocess

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.errors import IsaError
from isa.format import encode
from isa.image import Image, Symbol, contents, image_bytes, parse_image, read_image, write_image
from isa.instructions import Halt, InputEvents, Loop, Sync
from tests.isa.programs import PAPER, images

IMAGE = Image(
    PAPER,
    (Loop(counter="samples", length=2), InputEvents(dest=0, inputs=140), Sync(), Halt()),
    {
        "spike": np.arange(-8, 8, dtype=np.int16).reshape(4, 4),
        "parameter": np.array([[-(1 << 63), -1, 1, (1 << 63) - 1]]),
    },
    (
        Symbol("layer1", ".text", 3, 1),
        Symbol("layer1", ".text", 0, 2),
        Symbol("layer1.fast.weight", ".mem.spike", 1, 3),
    ),
    {".dmpc.graph": b"graph", ".dmpc.debug": b"{}"},
)
BYTES = image_bytes(IMAGE)
DIGEST = slice(64 + 12 + 8 + 4, 64 + 12 + 8 + 4 + 32)


def changed(**parts: object) -> Image:
    return Image(**{**vars(Image(PAPER, (Halt(),))), **parts})


def reseal(data: bytes) -> bytes:
    """A file whose digest is right, whatever else it holds."""
    sealed = bytearray(data)
    sealed[DIGEST] = bytes(32)
    sealed[DIGEST] = hashlib.sha256(sealed).digest()
    return bytes(sealed)


def refusal(data: bytes) -> str:
    with pytest.raises(IsaError) as caught:
        parse_image(data, "a.elf")
    message = str(caught.value)
    assert message.startswith("a.elf: ")
    assert "\n" not in message
    return message.removeprefix("a.elf: ")


@given(images())
@settings(deadline=None)
def test_round_trip(image):
    again = parse_image(image_bytes(image), "a.elf")
    assert again.target_text == image.target_text
    assert again.code == image.code
    assert again.notes == image.notes
    assert sorted(again.symbols) == sorted(image.symbols)
    assert again.memories.keys() == image.memories.keys()
    for name, table in image.memories.items():
        assert np.array_equal(again.memories[name], table)
    assert image_bytes(again) == image_bytes(image)


def test_order_and_integer_type_do_not_show_in_the_bytes():
    backward = Image(
        IMAGE.target_text,
        IMAGE.code,
        {n: t.astype(np.int64) for n, t in reversed(IMAGE.memories.items())},
        IMAGE.symbols[::-1],
        dict(reversed(IMAGE.notes.items())),
    )
    assert image_bytes(backward) == BYTES


def test_the_bytes_are_those_of_yesterday():
    """A change here breaks every image that exists: raise ISA_VERSION with it."""
    note, text, spike = BYTES[64:88], BYTES[120:184], BYTES[184:200]
    assert note.hex(" ", 4) == "05000000 24000000 01000000 646d7063 00000000 04000000"
    assert text.hex(" ", 8) == (
        "0200000200000000 0000000000000008 0023000000000000 0000000000000010 "
        "0000000000000000 0000000000000004 0000000000000000 0000000000000000"
    )
    assert spike.hex(" ", 4) == "f8f9fafb fcfdfeff 00010203 04050607"


@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255))
@settings(max_examples=400)
def test_any_edited_byte_is_refused(at, difference):
    edited = bytearray(BYTES)
    edited[at] ^= difference
    refusal(bytes(edited))


def test_every_truncation_and_extension_is_refused():
    for length in range(len(BYTES)):
        refusal(BYTES[:length])
    assert refusal(BYTES[:-1]).startswith(f"truncated after {len(BYTES) - 1} bytes; ")
    assert refusal(BYTES + b"\0").startswith("checksum differs")


@given(st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.integers(1, 255)), max_size=4))
@settings(max_examples=400, deadline=None)
def test_a_forged_checksum_opens_no_way_to_a_traceback(edits):
    forged = bytearray(BYTES)
    for at, difference in edits:
        forged[at] ^= difference
    sealed = reseal(bytes(forged))
    try:
        image = parse_image(sealed, "a.elf")
    except IsaError as error:
        refused = str(error)
    else:
        refused = ""
        assert image_bytes(image) == sealed
    assert "\n" not in refused


@given(st.binary(max_size=300))
def test_garbage_is_refused(data):
    refusal(data)
    refusal(b"\x7fELF" + data)
    refusal(BYTES[:64] + data)


def test_refusals_say_what_is_wrong():
    other_note = bytearray(BYTES)
    other_note[64 + 12 : 64 + 16] = b"GNU\0"
    later = bytearray(BYTES)
    later[84] = 9
    forged = reseal(BYTES.replace(b'name = "paper"', b'name = "PAPER"'))
    word = BYTES.index(encode(IMAGE.code[0]).to_bytes(16, "little"))
    illegal = reseal(BYTES[:word] + b"\xff" * 16 + BYTES[word + 16 :])
    assert refusal(b"").startswith("an empty file, not an image (`dmpc compile` and")
    assert refusal(b"\x08\x07\xff").startswith("not an image (`dmpc compile`")
    assert refusal(bytes(other_note)) == "an ELF file, but not a dmpc image"
    assert refusal(bytes(later)).startswith("checksum differs: the file was damaged or edited")
    assert refusal(reseal(bytes(later))) == (
        "built for ISA version 9, this is version 4; compile it again"
    )
    assert refusal(forged).startswith(".dmpc.target: name: String should match pattern")
    assert refusal(illegal).startswith(".text: word 0: illegal instruction 0x" + "ff" * 16)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (changed(code=(Halt(),) * 4097), ".text: 4097 instructions; the program memory of target "),
        (changed(code=(Loop(counter="steps", length=-1),)), "loop: length: -1 is not a whole numb"),
        (changed(target_text=PAPER + "\r\n"), ".dmpc.target: carriage returns; write lines that"),
        (changed(target_text="x"), ".dmpc.target: not TOML: "),
        (
            changed(memories={"spike": np.zeros((32769, 4), np.int8)}),
            "memory spike: 32769 rows; target paper has 32768 there",
        ),
        (
            changed(memories={"spike": np.array([[0, 0, 0, 0], [0, 0, 0, 128]])}),
            "memory spike: row 1: an element outside -128 .. 127, its 8 bits",
        ),
        (
            changed(memories={"spike": np.zeros((1, 3), np.int8)}),
            "memory spike: int8 of shape [1, 3]; the loader takes signed integers [rows, 4]",
        ),
        (
            changed(memories={"spike": np.zeros((1, 4))}),
            "memory spike: float64 of shape [1, 4]; the loader takes signed integers [rows, 4]",
        ),
        (
            changed(memories={"spkie": np.zeros((1, 4), np.int8)}),
            "memory 'spkie': one that target paper does not have; loaded: spike, memory_a, ",
        ),
        (
            changed(memories={"neuron": np.zeros((1, 4), np.int8)}),
            "memory 'neuron': one that target paper clears at the start of each sample; loaded: ",
        ),
        (changed(symbols=(Symbol("", ".text", 0, 1),)), "symbol '': a name takes one or more "),
        (changed(symbols=(Symbol("a\n", ".text", 0, 1),)), "symbol 'a\\n': a name takes one or "),
        (changed(symbols=(Symbol("a", ".mem.spike", 0, 1),)), "symbol a: the image has no section"),
        (changed(symbols=(Symbol("a", ".text", 0, 2),)), "symbol a: 0 .. 2 of 1 in .text"),
        (changed(symbols=(Symbol("a", ".text", -1, 1),)), "symbol a: -1 .. 0 of 1 in .text"),
        (
            changed(symbols=(Symbol("a", ".text", 0, 1),) * 2),
            "symbol a: its ranges at 0 and 0 of .text overlap",
        ),
        (
            changed(notes={".text": b""}),
            "note '.text': not a free section name such as .dmpc.graph",
        ),
        (changed(notes={".mem.x": b""}), "note '.mem.x': not a free section name"),
        (changed(notes={"a b": b""}), "note 'a b': not a free section name"),
    ],
)
def test_what_does_not_fit_the_target_is_not_written(image, message, tmp_path):
    path = tmp_path / "a.elf"
    with pytest.raises(IsaError) as caught:
        write_image(image, path)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_files(tmp_path):
    path = tmp_path / "a.elf"
    path.write_bytes(b"older")
    write_image(IMAGE, path)
    assert path.read_bytes() == BYTES
    assert image_bytes(read_image(str(path))) == BYTES
    assert os.listdir(tmp_path) == ["a.elf"]
    with pytest.raises(IsaError, match=r"none\.elf: cannot read the image: No such file"):
        read_image(tmp_path / "none.elf")
    with pytest.raises(IsaError, match=r"b\.elf: cannot write the image: No such file"):
        write_image(IMAGE, tmp_path / "none" / "b.elf")
    with pytest.raises(IsaError, match="cannot write the image: "):
        write_image(IMAGE, tmp_path)


def test_contents_have_an_entry_for_every_memory():
    loaded = contents(IMAGE)
    assert list(loaded) == list(IMAGE.target.memories)
    assert loaded["spike"].rows.shape == (4, 4)
    assert loaded["spike"].valid.all()
    assert loaded["update"].rows.shape == (0, 16)
    assert not len(loaded["update"].valid)


def test_standard_tools_list_it(tmp_path):
    path = tmp_path / "a.elf"
    write_image(IMAGE, path)
    with path.open("rb") as file:
        elf = ELFFile(file)
        names = [section.name for section in elf.iter_sections()]
        symbols = [
            (s.name, names[s["st_shndx"]], s["st_value"], s["st_size"], s["st_info"]["type"])
            for s in elf.get_section_by_name(".symtab").iter_symbols()
            if s.name
        ]
        (note,) = elf.get_section_by_name(".note.dmpc").iter_notes()
    assert names == [
        "", ".note.dmpc", ".text", ".mem.spike", ".mem.parameter", ".dmpc.target", ".dmpc.debug",
        ".dmpc.graph", ".symtab", ".strtab", ".shstrtab",
    ]  # fmt: skip
    assert symbols == [
        ("layer1", ".text", 0, 32, "STT_FUNC"),
        ("layer1", ".text", 48, 16, "STT_FUNC"),
        ("layer1.fast.weight", ".mem.spike", 4, 12, "STT_OBJECT"),
    ]
    assert note["n_name"] == "dmpc"
    if readelf := shutil.which("readelf"):
        command = [readelf, "--all", "--wide", str(path)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        assert listed.stderr == ""
        assert "Warning" not in listed.stdout
        assert "FUNC    LOCAL  DEFAULT    2 layer1\n" in listed.stdout
