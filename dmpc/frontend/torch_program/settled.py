"""Numbers of elements that follow from constants: masks that a module holds, and their places.

torch.export takes every mask for data, and what it chooses for a number of elements that nobody
knows. Of a mask that follows from buffers alone both are known, once the program has been traced.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dmpc.frontend.torch_program.draws import is_random
from dmpc.frontend.torch_program.nodes import kind_of

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

    Known = dict[Any, Any]


def is_settled(program: ExportedProgram) -> bool:
    """Whether all sizes of a program are numbers."""
    return all(_is_settled(node.meta.get("val")) for node in program.graph.nodes)


def _is_settled(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_settled, value))
    return all(isinstance(size, int) for size in getattr(value, "shape", ()))


def settled(program: ExportedProgram) -> GraphModule | None:
    """A program as a module in which masks that follow from constants are lists of places.

    What follows from constants alone, and has a size that was not known, is a buffer of it. None
    if nothing does.
    """
    import torch

    module: Any = program.module(check_guards=False)
    for part in module.modules():
        part.training = False  # eval() refuses: the mode was decided at the export
    known: Known = {}
    held = len(list(module.buffers()))
    written = set(_written(module.graph.nodes))
    for node in list(module.graph.nodes):
        if node.op == "get_attr" and node not in written:
            known[node] = operator.attrgetter(node.target)(module)
        elif node not in written and _follows(node, known):
            known[node] = node.target(*_found(node.args, known), **_found(node.kwargs, known))
        elif kind_of(node) in ("index", "index_put", "index_put_"):
            with module.graph.inserting_before(node):
                node.args = (node.args[0], list(_places(module, node, known)), *node.args[2:])
    for node, value in known.items():
        if isinstance(value, torch.Tensor) and not _is_settled(node.meta.get("val")):
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(_buffer(module, node.name, value))
    module.graph.eliminate_dead_code()
    module.recompile()
    made: GraphModule | None = module if len(list(module.buffers())) > held else None
    return made


def _written(nodes: Iterable[Any]) -> Iterator[Any]:
    """What calls write into, and what that is a part of: it is not the same whenever it is read."""
    for node in nodes:
        part = node if _schema(node) is not None and _schema(node).is_mutable else None
        while part is not None:
            part = part.args[0]
            yield part
            schema = _schema(part)  # of a part of something, its result says so
            part = part if schema is not None and schema.returns[0].alias_info else None


def _schema(node: Any) -> Any:
    return getattr(node.target, "_schema", None) if node.op == "call_function" else None


def _follows(node: Any, known: Known) -> bool:
    """Whether a call reads constants alone, and makes the same of them whenever it is made."""
    import torch

    if node.op != "call_function" or any(one not in known for one in node.all_input_nodes):
        return False
    return not isinstance(node.target, torch._ops.OpOverload) or not is_random(node)


def _places(module: Any, node: Any, known: Known) -> Iterator[Any]:
    """The indices of a call, those by known masks as a list of places for each axis."""
    import torch

    for index in node.args[1]:
        mask = known.get(index)
        if isinstance(mask, torch.Tensor) and mask.dtype in (torch.bool, torch.uint8):
            for axis, places in enumerate(mask.nonzero(as_tuple=True)):
                yield _buffer(module, f"{node.name}_places_{axis}", places)
        else:
            yield index


def _buffer(module: Any, name: str, value: torch.Tensor) -> Any:
    while hasattr(module, name):
        name += "_"
    module.register_buffer(name, value)
    return module.graph.get_attr(name)


def _found(argument: Any, known: Known) -> Any:
    from torch.fx.node import map_arg

    return map_arg(argument, lambda node: known[node])
