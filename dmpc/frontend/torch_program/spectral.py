"""Fourier transforms and complex numbers, which ONNX writes as a last axis of 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.emitter import (
    Call,
    Constant,
    Emitter,
    Handler,
    Operand,
    Value,
    word,
)

if TYPE_CHECKING:
    import torch


def complex_product(
    emitter: Emitter,
    name: str,
    one: Operand | complex,
    other: Operand | complex,
    dtype: torch.dtype,
) -> str:
    """(a + ib)(c + id) = (ac - bd) + i(ad + bc), or a real factor on both parts."""
    sides = [one, other]
    real = [side for side in sides if not _is_complex(side)]
    if real:
        factor, number = (one, other) if real[0] is one else (other, one)
        return emitter.emit(
            "Mul", [emitter.use(number), _beside(emitter, factor, dtype, name)], name
        )
    parts = [
        _parts(emitter, side, dtype, f"{name}.{key}") for side, key in zip(sides, "ab", strict=True)
    ]
    (a, b), (c, d) = parts
    products = {
        key: emitter.emit("Mul", list(pair), f"{name}.{key}")
        for key, pair in {"ac": (a, c), "bd": (b, d), "ad": (a, d), "bc": (b, c)}.items()
    }
    re = emitter.emit("Sub", [products["ac"], products["bd"]], f"{name}.re")
    im = emitter.emit("Add", [products["ad"], products["bc"]], f"{name}.im")
    return join(emitter, re, im, name)


def join(emitter: Emitter, re: str, im: str, name: str) -> str:
    """A complex tensor of its parts."""
    last = emitter.ints(-1)
    sides = [
        emitter.emit("Unsqueeze", [part, last], f"{name}.{key}.last")
        for part, key in ((re, "re"), (im, "im"))
    ]
    return emitter.emit("Concat", sides, name, axis=-1)


def _is_complex(side: Operand | complex) -> bool:
    return (
        side.dtype.is_complex if isinstance(side, Value | Constant) else isinstance(side, complex)
    )


def _beside(emitter: Emitter, factor: Operand | complex, dtype: torch.dtype, name: str) -> str:
    """A real factor, shaped so that it meets both parts of a complex number."""
    real = emitter.use(factor, dtype.to_real())
    if not isinstance(factor, Value | Constant) or factor.rank == 0:
        return real
    return emitter.emit("Unsqueeze", [real, emitter.ints(-1)], f"{name}.factor")


def _parts(
    emitter: Emitter, side: Operand | complex, dtype: torch.dtype, name: str
) -> tuple[str, str]:
    whole = emitter.use(side, dtype)
    re, im = (
        emitter.emit("Gather", [whole, emitter.index(part)], f"{name}.{key}", axis=-1)
        for part, key in ((0, "re"), (1, "im"))
    )
    return re, im


def forward_real(emitter: Emitter, call: Call) -> str:
    """`fft_rfft`: the first half of the spectrum of real numbers."""
    source, axis, length = _source(call)
    column = emitter.emit(
        "Unsqueeze", [emitter.use(source), emitter.ints(-1)], f"{call.name}.column"
    )
    inputs = [column, emitter.index(length), emitter.index(axis)]
    name = call.name if _norm(call) == "backward" else f"{call.name}.plain"
    spectrum = emitter.emit("DFT", inputs, name, onesided=1)
    return _scaled(emitter, call, spectrum, length, {"ortho": -0.5, "forward": -1.0})


def forward_complex(emitter: Emitter, call: Call) -> str:
    """`fft_fft`: the whole spectrum."""
    return _complex(emitter, call, 0, {"ortho": -0.5, "forward": -1.0})


def inverse_complex(emitter: Emitter, call: Call) -> str:
    """`fft_ifft`: back from a whole spectrum."""
    return _complex(emitter, call, 1, {"ortho": 0.5, "forward": 1.0})


def _complex(emitter: Emitter, call: Call, inverse: int, scales: Mapping[str, float]) -> str:
    source, axis, length = _source(call)
    column = emitter.use(source)
    if not source.dtype.is_complex:
        column = emitter.emit("Unsqueeze", [column, emitter.ints(-1)], f"{call.name}.column")
    inputs = [column, emitter.index(length), emitter.index(axis)]
    name = call.name if _norm(call) == "backward" else f"{call.name}.plain"
    spectrum = emitter.emit("DFT", inputs, name, inverse=inverse)
    return _scaled(emitter, call, spectrum, length, scales)


def inverse_real(emitter: Emitter, call: Call) -> str:
    """`fft_irfft`: real numbers back from the first half of a spectrum, mirrored to the whole.

    The spectrum of real numbers is symmetric: X[n - k] is the conjugate of X[k].
    """
    source, axis, _ = _source(call)
    length = call.result.shape[axis]
    half = length // 2 + 1
    if not source.dtype.is_complex or source.shape[axis] < half:
        raise ImportFailure(
            f"irfft of {length} numbers needs {half} complex ones, there are {source.shape[axis]}"
        )
    whole = emitter.use(source)
    axes = emitter.ints(axis)
    if source.shape[axis] > half:
        inputs = [whole, emitter.ints(0), emitter.ints(half), axes]
        whole = emitter.emit("Slice", inputs, f"{call.name}.half")
    mirrored = list(range((length - 1) // 2, 0, -1))
    if mirrored:
        inputs = [whole, emitter.ints(mirrored[0]), emitter.ints(0), axes, emitter.ints(-1)]
        tail = emitter.emit("Slice", inputs, f"{call.name}.tail")
        sign = emitter.use(_conjugation(source.dtype))
        tail = emitter.emit("Mul", [tail, sign], f"{call.name}.mirrored")
        whole = emitter.emit("Concat", [whole, tail], f"{call.name}.whole", axis=axis)
    inputs = [whole, emitter.index(length), emitter.index(axis)]
    signal = emitter.emit("DFT", inputs, f"{call.name}.complex", inverse=1)
    name = call.name if _norm(call) == "backward" else f"{call.name}.plain"
    real = emitter.emit("Gather", [signal, emitter.index(0)], name, axis=-1)
    return _scaled(emitter, call, real, length, {"ortho": 0.5, "forward": 1.0})


def _conjugation(dtype: torch.dtype) -> Constant:
    import torch

    return Constant(
        torch.tensor([1.0, -1.0], dtype=dtype.to_real()), f"const.conjugate.{word(dtype)}"
    )


def _source(call: Call) -> tuple[Operand, int, int]:
    """The transformed tensor, the axis, and the number of points."""
    source = call.tensor("self")
    axis = call.axis("dim", source.rank)
    return source, axis, int(call["n"] or source.shape[axis])


def _norm(call: Call) -> str:
    return str(call["norm"] or "backward")


def _scaled(
    emitter: Emitter, call: Call, result: str, length: int, scales: Mapping[str, float]
) -> str:
    """Another norm than torch's default is a factor on the result."""
    if _norm(call) == "backward":
        return result
    factor = emitter.use(float(length) ** scales[_norm(call)], call.result.dtype.to_real())
    return emitter.emit("Mul", [result, factor], call.name)


def real_part(emitter: Emitter, call: Call) -> str:
    """`real`."""
    return _part(emitter, call, 0)


def imaginary_part(emitter: Emitter, call: Call) -> str:
    """`imag`."""
    return _part(emitter, call, 1)


def _part(emitter: Emitter, call: Call, part: int) -> str:
    inputs = [emitter.use(call["self"]), emitter.index(part)]
    return emitter.emit("Gather", inputs, call.name, axis=-1)


def conjugate(emitter: Emitter, call: Call) -> str:
    """`conj`."""
    source = call.tensor("self")
    inputs = [emitter.use(source), emitter.use(_conjugation(source.dtype))]
    return emitter.emit("Mul", inputs, call.name)


def as_it_is(emitter: Emitter, call: Call) -> str:
    """`view_as_real`, `view_as_complex`: how ONNX holds the numbers anyway."""
    return emitter.use(call["self"])


def from_parts(emitter: Emitter, call: Call) -> str:
    """`complex`."""
    return join(emitter, emitter.use(call["real"]), emitter.use(call["imag"]), call.name)


HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys(("conj", "_conj", "conj_physical", "_conj_physical"), conjugate),
    **dict.fromkeys(("view_as_real", "view_as_complex"), as_it_is),
    "complex": from_parts,
    "fft_fft": forward_complex,
    "fft_ifft": inverse_complex,
    "fft_irfft": inverse_real,
    "fft_rfft": forward_real,
    "imag": imaginary_part,
    "real": real_part,
}
