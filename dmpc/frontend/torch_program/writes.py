"""Writes into tensors, `v *= 0.9` and `y[:, t] = x`, followed without making a program functional.

torch can rewrite any program without operations that write into their operands, but takes as long
for it as for the export. Loops over timesteps write in two ways: into all of a tensor that they
computed, as Rockpool's neurons do, and, as SpikingJelly's scripted ones, into places of a tensor
made for the purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmpc.frontend.torch_program.draws import is_random
from dmpc.frontend.torch_program.nodes import kind_of, named_arguments

MADE = (
    "empty", "empty_like", "full", "full_like", "new_empty", "new_full", "new_ones", "new_zeros",
    "ones", "ones_like", "zeros", "zeros_like",
)  # fmt: skip

NEW = ("batch_norm", "conv1d", "conv2d", "linear", "matmul")
"""Operations that torch makes of others, and whose result is always a tensor of its own."""


def rename_writes(graph: Any) -> None:
    """Let a write into all of a computed tensor make another one, which is read from there on.

    Left as they are: writes into parameters, and into what is read by another name afterwards.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    for node, number in order.items():
        if not _is_write(node) or not _is_own(node.args[0], number, order):
            continue
        target = _without_write(node)
        if target is not None:
            whole, node.target = node.args[0], target
            for user in list(whole.users):
                if order[user] > number:
                    user.replace_input_with(whole, node)


def _is_own(whole: Any, number: int, order: Mapping[Any, int]) -> bool:
    """Whether calls made a tensor, and from a call on nothing reads its elements by other names."""
    shared, left = {whole}, [whole]
    while left:
        node = left.pop()
        if node.op != "call_function":
            return False
        before = [user for user in node.users if order[user] < number and node in _viewed(user)]
        fresh = {*_viewed(node), *before} - shared
        shared |= fresh
        left.extend(fresh)
    return all(order[user] <= number for node in shared - {whole} for user in node.users)


def _without_write(node: Any) -> Any:
    """The operation that makes a tensor of what one writes, None if it is of another type."""
    import torch

    kind = kind_of(node)
    packet = getattr(torch.ops.aten, kind[:-1], None) if kind.endswith("_") else None
    target = getattr(packet, node.target._overloadname, None)
    if target is None or is_random(node):
        return None
    whole = node.args[0].meta["val"]
    given = torch.fx.node.map_arg((node.args, node.kwargs), lambda other: _blank(other.meta["val"]))
    made = target(*given[0], **given[1])
    return target if (made.dtype, made.shape) == (whole.dtype, whole.shape) else None


def _blank(tensor: Any) -> Any:
    """A tensor of a type and shape, without elements."""
    import torch

    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def writes_of(nodes: list[Any]) -> Mapping[Any, Any] | None:
    """Each `copy_` into a place (`select`) of a fresh tensor, with the node that made the tensor.

    None if a program writes in any other way, or reads through a view that a later write changes.
    """
    order = {node: number for number, node in enumerate(nodes)}
    found: dict[Any, Any] = {}
    for node in nodes:
        if not _is_write(node):
            continue
        place = node.args[0]
        if kind_of(node) != "copy_" or kind_of(place) != "select":
            return None
        whole = place.args[0]
        if kind_of(whole) not in MADE or list(place.users) != [node]:
            return None
        found[node] = whole
    for node, whole in found.items():
        for user in whole.users:
            if user is node.args[0] or whole not in _viewed(user):
                continue
            if order[user] < order[node] < _last_use(user, order):
                return None
    return found


def _last_use(node: Any, order: Mapping[Any, int]) -> int:
    """When a node's elements, or those of views of it, are read for the last time."""
    uses = (_last_use(user, order) if node in _viewed(user) else order[user] for user in node.users)
    return max(uses, default=order[node])


def _is_write(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable and "detach" not in schema.name


def _viewed(node: Any) -> list[Any]:
    """The tensors whose elements a call's result may share, so far as that can be told.

    Operations that torch makes of others, such as `dropout`, may return what they were given, and
    their schemas do not say it.
    """
    import torch

    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return list(node.all_input_nodes)
    if kind_of(node) in NEW or (kind_of(node) == "to" and _of_another_type(node)):
        return []
    if node.target.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
        return list(node.all_input_nodes)
    shared = [one.name for one in schema.arguments if one.alias_info is not None]
    views = any(result.alias_info for result in schema.returns)
    arguments = named_arguments(node)
    return [arguments[name] for name in shared if views]


def _of_another_type(node: Any) -> bool:
    return bool(node.meta["val"].dtype != node.args[0].meta["val"].dtype)
