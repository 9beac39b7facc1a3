"""A program's nodes: what they are called, where they stand, which arguments they take."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmpc.errors import ImportFailure
from dmpc.findings import Piece, Step, piece_of
from dmpc.frontend.excerpt import NEIGHBOURS
from dmpc.frontend.torch_program.emitter import Value
from dmpc.frontend.torch_program.rules import FORM

if TYPE_CHECKING:
    import torch


def kind_of(node: Any) -> str:
    """The name of the operation that a node calls; empty for other nodes."""
    schema = getattr(node.target, "_schema", None)
    return "" if schema is None else str(schema.name).removeprefix("aten::")


def named_arguments(node: Any) -> dict[str, Any]:
    """Arguments by their names in the operation's schema, with defaults filled in."""
    arguments = node.target._schema.arguments
    found = {a.name: a.default_value for a in arguments if a.has_default_value()}
    found.update(zip((a.name for a in arguments), node.args, strict=False))
    return {**found, **node.kwargs}


def value_like(name: str, tensor: torch.Tensor) -> Value:
    """A value of a traced tensor's shape and dtype."""
    if not all(isinstance(size, int) for size in tensor.shape):
        what = "a number of elements that depends on the data"
        raise ImportFailure.of(FORM, where=name, what=what, nearest="torch.where")
    return Value(name, tuple(tensor.shape), tensor.dtype)


def name_of(node: Any) -> str:
    """What errors and ONNX call a node: the user's module, and the call in the program."""
    return ".".join(part for part in (module_of(node), node.name) if part)


def place(node: Any) -> str:
    """Where a call stands in the user's code: its name, and file and line if known."""
    lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    source = f" ({Path(lines[-1][0]).name}:{lines[-1][1]})" if lines else ""
    return f"{name_of(node)}{source}"


def excerpt(node: Any) -> Piece:
    """A node and the nearest of those that it reads, in the order of the program."""
    found, work = [node], deque(node.all_input_nodes)
    while work and len(found) <= NEIGHBOURS:
        other = work.popleft()
        if other.op == "call_function" and other not in found:
            found.append(other)
            work.extend(other.all_input_nodes)
    order = {each: number for number, each in enumerate(node.graph.nodes)}
    return piece_of(_step(each) for each in sorted(found, key=order.__getitem__))


def _step(node: Any) -> Step:
    inputs = [part if isinstance(part, int | float) else str(part) for part in node.args]
    return Step(kind_of(node) or node.op, tuple(map(str, inputs)), node.name, name_of(node))


def module_of(node: Any) -> str:
    """Path of the user's module that a call belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    return re.sub(r"^L\['self'\]\.?|^L__self___?", "", path)
