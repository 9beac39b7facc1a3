"""What a program returns, by name, and which of it is the network's answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dmpc.errors import ImportFailure
from dmpc.frontend.chosen import check_named, options
from dmpc.frontend.torch_program.nodes import module_of
from dmpc.frontend.torch_program.rules import CONSTANT_RESULT, MANY_RESULTS, WRITTEN_BUFFER

if TYPE_CHECKING:
    from torch.export import ExportedProgram


@dataclass(frozen=True)
class Result:
    """A tensor that a program returns.

    `name` says where: the keys and places on the way to it, such as `0`, `logits` or `1.spikes`;
    `leaf` is its number among all that is returned, `node` computes it.
    """

    name: str
    leaf: int
    node: Any


def results_of(program: ExportedProgram) -> list[Result]:
    """The tensors that a program returns, in order."""
    import torch

    nodes = list(program.graph.nodes)[-1].args[0]
    pairs = enumerate(zip(_names(program), nodes, strict=True))
    every = (Result(name, leaf, node) for leaf, (name, node) in pairs)
    return [one for one in every if isinstance(one.node, torch.fx.Node)]


def answer_of(program: ExportedProgram, wanted: str | None) -> Result:
    """The result that is the network's answer: the one that there is, or the `wanted` one.

    States as the last timestep leaves them are no answers where something else follows from them.
    Raises ImportFailure, with the names that there are, if there are several and none is wanted,
    or if it is none of them.
    """
    kinds = [(spec.kind.name, spec.target) for spec in program.graph_signature.output_specs]
    changed = [target for kind, target in kinds if kind.endswith("MUTATION")]
    if changed:
        raise ImportFailure.of(WRITTEN_BUFFER, buffer=changed[0])
    found = results_of(program)
    names = [one.name for one in found]
    check_named(wanted, names)
    if not found:
        raise ImportFailure.of(CONSTANT_RESULT)
    if wanted is not None:
        return found[names.index(wanted)]
    answers = _answers(program, found)
    if len(answers) > 1:
        listed = ", ".join(f"{one.name} {_shape(one.node)}" for one in found)
        raise ImportFailure.of(
            MANY_RESULTS,
            number=len(found),
            names=listed,
            options=options(one.name for one in answers),
        )
    return answers[0]


def _answers(program: ExportedProgram, found: list[Result]) -> list[Result]:
    """The results that may be the answer: none that is a state another one follows from."""
    if len(found) == 1:
        return found
    (given,) = (one for one in program.graph.nodes if one.name in _inputs(program))
    whole = sorted(_shape(given)[:2])  # samples and timesteps: gathered, and no state
    above = [_above(one.node) for one in found]
    left = [
        one
        for place, one in enumerate(found)
        if sorted(_shape(one.node)[:2]) == whole
        or not any(
            _is_last(one.node, above[place] & its) for its in (*above[:place], *above[place + 1 :])
        )
    ]
    return left or found


def _inputs(program: ExportedProgram) -> tuple[str, ...]:
    names: tuple[str, ...] = program.graph_signature.user_inputs
    return names[:1]


def _is_last(node: Any, earlier: set[Any]) -> bool:
    """Whether a node is the last that a loop made of a value: the same call of the same module is
    among those before it."""
    return any(_call(one) == _call(node) for one in earlier)


def _call(node: Any) -> tuple[Any, ...]:
    """What a node calls, but for the values that it reads."""
    given = [arg for arg in node.args if not isinstance(arg, type(node) | list | tuple)]
    return node.target, module_of(node), given, _shape(node)


def _above(node: Any) -> set[Any]:
    """The calls with a result of their own that a node hangs on."""
    found: set[Any] = set()
    work = [node]
    while work:
        new = {one for one in work.pop().all_input_nodes if one not in found}
        found |= new
        work += new
    return {one for one in found if hasattr(one.meta.get("val"), "shape")}


def _names(program: ExportedProgram) -> list[str]:
    """Where each thing that a program returns lies; a single one is `0`."""
    from torch.utils import _pytree as pytree

    spec = program.call_spec.out_spec
    assert spec is not None  # every exported program has one
    tree = pytree.tree_unflatten(range(spec.num_leaves), spec)
    paths, _ = pytree.tree_flatten_with_path(tree)
    return [".".join(_key(key) for key in path) or "0" for path, _ in paths]


def _key(key: Any) -> str:
    """A key of a dict, a place in a tuple or list, or the name of a field."""
    parts = (getattr(key, name, None) for name in ("key", "idx", "name"))
    return next((str(part) for part in parts if part is not None), str(key))


def _shape(node: Any) -> list[int]:
    return list(node.meta["val"].shape)
