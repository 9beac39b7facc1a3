"""Staircases: values that depend on nothing but which whole number another value has reached.

Neurons that may spike several times in a timestep count how often their membrane holds the
threshold: `(v > 0) * trunc(v / theta)`. Cut off at one spike, that is a comparison as any other.
What such an expression is at and between the steps is followed through all that is done to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dmpc.errors import ImportFailure
from dmpc.frontend.builder import Builder
from dmpc.frontend.context import Context, loc_of
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.steps import FUNCTIONS, TRUTHS, Step, emit, ends_of, is_uniform
from dmpc.frontend.tensors import Known, Tensor, Traced
from dmpc.ir.graph import Array, Graph
from dmpc.ir.integer_types import MOST_TIMES
from dmpc.rules import Stage, rule

STRANGE_COUNT = rule(
    "strange-count",
    Stage.IMPORT,
    "this depends on the whole numbers that a value has reached, but counts them neither without "
    "end nor up to 16",
    why="""Neurons of the machine fire again in a timestep as often as their membrane holds the
    threshold: that is floor(v / theta), cut off at zero, and perhaps at a number of spikes.
    Other functions of whole numbers have no instruction.""",
    nearest="relu(floor(v / theta)), or clamp(floor(v / theta), 0, 3)",
)
_WHOLE = np.unique([*np.arange(MOST_TIMES + 1.0), *2.0 ** np.arange(2, 33)])
GRID = np.concatenate([-_WHOLE[:0:-1] - 0.5, [-0.5], np.ravel([_WHOLE, _WHOLE + 0.5], "F")])
GRID = np.unique([*GRID, *-_WHOLE])
LINEAR = ("add", "sub", "neg")


def _either(condition: Array, one: Array, other: Array) -> Array:
    return np.where(condition != 0, one, other)


CLIMBED: dict[str, Callable[..., Array]] = {**FUNCTIONS, "where": _either}
NEAR = 1e-6  # of a whole number: thresholds are divided by themselves in float32


@dataclass(frozen=True)
class Staircase:
    """What a value is where the graph value `height` is each of the numbers of `GRID`."""

    height: str
    levels: Array


@dataclass(frozen=True)
class _Flight:
    """Steps of one `rise` without end, at the whole number `first` and all behind it; `strict`:
    just above them."""

    first: float
    rise: float
    strict: bool


@dataclass(frozen=True)
class _Line:
    """`gain * base + offset`, each element for itself; without a base it is a constant."""

    base: str
    gain: Array
    offset: Array


@dataclass(frozen=True)
class _Cut:
    """`value`, nowhere below `low` and nowhere above `high`."""

    value: str
    low: float
    high: float


def climb(ctx: Context, node: Node, kind: str, *tensors: Tensor) -> list[Tensor] | None:
    """An op on staircases of one value, its comparisons and numbers; None if operands are others.

    One that has a single step is a comparison; another is an op of the graph if it is linear, and
    may not be left if it is not.
    """
    builder, traced = ctx.builder, [each for each in tensors if isinstance(each, Traced)]
    first = next((each for each in traced if each.value in builder.staircases), None)
    if first is None or kind not in CLIMBED or any(each.reduced for each in traced):
        return None
    if any(not np.array_equal(each.index, first.index) for each in traced):
        return None
    height = builder.staircases[first.value].height
    operands = [_levels(builder, each, height) for each in tensors]
    known = [each for each in operands if each is not None]
    if len(known) < len(operands):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.broadcast_to(CLIMBED[kind](*known), GRID.shape).astype(np.float64)
    if len(traced) == 1 and np.array_equal(levels, builder.staircases[first.value].levels):
        return [first]
    jumps = _jumps(levels)
    if len(jumps) <= 1:
        return [_single(ctx, node, kind, height, levels, jumps, first)]
    linear = kind in LINEAR or (kind in ("mul", "div") and len(traced) == 1)
    ends = [_ends(each) for each in (levels, *known)]
    endless = _endless(levels)
    if ends[0] and not (linear and all(ends)):
        found = _several(ctx, node, height, levels, jumps, first)
    elif linear and (endless is None or builder.counted.keys().isdisjoint(t.value for t in traced)):
        found = builder.elementwise(kind, tensors, node.proto.output[0], loc_of(node))
    elif endless is not None:
        found = _counted(ctx, node, height, endless, first)
    else:
        value = builder.emit("floor", (height,), {}, node.proto.output[0], loc_of(node))
        found = replace(first, value=value)
        builder.counted[value] = ImportFailure.of(STRANGE_COUNT, where=loc_of(node)[0])
    builder.staircases[found.value] = Staircase(height, levels)
    return [found]


def begin(
    ctx: Context, node: Node, kind: str, tensor: Traced, left: ImportFailure | None = None
) -> Tensor:
    """What floor, ceil or trunc make of a value; `left` is raised if nothing else becomes of it."""
    builder, loc = ctx.builder, loc_of(node)
    height, whole = builder.vector(tensor, loc)
    levels, line = FUNCTIONS[kind](GRID), _line(builder.graph, height)
    cut = _cut(builder.graph, line.base)
    limits = [np.unique(line.gain * limit + line.offset) for limit in (cut.low, cut.high)]
    if cut.value != line.base and np.all(line.gain > 0) and all(len(one) == 1 for one in limits):
        size = builder.graph.types[height].size
        height = builder.times(cut.value, np.resize(line.gain, size), loc)
        height = builder.plus(height, np.resize(line.offset, size), loc)
        levels = FUNCTIONS[kind](np.clip(GRID, *limits))
    jumps, endless = _jumps(levels), _endless(levels)
    if len(jumps) <= 1:
        return _single(ctx, node, kind, height, levels, jumps, whole)
    if endless is not None:
        found = _counted(ctx, node, height, endless, whole)
    elif _ends(levels):
        found = _several(ctx, node, height, levels, jumps, whole)
    else:
        value = builder.emit("floor", (height,), {}, node.proto.output[0], loc)
        found = replace(whole, value=value)
        if left is not None:
            builder.counted[value] = left
    builder.staircases[found.value] = Staircase(height, levels)
    return found


def _jumps(levels: Array) -> NDArray[np.int64]:
    """Places of the grid at which a staircase is no longer what it was."""
    return np.flatnonzero(np.diff(np.broadcast_to(levels, GRID.shape))) + 1


def _ends(levels: Array) -> bool:
    """Whether a staircase has few steps, none of them beyond what the machine counts to."""
    return bool((abs(GRID[_jumps(levels)]) <= MOST_TIMES).all())


def _endless(levels: Array) -> _Flight | None:
    """The steps without end, or one far away, that a staircase is; None if it is another."""
    jumps = _jumps(levels)
    if not len(jumps) or levels[0] or GRID[jumps[0]] > MOST_TIMES:
        return None
    rise = float(levels[jumps[0]])
    strict = GRID[jumps[0]] != np.round(GRID[jumps[0]])
    first = float(GRID[jumps[0] - 1] if strict else GRID[jumps[0]])
    reached = np.maximum((np.ceil(GRID) - 1 if strict else np.floor(GRID)) - first + 1, 0)
    end = float(levels[-1]) / rise
    if end <= MOST_TIMES or not np.allclose(
        levels, rise * np.minimum(reached, end), rtol=1e-9, atol=0
    ):
        return None
    return _Flight(first, rise, bool(strict))


def _counted(ctx: Context, node: Node, height: str, flight: _Flight, like: Traced) -> Traced:
    """Steps without end as the count that they are."""
    builder, loc = ctx.builder, loc_of(node)
    size = builder.graph.types[height].size
    if flight.first != 1:
        height = builder.plus(height, np.full(size, 1 - flight.first), loc)
    name = node.proto.output[0]
    value = builder.emit("reached", (height,), {"strict": flight.strict}, name, loc)
    if flight.rise != 1:
        value = builder.times(value, np.full(size, flight.rise), loc)
    return Traced(value, size, like.index, like.domain)


def _single(
    ctx: Context, node: Node, kind: str, height: str, levels: Array, jumps: Array, like: Traced
) -> Tensor:
    """A staircase of one step, or none, as the comparison that it is."""
    builder, below, above = ctx.builder, float(levels[0]), float(levels[-1])
    first = int(jumps[0]) if len(jumps) else 1
    reached = GRID[first] == np.round(GRID[first])
    edge = GRID[first] if reached else GRID[first - 1]
    size = builder.graph.types[height].size
    argument = builder.plus(height, np.full(size, -edge), loc_of(node))
    step = Step(argument, below, above if reached else below, above)
    return emit(ctx, node, step, like, truth=kind in TRUTHS)


def _several(
    ctx: Context, node: Node, height: str, levels: Array, jumps: NDArray[np.int64], like: Traced
) -> Traced:
    """A staircase of some steps as the sum of its comparisons."""
    parts = [
        _single(ctx, node, "", height, np.where(np.arange(GRID.size) < at, 0, rise), jump, like)
        for at, rise in zip(jumps, np.diff(levels)[jumps - 1], strict=True)
        for jump in [np.array([at])]
    ]
    total: Tensor = Known(np.full(1, levels[0])) if levels[0] else parts.pop(0)
    for part in parts:
        total = ctx.builder.elementwise("add", (total, part), node.proto.output[0], loc_of(node))
    assert isinstance(total, Traced)
    return total


def _levels(builder: Builder, tensor: Tensor, height: str) -> Array | None:
    """What an operand is on the grid: a number, another staircase, or a comparison."""
    if isinstance(tensor, Known):
        return np.asarray(tensor.array.flat[0], np.float64) if is_uniform(tensor) else None
    assert isinstance(tensor, Traced)
    found = builder.staircases.get(tensor.value)
    if found is not None:
        return found.levels if found.height == height else None
    ends = ends_of(builder.graph, tensor.value)
    return None if ends is None else _compared(builder.graph, height, *ends)


def _compared(graph: Graph, height: str, condition: str, false: float, true: float) -> Array | None:
    """What a comparison gives on the grid, if it is one of the height with a whole number."""
    comparison, scale = graph.producer(condition), _line(graph, height)
    if comparison is None or comparison.kind not in ("ge", "gt"):
        return None
    left, right = (_line(graph, operand) for operand in comparison.operands)
    slope = (left.gain - right.gain) / scale.gain
    if {left.base, right.base} - {"", scale.base} or not np.all(slope):
        return None
    places = (right.offset - left.offset) / slope + scale.offset
    edge, sign = float(np.round(places.flat[0])), np.sign(slope.flat[0])
    if np.any(np.abs(places - edge) > NEAR) or np.any(np.sign(slope) != sign):
        return None
    apart = sign * (GRID - edge)
    return np.where(apart >= 0 if comparison.kind == "ge" else apart > 0, true, false)


def _line(graph: Graph, value: str) -> _Line:
    """A value as a line of what it is made of with numbers alone."""
    if value in graph.constants:
        return _Line("", np.zeros(1), graph.constants[value].astype(np.float64))
    op, itself = graph.producer(value), _Line(value, np.ones(1), np.zeros(1))
    if op is None or op.kind not in ("add", "sub", "mul", "div", "neg"):
        return itself
    lines = [_line(graph, operand) for operand in op.operands]
    one, other = lines[0], lines[-1]
    if op.kind == "neg":
        return _Line(one.base, -one.gain, -one.offset)
    if (one.base and other.base) or (op.kind == "div" and other.base):
        return itself
    if op.kind in ("add", "sub"):
        sign = 1.0 if op.kind == "add" else -1.0
        gain, offset = one.gain + sign * other.gain, one.offset + sign * other.offset
        return _Line(one.base or other.base, gain, offset)
    inner, number = (one, other.offset) if one.base else (other, one.offset)
    factor = number if op.kind == "mul" else 1 / number
    return _Line(inner.base, inner.gain * factor, inner.offset * factor)


def _cut(graph: Graph, value: str) -> _Cut:
    """A value as one that is cut off, as Relu, Clip, Max and Min do it."""
    op, itself = graph.producer(value), _Cut(value, -np.inf, np.inf)
    if op is None or op.kind not in ("relu", "add", "sub"):
        return itself
    if op.kind == "relu":
        inner = _cut(graph, op.operands[0])
        return replace(inner, low=max(inner.low, 0.0), high=max(inner.high, 0.0))
    whole, over = op.operands[0], graph.producer(op.operands[1])
    beyond = graph.producer(over.operands[0]) if over is not None and over.kind == "relu" else None
    if beyond is None or beyond.kind != "sub":
        return itself
    ends = beyond.operands if op.kind == "sub" else beyond.operands[::-1]
    limit = np.unique(graph.constants[ends[1]]) if ends[1] in graph.constants else np.zeros(0)
    if ends[0] != whole or len(limit) != 1:
        return itself
    inner, least = _cut(graph, whole), min if op.kind == "sub" else max
    low, high = (least(one, float(limit[0])) for one in (inner.low, inner.high))
    return replace(inner, low=low, high=high)


def check_staircases(builder: Builder, graph: Graph) -> None:
    """No count of spikes may be left; raises ImportFailure."""
    for value, error in builder.counted.items():
        if graph.producer(value) is not None:
            raise error
