"""Random numbers in a program: where they come from, and where nothing is left of them.

Rockpool's neurons draw a noise whose size, `noise_std`, is most often 0; Sinabs' layers choose
at random among states that are all zero. What has gone through such an operation is a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmpc.errors import ImportFailure
from dmpc.frontend.operator_rules import RANDOM_NUMBERS
from dmpc.frontend.torch_program.emitter import Constant, flat
from dmpc.frontend.torch_program.nodes import place

DROPPING = {"train", "training", "dropout_p"}
"""Arguments of operations that draw random numbers for dropout alone, which training does."""
CHOICES = {"index_select": "index", "index": "indices", "gather": "index"}


def is_random(node: Any) -> bool:
    """Whether an operation draws random numbers, and not for dropout alone."""
    import torch

    random = torch.Tag.nondeterministic_seeded in node.target.tags
    return random and DROPPING.isdisjoint(one.name for one in node.target._schema.arguments)


def drawn(node: Any, kind: str, arguments: Mapping[str, Any]) -> ImportFailure | None:
    """The error for random numbers that an operation's result still holds, if it does."""
    if is_random(node):
        return ImportFailure.of(RANDOM_NUMBERS, where=place(node), op=kind)
    constants = [part for part in flat(arguments.values()) if isinstance(part, Constant)]
    found = next((part.drawn for part in constants if part.drawn is not None), None)
    return None if found is None or _vanish(kind, arguments) else found


def _vanish(kind: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a result is the same whatever was drawn: zero times it, or a choice among equals."""
    if kind in ("mul", "multiply"):
        return any(_only(arguments[side], zero=True) for side in ("self", "other"))
    return kind in CHOICES and _only(arguments["self"], zero=False)


def _only(operand: Any, *, zero: bool) -> bool:
    """Whether all elements of a constant that was not drawn are one number, or zero."""
    if not isinstance(operand, Constant):
        return zero and not isinstance(operand, bool) and operand == 0
    if operand.drawn is not None or not operand.tensor.numel():
        return False
    first = operand.tensor.flatten()[0]
    return bool((operand.tensor == (0 if zero else first)).all())
