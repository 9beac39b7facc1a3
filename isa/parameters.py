"""A neuron's parameters as one 64-bit element of the parameter memory."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int, shift_round
from isa.errors import IsaError

FIELDS = (("threshold", 16), ("bias", 16), ("reset", 16), ("leak", 10), ("shift", 6))
"""Name and width, lowest bits first; 64 in all; two's complement but `leak`, a code."""

SHIFT_BITS = dict(FIELDS)["shift"]


class Alias(NamedTuple):
    """What a field is called in the record of another state; its low `bits` count, or all."""

    field: str
    text: str
    bits: int = 0

    def of(self, value: Int) -> Int:
        """The number that counts of a field: in two's complement."""
        half = 1 << self.bits >> 1
        return (value + half & 2 * half - 1) - half if self.bits else value


ALIASES = {
    "coupling": Alias("threshold", "what another state is multiplied by"),
    "exponent": Alias("bias", "how far right such a product moves", SHIFT_BITS),
    "jump": Alias("reset", "what a spike adds to the state"),
    "drop": Alias("reset", "how far right the state moves before a membrane takes it", SHIFT_BITS),
    "floor": Alias("reset", "the least that a state may be"),
    "ceiling": Alias("threshold", "the most"),
}
"""What fields are called in the record of a state that never spikes itself, or of its limits."""

COUPLING_BITS = 8

LEAK_BITS = 13
"""A membrane keeps `leak / 2**LEAK_BITS` of itself in a timestep."""

KEPT = 1 << LEAK_BITS  # the leak that keeps everything
LOSS_BITS = 8  # significant bits of what is lost


def nearest_leak(kept: NDArray[np.float64], significant: int = LOSS_BITS) -> Int:
    """The leaks of neurons that keep `kept` (0 .. 1) of their membranes, in units of 2**-13.

    What is lost, `KEPT - leak`, has `significant` bits that count: in the machine 8, a float with a
    3-bit exponent. So the time constant `1 / (1 - kept)` is within 0.4 % up to 64 timesteps, and
    the multiplier needs 8 bits.
    """
    lost = np.rint((1 - kept) * KEPT).astype(np.int64)
    exponent = _exponent(lost, significant)
    exact = (1 - kept) * KEPT / 2.0**exponent
    return KEPT - (np.rint(exact).astype(np.int64) << exponent)


def _exponent(lost: Int, significant: int = LOSS_BITS) -> Int:
    """How many low bits of a number do not count: all but the highest `significant`."""
    _, length = np.frexp(np.abs(lost).astype(np.float64))
    exponent: Int = np.maximum(length.astype(np.int64) - significant, 0)
    return exponent


def as_bias(value: Int) -> tuple[Int, Int]:
    """The `bias` and `shift` of records that add a number of up to 32 bits: its highest 16."""
    bits = dict(FIELDS)["bias"]
    left = _exponent(value, bits - 1)
    least, most = _signed_range(bits)
    bias: Int = np.clip(shift_round(value.astype(np.int64), left), least, most)
    return bias, -left


def _to_code(leak: Int) -> Int:
    """Leaks as 10-bit codes; IsaError if what is lost has more than 8 significant bits."""
    lost = KEPT - leak
    exponent = _exponent(lost)
    if ((lost >> exponent) << exponent != lost).any():
        raise IsaError(f"neuron parameter leak: a loss / {KEPT} of more than 8 significant bits")
    code: Int = (exponent << (LOSS_BITS - 1)) + (lost >> exponent)
    return code


def from_code(code: Int) -> Int:
    """8192 - leak, what is lost: itself below 256, from there on an exponent and 7 bits."""
    half = 1 << (LOSS_BITS - 1)
    exponent = np.maximum((code >> (LOSS_BITS - 1)) - 1, 0)
    lost = (code - exponent * half) << exponent
    leak: Int = KEPT - lost
    return leak


@dataclass(frozen=True)
class Parameters:
    """Per-neuron parameters, each an int64 array of shape [neurons].

    `threshold`, `bias`, `reset` in membrane steps; `leak` in units of 2**-LEAK_BITS; `shift` is
    how far right the memory path's sum moves before it is added to the membrane.
    """

    threshold: Int
    bias: Int
    reset: Int
    leak: Int
    shift: Int

    def __getattr__(self, name: str) -> Int:
        """A field by what it is called in another record (`ALIASES`)."""
        if name not in ALIASES:
            raise AttributeError(name)
        alias = ALIASES[name]
        return alias.of(getattr(self, alias.field))

    def pack(self) -> NDArray[np.int64]:
        """One 64-bit element per neuron; IsaError if a value does not fit its field."""
        word = np.zeros(self.threshold.shape, np.int64)
        low = 0
        for name, bits in FIELDS:
            value = np.asarray(getattr(self, name))
            if not np.issubdtype(value.dtype, np.signedinteger):
                raise IsaError(f"neuron parameter {name}: {value.dtype}, not signed integers")
            least, most = (0, KEPT) if name == "leak" else _signed_range(bits)
            if value.size and (value.min() < least or value.max() > most):
                raise IsaError(f"neuron parameter {name} outside {least} .. {most}")
            field = _to_code(value) if name == "leak" else value
            word |= (field.astype(np.int64) & ((1 << bits) - 1)) << low
            low += bits
        return word

    @classmethod
    def unpack(cls, words: NDArray[np.signedinteger]) -> "Parameters":
        """The parameters of packed elements."""
        arrays, low = {}, 0
        for name, bits in FIELDS:
            raw = (words.astype(np.int64) >> low) & ((1 << bits) - 1)
            signed = raw - (raw >> (bits - 1) << bits)
            arrays[name] = from_code(raw) if name == "leak" else signed
            low += bits
        return cls(**arrays)


NOTHING = Parameters(*[np.zeros(1, np.int64)] * len(FIELDS))
"""Parameters of a state that needs none."""


def _signed_range(bits: int) -> tuple[int, int]:
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
