"""Writes into a tensor of zeros, `y[:, t] = x`, followed without making the program functional.

torch can rewrite any program without operations that write into their operands, but takes as long
for it as for the export. Loops over timesteps, SpikingJelly's scripted ones among them, write in
one way: into places of a tensor made for the purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmpc.frontend.torch_program.nodes import kind_of

MADE = (
    "empty", "empty_like", "full", "full_like", "new_empty", "new_full", "new_ones", "new_zeros",
    "ones", "ones_like", "zeros", "zeros_like",
)  # fmt: skip


def writes_of(nodes: list[Any]) -> Mapping[Any, Any] | None:
    """Each `copy_` into a place (`select`) of a fresh tensor, with the node that made the tensor.

    None if a program writes in any other way, or reads through a view that a later write changes.
    """
    order = {node: number for number, node in enumerate(nodes)}
    found: dict[Any, Any] = {}
    for node in nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable or "detach" in schema.name:
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
            if user is not node.args[0] and order[user] < order[node] < _last_use(user, order):
                return None
    return found


def _last_use(node: Any, order: Mapping[Any, int]) -> int:
    """When a node's elements, or those of views of it, are read for the last time."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not any(result.alias_info for result in schema.returns):
        return order[node]
    return max((_last_use(user, order) for user in node.users), default=order[node])
