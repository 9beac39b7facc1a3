"""Targets are data: what ships loads, and a mistake in a file is named by its key."""

import re
from random import Random

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
        ("lanes = 4 ", f"lanes = {'9' * 5000} ", "not TOML: a number of 5000 digits (at line 8)"),
        ("lanes = 4 ", f"lanes = {'9' * 900} ", "lanes: Input should be less than or equal to 256"),
        ("lanes = 4 ", "lanes = 1979-13-45 ", "not TOML: "),
        ("lanes = 4 ", "lanes = true ", "lanes: Input should be a valid integer"),
        ("lanes = 4 ", "lanes = nan ", "lanes: Input should be a valid integer"),
        ("lanes = 4 ", "lanes = 4 \nlanes = 4 ", "not TOML: Cannot overwrite a value"),
        ("\nlanes = 4 ", '\n"a\\nb\\u001b" = 4 ', "lanes: Field required; a b\\x1b: no such key"),
        ("frequency_mhz = 200.0", "frequency_mhz = nan", "frequency_mhz: Input should be a finite"),
        ("frequency_mhz = 200.0", "frequency_mhz = 1e999", "frequency_mhz: Input should be a fin"),
        ("frequency_mhz = 200.0", f"frequency_mhz = {'9' * 5000}.0", "frequency_mhz: Input should"),
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
            IsaError, match=r"neither a shipped target \(edge, paper, pooled\) nor a readable"
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


def test_many_mistakes_are_counted():
    unknown = "\n".join(f"k{number} = 1" for number in range(99))
    said = message(PAPER.replace("\nlanes", f"\n{unknown}\nlanes", 1))
    assert said.endswith("; see isa/targets/paper.toml for those there are; and 91 more")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf" + PAPER.replace("\n", "\r\n").encode())
    assert target_text(str(tmp_path / "a.toml")) == PAPER


PIECES = (
    *("=", "[", "]", "{", "}", '"', "\\", "#", "\n", ".", ",", "-", "[[bank]]", "[x]", "a = 1"),
    *("nan", "inf", "true", "1e999", "1979-05-27", "9" * 5000, "[" * 3000, "\0", "\x1b", "0", "-1"),
)


@pytest.mark.parametrize("seed", range(2))
def test_mutated_targets(seed):
    """They are targets still, or say in one line why not."""
    random, refused = Random(seed), 0
    for _ in range(150):
        tokens = re.findall(r"\s+|\w+|.", PAPER)
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(tokens))
            new = random.choice((random.choice(PIECES), random.choice(tokens)))
            tokens[at : at + random.randint(0, 2)] = [new]
        said = None
        try:
            parse_target("".join(tokens), "my.toml")
        except IsaError as error:
            said = str(error)
        if said is not None:
            refused += 1
            assert said.startswith("my.toml: ")
            assert said.isprintable()
            assert len(said) < 2000
    assert refused > 50
