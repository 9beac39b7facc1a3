"""Images whose notes were edited and sealed anew: they run as they are, or say what is wrong."""

import json
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
import pytest

from dmpc import compile as compile_network
from dmpc.backend.emit import GRAPH_NOTE, embedded_graph
from dmpc.errors import DmpcError
from dmpc.ir.interpret import interpret
from dmpc.verification import verify
from isa.errors import IsaError
from isa.image import image_bytes, parse_image
from isa.interface import INTERFACE, PROVENANCE
from runtime import Program, RuntimeFailure
from tests.networks import Layer, Shape, network, samples

SHAPE = Shape(inputs=4, layers=(Layer(neurons=6, states=3),), samples=3, steps=5, seed=8)
ODD = (
    None,
    True,
    -1,
    0,
    1,
    7,
    0.5,
    -0.5,
    1e300,
    1e-300,
    10**30,
    "",
    "x",
    "dest",
    [],
    {},
    [1],
    {"a": 1},
)


@cache
def compiled():
    graph = network(SHAPE)
    return graph, compile_network(graph).image, samples(SHAPE)


def sealed(**notes):
    """The compiled image with notes changed, or left out if None, through a file."""
    image = compiled()[1]
    kept = {name: notes.get(name, data) for name, data in image.notes.items()}
    changed = replace(image, notes={n: d for n, d in kept.items() if d is not None})
    return parse_image(image_bytes(changed), "net.elf")


def used(image):
    """Everything that is done with notes; the logits, or what was said instead."""
    graph, _, x = compiled()
    try:
        result = Program(image, "net.elf").run(x)
        interpret(embedded_graph(image), x.astype(np.int64))
        verify(graph, image, x, None)
    except (DmpcError, IsaError, RuntimeFailure) as error:
        return str(error)
    return result.integers.tolist()


def edited(value, random):
    """A value of JSON with one of its parts replaced, dropped or doubled."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        match random.randrange(6):
            case 0:
                return rest
            case 1:
                return {**rest, f"{key}s": value[key]}
            case _:
                return {**value, key: edited(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        match random.randrange(6):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value[:at] + value[at : at + 1] + value[at:]
            case _:
                return [*value[:at], edited(value[at], random), *value[at + 1 :]]
    return random.choice(ODD)


def scrambled(text, random):
    """Text with a few words exchanged, numbers changed, or a line gone."""
    words = text.split(" ")
    for _ in range(random.randint(1, 2)):
        at = random.randrange(len(words))
        match random.randrange(4):
            case 0:
                words[at] = random.choice(words)
            case 1:
                words[at] = words[at].translate(str.maketrans("0123456789", "1934967090"))
            case 2:
                words[at] = random.choice(
                    ("-1", "999999999", "nan", "1e999", "%x", '"', "9" * 5000)
                )
            case 3:
                del words[at : at + random.randint(1, 5)]
    return " ".join(words)


def judged(said):
    """What a run of an edited image may come to: the logits that it had, or one line."""
    if isinstance(said, list):
        assert said == Program(compiled()[1], "").run(compiled()[2]).integers.tolist()
        return
    assert said.isprintable()
    assert len(said) < 1000


@pytest.mark.parametrize(("name", "count"), [(INTERFACE, 120), (PROVENANCE, 120)])
def test_edited_json(name, count):
    random = Random(name)
    whole = json.loads(compiled()[1].notes[name])
    refused = 0
    for _ in range(count):
        image = sealed(**{name: json.dumps(edited(whole, random)).encode()})
        said = used(image)
        judged(said)
        refused += isinstance(said, str)
    assert refused > count / 3


def test_edited_graphs():
    random = Random(0)
    whole = compiled()[1].notes[GRAPH_NOTE].decode()
    refused = 0
    for _ in range(60):
        image = sealed(**{GRAPH_NOTE: scrambled(whole, random).encode()})
        said = used(image)
        judged(said)
        refused += isinstance(said, str)
    assert refused > 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({GRAPH_NOTE: None}, "net.elf: the image carries no graph (it was assembled by hand; "),
        ({GRAPH_NOTE: b"\xff"}, "net.elf: .dmpc.graph: not UTF-8: "),
        ({GRAPH_NOTE: b"dmpir 1"}, "net.elf: .dmpc.graph:1:8: unexpected end of text"),
        ({INTERFACE: b"{}"}, "net.elf: .dmpc.io: name: Field required"),
        ({PROVENANCE: b"[]"}, "net.elf: .dmpc.debug speaks of 0 of "),
    ],
)
def test_what_is_wrong_names_file_and_note(changed, message):
    assert used(sealed(**changed)).startswith(message)


def test_a_graph_of_another_image_is_refused():
    other = compile_network(network(replace(SHAPE, inputs=5))).image
    image = sealed(**{GRAPH_NOTE: other.notes[GRAPH_NOTE]})
    with pytest.raises(
        DmpcError, match=r"^net\.elf: \.dmpc\.graph: the graph has another interface"
    ):
        embedded_graph(image)


def test_the_whole_image_is_used():
    assert isinstance(used(sealed()), list)
