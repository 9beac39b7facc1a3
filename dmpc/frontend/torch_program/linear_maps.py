"""Operations that are one linear map of a tensor's last axes: what torch makes of unit vectors.

Which weights an operation has, torch itself says: each unit vector is an example of its own. Where
each element of the result is one of the operand's, elements are moved; else the map is a product.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.emitter import (
    Call,
    Constant,
    Emitter,
    Handler,
    Mapped,
    Operand,
    Value,
)
from dmpc.frontend.torch_program.rules import FORM

if TYPE_CHECKING:
    import torch

IN_SPACE = (
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "upsample_bicubic2d",
    "upsample_bilinear2d", "upsample_linear1d", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "upsample_trilinear3d", "_upsample_bicubic2d_aa",
    "_upsample_bilinear2d_aa", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d",
)  # fmt: skip
"""What treats all channels alike, along as many axes as the name says."""
OF_CHANNELS = ("conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
"""What takes the axis before these as well."""
LAST_AXES = {
    "col2im": 2, "im2col": 3, "pixel_shuffle": 3, "pixel_unshuffle": 3, "tril": 2, "triu": 2,
}  # fmt: skip
MOST = 1 << 24
"""Weights of such a map, at most."""


def linear_map(emitter: Emitter, call: Call) -> str:
    """An operation on the last axes of a tensor, all else that it is given known."""
    key = "input" if "input" in call.arguments else "self"
    source, axes = call.tensor(key), _axes(call)
    given = {name: _known(call, part) for name, part in call.arguments.items() if name != key}
    front, sizes = source.shape[:-axes], source.shape[-axes:]
    count, results = math.prod(sizes), math.prod(call.result.shape[len(front) :])
    if count * results > MOST:
        what = f"{call.op} of {count} elements, each to {results}"
        raise ImportFailure.of(FORM, what=what, nearest="a convolution, or smaller planes")
    mapped = _mapped(emitter, call, key, (len(front), *sizes), given)
    inputs = [emitter.use(source), emitter.ints(*front, count)]
    made = emitter.emit("Reshape", inputs, f"{call.name}.flat") if axes > 1 else inputs[0]
    name = f"{call.name}.product"
    if mapped.places is not None:
        taken = [made, emitter.use(mapped.places)]
        made = emitter.emit("Gather", taken, name, axis=len(front))
    else:
        made = emitter.emit("MatMul", [made, emitter.use(mapped.weight)], name)
    if mapped.bias is not None:
        addend = emitter.use(mapped.bias)
        made = emitter.emit("Add", [made, addend], f"{call.name}.biased")
    return emitter.emit("Reshape", [made, emitter.ints(*call.result.shape)], call.name)


def _mapped(
    emitter: Emitter, call: Call, key: str, shape: tuple[int, ...], given: Mapping[str, Any]
) -> Mapped:
    """The map of an operation, found once for all timesteps that have it."""
    parts = {name: part for name, part in call.arguments.items() if name != key}
    names = {name: getattr(part, "name", part) for name, part in parts.items()}
    told = repr((call.op, call.tensor(key).dtype, shape, names))
    if told not in emitter.maps:
        weight, bias = _matrix(call.op, {key: call.tensor(key), **given}, key, shape)
        taken = _taken(weight) if bias is None else None
        emitter.maps[told] = Mapped(
            None if taken is None else Constant(taken, f"{call.name}.places"),
            Constant(weight, f"{call.name}.weight"),
            None if bias is None else Constant(bias, f"{call.name}.bias"),
        )
    return emitter.maps[told]


def _axes(call: Call) -> int:
    """How many of the last axes an operation takes together."""
    if call.op == "convolution":
        return call.tensor("input").rank - 1
    if call.op == "pad":
        return len(call["pad"]) // 2
    found = re.search(r"(\d)d", call.op)
    return LAST_AXES.get(call.op) or int(found.group(1) if found else 1) + (call.op in OF_CHANNELS)


def _known(call: Call, part: Any) -> Any:
    if isinstance(part, Value):
        what = f"{call.op} by computed numbers"
        raise ImportFailure.of(FORM, what=what, nearest="weights of the model")
    return part.tensor if isinstance(part, Constant) else part


def _matrix(
    op: str, arguments: Mapping[str, Any], key: str, shape: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weights [n, m] of an operation and what it adds [m], if anything; `shape` is the number of
    axes before those that it takes, and the sizes of these."""
    import torch

    front, *sizes = shape
    source: Operand = arguments[key]

    def made(rows: torch.Tensor) -> torch.Tensor:
        given = rows.reshape(len(rows), *[1] * (front - 1), *sizes).to(source.dtype)
        result: torch.Tensor = getattr(torch.ops.aten, op)(**{**arguments, key: given})
        return result.reshape(len(rows), -1)

    with torch.no_grad():
        count = math.prod(sizes)
        bias = made(torch.zeros(1, count))
        weight = made(torch.eye(count)) - bias
    return weight, bias[0] if bias.any() else None


def _taken(weight: torch.Tensor) -> torch.Tensor | None:
    """The element that each result is, where it is one."""
    places = weight.argmax(dim=0)
    alone = (weight != 0).sum(dim=0) == 1
    ones = weight.gather(0, places[None])[0] == 1
    return places if bool((alone & ones).all()) else None


HANDLERS: Mapping[str, Handler] = dict.fromkeys((*IN_SPACE, *OF_CHANNELS, *LAST_AXES), linear_map)
