"""What an image says of itself: written, read back, and refused where it makes no sense."""

import json

import numpy as np
import pytest

from isa.errors import IsaError
from isa.image import Image, Symbol, image_bytes, read_image, write_image
from isa.instructions import Halt, InputEvents, InputValues, Sync
from isa.interface import (
    INTERFACE,
    PROVENANCE,
    Input,
    Interface,
    Output,
    Provenance,
    interface,
    notes,
    provenance,
)
from tests.isa.machine import PAPER

DESCRIBED = Interface(
    name="digits",
    input=Input(kind="values", size=3, bits=16, scale=0.5),
    output=Output(size=10, scale=0.25, average=True),
)
SOURCES = (Provenance(layer="layer1", nodes=("/fc",)), Provenance())


def image(**changed):
    return Image(PAPER, (Sync(), Halt()), notes=notes(DESCRIBED, SOURCES) | changed)


def test_notes_come_back_from_a_file(tmp_path):
    path = tmp_path / "a.elf"
    write_image(image(), path)
    read = read_image(path)
    assert interface(read) == DESCRIBED
    assert provenance(read) == SOURCES


def test_notes_are_the_same_bytes_every_time():
    assert image_bytes(image()) == image_bytes(image())


def test_an_image_without_an_interface():
    with pytest.raises(IsaError) as caught:
        interface(Image(PAPER, (Halt(),), origin="a.elf"))
    assert str(caught.value).startswith(
        f"a.elf: the image has no {INTERFACE}, which says how it is"
    )


def test_without_provenance_it_is_the_innermost_symbol():
    symbols = (
        Symbol("all", ".text", 0, 3),
        Symbol("two", ".text", 1, 1),
        Symbol("x", ".text", 0, 0),
    )
    code = (Sync(), Sync(), Sync(), Halt())
    found = provenance(Image(PAPER, code, symbols=symbols))
    assert [item.layer for item in found] == ["all", "two", "all", ""]


def text(**changed):
    """The note with one entry changed; `__` goes into a part."""
    described = json.loads(notes(DESCRIBED, SOURCES)[INTERFACE])
    for path, value in changed.items():
        part, _, key = path.partition("__")
        (described[part] if key else described)[key or part] = value
    return json.dumps(described).encode()


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (text(input__size=0), "input.size: Input should be greater than or equal to 1"),
        (text(input__bits=17), "input.bits: Input should be less than or equal to 16"),
        (text(input__kind="sound"), "input.kind: Input should be 'events' or 'values'"),
        (text(input__scale=0), "input.scale: Input should be greater than 0"),
        (text(input__scale=float("inf")), "input.scale: Input should be a finite number"),
        (text(output__scale=-1.0), "output.scale: Input should be greater than 0"),
        (text(colour="red"), "colour: Extra inputs are not permitted"),
        (text(name=3), "name: Input should be a valid string"),
        (text(input__size="3"), "input.size: Input should be a valid integer"),
        (text(input__size=3.0), "input.size: Input should be a valid integer"),
        (text(input__size=None), "input.size: Input should be a valid integer"),
        (text(input__size=7).replace(b"7", b"9" * 5000), "Invalid JSON: number out of range"),
        (text(output__average=1), "output.average: Input should be a valid boolean"),
        (text(output__since=0), "output.since: Input should be greater than or equal to 1"),
        (text(input=[]), "input: Input should be an object"),
        (text(name="\ud800"), "Invalid JSON: "),
        (b"\xff", "Invalid JSON"),
        (b"[" * 5000, "Invalid JSON: recursion limit exceeded"),
        (text(input__kind="events"), "input.bits: 16; events of target paper have 1"),
    ],
)
def test_an_interface_that_makes_no_sense_is_refused(note, message):
    with pytest.raises(IsaError) as caught:
        interface(image(**{INTERFACE: note}))
    assert str(caught.value).startswith(INTERFACE)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_provenance_must_speak_of_every_instruction():
    made = Image(PAPER, (Sync(), Sync(), Halt()), notes=notes(DESCRIBED, SOURCES))
    with pytest.raises(IsaError, match=r"\.dmpc\.debug speaks of 2 of 3 instructions"):
        provenance(made)


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (b"{}", "Input should be a valid array"),
        (b"[1, {}]", "0: Input should be an object"),
        (b'[{"layer": 1}, {}]', "0.layer: Input should be a valid string"),
        (b'[{"values": {"dest": 1}}, {}]', "0.values.dest: Input should be a valid string"),
        (b'[{"values": {"dest": "x"}}, {}]', "0.values: sync leaves no dest"),
        (b'[{"colour": "red"}, {}]', "0.colour: Extra inputs are not permitted"),
        (b"[{}, {}", "Invalid JSON"),
    ],
)
def test_provenance_that_makes_no_sense_is_refused(note, message):
    made = Image(PAPER, (Sync(), Halt()), notes={PROVENANCE: note}, origin="a.elf")
    with pytest.raises(IsaError) as caught:
        provenance(made)
    assert str(caught.value).startswith(f"a.elf: {PROVENANCE}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (InputValues(dest=0, inputs=4), "input: 3 values, but the program takes 4 values (pc 0)"),
        (InputEvents(dest=0, inputs=3), "input: 3 values, but the program takes 3 events (pc 0)"),
    ],
)
def test_an_interface_of_another_program_is_refused(op, message):
    made = Image(PAPER, (op, Halt()), notes=notes(DESCRIBED, (Provenance(),) * 2))
    with pytest.raises(IsaError) as caught:
        interface(made)
    assert str(caught.value) == f"{INTERFACE}: {message}"


def test_numbers_beyond_all_scales_are_clipped():
    tiny = Input(kind="values", size=1, bits=8, scale=1e-300)
    integers, clipped = tiny.integers(np.array([1e300, -1e300, 0.0]))
    assert integers.tolist() == [127, -127, 0]
    assert clipped == 2
