"""Products with constants: MatMul, Gemm, Einsum and Conv as linear maps of one timestep."""

import string
from dataclasses import dataclass

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.context import COMPUTED, Arguments, Context, loc_of
from dmpc.frontend.elementwise import elementwise
from dmpc.frontend.in_space import in_space, stands
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.operator_rules import (
    COMPUTED_PRODUCT,
    EINSUM,
    SHAPE_MISFIT,
)
from dmpc.frontend.reduce import after_reduction
from dmpc.frontend.tensors import Known, MixesTime, Tensor, Traced


def matmul(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """MatMul of a tensor with a constant, on either side."""
    return [_product(ctx, node, inputs[0], inputs[1])]


def _product(ctx: Context, node: Node, a: Tensor, b: Tensor, name: str = "") -> Traced:
    if isinstance(a, Traced) and isinstance(b, Known):
        tensor, weight, transposed = a, b, False
    elif isinstance(a, Known) and isinstance(b, Traced):
        tensor, weight = b.moved(_swapped(b.index)), Known(_swapped(a.array), a.name)
        transposed = True
    else:
        raise ImportFailure.of(COMPUTED_PRODUCT)
    after_reduction("matmul", (tensor,))
    if weight.array.size != np.prod(weight.shape[-2:]):
        raise MixesTime(f"a batch of weights {list(weight.shape)} is not supported")
    matrix = weight.array.reshape(weight.shape[-2:])
    square = matrix.reshape(-1, 1) if matrix.ndim == 1 else matrix
    if tensor.shape[-1:] != square.shape[:1]:
        raise ImportFailure.of(SHAPE_MISFIT, shapes=f"{list(a.shape)} and {list(b.shape)}")
    name = name or node.proto.output[0]
    result = ctx.builder.linear(tensor, Known(square, weight.name), name, loc_of(node))
    if matrix.ndim == 1:
        return result.moved(result.index[..., 0])
    return result.moved(_swapped(result.index)) if transposed else result


def _swapped(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 1 else np.swapaxes(array, -1, -2)


def gemm(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Gemm: alpha A' B' + beta C."""
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    a = _side(inputs[0], bool(node.integer("transA", 0)), alpha)
    b = _side(inputs[1], bool(node.integer("transB", 0)), alpha)
    addend = inputs.get(2)
    if addend is None or beta == 0.0:
        return [_product(ctx, node, a, b)]
    product = _product(ctx, node, a, b, name=f"{node.proto.output[0]}.product")
    if isinstance(addend, Known):
        addend = _scaled(addend, beta)
    elif beta != 1.0:
        raise ImportFailure.of(COMPUTED, op="Gemm with beta other than 1", what="C")
    return elementwise(ctx, node, "add", product, addend)


def _side(side: Tensor, transposed: bool, alpha: float) -> Tensor:
    """One factor of a Gemm; the constant one takes the scale."""
    if isinstance(side, Traced):
        return side.moved(side.index.T) if transposed else side
    assert isinstance(side, Known)
    return _scaled(Known(side.array.T if transposed else side.array, side.name), alpha)


def _scaled(tensor: Known, factor: float) -> Known:
    return tensor if factor == 1.0 else Known(tensor.array * factor, tensor.name)


@dataclass(frozen=True)
class Equation:
    """An Einsum of two operands; every axis has a letter, those of an ellipsis included."""

    first: str
    second: str
    result: str

    @classmethod
    def parse(cls, text: str, ranks: tuple[int, int]) -> "Equation":
        """Raises ImportFailure if the equation is not one of two operands with such ranks."""
        left, arrow, result = text.replace(" ", "").partition("->")
        terms = left.split(",")
        if len(terms) != 2:
            raise ImportFailure.of(
                EINSUM, equation=text, problem="is not a product of two operands"
            )
        free = [letter for letter in string.ascii_letters if letter not in text]
        dots = [
            "".join(free[: rank - len(term) + 3]) if "..." in term else ""
            for term, rank in zip(terms, ranks, strict=True)
        ]
        longest = max(dots, key=len)
        terms = [
            term.replace("...", longest[len(longest) - len(own) :])
            for term, own in zip(terms, dots, strict=True)
        ]
        if not arrow:
            once = sorted(x for x in set(left) - set(",.") if left.count(x) == 1)
            result = "..." + "".join(once)
        if tuple(map(len, terms)) != ranks:
            raise ImportFailure.of(
                EINSUM, equation=text, problem=f"does not fit operands with {ranks} axes"
            )
        return cls(terms[0], terms[1], result.replace("...", longest))

    def swapped(self) -> "Equation":
        """The same with its operands the other way round."""
        return Equation(self.second, self.first, self.result)


def einsum(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Einsum of a computed tensor with a constant, where it is a linear map of a timestep."""
    if len(inputs.tensors) != 2:
        count = len(inputs.tensors)
        text = node.text("equation", "")
        raise MixesTime.of(EINSUM, equation=text, problem=f"has {count} operands, expected two")
    a, b = inputs[0], inputs[1]
    equation = Equation.parse(node.text("equation", ""), (len(a.shape), len(b.shape)))
    if isinstance(a, Known):
        a, b, equation = b, a, equation.swapped()
    if not isinstance(a, Traced) or not isinstance(b, Known):
        raise ImportFailure.of(COMPUTED_PRODUCT)
    ours, theirs, result = equation.first, equation.second, equation.result
    summed = [x for x in ours if x not in result]
    shared = [x for x in ours if x in result and x in theirs]
    if shared or any(x not in theirs for x in summed) or len(set(ours)) != len(ours):
        raise MixesTime("Einsum is supported as a product with one matrix only")
    after_reduction("matmul", (a,))
    kept = [x for x in ours if x in result]
    free = [x for x in theirs if x not in ours and x in result]
    weight = np.einsum(f"{theirs}->{''.join(summed + free)}", b.array.astype(np.float64))
    wide = int(np.prod(weight.shape[len(summed) :]))
    index = np.transpose(a.index, [ours.index(x) for x in kept + summed])
    index = index.reshape(*index.shape[: len(kept)], -1)
    flat = Known(weight.reshape(-1, wide), b.name)
    if index.shape[-1] != flat.shape[0]:
        raise ImportFailure.of(SHAPE_MISFIT, shapes=f"{list(a.shape)} and {list(b.shape)}")
    product = ctx.builder.linear(a.moved(index), flat, node.proto.output[0], loc_of(node))
    spread = product.index.reshape(*index.shape[:-1], *weight.shape[len(summed) :])
    return [product.moved(np.transpose(spread, [(kept + free).index(x) for x in result]))]


def conv(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """Conv over the features of a timestep; along time it mixes timesteps."""
    tensor, kernel, bias = inputs[0], inputs[1], inputs.get(2)
    if not isinstance(tensor, Traced) or not isinstance(kernel, Known):
        raise ImportFailure.of(COMPUTED, op="Conv", what="kernel")
    if not 3 <= len(kernel.shape) == len(tensor.shape):
        shapes = f"{list(tensor.shape)} and {list(kernel.shape)}"
        raise ImportFailure.of(SHAPE_MISFIT, shapes=shapes)
    plain = [*(node.integers("strides") or []), node.integer("group", 1)]
    one_tap = np.prod(kernel.shape[2:]) == 1 and not any(node.integers("pads") or [])
    places = np.prod(tensor.shape[2:]) > 1
    if not one_tap or any(number != 1 for number in plain) or (places and stands(tensor)):
        if stands(tensor):
            after_reduction("matmul", (tensor,))
            name = node.proto.output[0] if bias is None else f"{node.proto.output[0]}.product"
            made = in_space(ctx, node, tensor, kernel, name)
            if not isinstance(bias, Known):
                return [made] if bias is None else elementwise(ctx, node, "add", made, bias)
            each = bias.array.reshape(-1, *[1] * (len(tensor.shape) - 2))
            return elementwise(ctx, node, "add", made, Known(each, bias.name))
        raise MixesTime("Conv along axes other than time is not supported")
    after_reduction("matmul", (tensor,))
    weight = Known(kernel.array.reshape(kernel.shape[:2]).T, kernel.name)
    last = tensor.moved(np.moveaxis(tensor.index, 1, -1))
    name = node.proto.output[0] if bias is None else f"{node.proto.output[0]}.product"
    product: Tensor = ctx.builder.linear(last, weight, name, loc_of(node))
    if bias is not None:
        (product,) = elementwise(ctx, node, "add", product, bias)
    assert isinstance(product, Traced)
    return [product.moved(np.moveaxis(product.index, -1, 1))]
