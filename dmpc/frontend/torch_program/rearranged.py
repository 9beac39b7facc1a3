"""Writes into slices, `y[:, n:, k] = x[:, :-n, k]`: which element of x each of y is in the end.

Such writes come in rows, one for each channel or timestep, and each makes another tensor of all of
y. What all of them together do is found by running them on the numbers of x's elements, and becomes
one operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dmpc.frontend.torch_program.emitter import Constant, Emitter, Value
from dmpc.frontend.torch_program.nodes import kind_of

if TYPE_CHECKING:
    import torch

WRITES = ("select_scatter", "slice_scatter")
MOVES = (
    *WRITES, "alias", "clone", "copy", "expand", "fill", "flip", "permute", "roll", "select",
    "slice", "squeeze", "t", "transpose", "unsqueeze", "view",
)  # fmt: skip
MOST = 1 << 30  # elements that all writes of a row may move

Needed = Callable[[Any], Iterable[Any]]


@dataclass(frozen=True)
class Rearranged:
    """The way to the last of some writes, `moves` in order, from `source` and `constants`."""

    source: Any
    constants: tuple[Any, ...]
    moves: tuple[Any, ...]

    @property
    def roots(self) -> list[Any]:
        """What has to be there before."""
        return [self.source, *self.constants]


def rearranged(nodes: list[Any], inputs: Iterable[str], needed: Needed) -> dict[Any, Rearranged]:
    """The last writes into slices, where all that they write is one computed tensor's."""
    order = {node: number for number, node in enumerate(nodes)}
    names, computed = set(inputs), set()
    for node in nodes:
        if node.name in names or any(other in computed for other in needed(node)):
            computed.add(node)
    found = {}
    for node in nodes:
        if kind_of(node) not in WRITES or node not in computed or not _escapes(node):
            continue
        moves, roots = _before(node, needed)
        sources = [root for root in roots if root in computed]
        sliced = any(kind_of(move) == "slice_scatter" for move in moves)
        if len(sources) != 1 or not sliced or not _alike((*moves, *sources), len(moves)):
            continue
        constants = tuple(root for root in roots if root not in computed)
        found[node] = Rearranged(sources[0], constants, tuple(sorted(moves, key=order.__getitem__)))
    return found


def _escapes(node: Any) -> bool:
    """Whether anything else than a further write reads a tensor."""
    kinds = {user: kind_of(user) for user in node.users}
    return any(
        kind not in MOVES or (kind not in WRITES and _escapes(user)) for user, kind in kinds.items()
    )


def _before(node: Any, needed: Needed) -> tuple[set[Any], list[Any]]:
    """The moves that lead to a node, itself among them, and what they begin with."""
    moves, roots, left = {node}, dict[Any, None](), [node]
    while left:
        for other in needed(left.pop()):
            if kind_of(other) not in MOVES:
                roots[other] = None
            elif other not in moves:
                moves.add(other)
                left.append(other)
    return moves, list(roots)


def _alike(nodes: Iterable[Any], number: int) -> bool:
    """Whether all are tensors of one type, and not too large to be looked at so often."""
    tensors = [node.meta.get("val") for node in nodes]
    types = {getattr(tensor, "dtype", None) for tensor in tensors}
    if None in types or len(types) > 1 or any(one.is_complex for one in types if one):
        return False
    sizes = [size for tensor in tensors if tensor is not None for size in tensor.shape]
    if not all(isinstance(size, int) for size in sizes):
        return False
    largest = max(tensor.numel() for tensor in tensors if tensor is not None)
    return bool(number * largest <= MOST)


def emit(emitter: Emitter, plan: Rearranged, last: Any, env: Mapping[Any, Any], name: str) -> Value:
    """What the last write makes: elements of the source, and numbers, each in its place."""
    import torch

    source, shape = env[plan.source], tuple(last.meta["val"].shape)
    constants = {node: env[node].tensor.double() for node in plan.constants}
    before = plan.source.meta["val"].shape
    count = before.numel()
    numbers = torch.arange(count, dtype=torch.float64).reshape(before)
    nowhere = {node: torch.full_like(tensor, -1.0) for node, tensor in constants.items()}
    places = _run(plan, last, {plan.source: numbers, **nowhere}, -1.0).flatten().long()
    values = _run(plan, last, {plan.source: torch.zeros_like(numbers), **constants}, None).flatten()
    row = emitter.emit("Reshape", [emitter.use(source), emitter.ints(-1)], f"{name}.row")
    gaps = places < 0
    if gaps.any():
        known, which = np.unique(values[gaps].numpy(), return_inverse=True)
        places[gaps] = count + torch.from_numpy(which)
        kept = torch.from_numpy(known).to(source.dtype)
        filling = emitter.use(Constant(kept, f"{name}.numbers"))
        row = emitter.emit("Concat", [row, filling], f"{name}.with_numbers", axis=0)
    where = emitter.use(Constant(places, f"{name}.places"))
    made = emitter.emit("Gather", [row, where], f"{name}.elements", axis=0)
    emitter.emit("Reshape", [made, emitter.ints(*shape)], name)
    return Value(name, shape, source.dtype)


def _run(
    plan: Rearranged, last: Any, start: Mapping[Any, torch.Tensor], filled: float | None
) -> torch.Tensor:
    """The moves on other numbers; what a move writes by itself is `filled`, if that is given."""
    import torch

    until = {node: move for move in plan.moves for node in move.all_input_nodes}
    now = dict(start)
    for move in plan.moves:
        size, kind = move.meta["val"].shape, kind_of(move)
        arguments = [now.get(part, part) if _is_node(part) else part for part in move.args]
        if kind == "copy":
            now[move] = arguments[1].expand(size).clone()
        elif kind == "fill" and not isinstance(arguments[1], torch.Tensor):
            now[move] = torch.full(size, arguments[1] if filled is None else filled).double()
        else:
            now[move] = move.target(*arguments, **move.kwargs)
        for node in move.all_input_nodes:
            if until[node] is move and node is not last:
                now.pop(node, None)
    result: torch.Tensor = now[last]
    return result


def _is_node(argument: Any) -> bool:
    import torch

    return isinstance(argument, torch.fx.Node)
