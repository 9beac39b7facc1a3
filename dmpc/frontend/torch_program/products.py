"""Products, convolutions and reductions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.emitter import Call, Emitter, Handler
from dmpc.frontend.torch_program.linear_maps import linear_map
from dmpc.frontend.torch_program.rules import FORM

REDUCTIONS = {"mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax"}

MAX_POOLS = ("max_pool1d", "max_pool2d")
BESIDE_PLACES = (
    "adaptive_max_pool1d", "adaptive_max_pool2d", "max_pool1d_with_indices",
    "max_pool2d_with_indices",
)  # fmt: skip


def linear(emitter: Emitter, call: Call) -> str:
    """`linear`: x W' + b."""
    source, weight, bias = call.tensor("input"), call.tensor("weight"), call["bias"]
    inputs = [emitter.use(source), emitter.use(weight)]
    if source.rank == 2:
        addend = [] if bias is None else [emitter.use(bias)]
        return emitter.emit("Gemm", [*inputs, *addend], call.name, transB=1)
    inputs[1] = emitter.emit("Transpose", inputs[1:], f"{call.name}.weight", perm=[1, 0])
    if bias is None:
        return emitter.emit("MatMul", inputs, call.name)
    product = emitter.emit("MatMul", inputs, f"{call.name}.product")
    return emitter.emit("Add", [product, emitter.use(bias)], call.name)


def product(emitter: Emitter, call: Call) -> str:
    """`matmul`, `mm`, `bmm`, `mv`, `dot`."""
    if call.result.dtype.is_complex:
        raise ImportFailure.of(FORM, what=f"{call.op} of complex numbers", nearest="mul")
    other = next(key for key in ("other", "mat2", "vec", "tensor") if key in call.arguments)
    inputs = [emitter.use(call["self"]), emitter.use(call[other])]
    return emitter.emit("MatMul", inputs, call.name)


def product_and_sum(emitter: Emitter, call: Call) -> str:
    """`addmm`: beta C + alpha A B."""
    inputs = [emitter.use(call[key]) for key in ("mat1", "mat2", "self")]
    alpha, beta = float(call["alpha"]), float(call["beta"])
    return emitter.emit("Gemm", inputs, call.name, alpha=alpha, beta=beta)


def einsum(emitter: Emitter, call: Call) -> str:
    """`einsum`."""
    inputs = [emitter.use(part) for part in call.tensors("tensors")]
    return emitter.emit("Einsum", inputs, call.name, equation=call["equation"])


def convolution(emitter: Emitter, call: Call) -> str:
    """`conv1d` and its kin."""
    if call.arguments.get("transposed"):
        return linear_map(emitter, call)
    axes = call.tensor("input").rank - 2
    if call.tensor("weight").rank != call.tensor("input").rank:
        raise ImportFailure.of(
            FORM, what="a convolution without a batch axis", nearest="an input with a batch axis"
        )
    padding = call["padding"]
    attrs: dict[str, Any] = {
        "strides": _spread(call["stride"], axes),
        "dilations": _spread(call["dilation"], axes),
        "group": int(call["groups"]),
    }
    if isinstance(padding, str):
        attrs["auto_pad"] = {"valid": "VALID", "same": "SAME_UPPER"}[padding]
    else:
        attrs["pads"] = _spread(padding, axes) * 2
    keys = ["input", "weight", *([] if call["bias"] is None else ["bias"])]
    return emitter.emit("Conv", [emitter.use(call[key]) for key in keys], call.name, **attrs)


def _spread(numbers: list[int] | int, axes: int) -> list[int]:
    listed = [numbers] if isinstance(numbers, int) else list(numbers)
    return listed * axes if len(listed) == 1 else listed


def pooling(emitter: Emitter, call: Call) -> str:
    """Means over groups of the last axes."""
    taken = {key: value for key, value in call.arguments.items() if key != "self"}
    if call.tensor("self").rank == 4 and _each_once(taken):
        size: Any = _spread(taken["kernel_size"], 2)
        given = [emitter.use(call.tensor("self"))]
        return emitter.emit("AveragePool", given, call.name, kernel_shape=size, strides=size)
    return linear_map(emitter, call)


def _each_once(taken: Mapping[str, Any]) -> bool:
    """Whether each neighbour is in one mean, and no mean has others."""
    size = _spread(taken["kernel_size"], 2)
    rest = (
        taken.get("ceil_mode"),
        taken.get("divisor_override"),
        *_spread(taken.get("padding", 0), 2),
    )
    return _spread(taken.get("stride") or size, 2) == size and not any(rest)


def greatest(emitter: Emitter, call: Call) -> str | list[str]:
    """Maxima over neighbours along the last axes, `adaptive` ones where they divide them evenly."""
    source, axes = call.tensor("self"), 2 if "2d" in call.op else 1
    if source.rank != axes + 2:
        raise ImportFailure.of(
            FORM, what=f"{call.op} without a batch axis", nearest="an input with a batch axis"
        )
    if 1 in call.used:
        raise ImportFailure.of(FORM, what="where the largest element stands", nearest="amax")
    inputs, attrs = [emitter.use(source)], _windows(call, source.shape[-axes:])
    name = emitter.emit("MaxPool", inputs, call.name, **attrs)
    return name if call.op in MAX_POOLS else [name, ""]


def _windows(call: Call, sizes: Sequence[int]) -> dict[str, Any]:
    axes = len(sizes)
    if "output_size" in call.arguments:
        wanted = _spread(call["output_size"], axes)
        if any(size % one for size, one in zip(sizes, wanted, strict=True)):
            nearest = "a size that divides that of the input"
            raise ImportFailure.of(FORM, what=f"{call.op} of uneven groups", nearest=nearest)
        taps = [size // one for size, one in zip(sizes, wanted, strict=True)]
        return {"kernel_shape": taps, "strides": taps}
    taps = _spread(call["kernel_size"], axes)
    given = call.arguments
    return {
        "kernel_shape": taps,
        "strides": _spread(given.get("stride") or taps, axes),
        "pads": _spread(given.get("padding", 0), axes) * 2,
        "dilations": _spread(given.get("dilation", 1), axes),
        "ceil_mode": int(bool(given.get("ceil_mode"))),
    }


def reduction(emitter: Emitter, call: Call) -> str:
    """`mean`, `sum`, `amax` over axes, or over all of them."""
    source = call.tensor("self")
    given = call.arguments.get("dim")
    axes = [given] if isinstance(given, int) else list(given or range(source.rank))
    numbers = emitter.ints(*sorted(axis % source.rank for axis in axes))
    inputs = [emitter.use(source, call.result.dtype), numbers]
    keep = int(bool(call.arguments.get("keepdim", False)))
    return emitter.emit(REDUCTIONS[call.op], inputs, call.name, keepdims=keep)


def largest(emitter: Emitter, call: Call) -> str | list[str]:
    """`max` over an axis, of which the values may be used, or over all."""
    source = call.tensor("self")
    if "other" in call.arguments:
        inputs = [emitter.use(call[key], call.result.dtype) for key in ("self", "other")]
        return emitter.emit("Max", inputs, call.name)
    if "dim" not in call.arguments:
        return emitter.emit("ReduceMax", [emitter.use(source)], call.name, keepdims=0)
    if 1 in call.used:
        raise ImportFailure.of(FORM, what="where the largest element stands", nearest="amax")
    inputs = [emitter.use(source), emitter.ints(call.axis("dim", source.rank))]
    name = emitter.emit("ReduceMax", inputs, call.name, keepdims=int(call["keepdim"]))
    return [name, ""]


def running_sum(emitter: Emitter, call: Call) -> str:
    """`cumsum`."""
    source = call.tensor("self")
    inputs = [emitter.use(source), emitter.index(call.axis("dim", source.rank))]
    return emitter.emit("CumSum", inputs, call.name)


HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot"), product),
    **dict.fromkeys(("conv1d", "conv2d", "convolution"), convolution),
    **dict.fromkeys((*MAX_POOLS, *BESIDE_PLACES), greatest),
    "addmm": product_and_sum,
    "avg_pool2d": pooling,
    "cumsum": running_sum,
    "einsum": einsum,
    "linear": linear,
    "max": largest,
}
