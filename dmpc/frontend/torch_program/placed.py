"""Operations that write, or add, to places of one axis that are known at import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.emitter import Call, Constant, Emitter, Handler, Operand
from dmpc.frontend.torch_program.rules import FORM


def one_axis(indices: list[Any]) -> tuple[int, list[int]] | None:
    """The axis and its places, where a constant list of one axis is all that an index holds."""
    given = [axis for axis, index in enumerate(indices) if index is not None]
    index = indices[given[0]] if len(given) == 1 else None
    if not isinstance(index, Constant) or index.rank != 1 or str(index.dtype) in MASKS:
        return None
    return given[0], index.tensor.tolist()


MASKS = ("torch.bool", "torch.uint8")


def written(
    emitter: Emitter, call: Call, axis: int, places: list[int], values: Operand, *, add: bool
) -> str:
    """A tensor with values at places of an axis: in place of what is there, or added to it."""
    import torch

    target, dtype = call.tensor("self"), call.result.dtype
    size = target.shape[axis]
    shape = [len(places) if at == axis else length for at, length in enumerate(target.shape)]
    source = emitter.use(values, dtype)
    if list(values.shape) != shape:
        source = emitter.emit("Expand", [source, emitter.ints(*shape)], f"{call.name}.values")
    if add:
        rows = np.eye(size, dtype=np.float32)[np.array(places, np.int64)]
        return _added(emitter, call, axis, source, rows)
    found = dict(zip(places, range(len(places)), strict=True))  # of equal places the last counts
    spread = emitter.ints(*(found.get(place, 0) for place in range(size)))
    spread = emitter.emit("Gather", [source, spread], f"{call.name}.spread", axis=axis)
    mask = np.isin(np.arange(size), places).reshape([-1] + [1] * (target.rank - 1 - axis))
    here = emitter.use(Constant(torch.from_numpy(mask), f"{call.name}.places"))
    return emitter.emit("Where", [here, spread, emitter.use(target, dtype)], call.name)


def _added(emitter: Emitter, call: Call, axis: int, source: str, rows: Any) -> str:
    """A product with a matrix of zeros and ones, which says where each value goes."""
    import torch

    target, last = call.tensor("self"), call.tensor("self").rank - 1
    matrix = emitter.use(Constant(torch.from_numpy(rows), f"{call.name}.places"), call.result.dtype)
    swapped = list(range(last + 1))
    swapped[axis], swapped[last] = last, axis
    if axis != last:
        source = emitter.emit("Transpose", [source], f"{call.name}.moved", perm=swapped)
    source = emitter.emit("MatMul", [source, matrix], f"{call.name}.sums")
    if axis != last:
        source = emitter.emit("Transpose", [source], f"{call.name}.back", perm=swapped)
    if isinstance(target, Constant) and not bool(target.tensor.any()):
        return source
    return emitter.emit("Add", [emitter.use(target, call.result.dtype), source], call.name)


def index_add(emitter: Emitter, call: Call) -> str:
    """`index_add`: values added at the places of an axis."""
    axis = call.axis("dim", call.tensor("self").rank)
    known = one_axis([None] * axis + [call["index"]])
    if known is None or call["alpha"] != 1:
        what = "index_add by computed places, or times a factor"
        raise ImportFailure.of(FORM, what=what, nearest="a linear map")
    return written(emitter, call, *known, call["source"], add=True)


def scatter_add(emitter: Emitter, call: Call) -> str:
    """`scatter_add` of the same places in each row: `index_add`."""
    target, index, source = call.tensor("self"), call["index"], call["src"]
    axis = call.axis("dim", target.rank)
    rows = index.tensor.movedim(axis, -1).flatten(0, -2) if isinstance(index, Constant) else None
    others = [size for at, size in enumerate(target.shape) if at != axis]
    if (
        rows is None
        or not bool((rows == rows[:1]).all())
        or source.shape != index.shape
        or [size for at, size in enumerate(index.shape) if at != axis] != others
    ):
        what = "scatter_add by computed places, or other ones in each row"
        raise ImportFailure.of(FORM, what=what, nearest="a linear map")
    return written(emitter, call, axis, rows[0].tolist(), source, add=True)


HANDLERS: Mapping[str, Handler] = {"index_add": index_add, "scatter_add": scatter_add}
