"""Targets are data: what ships loads, and a mistake in a file is named by its key."""

import re

import pytest

from isa.errors import IsaError
from isa.target import load_target, parse_target, target_names, target_text
from tests.isa.programs import PAPER


def message(text: str) -> str:
    with pytest.raises(IsaError) as caught:
        parse_target(text, "my.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", target_names())
def test_shipped_targets_load_under_their_name(name):
    assert load_target(name).name == name


def test_memories_follow_from_the_units():
    memories = load_target("paper").memories
    shapes = {m.name: (m.rows, m.lanes, m.bits, m.dtype.str) for m in memories.values()}
    assert shapes == {
        "spike": (32768, 4, 8, "|i1"),
        "memory_a": (8192, 4, 10, "<i2"),
        "memory_b": (8192, 4, 10, "<i2"),
        "drive": (4096, 1, 12, "<i2"),
        "update": (2048, 16, 16, "<i2"),
        "axon": (2048, 1, 12, "<i2"),
        "parameter": (512, 4, 64, "<i8"),
        "neuron": (512, 4, 16, "<i2"),
        "partial": (256, 4, 34, "<i8"),
        "readout": (64, 4, 32, "<i4"),
        "ring": (1024, 64, 1, "|i1"),
    }
    volatile = [m.name for m in memories.values() if m.volatile]
    assert volatile == ["neuron", "partial", "readout", "ring"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "paper"', 'name = "Paper"', "name: String should match pattern"),
        ("\nlanes = 4 ", "\nlanes = 0 ", "lanes: Input should be greater than or equal to 1"),
        ("\nlanes = 4 ", '\nlanes = "4" ', "lanes: Input should be a valid integer"),
        ("\nlanes = 4 ", "\nlanes = 4.0 ", "lanes: Input should be a valid integer"),
        ("\nlanes = 4 ", "\nlane = 4 ", "lanes: Field required; lane: no such key; see isa/"),
        ("queue = 4 ", "queue = 65 ", "sequencer.queue: Input should be less than or equal to 64"),
        ("queue = 4 ", "queues = 4 ", "sequencer.queue: Field required; sequencer.queues: no such"),
        ("[neuron]", "[neurons]", "neuron: Field required; neurons: no such key"),
        ("multiplies = false", "multiplies = 0", "bank.0.multiplies: Input should be a valid boo"),
        ("multiplies = true", "multiplies = false", "target: at least one bank must multiply: "),
        ('"memory_a"', '"spike"', "target: bank names must differ: spike, spike, memory_b"),
        ('"memory_a"', '"update"', "target: 'update' is a unit of every machine; call the bank "),
        ("frequency_mhz = 200.0", "frequency_mhz = inf", "frequency_mhz: Input should be a finite"),
        ("frequency_mhz = 200.0", "frequency_mhz = 0", "frequency_mhz: Input should be greater "),
        ("bits = 1\n", "bits = 2\n", "target: events.bits is 2; an event is one bit"),
        ("lanes = 4 ", "lanes 4 ", "not TOML: Expected '=' after a key in a key/value pair (at "),
        ("lanes = 4 ", f"lanes = {'[' * 5000}", "not TOML: "),
    ],
)
def test_a_mistake_is_named_by_its_key(old, new, expected):
    assert old in PAPER
    assert message(PAPER.replace(old, new)).startswith(f"my.toml: {expected}")


def test_an_empty_file_misses_everything():
    assert message("").startswith("my.toml: name: Field required; lanes: Field required; ")


def test_targets_come_by_name_or_by_path(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(PAPER.replace('"paper"', '"mine"'))
    assert load_target(str(path)).name == "mine"
    path.write_text("lanes = ")
    with pytest.raises(IsaError, match=r"my\.toml: not TOML"):
        load_target(str(path))
    path.write_bytes(b"\xff")
    for unreadable in ("papr", str(path), str(tmp_path)):
        with pytest.raises(
            IsaError, match=r"neither a shipped target \(paper, pooled\) nor a readable"
        ):
            target_text(unreadable)


def test_the_targets_that_ship_have_the_same_resources():
    """They differ in where a product's rows may lie, so that their cycles can be compared."""
    paper, pooled = (load_target(name).model_dump() for name in ("paper", "pooled"))
    assert {key for key in paper if paper[key] != pooled[key]} == {"name", "pooled"}
    assert (paper["pooled"], pooled["pooled"]) == (False, True)


def test_a_path_serves_its_own_bank_or_the_first_that_can():
    paper = load_target("paper")
    assert [paper.bank_for(p) for p in ("spike", "memory_a", "memory_b")] == [0, 1, 2]
    renamed = parse_target(re.sub(r"\bmemory_b\b", "dense", re.sub(r"\bspike\b", "s", PAPER)), "x")
    assert [renamed.bank_for(p) for p in ("spike", "memory_a", "memory_b")] == [0, 1, 1]
