"""A neuron's parameters as one 64-bit element of the parameter memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.errors import IsaError

FIELDS = (("threshold", 16), ("bias", 16), ("reset", 16), ("leak", 10), ("shift", 6))
"""Name and width, lowest bits first; 64 in all; two's complement but `leak`, 0 .. 512."""


@dataclass(frozen=True)
class Parameters:
    """Per-neuron parameters, each an int64 array of shape [neurons].

    `threshold`, `bias`, `reset` in membrane steps; `leak` in units of 2**-leak_bits; `shift` is
    how far right the memory path's sum moves before it is added to the membrane.
    """

    threshold: Int
    bias: Int
    reset: Int
    leak: Int
    shift: Int

    def pack(self) -> NDArray[np.int64]:
        """One 64-bit element per neuron; IsaError if a value does not fit its field."""
        word = np.zeros(self.threshold.shape, np.int64)
        low = 0
        for name, bits in FIELDS:
            value = np.asarray(getattr(self, name))
            if not np.issubdtype(value.dtype, np.signedinteger):
                raise IsaError(f"neuron parameter {name}: {value.dtype}, not signed integers")
            least, most = (0, 1 << (bits - 1)) if name == "leak" else _signed_range(bits)
            if value.size and (value.min() < least or value.max() > most):
                raise IsaError(f"neuron parameter {name} outside {least} .. {most}")
            word |= (value.astype(np.int64) & ((1 << bits) - 1)) << low
            low += bits
        return word

    @classmethod
    def unpack(cls, words: NDArray[np.signedinteger]) -> "Parameters":
        """The parameters of packed elements."""
        arrays, low = {}, 0
        for name, bits in FIELDS:
            raw = (words.astype(np.int64) >> low) & ((1 << bits) - 1)
            negative = raw >> (bits - 1) if name != "leak" else np.zeros_like(raw)
            arrays[name] = raw - (negative << bits)
            low += bits
        return cls(**arrays)


def _signed_range(bits: int) -> tuple[int, int]:
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
