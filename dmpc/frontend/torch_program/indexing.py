"""Operations that read elements at places known at import, or write into them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.emitter import (
    Call,
    Constant,
    Emitter,
    Filled,
    Handler,
    Operand,
    Value,
)
from dmpc.frontend.torch_program.movement import place_of
from dmpc.frontend.torch_program.rules import FORM


def index_select(emitter: Emitter, call: Call) -> str:
    """`index_select`: places of an axis, by a constant list."""
    return _gathered(emitter, call, call.axis("dim", call.tensor("self").rank), call["index"])


def index(emitter: Emitter, call: Call) -> str:
    """`x[:, steps, [2, 0, 1]]`: places of one or several axes, by constant lists."""
    import torch

    source, places = call.tensor("self"), _places(list(call["indices"]))
    given = [axis for axis, place in enumerate(places) if place is not None]
    if len(given) == 1:
        return _gathered(emitter, call, given[0], Constant(places[given[0]], f"{call.name}.places"))
    rest = [axis for axis in range(source.rank) if axis not in given]
    if len(given) == 2 and all(places[axis].dim() == 1 for axis in given):
        return _by_place(emitter, call, given, places)
    shape = np.broadcast_shapes(*(tuple(places[axis].shape) for axis in given))
    where = torch.stack([(places[a] % source.shape[a]).expand(shape) for a in given], -1)
    name = emitter.use(source)
    if given != sorted(range(len(given))):
        name = emitter.emit("Transpose", [name], f"{call.name}.axes", perm=[*given, *rest])
    inputs = [name, emitter.use(Constant(where, f"{call.name}.places"))]
    found = where.dim() - 1
    if given != list(range(given[0], given[-1] + 1)) or given[0] == 0:
        return emitter.emit("GatherND", inputs, call.name)
    name = emitter.emit("GatherND", inputs, f"{call.name}.found")
    before = range(found, found + given[0])
    order = [*before, *range(found), *range(found + given[0], found + len(rest))]
    return emitter.emit("Transpose", [name], call.name, perm=order)


def _by_place(emitter: Emitter, call: Call, axes: list[int], places: list[Any]) -> str:
    """`x[:, t - d, columns]`: one place after the other of the axis that has fewer of them."""
    source = call.tensor("self")
    count = max(len(places[axis]) for axis in axes)
    lists = [(places[axis] % source.shape[axis]).expand(count) for axis in axes]
    one, other = sorted((0, 1), key=lambda number: len(set(lists[number].tolist())))
    axis, rest = axes[one], axes[other] - (axes[one] < axes[other])
    parts, order = [], []
    for number, place in enumerate(dict.fromkeys(lists[one].tolist())):
        chosen = (lists[one] == place).nonzero()[:, 0]
        order += chosen.tolist()
        name = f"{call.name}.part.{number}"
        piece = place_of(emitter, source, axis, place, f"{name}.place")
        columns = emitter.ints(*lists[other][chosen].tolist())
        parts.append(emitter.emit("Gather", [piece, columns], name, axis=rest))
    name = emitter.emit("Concat", parts, f"{call.name}.parts", axis=rest)
    back = emitter.ints(*np.argsort(order).tolist())
    apart = axes[1] - axes[0] > 1 and rest != 0
    name = emitter.emit(
        "Gather", [name, back], f"{call.name}.order" if apart else call.name, axis=rest
    )
    if not apart:
        return name
    front = [rest, *(at for at in range(source.rank - 1) if at != rest)]
    return emitter.emit("Transpose", [name], call.name, perm=front)


def _places(indices: list[Any]) -> list[Any]:
    """A list of whole numbers for each axis that is indexed, None for the others."""
    import torch

    computed = [place for place in indices if place is not None and not isinstance(place, Constant)]
    if computed or any(place.dtype in (torch.bool, torch.uint8) for place in indices if place):
        raise ImportFailure.of(FORM, what="indexing by computed values", nearest="where")
    return [None if place is None else place.tensor.long() for place in indices]


def gather(emitter: Emitter, call: Call) -> str:
    """`gather`: for every element its own place of an axis, by constants."""
    source, places = call.tensor("self"), call["index"]
    if not isinstance(places, Constant):
        raise ImportFailure.of(FORM, what="gather by computed values", nearest="where")
    inputs = [emitter.use(source), emitter.use(places)]
    return emitter.emit("GatherElements", inputs, call.name, axis=call.axis("dim", source.rank))


def take_along(emitter: Emitter, call: Call) -> str:
    """`take_along_dim`: `gather` that broadcasts."""
    source, places = call.tensor("self"), call["indices"]
    if not isinstance(places, Constant) or call["dim"] is None:
        raise ImportFailure.of(FORM, what="gather by computed values", nearest="where")
    axis = call.axis("dim", source.rank)
    shape = [s if at != axis else places.shape[axis] for at, s in enumerate(source.shape)]
    spread = Constant(places.tensor.expand(shape), places.name)
    inputs = [emitter.use(source), emitter.use(spread)]
    return emitter.emit("GatherElements", inputs, call.name, axis=axis)


def roll(emitter: Emitter, call: Call) -> str:
    """`roll`: axes turned round; without an axis, all elements in a row."""
    source, shifts, axes = call.tensor("self"), list(call["shifts"]), list(call["dims"])
    name = emitter.use(source)
    if not axes:
        name, axes = emitter.emit("Reshape", [name, emitter.ints(-1)], f"{call.name}.flat"), [0]
    for number, (shift, axis) in enumerate(zip(shifts, axes, strict=True)):
        size = source.shape[axis] if call["dims"] else math.prod(source.shape)
        order = [(place - shift) % size for place in range(size)]
        inputs = [name, emitter.ints(*order)]
        name = emitter.emit("Gather", inputs, f"{call.name}.{number}", axis=axis % source.rank)
    if call["dims"]:
        return name
    return emitter.emit("Reshape", [name, emitter.ints(*source.shape)], call.name)


def unfold(emitter: Emitter, call: Call) -> str:
    """`unfold`: overlapping windows of an axis, on a last axis of their own."""
    import torch

    source, axis = call.tensor("self"), call.axis("dimension", call.tensor("self").rank)
    starts = torch.arange(call.result.shape[axis])[:, None] * call["step"]
    places = starts + torch.arange(call["size"])
    inputs = [emitter.use(source), emitter.use(Constant(places, f"{call.name}.places"))]
    name = emitter.emit("Gather", inputs, f"{call.name}.windows", axis=axis)
    order = [at for at in range(source.rank + 1) if at != axis + 1]
    return emitter.emit("Transpose", [name], call.name, perm=[*order, axis + 1])


def diagonal(emitter: Emitter, call: Call) -> str:
    """`diagonal`: equal places of two axes, on a last axis."""
    import torch

    source, offset = call.tensor("self"), int(call["offset"])
    axes = [call.axis(key, source.rank) for key in ("dim1", "dim2")]
    along = torch.arange(call.result.shape[-1])
    where = torch.stack([along + max(-offset, 0), along + max(offset, 0)], -1)
    rest = [axis for axis in range(source.rank) if axis not in axes]
    order = [*axes, *rest]
    name = emitter.emit("Transpose", [emitter.use(source)], f"{call.name}.axes", perm=order)
    inputs = [name, emitter.use(Constant(where, f"{call.name}.places"))]
    name = emitter.emit("GatherND", inputs, f"{call.name}.found")
    return emitter.emit("Transpose", [name], call.name, perm=[*range(1, len(rest) + 1), 0])


def _gathered(emitter: Emitter, call: Call, axis: int, places: Operand) -> str:
    if not isinstance(places, Constant) or str(places.dtype) == "torch.bool":
        raise ImportFailure.of(FORM, what="indexing by computed values", nearest="where")
    inputs = [emitter.use(call["self"]), emitter.use(places)]
    return emitter.emit("Gather", inputs, call.name, axis=axis)


def fill(emitter: Emitter, call: Call) -> Value:
    """`select_scatter`, which `y[:, t] = x` becomes: one place of an axis is another tensor's."""
    target, source = call.tensor("self"), call["src"]
    axis = call.axis("dim", target.rank)
    place = int(call["index"]) % target.shape[axis]
    if isinstance(source, Constant):
        name = emitter.emit("Identity", [emitter.use(source)], f"{call.name}.source")
        source = Value(name, source.shape, source.dtype)
    if isinstance(target, Filled) and target.axis == axis:
        base, parts = target.base, {**target.parts, place: source}
    elif isinstance(target, Constant):
        base, parts = target, {place: source}
    else:
        inputs = [emitter.use(source, target.dtype), emitter.ints(axis)]
        part = emitter.emit("Unsqueeze", inputs, f"{call.name}.part")
        return _between(emitter, call, axis, (place, place + 1), part)
    result = call.result
    return Filled(call.name, result.shape, result.dtype, base, axis, parts)


def write(emitter: Emitter, call: Call) -> Value:
    """`slice_scatter`, which `y[:, 2:] = x` becomes: a range of an axis is another tensor's."""
    import torch

    target, source = call.tensor("self"), call.tensor("src")
    axis = call.axis("dim", target.rank)
    size = target.shape[axis]
    start, end, step = slice(call["start"], call["end"], call["step"]).indices(size)
    part = emitter.use(source, target.dtype)
    if step == 1:
        return _between(emitter, call, axis, (start, max(start, end)), part)
    order = torch.arange(size)
    order[start:end:step] = size + torch.arange(source.shape[axis])
    both = emitter.emit("Concat", [emitter.use(target), part], f"{call.name}.both", axis=axis)
    inputs = [both, emitter.use(Constant(order, f"{call.name}.order"))]
    return _value(call, emitter.emit("Gather", inputs, call.name, axis=axis))


def _between(emitter: Emitter, call: Call, axis: int, bounds: tuple[int, int], part: str) -> Value:
    """The first tensor of a call with a part in place of what it holds between two bounds."""
    target, size = call.tensor("self"), call.result.shape[axis]
    inputs = []
    for name, (start, end) in (("before", (0, bounds[0])), ("after", (bounds[1], size))):
        if start < end:
            inputs.append(_cut(emitter, target, axis, (start, end), f"{call.name}.{name}"))
        inputs += [part] if name == "before" else []
    return _value(call, emitter.emit("Concat", inputs, call.name, axis=axis))


def _cut(emitter: Emitter, source: Operand, axis: int, bounds: tuple[int, int], name: str) -> str:
    start, end = bounds
    if isinstance(source, Constant):
        return emitter.use(Constant(source.tensor.narrow(axis, start, end - start), name))
    inputs = [emitter.use(source), *(emitter.ints(number) for number in (start, end, axis))]
    return emitter.emit("Slice", inputs, name)


def fill_all(emitter: Emitter, call: Call) -> str:
    """`fill`, which `y[:, :3] = 0` becomes: one value everywhere."""
    value = emitter.use(call["value"], call.result.dtype)
    return emitter.emit("Expand", [value, emitter.ints(*call.result.shape)], call.name)


def _value(call: Call, name: str) -> Value:
    return Value(name, call.result.shape, call.result.dtype)


HANDLERS: Mapping[str, Handler] = {
    "diagonal": diagonal,
    "fill": fill_all,
    "gather": gather,
    "index": index,
    "index_select": index_select,
    "roll": roll,
    "select_scatter": fill,
    "slice_scatter": write,
    "take_along_dim": take_along,
    "unfold": unfold,
}
