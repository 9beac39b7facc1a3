"""What drives of slow states are in real numbers and in integers alike.

A drive is a scalar. It may add another one, a sum of other events, before its rectifier; and it may
be the next element of a vector of drives, which one slow state takes together.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.ir.registry import Attrs, AttrSpec, Tensor
from dmpc.ir.types import TensorType

DRIVEN = {
    "linear": AttrSpec(bool, "true: without the relu", required=False),
    "adds": AttrSpec(bool, "true: the first of `others` is added before the relu", required=False),
}
"""Attributes of drives; both are false where they are absent."""

Other = TypeVar("Other")


def split(others: Sequence[Other], attrs: Attrs) -> tuple[Sequence[Other], Sequence[Other]]:
    """What is added to a drive, and the drives before it: at most one of each.

    Raises ValueError if there are more.
    """
    added = int(bool(attrs.get("adds")))
    if not added <= len(others) <= added + 1:
        raise ValueError(f"takes {added} or {added + 1} other drives, but {len(others)} are given")
    return others[:added], others[added:]


def elements(others: Sequence[TensorType], attrs: Attrs) -> int:
    """Elements of a drive with those before it. Raises ValueError where others are no vectors."""
    if any(len(type_.shape) != 1 for type_ in others):
        raise ValueError("other drives must be vectors")
    added, before = split(others, attrs)
    if added and added[0].shape != (1,):
        raise ValueError(f"what is added must be one value, not {added[0]}")
    return 1 + sum(type_.shape[0] for type_ in before)


def driven(
    sums: Tensor, others: Sequence[Tensor], attrs: Attrs, fit: Callable[[Tensor], Tensor]
) -> Tensor:
    """The drives before and this one, of its sums [.., 1]; `fit` brings it to its width."""
    added, before = split(others, attrs)
    total = sum(added, sums)
    made = fit(total if attrs.get("linear") else np.maximum(total, 0))
    return np.concatenate([*before, made], axis=-1) if before else made


def lengthens(op: Op, name: str) -> bool:
    """Whether an integer op is a drive that makes a vector of drives longer."""
    return op.kind == "scalar_drive" and name in split(op.operands[2:], op.attrs)[1]


def whole_vector(graph: Graph, name: str) -> str:
    """The vector, at integer levels, whose first elements a drive and those before it are."""
    longer = [user.results[0] for user in graph.users(name) if lengthens(user, name)]
    return whole_vector(graph, longer[0]) if longer else name


def others_of(graph: Graph, op: Op) -> tuple[str, ...]:
    """The other drives that a drive takes."""
    return tuple(name for name in op.operands[1:] if name not in graph.constants)


def together(graph: Graph, op: Op) -> list[Op]:
    """All drives that end in one vector, or in one sum, with a drive, in order."""
    found = [op]
    for one in found:
        near = [graph.producer(name) for name in others_of(graph, one)]
        near += [user for user in graph.users(one.results[0]) if user.kind == op.kind]
        found += [other for other in near if other is not None and other not in found]
    return sorted(found, key=graph.ops.index)


def check_columns(b: TensorType, size: int, columns: int) -> None:
    """Raise ValueError unless B is [size, columns], or [size] of one column."""
    wanted = (size,) if columns == 1 else (size, columns)
    if b.shape != wanted:
        raise ValueError(f"B must be of shape {list(wanted)}, not {b}")


def columns(b: Tensor) -> Tensor:
    """B as a matrix [d, q]."""
    return b.reshape(len(b), -1)
