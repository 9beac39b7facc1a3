"""The target description: lanes, widths, memory sizes and latencies, read from a TOML file.

The target is data. A file is validated on load (unknown keys, ranges, sums), and an image carries
the text of the target it was built for, so a run never guesses.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from isa.errors import IsaError
from isa.limits import (
    MOST_BANKS,
    MOST_LATENCY,
    MOST_LOOPS,
    MOST_QUEUE,
    MOST_REGISTERS,
    MOST_SLOTS,
    ROW_BITS,
    SIZE_BITS,
)

Rows = Annotated[int, Field(ge=1, le=1 << (ROW_BITS - 1))]  # external rows have numbers, too
Lanes = Annotated[int, Field(ge=1, le=256)]
Width = Annotated[int, Field(ge=2, le=32)]
Latency = Annotated[int, Field(ge=1, le=MOST_LATENCY)]


def smallest_integer(bits: int) -> np.dtype[np.signedinteger]:
    """The smallest NumPy integer of at least `bits` bits, 64 at most."""
    return np.dtype(f"i{next(n for n in (1, 2, 4, 8) if 8 * n >= bits)}")


EXTERNAL = "external."
"""What the name of a memory's rows outside the chip begins with."""

DELAY_BITS = 12
"""Of an axon's delay, a number with a sign: 0 .. 2047 timesteps."""

_ENDLESS = re.compile(r"[0-9_]{1000,}")  # more digits than any number of a target has
FAULTS = 8  # of a target, in one message
_UNKNOWN = "extra_forbidden"  # what pydantic calls a key that nobody knows

_UNITS = ("control", "event", "delay", "drive", "update", "parameter", "neuron", "readout")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Memory(_Section):
    """One SRAM: `rows` rows of `lanes` elements of `bits` bits; one row per port and cycle.

    A volatile one holds state of a sample; the others are loaded from the image.
    """

    name: str
    rows: Rows
    lanes: Lanes
    bits: Annotated[int, Field(ge=1, le=64)]
    volatile: bool = False

    @property
    def row_bits(self) -> int:
        """Bits of a row."""
        return self.lanes * self.bits

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        """The smallest NumPy integer that holds one element."""
        return smallest_integer(self.bits)


class Sequencer(_Section):
    """Issues one instruction a cycle, in order; each unit has a queue of waiting instructions."""

    program: Annotated[int, Field(ge=1, le=1 << 16)]
    queue: Annotated[int, Field(ge=1, le=MOST_QUEUE)]
    loops: Annotated[int, Field(ge=1, le=MOST_LOOPS)]


class Vectors(_Section):
    """Vector registers, double-buffered: `width` elements each.

    A longer vector lies in a group of neighbouring registers, named by the first of them.
    """

    count: Annotated[int, Field(ge=1, le=MOST_REGISTERS)]
    width: Annotated[int, Field(ge=1, lt=1 << SIZE_BITS)]
    bits: Annotated[int, Field(ge=1, le=16)]

    def span(self, size: int) -> int:
        """Registers that a vector of `size` elements takes."""
        return max(-(-size // self.width), 1)


class Accumulators(_Section):
    """Partial sums beside each bank: `slots` neuron groups in flight.

    Sums are exact in `bits + guard` bits; the consumer saturates to `bits` once, when it reads,
    so the order of additions never shows in the result. A path that does not keep its sums beside
    the neuron spills them to a single-port memory of `spill_rows` rows.
    """

    bits: Annotated[int, Field(ge=8, le=40)]
    guard: Annotated[int, Field(ge=0, le=16)]
    slots: Annotated[int, Field(ge=1, le=MOST_SLOTS)]
    spill_rows: Rows


class Bank(_Section):
    """A weight memory with its lanes: adders alone, or multiply-accumulate."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    rows: Rows
    weight_bits: Width
    multiplies: bool
    latency: Latency


class Neuron(_Section):
    """Leak, threshold and reset; membranes in a single-port SRAM, parameters in another."""

    rows: Rows
    membrane_bits: Width
    latency: Latency


class Drive(_Section):
    """Scalar drive: one multiply-accumulate lane on a memory of one weight a row."""

    rows: Rows
    weight_bits: Width
    latency: Latency


class Update(_Section):
    """Memory update: `lanes` multiply-accumulate lanes on rows of state-space coefficients."""

    rows: Rows
    lanes: Lanes
    weight_bits: Width
    latency: Latency


class Readout(_Section):
    """Readout accumulator: a single-port SRAM of logits."""

    rows: Rows
    bits: Annotated[int, Field(ge=16, le=48)]
    latency: Latency


class Delay(_Section):
    """Axonal delays: the delays of `axons` inputs, and `rows` rows of `lanes` waiting events.

    Both memories have one port; the ring's rows are written bit by bit.
    """

    axons: Rows
    rows: Rows
    lanes: Lanes
    latency: Latency


Picojoules = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class External(_Section):
    """Memory outside the chip, and the port to it: what does not fit on the chip lives there.

    `bit` is what one costs on its way, in picojoules.
    """

    kilobytes: Annotated[int, Field(ge=1, le=1 << 32)]
    bits_per_cycle: Annotated[int, Field(ge=1, le=1 << 16)]
    latency: Latency
    bit: Picojoules

    def beats(self, bits: int) -> int:
        """Cycles in which so many bits go through its port."""
        return -(-bits // self.bits_per_cycle)


class Energy(_Section):
    """Picojoules, from which `isa.energy` makes the price of a row, an operation and a cycle.

    Of a `bit` of a row of an 8 KB memory, of an `adder` of one bit, of a `lane` in every cycle.
    What was measured of a memory's rows, `read` or `write` by its name, goes before the law.
    """

    bit: Picojoules
    adder: Picojoules
    lane: Picojoules
    read: dict[str, Picojoules] = Field(default_factory=dict)
    write: dict[str, Picojoules] = Field(default_factory=dict)


class Target(_Section):
    """A whole machine. `lanes` neurons make a group: one row of every bank and neuron memory.

    With `pooled`, a compiler may spread the rows of any product over all banks that can do the
    work; without, each pathway has a bank of its own.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    lanes: Lanes
    pooled: bool
    frequency_mhz: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    sequencer: Sequencer
    events: Vectors
    values: Vectors
    accumulators: Accumulators
    bank: Annotated[tuple[Bank, ...], Field(min_length=1, max_length=MOST_BANKS, strict=False)]
    neuron: Neuron
    drive: Drive
    update: Update
    readout: Readout
    delay: Delay
    external: External | None = None
    energy: Energy

    @model_validator(mode="after")
    def _consistent(self) -> "Target":
        names = [bank.name for bank in self.bank]
        if len(set(names)) != len(names):
            raise ValueError(f"bank names must differ: {', '.join(names)}")
        if taken := [name for name in names if name in _UNITS]:
            raise ValueError(f"{taken[0]!r} is a unit of every machine; call the bank otherwise")
        if not any(bank.multiplies for bank in self.bank):
            raise ValueError("at least one bank must multiply: the memory path needs products")
        if self.events.bits != 1:
            raise ValueError(f"events.bits is {self.events.bits}; an event is one bit")
        written = {
            name
            for name, memory in self.memories.items()
            if memory.volatile or (self.external and name != "axon")
        }
        for table, known in (("read", self.memories.keys()), ("write", written)):
            if unknown := sorted(getattr(self.energy, table).keys() - known):
                what = "is never written" if unknown[0] in self.memories else "names no memory"
                raise ValueError(
                    f"energy.{table}.{unknown[0]} {what}; there are {', '.join(sorted(known))}"
                )
        return self

    @cached_property
    def memories(self) -> dict[str, Memory]:
        """Every memory of the machine by name, in the order of the image's sections."""
        return {memory.name: memory for memory in self._memories()}

    def _memories(self) -> Iterator[Memory]:
        for bank in self.bank:
            yield Memory(name=bank.name, rows=bank.rows, lanes=self.lanes, bits=bank.weight_bits)
        drive, update, neuron, readout = self.drive, self.update, self.neuron, self.readout
        yield Memory(name="drive", rows=drive.rows, lanes=1, bits=drive.weight_bits)
        yield Memory(name="update", rows=update.rows, lanes=update.lanes, bits=update.weight_bits)
        yield Memory(name="axon", rows=self.delay.axons, lanes=1, bits=DELAY_BITS)
        yield Memory(name="parameter", rows=neuron.rows, lanes=self.lanes, bits=64)
        wide = self.accumulators.bits + self.accumulators.guard
        for name, rows, bits in (
            ("neuron", neuron.rows, neuron.membrane_bits),
            ("partial", self.accumulators.spill_rows, wide),
            ("readout", readout.rows, readout.bits),
        ):
            yield Memory(name=name, rows=rows, lanes=self.lanes, bits=bits, volatile=True)
        ring = self.delay
        yield Memory(name="ring", rows=ring.rows, lanes=ring.lanes, bits=1, volatile=True)

    @cached_property
    def loadable(self) -> dict[str, Memory]:
        """What an image can have rows of: memories that keep them, and those in external memory.

        Row r of "external.<memory>" is row `memories[memory].rows + r` of that memory.
        """
        kept = {name: memory for name, memory in self.memories.items() if not memory.volatile}
        if self.external is None:
            return kept
        far = {
            EXTERNAL + name: memory.model_copy(
                update={"name": EXTERNAL + name, "rows": (1 << ROW_BITS) - memory.rows}
            )
            for name, memory in kept.items()
            if name != "axon"
        }
        return kept | far

    def bank_for(self, path: str) -> int:
        """Number of the bank that serves a pathway: spike, memory_a or memory_b.

        The bank of that name, or else the first that can do the work: memory paths need products.
        """
        able = [i for i, bank in enumerate(self.bank) if bank.multiplies or path == "spike"]
        return next((i for i in able if self.bank[i].name == path), able[0])


def parse_target(text: str, origin: str) -> Target:
    """The target that TOML `text` describes; IsaError names `origin`, the key and the reason."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        told = str(error)
        if endless := _ENDLESS.search(text):
            told = f"a number of {len(endless[0])} digits (at line {_line(text, endless)})"
        raise IsaError(f"{origin}: not TOML: {told}") from error
    try:
        return Target.model_validate(table)
    except ValidationError as error:
        found = error.errors()
        if len(found) > FAULTS:  # a misspelt key tells more than what then is missing
            found.sort(key=lambda e: e["type"] != _UNKNOWN)
        faults = [_fault(".".join(map(str, e["loc"])), e["type"], e["msg"]) for e in found]
        more = [f"and {len(faults) - FAULTS} more"] if len(faults) > FAULTS else []
        raise IsaError(f"{origin}: {'; '.join(faults[:FAULTS] + more)}") from error


def _line(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1


def _fault(key: str, kind: str, message: str) -> str:
    if kind == _UNKNOWN:
        return f"{key}: no such key; see isa/targets/paper.toml for those there are"
    return f"{key or 'target'}: {message.removeprefix('Value error, ')}"


def target_names() -> list[str]:
    """Names of the targets that ship."""
    folder = resources.files("isa") / "targets"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def target_text(name_or_path: str) -> str:
    """TOML text of a shipped target by name, or of a file by path."""
    if name_or_path in target_names():
        return (resources.files("isa") / "targets" / f"{name_or_path}.toml").read_text("utf-8")
    try:
        if not Path(name_or_path).is_file():
            raise FileNotFoundError(name_or_path)
        return Path(name_or_path).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        known = ", ".join(target_names())
        raise IsaError(
            f"target {name_or_path!r}: neither a shipped target ({known}) nor a readable file"
        ) from error


def load_target(name_or_path: str) -> Target:
    """A shipped target by name, or one from a TOML file by path."""
    return parse_target(target_text(name_or_path), name_or_path)
