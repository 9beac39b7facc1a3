"""Step functions: values that depend on nothing but the sign of another value.

Spikes are also written without a comparison: `relu(sign(v))`, `ceil(clip(v, 0, 1))`, `(sign(v) + 1)
/ 2`. What such an expression gives below, at and above zero is followed through all that is done to
it, so that it becomes the comparison that it is: `>` or `>=`, by what it gives at zero itself.
A spike is such a value too: `as_steps` makes the step from 0 to 1 of it where an operator asks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.builder import Builder
from dmpc.frontend.context import Context, loc_of
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.tensors import Known, Tensor, Traced
from dmpc.ir.graph import Array, Graph, Loc
from dmpc.ir.registry import EvalContext, op_def
from dmpc.rules import Stage, rule

HALF_SPIKE = rule(
    "half-spike",
    Stage.IMPORT,
    "the step is {below:g} below zero, {above:g} above it, and {at:g} at zero itself",
    why="""A spike is there or it is not. `Sign` of 0 is 0, so `(sign(v - theta) + 1) / 2` makes
    half a spike of a membrane just at its threshold, which integers often are.""",
    nearest="v >= theta, or relu(sign(v - theta)) for v > theta",
)
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add, "ceil": np.ceil, "abs": np.abs, "cast": lambda x: x, "div": np.divide,
    "eq": np.equal, "floor": np.floor, "ge": np.greater_equal, "gt": np.greater, "mul": np.multiply,
    "neg": np.negative, "not": np.logical_not, "pow": np.power, "relu": lambda x: np.maximum(x, 0),
    "round": np.round, "sign": np.sign, "sqrt": np.sqrt, "sub": np.subtract,
    "truth": lambda x: x != 0, "trunc": np.trunc,
}  # fmt: skip
TRUTHS = ("eq", "ge", "gt", "not", "truth")


@dataclass(frozen=True)
class Step:
    """What a value is where the graph value `argument` is below, at and above zero."""

    argument: str
    below: float
    at: float
    above: float

    @property
    def parts(self) -> tuple[float, float, float]:
        """The three values, in order."""
        return self.below, self.at, self.above


def follow(ctx: Context, node: Node, kind: str, *tensors: Tensor) -> list[Tensor] | None:
    """An op on step functions of one argument and numbers; None if its operands are others.

    What is summed over time is no step function, though its summands are.
    """
    traced = [tensor for tensor in tensors if isinstance(tensor, Traced)]
    if any(tensor.reduced is not None for tensor in traced):
        return None
    steps = [ctx.builder.steps.get(tensor.value) for tensor in traced]
    first = steps[0] if steps else None
    numbers = [tensor for tensor in tensors if isinstance(tensor, Known)]
    if first is None or kind not in FUNCTIONS or not all(map(is_uniform, numbers)):
        return None
    if any(one is None or one.argument != first.argument for one in steps) or any(
        not np.array_equal(tensor.index, traced[0].index) for tensor in traced
    ):
        return None
    parts = []
    for part in range(3):
        operands = [
            float(t.array.flat[0]) if isinstance(t, Known) else _part(ctx.builder, t, part)
            for t in tensors
        ]
        parts.append(float(FUNCTIONS[kind](*operands)))
    step = Step(first.argument, *parts)
    return [emit(ctx, node, step, traced[0], truth=kind in TRUTHS)]


def as_steps(ctx: Context, node: Node, *tensors: Tensor) -> None:
    """Enter values that depend on one 0/1 number, a spike or what was made of it, as its steps."""
    builder, loc = ctx.builder, loc_of(node)
    for tensor in tensors:
        if not isinstance(tensor, Traced) or tensor.reduced is not None:
            continue
        if tensor.value in builder.steps:
            continue
        ends = ends_of(builder.graph, tensor.value)
        size = builder.graph.types[tensor.value].size
        if ends is None or builder.graph.types[ends[0]].size != size:
            continue
        condition, false, true = ends
        number = builder.emit("cast", (condition,), {}, f"{condition}.number", loc)
        argument = builder.plus(number, np.full(size, -0.5), loc)
        builder.steps[tensor.value] = Step(argument, false, true, true)


def ends_of(graph: Graph, value: str) -> tuple[str, float, float] | None:
    """The truth value that a value depends on alone, and what it is where that is false, true."""
    producer = graph.producer(value)
    boolean = graph.types[value].dtype == "bool"
    own = (value, 0.0, 1.0) if boolean else None
    if producer is None or producer.kind in ("matmul", "take", "concat"):
        return own
    ends: list[tuple[str, float, float]] = []
    for operand in producer.operands:
        if operand in graph.constants:
            numbers = np.unique(graph.constants[operand].astype(np.float64))
            found = ("", numbers[0], numbers[0]) if len(numbers) == 1 else None
        else:
            found = ends_of(graph, operand)
        if found is None:
            return own
        ends.append(found)
    names = {name for name, _, _ in ends if name}
    if len(names) != 1 or producer.kind == "where":
        return own
    evaluate = op_def(producer.kind).evaluate
    sides = [
        float(evaluate(EvalContext(), producer.attrs, *(np.array([one[i]]) for one in ends))[0][0])
        for i in (1, 2)
    ]
    return names.pop(), sides[0], sides[1]


def is_uniform(number: Known) -> bool:
    """Whether all elements are one number."""
    return number.array.size > 0 and bool(np.all(number.array == number.array.flat[0]))


def _part(builder: Builder, tensor: Tensor, part: int) -> float:
    assert isinstance(tensor, Traced)
    return builder.steps[tensor.value].parts[part]


def start(ctx: Context, node: Node, kind: str, tensor: Traced) -> list[Tensor] | None:
    """A step function of a value that is none itself: sign, ceil, floor, trunc or truth of it."""
    builder, loc = ctx.builder, loc_of(node)
    value, whole = builder.vector(tensor, loc)
    clipped, producer = builder.unit_clips.get(value), builder.graph.producer(value)
    if clipped is not None and kind in ("floor", "trunc"):
        argument = builder.plus(clipped, np.full(builder.graph.types[clipped].size, -1.0), loc)
        step = Step(argument, 0, 1, 1)
    elif clipped is not None and kind in ("sign", "ceil", "truth"):
        step = Step(clipped, 0, 0, 1)
    elif producer is not None and producer.kind == "relu" and kind in ("sign", "truth"):
        step = Step(producer.operands[0], 0, 0, 1)
    elif kind == "sign":
        step = Step(value, -1, 0, 1)
    else:
        return None
    return [emit(ctx, node, step, whole, truth=kind == "truth")]


def emit(ctx: Context, node: Node, step: Step, like: Traced, *, truth: bool = False) -> Tensor:
    """The step function as a comparison of its argument with zero, exact even where it is none."""
    builder, loc, name = ctx.builder, loc_of(node), node.proto.output[0]
    below, at, above = step.parts
    if below == at == above:
        return Known(np.full(like.shape, bool(at) if truth else at))
    if truth and below == above:
        raise ImportFailure("asks whether a value is exactly at its threshold")
    size = builder.graph.types[step.argument].size
    zero = builder.constant(np.zeros(size), "", loc)
    flipped = truth and below > above
    pair = (zero, step.argument) if flipped else (step.argument, zero)
    reached = at == (below if flipped else above)
    condition = builder.emit("ge" if reached else "gt", pair, {}, name, loc)
    value = condition
    if not truth:
        value = _scaled(builder, condition, above - (below if at in (below, above) else at), loc)
        if at not in (below, above):
            other = builder.emit("ge", pair, {}, name, loc)
            value = builder.emit(
                "add", (value, _scaled(builder, other, at - below, loc)), {}, name, loc
            )
            builder.half_spikes[value] = (step, loc)
        if below != 0:
            value = builder.plus(value, np.full(size, below), loc)
    builder.steps[value] = step
    return Traced(value, size, like.index, like.domain)


def _scaled(builder: Builder, condition: str, factor: float, loc: Loc) -> str:
    number = builder.emit("cast", (condition,), {}, f"{condition}.number", loc)
    if factor == 1:
        return number
    size = builder.graph.types[condition].size
    constant = builder.constant(np.full(size, factor), "", loc)
    return builder.emit("mul", (number, constant), {}, f"{condition}.scaled", loc)


def check_steps(builder: Builder, graph: Graph) -> None:
    """No step with a third value at zero may be left; raises ImportFailure."""
    for value, (step, loc) in builder.half_spikes.items():
        if graph.producer(value) is not None:
            raise ImportFailure.of(
                HALF_SPIKE, where=loc[0], below=step.below, above=step.above, at=step.at
            )
