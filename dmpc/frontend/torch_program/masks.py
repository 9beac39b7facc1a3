"""Elements chosen by a computed mask, `v[mask]`, until they are written back: `v[mask] = w[mask]`.

Where all that happens to them on the way is arithmetic with each other and with single numbers, it
may as well happen to every element, and the mask decides at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.elementwise import ARITHMETIC, UNARY
from dmpc.frontend.torch_program.emitter import (
    Call,
    Chosen,
    Constant,
    Emitter,
    Handler,
    Place,
    Value,
)
from dmpc.frontend.torch_program.placed import one_axis, written
from dmpc.frontend.torch_program.rules import FORM

INDEXING = ("index", "index_put")


def places(emitter: Emitter, kind: str, arguments: Mapping[str, Any]) -> list[Place] | None:
    """What `torch.where(mask)` and `nonzero(as_tuple=True)` give: the mask, for each of its axes.

    How many places there are depends on the data, so that nothing but indexing can follow.
    """
    import torch

    one_operand = kind == "nonzero_numpy" or (kind == "where" and "other" not in arguments)
    source = arguments.get("condition", arguments.get("self"))
    if not one_operand or not isinstance(source, Value):
        return None
    mask = Value(emitter.use(source, torch.bool), source.shape, torch.bool)
    return [Place(mask, axis) for axis in range(mask.rank)]


def by_masks(indices: list[Any]) -> list[Any]:
    """Indices, with all places of one mask given back as that mask."""
    first = indices[0] if indices else None
    if isinstance(first, Place) and indices == [
        Place(first.mask, n) for n in range(first.mask.rank)
    ]:
        return [first.mask]
    return indices


def chosen(emitter: Emitter, kind: str, name: str, arguments: Mapping[str, Any]) -> Chosen | None:
    """What an operation makes of elements chosen by a mask; None if it does something else."""
    source = arguments.get("self")
    if kind == "index" and isinstance(source, Value) and not isinstance(source, Chosen):
        return _choice(emitter, source, by_masks(list(arguments["indices"])))
    operands = [value for value in arguments.values() if isinstance(value, Chosen)]
    others = [source, arguments.get("other")]
    if not operands or kind not in (*ARITHMETIC, *UNARY, "clone"):
        return None
    if any(one.mask != operands[0].mask for one in operands) or not all(map(_number, others)):
        return None
    if arguments.get("alpha", 1) != 1 or arguments.get("rounding_mode") is not None:
        return None
    like = operands[0]
    used = [emitter.use(value, like.dtype) for value in others if value is not None]
    result = used[0]
    if kind != "clone":
        result = emitter.emit((ARITHMETIC | UNARY)[kind], used, name)
    return Chosen(result, like.shape, like.dtype, like.mask)


def _choice(emitter: Emitter, source: Value, places: list[Any]) -> Chosen | None:
    mask = places[0] if len(places) == 1 else None
    if not isinstance(mask, Value) or str(mask.dtype) != "torch.bool" or mask.shape != source.shape:
        return None
    return Chosen(emitter.use(source), source.shape, source.dtype, mask.name)


def _number(value: Any) -> bool:
    """Whether an operand goes with every chosen element, whichever those are."""
    if isinstance(value, Value) and not isinstance(value, Chosen):
        return False
    return not isinstance(value, Constant) or value.tensor.numel() == 1


def masked_fill(emitter: Emitter, call: Call) -> str:
    """`masked_fill`: a value where a mask is true."""
    import torch

    dtype = call.result.dtype
    inputs = [emitter.use(call["mask"], torch.bool)]
    inputs += [emitter.use(call[side], dtype) for side in ("value", "self")]
    return emitter.emit("Where", inputs, call.name)


def put(emitter: Emitter, call: Call) -> str:
    """`y[mask] = value`: a choice, where one mask covers the first axes and the value is one."""
    import torch

    if (known := one_axis(call["indices"])) is not None:
        return written(emitter, call, *known, call["values"], add=bool(call["accumulate"]))
    given = by_masks(list(call["indices"]))
    value, target = call.tensor("values"), call.tensor("self")
    mask: Value | Constant | None = given[0] if len(given) == 1 else None
    boolean = isinstance(mask, Value | Constant) and mask.dtype in (torch.bool, torch.uint8)
    theirs = value.mask if isinstance(value, Chosen) else ""
    alike = theirs == getattr(mask, "name", "") if theirs else math.prod(value.shape) == 1
    if mask is None or not boolean or not alike:
        raise ImportFailure.of(
            FORM,
            what="writing values of their own into chosen elements",
            nearest="torch.where, or one value where a mask is true",
        )
    dtype, name = call.result.dtype, emitter.use(mask, torch.bool)
    if mask.rank < target.rank:
        axes = emitter.ints(*range(mask.rank, target.rank))
        name = emitter.emit("Unsqueeze", [name, axes], f"{call.name}.mask")
    new, old = emitter.use(value, dtype), emitter.use(target, dtype)
    if value.rank and not theirs:
        new = emitter.emit("Reshape", [new, emitter.ints()], f"{call.name}.value")
    if call["accumulate"]:
        new = emitter.emit("Add", [old, new], f"{call.name}.sum")
    return emitter.emit("Where", [name, new, old], call.name)


def scatter_by_mask(emitter: Emitter, call: Call) -> str:
    """`masked_scatter` of one value: a choice. Other values would go where the data says."""
    import torch

    source, dtype = call["source"], call.result.dtype
    value = source.tensor.flatten() if isinstance(source, Constant) else None
    if value is None or not bool((value == value[:1]).all()) or not len(value):
        raise ImportFailure.of(FORM, what="masked_scatter of several values", nearest="torch.where")
    one = emitter.use(float(value[0]), dtype)
    inputs = [emitter.use(call["mask"], torch.bool), one, emitter.use(call["self"], dtype)]
    return emitter.emit("Where", inputs, call.name)


HANDLERS: Mapping[str, Handler] = {
    "index_put": put,
    "masked_fill": masked_fill,
    "masked_scatter": scatter_by_mask,
}
