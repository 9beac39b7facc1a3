"""Operations that rearrange elements and compute nothing.

Axes are counted from the front, since a complex tensor has one axis more in ONNX, the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmpc.frontend.torch_program.emitter import (
    Call,
    Constant,
    Emitter,
    Filled,
    Handler,
    Operand,
)
from dmpc.frontend.torch_program.linear_maps import linear_map

ALL = 2**63 - 1  # the end of any axis, in a slice


def _sizes(shape: Sequence[int], source: Operand) -> list[int]:
    return [*shape, *([2] if source.dtype.is_complex else [])]


def select(emitter: Emitter, call: Call) -> str:
    """`select`: one place of an axis, which disappears."""
    source = call.tensor("self")
    axis = call.axis("dim", source.rank)
    place = int(call["index"]) % source.shape[axis]
    return place_of(emitter, source, axis, place, call.name)


def copy(emitter: Emitter, call: Call) -> str:
    """`copy`: another tensor's elements in the shape and dtype of the first."""
    source = emitter.use(call["src"], call.result.dtype)
    if call.tensor("src").shape == call.result.shape:
        return source
    return emitter.emit("Expand", [source, emitter.ints(*call.result.shape)], call.name)


def place_of(emitter: Emitter, source: Operand, axis: int, index: int, name: str) -> str:
    """One place of an axis, which disappears; of a tensor that is filled, what fills it."""
    if isinstance(source, Filled) and source.axis == axis:
        if index in source.parts:
            return emitter.use(source.parts[index], source.dtype)
        base = f"{source.base.name}.at.{index}"
        return emitter.use(Constant(source.base.tensor.select(axis, index), base))
    inputs = [emitter.use(source), emitter.index(index)]
    return emitter.emit("Gather", inputs, name, axis=axis)


def unbind(emitter: Emitter, call: Call) -> list[str]:
    """`unbind`: every place of an axis by itself."""
    source = call.tensor("self")
    axis = call.axis("dim", source.rank)
    return [
        place_of(emitter, source, axis, place, f"{call.name}.{place}") if place in call.used else ""
        for place in range(source.shape[axis])
    ]


def slice_(emitter: Emitter, call: Call) -> str:
    """`slice`: a range of an axis."""
    source = call.tensor("self")
    axis = call.axis("dim", source.rank)
    size = source.shape[axis]
    start, end, step = slice(call["start"], call["end"], call["step"]).indices(size)
    if (start, end, step) == (0, size, 1):
        return emitter.use(source)
    numbers = (start, max(start, end), axis, step)
    inputs = [emitter.use(source), *(emitter.ints(number) for number in numbers)]
    return emitter.emit("Slice", inputs, call.name)


def narrow(emitter: Emitter, call: Call) -> str:
    """`narrow`: a range of an axis, by its length."""
    source = call.tensor("self")
    axis = call.axis("dim", source.rank)
    start = int(call["start"]) % source.shape[axis]
    numbers = (start, start + int(call["length"]), axis)
    inputs = [emitter.use(source), *(emitter.ints(number) for number in numbers)]
    return emitter.emit("Slice", inputs, call.name)


def split(emitter: Emitter, call: Call) -> list[str]:
    """`split`, `chunk` and `split_with_sizes`: an axis in parts."""
    source = call.tensor("self")
    axis = call.axis("dim", source.rank)
    sizes = [result.shape[axis] for result in call.results]
    names = [f"{call.name}.{part}" for part in range(len(sizes))]
    inputs = [emitter.use(source), emitter.ints(*sizes)]
    emitter.emit("Split", inputs, call.name, names, axis=axis)
    return names


def unsqueeze(emitter: Emitter, call: Call) -> str:
    """`unsqueeze`: an axis of size 1 more."""
    source = call.tensor("self")
    axis = call.axis("dim", source.rank + 1)
    return emitter.emit("Unsqueeze", [emitter.use(source), emitter.ints(axis)], call.name)


def squeeze(emitter: Emitter, call: Call) -> str:
    """`squeeze`: fewer axes of size 1; without an axis named, none of them is left."""
    source = call.tensor("self")
    given = call.arguments.get("dim")
    axes = range(source.rank) if given is None else [given] if isinstance(given, int) else given
    gone = sorted({axis % source.rank for axis in axes if source.shape[axis] == 1})
    if not gone:
        return emitter.use(source)
    return emitter.emit("Squeeze", [emitter.use(source), emitter.ints(*gone)], call.name)


def permute(emitter: Emitter, call: Call) -> str:
    """`permute`: the axes in another order."""
    source = call.tensor("self")
    return _ordered(emitter, call, [axis % source.rank for axis in call["dims"]])


def transpose(emitter: Emitter, call: Call) -> str:
    """`transpose`, `swapaxes`, `t`: two axes change places, the first two where none are named."""
    rank = call.tensor("self").rank
    order = list(range(rank))
    named = [key for key in ("dim0", "dim1", "axis0", "axis1") if key in call.arguments]
    if rank > 1:
        one, other = (call.axis(key, rank) for key in named) if named else (0, 1)
        order[one], order[other] = order[other], order[one]
    return _ordered(emitter, call, order)


def reverse_axes(emitter: Emitter, call: Call) -> str:
    """`x.T`: the last axis comes first, and so on."""
    return _ordered(emitter, call, list(range(call.tensor("self").rank))[::-1])


def move_axes(emitter: Emitter, call: Call) -> str:
    """`movedim`."""
    rank = call.tensor("self").rank
    places = [call["source"], call["destination"]]
    source, target = ([p] if isinstance(p, int) else list(p) for p in places)
    moved = {to % rank: axis % rank for axis, to in zip(source, target, strict=True)}
    rest = iter(axis for axis in range(rank) if axis not in moved.values())
    return _ordered(emitter, call, [moved[at] if at in moved else next(rest) for at in range(rank)])


def _ordered(emitter: Emitter, call: Call, order: list[int]) -> str:
    source = call.tensor("self")
    if order == sorted(order):
        return emitter.use(source)
    whole = [*order, *([source.rank] if source.dtype.is_complex else [])]
    return emitter.emit("Transpose", [emitter.use(source)], call.name, perm=whole)


def reshape(emitter: Emitter, call: Call) -> str:
    """`view`, `reshape`, `flatten`, `unflatten`: the same elements in another shape."""
    source = call.tensor("self")
    if source.shape == call.result.shape:
        return emitter.use(source)
    shape = emitter.ints(*_sizes(call.result.shape, source))
    return emitter.emit("Reshape", [emitter.use(source), shape], call.name)


def expand(emitter: Emitter, call: Call) -> str:
    """`expand`: axes of size 1 repeated."""
    source = call.tensor("self")
    if source.shape == call.result.shape:
        return emitter.use(source)
    shape = emitter.ints(*_sizes(call.result.shape, source))
    return emitter.emit("Expand", [emitter.use(source), shape], call.name)


def repeat(emitter: Emitter, call: Call) -> str:
    """`repeat`: a tensor several times along its axes."""
    source, times = call.tensor("self"), list(call["repeats"])
    whole = emitter.use(source)
    new = len(times) - source.rank
    if new:
        axes = emitter.ints(*range(new))
        whole = emitter.emit("Unsqueeze", [whole, axes], f"{call.name}.axes")
    if source.dtype.is_complex:
        times.append(1)
    return emitter.emit("Tile", [whole, emitter.ints(*times)], call.name)


def concatenate(emitter: Emitter, call: Call) -> str:
    """`cat`: tensors one after the other on an axis."""
    parts = [part for part in call.tensors("tensors") if part.shape != (0,)]
    inputs = [emitter.use(part, call.result.dtype) for part in parts]
    if len(inputs) == 1:
        return inputs[0]
    return emitter.emit("Concat", inputs, call.name, axis=call.axis("dim", call.result.rank))


def stack(emitter: Emitter, call: Call) -> str:
    """`stack`: tensors one after the other on an axis of their own."""
    axis = call.axis("dim", call.result.rank)
    inputs = [
        emitter.emit(
            "Unsqueeze",
            [emitter.use(part, call.result.dtype), emitter.ints(axis)],
            f"{call.name}.{number}",
        )
        for number, part in enumerate(call.tensors("tensors"))
    ]
    return emitter.emit("Concat", inputs, call.name, axis=axis)


def flip(emitter: Emitter, call: Call) -> str:
    """`flip`: axes backwards."""
    source = call.tensor("self")
    axes = [axis % source.rank for axis in call["dims"]]
    bounds = ([-1] * len(axes), [-ALL] * len(axes), axes, [-1] * len(axes))
    inputs = [emitter.use(source), *(emitter.ints(*numbers) for numbers in bounds)]
    return emitter.emit("Slice", inputs, call.name)


def pad(emitter: Emitter, call: Call) -> str:
    """`pad` with a constant: torch counts from the last axis, ONNX from the first."""
    source = call.tensor("self")
    if call.arguments.get("mode", "constant") != "constant":
        return linear_map(emitter, call)
    given = list(call["pad"])
    before, after = [0] * source.rank, [0] * source.rank
    for axis, (low, high) in enumerate(zip(given[::2], given[1::2], strict=True), 1):
        before[-axis], after[-axis] = low, high
    value = emitter.use(call.arguments["value"] or 0, source.dtype)
    inputs = [emitter.use(source), emitter.ints(*before, *after), value]
    return emitter.emit("Pad", inputs, call.name)


HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys(("cat", "concat", "concatenate"), concatenate),
    **dict.fromkeys(("constant_pad_nd", "pad"), pad),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand),
    **dict.fromkeys(("movedim", "moveaxis"), move_axes),
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), split),
    **dict.fromkeys(("transpose", "t", "swapaxes", "swapdims"), transpose),
    **dict.fromkeys(
        ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as"),
        reshape,
    ),
    "copy": copy,
    "flip": flip,
    "narrow": narrow,
    "numpy_T": reverse_axes,
    "permute": permute,
    "repeat": repeat,
    "select": select,
    "slice": slice_,
    "squeeze": squeeze,
    "stack": stack,
    "unbind": unbind,
    "unsqueeze": unsqueeze,
}
