"""Scan: a loop over time, whose body becomes part of the one timestep of the graph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import GraphProto

from dmpc.errors import ImportFailure
from dmpc.frontend.boundary import check_size
from dmpc.frontend.context import Arguments, Context, loc_of
from dmpc.frontend.model_rules import (
    BACKWARDS,
    BATCHLESS_STATE,
    BROKEN_CARRY,
    COMPUTED_START,
    PARTIAL_OUTPUT,
    SCAN_CONSTANT,
    SCAN_COUNT,
    STALE_STATE,
    WRONG_AXIS,
)
from dmpc.frontend.onnx_file import Node, scan_states
from dmpc.frontend.tensors import Domain, Index, Known, Mixed, Tensor, Traced, alike, layout, whole
from dmpc.ir.graph import Array, Loc
from dmpc.ir.types import TensorType


@dataclass(frozen=True)
class Parts:
    """A Scan taken apart."""

    body: GraphProto
    states: int
    scanned: list[Traced]
    input_axes: list[int]
    output_axes: list[int]
    outer: Domain
    inner: Domain


def scan(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """A Scan over time: states and body join the graph's timestep, outputs exist at every step."""
    parts = _parts(node, inputs)
    visible: dict[str, Tensor] = {
        name: tensor for name, tensor in inputs.outer.items() if isinstance(tensor, Known)
    }
    names = [value.name for value in parts.body.input]
    states = []
    for number in range(parts.states):
        init = _initial(ctx, node, inputs[number], node.proto.input[number])
        state = _state(ctx, names[number], init, parts.inner)
        states.append((state, init))
        visible[names[number]] = state
    for name, tensor, axis in zip(
        names[parts.states :], parts.scanned, parts.input_axes, strict=True
    ):
        visible[name] = _slice(tensor, axis, parts)
    tensors = ctx.run(parts.body, visible, [one.name for one in parts.body.output[: parts.states]])
    results = [_output(tensors, value.name) for value in parts.body.output]
    finals: list[Tensor] = []
    for (state, init), result in zip(states, results, strict=False):
        next_ = _carry(ctx, node, state, init, result)
        finals.append(_final(ctx, state, init, next_, parts))
    ctx.finals.update(node.proto.output[: parts.states])
    ctx.scanned = True
    stacked: list[Tensor] = []
    for result, axis in zip(results[parts.states :], parts.output_axes, strict=True):
        (place,) = node.axes([axis], len(result.shape) + 1)
        stacked.append(_stack(result, place, parts))
    return [*finals, *stacked]


def _parts(node: Node, inputs: Arguments) -> Parts:
    body = node.subgraph("body")
    states = scan_states(node)
    if states is None:
        raise ImportFailure.of(SCAN_COUNT)
    count, outputs = len(inputs.tensors) - states, len(body.output) - states
    axes = node.integers("scan_input_axes") or [0] * count
    output_axes = node.integers("scan_output_axes") or [0] * outputs
    if (len(axes), len(output_axes)) != (count, outputs):
        raise ImportFailure.of(SCAN_COUNT)
    for direction in ("scan_input_directions", "scan_output_directions"):
        if any(node.integers(direction) or ()):
            raise ImportFailure.of(BACKWARDS)
    scanned = [inputs[states + i] for i in range(count)]
    traced = [tensor for tensor in scanned if isinstance(tensor, Traced)]
    if len(traced) != len(scanned) or any(t.domain is not traced[0].domain for t in traced):
        raise ImportFailure.of(SCAN_CONSTANT)
    axes = [node.axes([axis], len(t.shape))[0] for axis, t in zip(axes, traced, strict=True)]
    outer = traced[0].domain
    for tensor, axis in zip(traced, axes, strict=True):
        _find_time(tensor, axis)
    inner = [size for axis, size in enumerate(outer.sizes) if axis != outer.time]
    return Parts(
        body=body,
        states=states,
        scanned=traced,
        input_axes=axes,
        output_axes=output_axes,
        outer=outer,
        inner=Domain(tuple(inner)),
    )


def _find_time(tensor: Traced, axis: int) -> None:
    """Find, or check, the axis of the model's input over which a Scan runs."""
    domain = tensor.domain
    slices = np.moveaxis(tensor.index, axis, 0) // tensor.features
    steps = np.arange(len(slices)).reshape(-1, *[1] * (slices.ndim - 1))
    places = np.unravel_index(slices, domain.sizes)
    fitting = [number for number, size in enumerate(domain.sizes) if size == len(slices)]
    found = [number for number in fitting if np.all(places[number] == steps)]
    if not found and any(np.all(places[number] == steps[::-1]) for number in fitting):
        raise ImportFailure.of(BACKWARDS)
    if domain.time is None and found:
        domain.time = found[-1]
    if domain.time not in found or tensor.reduced is not None:
        raise ImportFailure.of(WRONG_AXIS, axis=axis)


def _slice(tensor: Traced, axis: int, parts: Parts) -> Traced:
    """A scanned tensor as the body sees it, at any one timestep."""
    slices = np.moveaxis(tensor.index, axis, 0)
    sample, _ = parts.outer.split(slices // tensor.features)
    index = sample * tensor.features + slices % tensor.features
    if np.any(index != index[0]):
        raise ImportFailure("Scan's input is arranged differently at different timesteps")
    return Traced(tensor.value, tensor.features, index[0], parts.inner)


def _initial(ctx: Context, node: Node, tensor: Tensor, name: str) -> Known:
    """A state before the first timestep: zeros, or what the user has asked to keep."""
    if not isinstance(tensor, Known):
        raise ImportFailure.of(COMPUTED_START, where=node.name, name=name)
    if not (ctx.keep_initial or _told(tensor.array)):
        raise ImportFailure.of(
            STALE_STATE,
            where=node.name,
            name=name,
            count=np.count_nonzero(tensor.array),
            size=tensor.array.size,
            most=np.abs(tensor.array).max(),
        )
    return tensor


def _told(start: Array) -> bool:
    """Whether a state starts from one number for all neurons: what a run leaves is not alike."""
    neurons = start.shape[-1] if start.ndim else 1
    return not start.any() or (neurons > 1 and bool((start == start.flat[0]).all()))


def _state(ctx: Context, name: str, init: Known, domain: Domain) -> Traced:
    """A fresh state of the graph, shaped like its initial value."""
    shape, samples = init.shape, domain.size
    size = init.array.size // samples
    value = ctx.builder.input(name, size)
    if samples == 1:
        return Traced(value, size, np.arange(size).reshape(shape), domain)
    axis = _samples_axis(shape, samples)
    if axis is None:
        raise _batchless(name, shape)
    split = (*shape[:axis], samples, shape[axis] // samples, *shape[axis + 1 :])
    batch_first = (samples, *split[:axis], *split[axis + 1 :])
    tensor = whole(value, batch_first, domain, 1)
    return tensor.moved(np.moveaxis(tensor.index, 0, axis).reshape(shape))


def _samples_axis(shape: tuple[int, ...], samples: int) -> int | None:
    """The axis of samples, or else one in which features were flattened behind them."""
    alone = [axis for axis, size in enumerate(shape) if size == samples]
    flat = [axis for axis, size in enumerate(shape) if size % samples == 0]
    return next(iter(alone + flat), None)


def _batchless(name: str, shape: Sequence[int]) -> ImportFailure:
    return ImportFailure.of(BATCHLESS_STATE, name=name, shape=list(shape))


def _output(tensors: dict[str, Tensor], name: str) -> Known | Traced:
    if name not in tensors:
        raise ImportFailure(f"the Scan's body never defines its output '{name}'")
    tensor = tensors[name]
    if isinstance(tensor, Mixed):
        raise ImportFailure.of(PARTIAL_OUTPUT, name=name)
    return tensor


def _carry(ctx: Context, node: Node, state: Traced, init: Known, result: Tensor) -> Traced:
    """Tie a state to its next value."""
    if state.domain.size not in (1, *state.shape) and (
        not isinstance(result, Traced)
        or result.shape != state.shape
        or np.any(result.positions != state.positions)
    ):
        raise _batchless(state.value, state.shape)
    if result.shape != state.shape or isinstance(result, Mixed):
        raise ImportFailure.of(
            BROKEN_CARRY,
            name=state.value,
            shape=list(state.shape),
            next_shape=list(result.shape),
        )
    if isinstance(result, Known):  # nothing is kept, as where what it decays by is zero
        loc = (result.name or state.value,)
        value = _constant(ctx, f"{state.value}.next", result, state, loc)
        next_ = replace(state, value=value)
    else:
        value, next_ = ctx.builder.vector(result, loc_of(node))
    name = None
    if init.array.any():
        name = _constant(ctx, f"{state.value}.init", init, state, (init.name or state.value,))
    ctx.builder.make_state(state.value, value, name)
    return next_


def _constant(ctx: Context, name: str, known: Known, state: Traced, loc: Loc) -> str:
    """A constant of the graph with what a state becomes, which is the same for all samples."""
    held = alike(known.array, layout(state.positions).rows)
    fresh, type_ = ctx.builder.graph.fresh(name), TensorType("f32", held.shape)
    return ctx.builder.graph.add_constant(fresh, held.astype(np.float64), type_, loc)


def _stack(result: Known | Traced, axis: int, parts: Parts) -> Tensor:
    """An output of the body at every timestep."""
    steps = parts.outer.steps
    check_size((steps, *result.shape))
    if isinstance(result, Known):
        return Known(np.stack([result.array] * steps, axis=axis), result.name)
    slices = [_at(result, np.asarray(step), parts) for step in range(steps)]
    return Traced(result.value, result.features, np.stack(slices, axis=axis), parts.outer)


def _at(tensor: Traced, step: Index, parts: Parts) -> Index:
    positions = parts.outer.join(tensor.positions, step)
    return np.asarray(positions * tensor.features + tensor.elements, np.int64)


def _final(ctx: Context, state: Traced, init: Known, next_: Traced, parts: Parts) -> Traced:
    """A state after the last timestep; for a running sum, the sum over time of what it adds."""
    graph = ctx.builder.graph
    op = graph.producer(next_.value)
    running = op is not None and op.kind == "add" and graph.users(state.value) == [op]
    if op is not None and running and not init.array.any():
        addend = next(name for name in (*op.operands, "") if name != state.value)
        if addend and graph.types[addend] == graph.types[state.value]:
            index = _at(next_, np.asarray(0), parts)
            return Traced(addend, next_.features, index, parts.outer, "sum")
    last = _at(next_, np.asarray(parts.outer.steps - 1), parts)
    return Traced(next_.value, next_.features, last, parts.outer)
