"""Types of the graph's values: element type, shape of one sample at one timestep, scale."""

import math
import re
from dataclasses import dataclass

_INTEGER = re.compile(r"([iu])([1-9][0-9]?)")
PLAIN_DTYPES = ("f32", "bool", "event")
MAX_BITS = 64


@dataclass(frozen=True)
class TensorType:
    """Type of a value, without batch or time axis.

    `dtype` is `f32`, `bool`, `event` (a spike: 0 or 1), or a signed or unsigned integer `i<bits>`,
    `u<bits>` of 1 to 64 bits. `scale` is the real value of one integer step: a number, or the name
    of a graph constant that holds one scale per element; None where none applies.

    Raises ValueError on an unknown dtype, a negative dimension, or a scale that is not positive.
    """

    dtype: str
    shape: tuple[int, ...]
    scale: float | str | None = None

    def __post_init__(self) -> None:
        if self.dtype not in PLAIN_DTYPES and not self.is_integer:
            raise ValueError(
                f"unknown element type {self.dtype!r}, expected f32, bool, event, "
                f"or i<bits> / u<bits> of 1 to {MAX_BITS} bits"
            )
        if any(size < 0 for size in self.shape):
            raise ValueError(f"negative dimension in shape {list(self.shape)}")
        if isinstance(self.scale, float) and not (self.scale > 0 and math.isfinite(self.scale)):
            raise ValueError(f"scale must be positive and finite, not {self.scale!r}")

    @property
    def is_integer(self) -> bool:
        """True for `i<bits>` and `u<bits>`; events and booleans are not integers."""
        match = _INTEGER.fullmatch(self.dtype)
        return match is not None and int(match[2]) <= MAX_BITS

    @property
    def is_float(self) -> bool:
        """True for real-valued elements."""
        return self.dtype == "f32"

    @property
    def is_signed(self) -> bool:
        """True for `i<bits>` and floats."""
        return self.dtype[0] in "if"

    @property
    def bits(self) -> int:
        """Width of one element in bits: 32 for floats, 1 for events and booleans."""
        match = _INTEGER.fullmatch(self.dtype)
        if match:
            return int(match[2])
        return 32 if self.is_float else 1

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        text = f"{self.dtype}[{', '.join(map(str, self.shape))}]"
        if self.scale is None:
            return text
        scale = f"%{self.scale}" if isinstance(self.scale, str) else repr(float(self.scale))
        return f"{text} * {scale}"


def f32(*shape: int) -> TensorType:
    """A real-valued tensor type."""
    return TensorType("f32", shape)


def boolean(*shape: int) -> TensorType:
    """A truth-valued tensor type."""
    return TensorType("bool", shape)


def event(*shape: int) -> TensorType:
    """A spike tensor type."""
    return TensorType("event", shape)
