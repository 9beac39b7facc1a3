"""What an image says of itself: written, read back, and refused where it makes no sense."""

import json

import pytest

from isa.errors import IsaError
from isa.image import Image, image_bytes, read_image, write_image
from isa.instructions import Halt, Sync
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
SOURCES = (Provenance(layer="layer1", nodes=("/fc",), values={"dest": "x"}), Provenance())


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


@pytest.mark.parametrize(("name", "read"), [(INTERFACE, interface), (PROVENANCE, provenance)])
def test_an_image_without_the_note(name, read):
    bare = Image(PAPER, (Halt(),))
    with pytest.raises(IsaError) as caught:
        read(bare)
    assert str(caught.value) == f"the image has no {name}; compile it from a model"


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
