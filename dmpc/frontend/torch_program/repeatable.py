"""Whether a module, run again on the same input, does the same again.

A trace shows operations of torch. What NumPy or Python draws at random is in it as a constant, as
if it were a weight.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.rules import DIFFERS_BY_ITSELF

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


COINS = 12  # runs of a module that draws numbers: a coin may fall alike some times


def check_repeatable(run: Callable[[], Any], name: str) -> bool:
    """Run a module twice; raise ImportFailure if it answers differently.

    Returns whether NumPy or Python drew random numbers meanwhile, which may show in the trace
    alone. Numbers that torch draws are the same in both runs: the trace shows where.
    """
    import torch

    drawn = _generators()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = run()
        for _ in range(COINS):
            torch.manual_seed(0)
            if not equal(first, run()):
                raise ImportFailure.of(DIFFERS_BY_ITSELF, where=name, what="its answers differ")
            if drawn == _generators():
                return False
    return True


def check_alike(one: ExportedProgram, other: ExportedProgram, name: str) -> None:
    """Raise ImportFailure if two traces of one module are not the same program."""
    same = one.graph_module.code == other.graph_module.code
    if not same or not equal(list(one.constants.values()), list(other.constants.values())):
        raise ImportFailure.of(DIFFERS_BY_ITSELF, where=name, what="NumPy or Python draws numbers")


def _generators() -> tuple[Any, ...]:
    """The states of the generators that every package shares."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), kind, np.asarray(keys).tobytes(), *rest


def equal(one: Any, other: Any) -> bool:
    """Whether two answers hold the same tensors."""
    import torch

    tensors = [_tensors(one), _tensors(other)]
    if len(tensors[0]) != len(tensors[1]):
        return False
    pairs = zip(*tensors, strict=True)
    return all(a.shape == b.shape and _same(torch, a, b) for a, b in pairs)


def _same(torch: Any, one: torch.Tensor, other: torch.Tensor) -> bool:
    if not one.is_floating_point():
        return bool(torch.equal(one, other))
    return bool(torch.allclose(one, other, 1e-6, 0, equal_nan=True))


def _tensors(answer: Any) -> list[torch.Tensor]:
    import torch
    from torch.utils import _pytree

    leaves = vars(_pytree)["tree_leaves"](answer)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
