"""Words: every instruction encodes and decodes, and nothing that does not fit gets in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.errors import IsaError
from isa.format import (
    INSTRUCTIONS,
    OPCODE_BITS,
    WORD_BITS,
    Instruction,
    build,
    decode,
    encode,
    layout,
)
from isa.limits import MOST_KERNELS, MOST_REGISTERS, MOST_WINDOWS, STAGE_BITS
from tests.isa.programs import CLASSES, any_instruction, instances, operands

KINDS = {p.field.kind for cls in CLASSES for p in layout(cls)}
OUTSIDE = {
    "flag": [1, "1", None],
    "choice": ["", "summ", 0, None],
    "window": [-1, 16, True, 1.0, "w1"],
    "kernel": [-1, 16, True, 1.0, "k1"],
    "value register or none": [-1, 64, True, 1.0, "v1"],
    "bank set": [(1, 0), (0, 0), (3,), 1, (True,), ("b0",), None],
}
MOST = {
    "bank": 2,
    "window": MOST_WINDOWS,
    "kernel": MOST_KERNELS,
    "value register or none": MOST_REGISTERS,
}
PLACED = [(cls, p) for cls in CLASSES for p in layout(cls)]
IDS = [f"{cls.mnemonic}-{p.name}" for cls, p in PLACED]


def sample(cls: type[Instruction], **changed: object) -> Instruction:
    """An instruction with the least operands there are."""
    return build(cls, {p.name: p.field.from_bits(0) for p in layout(cls)} | changed)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.mnemonic)
@given(st.data())
def test_round_trip(cls, data):
    instruction = data.draw(instances(cls))
    word = encode(instruction)
    assert 0 <= word < 1 << WORD_BITS
    assert word >> (WORD_BITS - OPCODE_BITS) == cls.opcode
    assert decode(word) == instruction


@pytest.mark.parametrize(("cls", "placed"), PLACED, ids=IDS)
def test_extremes_fill_their_field_and_no_other(cls, placed):
    ones = (1 << placed.field.bits) - 1
    if placed.field.kind == "choice":
        ones = len(placed.field.range.split(", ")) - 1
    ones = MOST.get(placed.field.kind, ones)
    changed = sample(cls, **{placed.name: placed.field.from_bits(ones)})
    assert encode(changed) == encode(sample(cls)) | ones << placed.low


@pytest.mark.parametrize(("cls", "placed"), PLACED, ids=IDS)
def test_what_does_not_fit_is_refused_by_name(cls, placed):
    field = placed.field
    span = 1 << field.bits
    low, high = (-span // 2, span // 2 - 1) if field.kind == "signed" else (0, span - 1)
    high = 2 if field.kind == "bank" else high
    outside = OUTSIDE.get(field.kind, [low - 1, high + 1, 1 << 70, True, 1.0, "1", None])
    for value in outside:
        with pytest.raises(IsaError, match=rf"^{cls.mnemonic}: {placed.name}: ") as caught:
            encode(sample(cls, **{placed.name: value}))
        message = str(caught.value)
        assert repr(value) in message or field.kind == "bank set"
        if field.kind not in OUTSIDE:
            assert message.endswith(f"is not a whole number from {low} to {high}")


@given(
    st.integers(0, (1 << WORD_BITS) - 1) | any_instruction.map(encode),
    st.integers(0, WORD_BITS - 1),
)
def test_a_word_decodes_to_what_encodes_to_it_or_is_illegal(word, bit):
    word ^= 1 << bit
    try:
        again, reason = encode(decode(word)), ""
    except IsaError as error:
        again, reason = word, str(error)
    assert again == word
    assert not reason or reason.startswith(f"illegal instruction {word:#034x}: ")
    assert "\n" not in reason


def test_illegal_words_say_why():
    top = WORD_BITS - OPCODE_BITS
    halt, readout = 0, 33 << top
    used = {encode(sample(cls)) >> top for cls in CLASSES}
    free = next(opcode for opcode in range(1 << OPCODE_BITS) if opcode not in used)
    mode = layout(INSTRUCTIONS["readout"])[4].low
    reasons = {
        free << top: "no such opcode",
        halt | 1: "halt: unused bits are not 0",
        halt | 1 << 54: "halt: unused bits are not 0",
        readout | 3 << mode: "readout: mode: number 3 names none of sum, last, max",
        1 << WORD_BITS: "no such opcode",
        -1: "no such opcode",
    }
    for word, reason in reasons.items():
        with pytest.raises(IsaError, match=reason):
            decode(word)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.mnemonic)
def test_the_stage_stands_in_the_same_bits_of_every_word(cls):
    assert (
        encode(sample(cls, stage=5))
        == encode(sample(cls)) | 5 << WORD_BITS - OPCODE_BITS - STAGE_BITS
    )
    assert layout(cls)[-1].name == "stage"


def test_no_banks_are_a_set_of_banks():
    word = encode(sample(INSTRUCTIONS["lif"]))
    assert decode(word).banks == ()
    assert decode(word | 0b101 << layout(INSTRUCTIONS["lif"])[4].low).banks == (0, 2)


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(st.data())
def test_operands_read_back_from_their_text(kind, data):
    field = next(p.field for _, p in PLACED if p.field.kind == kind)
    value = data.draw(operands(field))
    assert field.read(field.show(value)) == value


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("unsigned", "x", "'x' is not a number"),
        ("event register", "v1", "'v1' is none of e0 .. e63"),
        ("value register", "v64", "'v64' is none of v0 .. v63"),
        ("value register", "v01", "'v01' is none of v0 .. v63"),
        ("bank", "b3", "'b3' is none of b0 .. b2"),
        ("bank set", "b0+b3", "'b0+b3' is not a set of banks such as b0+b1"),
        ("bank set", "", "'' is not a set of banks such as b0+b1"),
        ("flag", "yes", "'yes' is neither 0 nor 1"),
        ("choice", "x", "'x' is none of "),
    ],
)
def test_operand_text_that_means_nothing(kind, text, reason):
    field = next(p.field for _, p in PLACED if p.field.kind == kind)
    with pytest.raises(ValueError, match=reason.replace("+", r"\+")):
        field.read(text)


def test_every_instruction_and_operand_is_documented():
    for cls in CLASSES:
        assert cls.__doc__
        assert not cls.__doc__.startswith(cls.__name__ + "(")
        assert all(p.field.doc for p in layout(cls))
