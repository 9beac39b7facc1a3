"""Operations on each element: arithmetic, comparisons, choices, and what does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from dmpc.errors import ImportFailure
from dmpc.frontend.operator_rules import TRAINING
from dmpc.frontend.torch_program.emitter import (
    Call,
    Constant,
    Emitter,
    Handler,
    Value,
    element_type,
)
from dmpc.frontend.torch_program.rules import FORM
from dmpc.frontend.torch_program.spectral import complex_product

if TYPE_CHECKING:
    pass

ARITHMETIC = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min",
    "pow": "Pow", "true_divide": "Div", "multiply": "Mul", "subtract": "Sub", "divide": "Div",
    "floor_divide": "Div",
}  # fmt: skip
COMPARISONS = {
    "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual", "lt": "Less", "eq": "Equal",
    "greater_equal": "GreaterOrEqual", "greater": "Greater", "less_equal": "LessOrEqual",
    "less": "Less",
}  # fmt: skip
LOGIC = {
    "logical_and": "And", "logical_or": "Or", "bitwise_and": "And", "bitwise_or": "Or",
    "__and__": "And", "__or__": "Or", "logical_xor": "Xor", "bitwise_xor": "Xor", "__xor__": "Xor",
}  # fmt: skip
UNARY = {
    "abs": "Abs", "ceil": "Ceil", "exp": "Exp", "floor": "Floor", "log": "Log", "neg": "Neg",
    "reciprocal": "Reciprocal", "relu": "Relu", "round": "Round", "sigmoid": "Sigmoid",
    "sign": "Sign", "sqrt": "Sqrt", "tanh": "Tanh", "absolute": "Abs", "negative": "Neg",
}  # fmt: skip
NOTHING = (
    "alias", "clone", "contiguous", "detach", "detach_", "lift_fresh_copy", "positive",
    "resolve_conj", "resolve_neg",
)  # fmt: skip
DROPOUT = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")


def arithmetic(emitter: Emitter, call: Call) -> str:
    """A sum, product and the like, both operands in the result's dtype."""
    kind, one, other = (
        call.op,
        call["self"],
        call["other" if "other" in call.arguments else "exponent"],
    )
    if call.result.dtype.is_complex:
        return _complex(emitter, call, kind, one, other)
    dtype = call.result.dtype
    if call.arguments.get("alpha", 1) != 1:
        name = f"{call.name}.scaled"
        alpha = emitter.use(call["alpha"], dtype)
        other_name = emitter.emit("Mul", [emitter.use(other, dtype), alpha], name)
    else:
        other_name = emitter.use(other, dtype)
    inputs = [emitter.use(one, dtype), other_name]
    rounding = "floor" if kind == "floor_divide" else call.arguments.get("rounding_mode")
    if rounding is None:
        return emitter.emit(ARITHMETIC[kind], inputs, call.name)
    exact = emitter.emit(ARITHMETIC[kind], inputs, f"{call.name}.exact")
    if rounding == "floor":
        return emitter.emit("Floor", [exact], call.name)
    return _whole(emitter, call, exact)


def truncated(emitter: Emitter, call: Call) -> str:
    """`trunc`, `fix`."""
    return _whole(emitter, call, emitter.use(call["self"]))


def _whole(emitter: Emitter, call: Call, exact: str) -> str:
    """The whole part of a value."""
    whole = emitter.emit("Cast", [exact], f"{call.name}.whole", to=TensorProto.INT64)
    return emitter.emit("Cast", [whole], call.name, to=element_type(call.result.dtype))


def _complex(emitter: Emitter, call: Call, kind: str, one: Any, other: Any) -> str:
    if kind in ("mul", "multiply"):
        return complex_product(emitter, call.name, one, other, call.result.dtype)
    sides = [side for side in (one, other) if isinstance(side, Value | Constant)]
    whole = len(sides) == 2 and all(side.dtype.is_complex for side in sides)
    if kind in ("add", "sub") and whole and call.arguments.get("alpha", 1) == 1:
        inputs = [emitter.use(side, call.result.dtype) for side in sides]
        return emitter.emit(ARITHMETIC[kind], inputs, call.name)
    raise ImportFailure.of(FORM, what=f"{kind} of complex numbers", nearest="mul")


def reversed_difference(emitter: Emitter, call: Call) -> str:
    """`rsub`: other - self."""
    if call["alpha"] != 1:
        raise ImportFailure.of(FORM, what="rsub with alpha other than 1", nearest="sub")
    dtype = call.result.dtype
    inputs = [emitter.use(call["other"], dtype), emitter.use(call["self"], dtype)]
    return emitter.emit("Sub", inputs, call.name)


def comparison(emitter: Emitter, call: Call) -> str:
    """A comparison, both sides in their common dtype."""
    one, other = _alike(emitter, call["self"], call["other"])
    return emitter.emit(COMPARISONS[call.op], [one, other], call.name)


def unequal(emitter: Emitter, call: Call) -> str:
    """`ne`."""
    inputs = list(_alike(emitter, call["self"], call["other"]))
    return emitter.emit("Not", [emitter.emit("Equal", inputs, f"{call.name}.equal")], call.name)


def _alike(emitter: Emitter, one: Any, other: Any) -> tuple[str, str]:
    import torch

    sides = (
        torch.empty(side.shape, dtype=side.dtype) if isinstance(side, Value | Constant) else side
        for side in (one, other)
    )
    dtype = torch.result_type(*sides)
    return emitter.use(one, dtype), emitter.use(other, dtype)


def logic(emitter: Emitter, call: Call) -> str:
    """`and`, `or`, `xor` of truth values."""
    import torch

    if call.result.dtype != torch.bool:
        raise ImportFailure.of(FORM, what=f"{call.op} of integers", nearest="logical_and")
    inputs = [emitter.use(call[side], torch.bool) for side in ("self", "other")]
    return emitter.emit(LOGIC[call.op], inputs, call.name)


def negation(emitter: Emitter, call: Call) -> str:
    """`not` of truth values."""
    import torch

    return emitter.emit("Not", [emitter.use(call["self"], torch.bool)], call.name)


def unary(emitter: Emitter, call: Call) -> str:
    """A function of one tensor."""
    if call.result.dtype.is_complex and call.op != "neg":
        raise ImportFailure.of(FORM, what=f"{call.op} of complex numbers", nearest="mul")
    if call.arguments.get("decimals", 0):
        raise ImportFailure.of(FORM, what=f"{call.op} to decimals", nearest="round")
    return emitter.emit(UNARY[call.op], [emitter.use(call["self"], call.result.dtype)], call.name)


def nothing(emitter: Emitter, call: Call) -> str:
    """What changes no value."""
    return emitter.use(call["self"])


def convert(emitter: Emitter, call: Call) -> str:
    """`to` and its kin: another dtype, or nothing."""
    return emitter.use(call["self"], call.result.dtype)


def dropout(emitter: Emitter, call: Call) -> str:
    """Dropout, which does nothing in inference."""
    if call["train"] and call["p"]:
        raise ImportFailure.of(TRAINING, op="dropout")
    return emitter.use(call["input"])


def choice(emitter: Emitter, call: Call) -> str:
    """`where`."""
    import torch

    dtype = call.result.dtype
    inputs = [emitter.use(call["condition"], torch.bool)]
    inputs += [emitter.use(call[side], dtype) for side in ("self", "other")]
    return emitter.emit("Where", inputs, call.name)


def interpolation(emitter: Emitter, call: Call) -> str:
    """`lerp`: from one tensor toward another."""
    dtype = call.result.dtype
    start, end, weight = (emitter.use(call[key], dtype) for key in ("self", "end", "weight"))
    way = emitter.emit("Sub", [end, start], f"{call.name}.way")
    part = emitter.emit("Mul", [way, weight], f"{call.name}.part")
    return emitter.emit("Add", [start, part], call.name)


def product_added(emitter: Emitter, call: Call) -> str:
    """`addcmul`: a tensor and a product of two others."""
    dtype = call.result.dtype
    names = [emitter.use(call[key], dtype) for key in ("self", "tensor1", "tensor2", "value")]
    product = emitter.emit("Mul", names[1:3], f"{call.name}.product")
    scaled = emitter.emit("Mul", [product, names[3]], f"{call.name}.scaled")
    return emitter.emit("Add", [names[0], scaled], call.name)


def clamp(emitter: Emitter, call: Call) -> str:
    """`clamp`, `clamp_min`: a rectifier if from 0 up; limits may be tensors."""
    low, high = call.arguments.get("min"), call.arguments.get("max")
    dtype = call.result.dtype
    value = emitter.use(call["self"], dtype)
    if high is None and low == 0:
        return emitter.emit("Relu", [value], call.name)
    limits = ["" if limit is None else emitter.use(limit, dtype) for limit in (low, high)]
    if not any(isinstance(limit, Value | Constant) and limit.rank for limit in (low, high)):
        return emitter.emit("Clip", [value, *limits], call.name)
    floor, ceiling = limits
    if floor:
        name = f"{call.name}.raised" if ceiling else call.name
        value = emitter.emit("Max", [value, floor], name)
    return emitter.emit("Min", [value, ceiling], call.name) if ceiling else value


def close(emitter: Emitter, call: Call) -> str:
    """`isclose` to a constant, which a spike is or is not: a difference within a tolerance."""
    other = call.tensor("other")
    if not isinstance(other, Constant):
        raise ImportFailure.of(FORM, what="isclose of two computed values", nearest="==")
    number = other.tensor.double()
    within = call["atol"] + call["rtol"] * number.abs()
    dtype = call.tensor("self").dtype
    inputs = [emitter.use(call["self"]), emitter.use(other, dtype)]
    apart = emitter.emit("Sub", inputs, f"{call.name}.difference")
    apart = emitter.emit("Abs", [apart], f"{call.name}.apart")
    limit = emitter.use(Constant(within.to(dtype), f"{call.name}.tolerance"))
    return emitter.emit("LessOrEqual", [apart, limit], call.name)


def heaviside(emitter: Emitter, call: Call) -> str:
    """`heaviside` with a constant 0 or 1 at the step itself: a comparison."""
    at_step = call["values"]
    if not isinstance(at_step, Constant) or set(at_step.tensor.flatten().tolist()) not in (
        {0},
        {1},
    ):
        raise ImportFailure.of(
            FORM,
            what="heaviside of a computed value at 0",
            nearest="ge, or the constant 0 or 1 at 0",
        )
    kind = "GreaterOrEqual" if at_step.tensor.flatten()[0] == 1 else "Greater"
    source = call.tensor("self")
    inputs = [emitter.use(source), emitter.use(0.0, source.dtype)]
    fired = emitter.emit(kind, inputs, f"{call.name}.fired")
    return emitter.emit("Cast", [fired], call.name, to=element_type(call.result.dtype))


def batch_norm(emitter: Emitter, call: Call) -> str | list[str]:
    """Batch norm in inference: a scale and an offset for each channel (axis 1)."""
    import torch

    if call.arguments.get("training", False):
        raise ImportFailure.of(TRAINING, op="batch norm")
    source = call.tensor("input")
    parts = {name: call[name] for name in ("weight", "bias", "running_mean", "running_var")}
    for name, part in parts.items():
        if isinstance(part, Value) or (part is None and name.startswith("running")):
            raise ImportFailure.of(
                FORM,
                what=f"batch norm that takes its {name} from the data",
                nearest="running statistics: after module.eval() they are a scale",
            )
    known = {name: part.tensor.double() for name, part in parts.items() if part is not None}
    scale = known.get("weight", torch.tensor(1.0)) / torch.sqrt(known["running_var"] + call["eps"])
    offset = known.get("bias", torch.tensor(0.0)) - known["running_mean"] * scale
    shape, base = (-1, *[1] * (source.rank - 2)), parts["running_mean"].name.rpartition(".")[0]
    made = [
        emitter.use(Constant(array.reshape(shape).to(source.dtype), f"{base}.{name}"))
        for name, array in (("scale", scale), ("offset", offset))
    ]
    product = emitter.emit("Mul", [emitter.use(source), made[0]], f"{call.name}.scaled")
    result = emitter.emit("Add", [product, made[1]], call.name)
    return result if len(call.results) == 1 else [result] * len(call.results)


HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys(ARITHMETIC, arithmetic),
    **dict.fromkeys(COMPARISONS, comparison),
    **dict.fromkeys(LOGIC, logic),
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(NOTHING, nothing),
    **dict.fromkeys(("to", "_to_copy", "type_as", "float", "double"), convert),
    **dict.fromkeys(DROPOUT, dropout),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "clip"), clamp),
    **dict.fromkeys(("logical_not", "bitwise_not"), negation),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), batch_norm),
    "addcmul": product_added,
    "heaviside": heaviside,
    "isclose": close,
    "lerp": interpolation,
    "ne": unequal,
    "rsub": reversed_difference,
    "trunc": truncated,
    "fix": truncated,
    "where": choice,
}
