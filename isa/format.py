"""The instruction format: 128-bit words, an opcode on top and fields below it.

An instruction is a class whose fields are made with the functions below; everything else about its
shape (bit positions, encoder, decoder, assembly syntax, reference page) follows from the
declaration. Encoders refuse a value that does not fit; nothing is ever masked.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

from isa.errors import IsaError
from isa.limits import (
    GROUP_BITS,
    MOST_BANKS,
    MOST_KERNELS,
    MOST_REGISTERS,
    MOST_WINDOWS,
    ROW_BITS,
    SIZE_BITS,
    STAGE_BITS,
    TIMESTEP_BITS,
)

if TYPE_CHECKING:
    from isa.kernel import Kernel
    from isa.machine import Machine
    from isa.target import Target
    from isa.work import Work

ISA_VERSION = 4
WORD_BITS = 128
OPCODE_BITS = 6
BODY = "length"
"""The operand that counts the words of a loop's body; text may name the label behind the body."""

Value = int | bool | str | tuple[int, ...] | None


@dataclass(frozen=True)
class Field:
    """How one operand is written in a word and in assembly text.

    `to_bits` and `from_bits` map an operand to an unsigned number of `bits` bits and back;
    `show` and `read` map it to assembly text and back. Both raise ValueError on what does not fit.
    """

    kind: str
    bits: int
    range: str
    doc: str
    to_bits: Callable[[Any], int]
    from_bits: Callable[[int], Value]
    show: Callable[[Any], str]
    read: Callable[[str], Value]


# The functions below declare an operand. Each docstring is the kind's entry on the reference page:
# its name, and what stands in its bits.


def _declare(field: Field, default: Any) -> Any:
    return dataclasses.field(metadata={"format": field}, default=default)


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{value!r} is not a whole number from {low} to {high}")
        return value

    return check


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a number") from error


def unsigned(bits: int, doc: str, default: Any = dataclasses.MISSING) -> Any:
    """unsigned: the number."""
    high = (1 << bits) - 1
    check = _whole(0, high)
    return _declare(
        Field("unsigned", bits, f"0 .. {high}", doc, check, lambda b: b, str, _number), default
    )


def row_number(doc: str, default: Any = dataclasses.MISSING) -> Any:
    """A row of a memory."""
    return unsigned(ROW_BITS, doc, default)


def elements(doc: str, default: Any = dataclasses.MISSING) -> Any:
    """A number of elements of a vector."""
    return unsigned(SIZE_BITS, doc, default)


def timestep_number(doc: str, default: Any = dataclasses.MISSING) -> Any:
    """A timestep of a sample, from 0."""
    return unsigned(TIMESTEP_BITS, doc, default)


def group_count(doc: str) -> Any:
    """A number of groups of neurons, which is one of rows."""
    return unsigned(GROUP_BITS, doc)


def signed(bits: int, doc: str, default: Any = dataclasses.MISSING) -> Any:
    """signed: the number in two's complement."""
    half = 1 << (bits - 1)
    check = _whole(-half, half - 1)
    return _declare(
        Field(
            "signed",
            bits,
            f"{-half} .. {half - 1}",
            doc,
            lambda value: check(value) & ((1 << bits) - 1),
            lambda b: b - (1 << bits) if b >= half else b,
            str,
            _number,
        ),
        default,
    )


def _register(letter: str, kind: str, doc: str, number: int = MOST_REGISTERS) -> Any:
    high = number - 1
    names = [f"{letter}{number}" for number in range(high + 1)]

    def read(text: str) -> int:
        if text not in names:
            raise ValueError(f"{text!r} is none of {letter}0 .. {letter}{high}")
        return names.index(text)

    return _declare(
        Field(
            kind, high.bit_length(), f"{letter}0 .. {letter}{high}", doc,
            _whole(0, high), _whole(0, high), lambda v: f"{letter}{v}", read,
        ),
        dataclasses.MISSING,
    )  # fmt: skip


def event_register(doc: str) -> Any:
    """event register: the number of the register, or of the first of a group of them."""
    return _register("e", "event register", doc)


def value_register(doc: str) -> Any:
    """value register: the number of the register, or of the first of a group of them."""
    return _register("v", "value register", doc)


def _optional(letter: str, kind: str, number: int, doc: str) -> Any:
    """One of so many things of a kind, or none."""
    names = ["none", *(f"{letter}{n}" for n in range(number))]

    def to_bits(value: Any) -> int:
        return 0 if value is None else 1 + _whole(0, number - 1)(value)

    def from_bits(b: int) -> int | None:
        return None if b == 0 else _whole(0, number - 1)(b - 1)

    def show(value: int | None) -> str:
        return names[0 if value is None else value + 1]

    def read(text: str) -> int | None:
        if text not in names:
            raise ValueError(f"{text!r} is neither none nor one of {names[1]} .. {names[-1]}")
        return from_bits(names.index(text))

    kinds = f"none, {names[1]} .. {names[-1]}"
    field = Field(kind, number.bit_length(), kinds, doc, to_bits, from_bits, show, read)
    return _declare(field, None)


def window(doc: str) -> Any:
    """window: the number of the window and one more; 0, written none, is none."""
    return _optional("w", "window", MOST_WINDOWS, doc)


def optional_value_register(doc: str) -> Any:
    """value register or none: the number of the register and one more; 0, written none, is none."""
    return _optional("v", "value register or none", MOST_REGISTERS, doc)


def kernel(doc: str) -> Any:
    """kernel: the number of the kernel and one more; 0, written none, is none."""
    return _optional("k", "kernel", MOST_KERNELS, doc)


def kernel_number(doc: str) -> Any:
    """kernel number: the number of the kernel, one of k0 .. k15."""
    return _register("k", "kernel number", doc, MOST_KERNELS)


def window_register(doc: str) -> Any:
    """window register: the number of the window, one of w0 .. w15."""
    return _register("w", "window register", doc, MOST_WINDOWS)


def bank_number(doc: str) -> Any:
    """bank: the number of the bank, one of b0 .. b2."""
    return _register("b", "bank", doc, MOST_BANKS)


def flag(doc: str) -> Any:
    """flag: 1 if it is set, 0 unless written."""

    def to_bits(value: Any) -> int:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return int(value)

    def read(text: str) -> bool:
        if text not in ("0", "1"):
            raise ValueError(f"{text!r} is neither 0 nor 1")
        return text == "1"

    return _declare(
        Field("flag", 1, "0, 1", doc, to_bits, bool, lambda v: str(int(v)), read), False
    )


def choice(names: tuple[str, ...], doc: str) -> Any:
    """choice: the place of the name in its list, of which the first is 0."""

    def to_bits(value: Any) -> int:
        if value not in names:
            raise ValueError(f"{value!r} is none of {', '.join(names)}")
        return names.index(value)

    def from_bits(b: int) -> str:
        if b >= len(names):
            raise ValueError(f"number {b} names none of {', '.join(names)}")
        return names[b]

    bits = max(1, (len(names) - 1).bit_length())
    listed = ", ".join(names)
    return _declare(
        Field("choice", bits, listed, doc, to_bits, from_bits, str, lambda t: names[to_bits(t)]),
        dataclasses.MISSING,
    )


def bank_set(doc: str) -> Any:
    """bank set: bit n is 1 if bank n is of the set, written b0+b1, or none."""
    check = _whole(0, 2)

    def to_bits(value: Any) -> int:
        if not isinstance(value, tuple):
            raise ValueError(f"{value!r} is not a tuple of bank numbers")
        if sorted({check(bank) for bank in value}) != list(value):
            raise ValueError(f"{value!r} is not sorted, or names a bank twice")
        return sum(1 << bank for bank in value)

    def from_bits(b: int) -> tuple[int, ...]:
        return tuple(bank for bank in range(3) if b >> bank & 1)

    def read(text: str) -> tuple[int, ...]:
        if text == "none":
            return ()
        parts = text.split("+")
        if not set(parts) <= {"b0", "b1", "b2"}:
            raise ValueError(f"{text!r} is not a set of banks such as b0+b1")
        return tuple(sorted(int(part[1:]) for part in parts))

    def show(value: tuple[int, ...]) -> str:
        return "+".join(f"b{bank}" for bank in value) or "none"

    kinds = "b0, b1, b2, joined by +, or none"
    field = Field("bank set", 3, kinds, doc, to_bits, from_bits, show, read)
    return _declare(field, dataclasses.MISSING)


@dataclass(frozen=True)
class Timesteps:
    """Some timesteps of a sample: that number `since`, and each `every`th behind it."""

    since: int = 0
    every: int = 1

    def has(self, timestep: int) -> bool:
        """Whether a timestep is one of them."""
        return timestep >= self.since and (timestep - self.since) % max(self.every, 1) == 0

    def among(self, steps: int) -> range:
        """Those of a sample of so many timesteps."""
        return range(self.since, steps, max(self.every, 1))


EVERY_ONE = Timesteps()


def from_timestep(since: int) -> Timesteps | None:
    """The timesteps from a number on; None where these are all, and none need be counted."""
    return Timesteps(since=since) if since else None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Instruction(ABC):
    """Base of all instructions; a subclass is the one definition of its instruction."""

    mnemonic: ClassVar[str]
    opcode: ClassVar[int]
    stage: int = unsigned(
        STAGE_BITS, "iteration of the loop over timesteps, counted back, that this belongs to", 0
    )

    @property
    def operands(self) -> dict[str, Value]:
        """What stands in its word, by name."""
        return {placed.name: getattr(self, placed.name) for placed in layout(type(self))}

    def __eq__(self, other: object) -> bool:
        """Equality of the kind and of every operand."""
        return isinstance(other, type(self)) and other.operands == self.operands

    def __hash__(self) -> int:
        return hash((type(self), *self.operands.values()))

    def __repr__(self) -> str:
        operands = ", ".join(f"{name}={value!r}" for name, value in self.operands.items())
        return f"{type(self).__name__}({operands})"

    @property
    def timesteps(self) -> Timesteps | None:
        """Timesteps in which it runs, while it is skipped in others; None: counts none."""
        return None

    def linked(self, kernels: "Mapping[int, Kernel]") -> "Instruction":
        """The instruction with what it takes from others of its program.

        Raises IsaError if that is not there, or does not fit.
        """
        del kernels
        return self

    @property
    def left(self) -> Mapping[str, int]:
        """First rows of its unit's state memory that it leaves, by the names of operands."""
        return {}

    @abstractmethod
    def execute(self, core: "Machine") -> None:
        """Change the architectural state: the semantics, in the primitives of `isa.machine`."""

    @abstractmethod
    def work(self, target: "Target") -> "Work":
        """What the instruction asks of its unit: the input of timing and of the counts."""


@dataclass(frozen=True)
class Placed:
    """A field and the position of its lowest bit in the word; its default if none is required."""

    name: str
    low: int
    field: Field
    required: bool
    default: Any


INSTRUCTIONS: dict[str, type[Instruction]] = {}
_BY_OPCODE: dict[int, type[Instruction]] = {}
_LAYOUTS: dict[str, tuple[Placed, ...]] = {}

I_ = TypeVar("I_", bound=Instruction)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def with_operands(cls: type[I_]) -> type[I_]:
    """A class of fields as a frozen dataclass that is made from them by name.

    Of the rest of a dataclass one definition in the base serves all: writing it for each of some
    sixty instructions is what a start would wait for.
    """
    return dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def instruction(mnemonic: str, opcode: int) -> Callable[[type[I_]], type[I_]]:
    """Make a class of fields the instruction of this `mnemonic` and `opcode`."""

    def register(cls: type[I_]) -> type[I_]:
        cls = with_operands(cls)
        if mnemonic in INSTRUCTIONS or opcode in _BY_OPCODE or opcode >> OPCODE_BITS:
            raise ValueError(f"{mnemonic}: mnemonic or opcode {opcode} is taken or out of range")
        cls.mnemonic, cls.opcode = mnemonic, opcode
        _LAYOUTS[mnemonic] = tuple(_place(cls))
        used = sum(placed.field.bits for placed in layout(cls))
        if used > WORD_BITS - OPCODE_BITS:
            raise ValueError(f"{mnemonic}: fields take {used} bits of {WORD_BITS - OPCODE_BITS}")
        INSTRUCTIONS[mnemonic] = _BY_OPCODE[opcode] = cls
        return cls

    return register


def _place(cls: type[Instruction]) -> Iterable[Placed]:
    """The instruction's own fields from bit 0 on; the stage, which all have, below the opcode."""
    low = 0
    common = WORD_BITS - OPCODE_BITS - STAGE_BITS
    fields = [item for item in dataclasses.fields(cls) if "format" in item.metadata]
    own = [item for item in fields if item.name != "stage"]
    for item in [*own, *(f for f in fields if f.name == "stage")]:
        required = item.default is dataclasses.MISSING
        field, default = item.metadata["format"], None if required else item.default
        yield Placed(item.name, common if item.name == "stage" else low, field, required, default)
        low += field.bits


def layout(cls: type[Instruction]) -> tuple[Placed, ...]:
    """The fields of an instruction in declaration order, the first at bit 0."""
    return _LAYOUTS[cls.mnemonic]


def encode(instruction: Instruction) -> int:
    """The 128-bit word; IsaError names instruction, field, value and range if one does not fit."""
    word = instruction.opcode << (WORD_BITS - OPCODE_BITS)
    for placed in layout(type(instruction)):
        try:
            bits = placed.field.to_bits(getattr(instruction, placed.name))
        except ValueError as error:
            raise IsaError(f"{instruction.mnemonic}: {placed.name}: {error}") from error
        word |= bits << placed.low
    return word


def decode(word: int) -> Instruction:
    """The instruction of a word; IsaError on an unknown opcode or bits that mean nothing."""
    cls = _BY_OPCODE.get(word >> (WORD_BITS - OPCODE_BITS))
    if cls is None:
        raise IsaError(f"illegal instruction {word:#034x}: no such opcode")
    operands: dict[str, Value] = {}
    rest = word & ((1 << (WORD_BITS - OPCODE_BITS)) - 1)
    for placed in layout(cls):
        bits = rest >> placed.low & ((1 << placed.field.bits) - 1)
        rest ^= bits << placed.low
        try:
            operands[placed.name] = placed.field.from_bits(bits)
        except ValueError as error:
            message = f"illegal instruction {word:#034x}: {cls.mnemonic}: {placed.name}: {error}"
            raise IsaError(message) from error
    if rest:
        raise IsaError(f"illegal instruction {word:#034x}: {cls.mnemonic}: unused bits are not 0")
    return build(cls, operands)


def build(cls: type[Instruction], operands: Mapping[str, Value]) -> Instruction:
    """An instruction of class `cls` from operands by field name."""
    make: Callable[..., Instruction] = cls
    return make(**operands)


def opcodes() -> Iterable[type[Instruction]]:
    """Every instruction, by opcode."""
    return (_BY_OPCODE[opcode] for opcode in sorted(_BY_OPCODE))
