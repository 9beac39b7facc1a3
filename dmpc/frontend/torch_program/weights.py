"""A module's weights from a file that `torch.save` wrote, wherever in it they stand.

Which mapping of the file holds them, and under which prefix, is found by what fits: every name and
every shape of the module, no more and no less.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.findings import finding, tell
from dmpc.frontend.model_rules import NO_FILE
from dmpc.frontend.torch_program.rules import (
    CODE_IN_WEIGHTS,
    NO_STATE_DICT,
    OTHER_WEIGHTS,
    SEVERAL_WEIGHTS,
    WEIGHTS_TAKEN,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

State = dict[str, Any]
# What torch's own wrappers put into names: DataParallel, compile, FSDP, checkpointing.
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
USUAL = ("state_dict", "model_state_dict", "model", "net", "network", "")  # before others that fit
DEPTH = 6  # mappings within mappings that are looked into
SHOWN = 8  # keys that an error lists


def load_weights(module: nn.Module, path: str | os.PathLike[str], *, trust: bool = False) -> None:
    """Set a module's weights to those in a file that `torch.save` wrote.

    Code in the file runs only if the user trusts it; then it may be a whole module. Raises
    ImportFailure if the file cannot be read without, or holds no weights that fit.
    """
    where = os.fspath(path)
    held = _read(path, where, trust)
    states = list(_states(held))
    if not states:
        raise ImportFailure.of(NO_STATE_DICT, where=where, held=_told(held))
    fitting = _fitting(module, states)
    state = fitting[_taken(fitting, where)] if fitting else _nearest(module, states)
    _check_kinds(module, state, where)
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = _short("; ".join(lines[1:] or lines), 400)
        raise ImportFailure.of(OTHER_WEIGHTS, where=where, reason=reason) from None


def _read(path: str | os.PathLike[str], where: str, trust: bool) -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.serialization.safe_globals(_records()):
                return torch.load(path, map_location="cpu", weights_only=True)
        except (FileNotFoundError, IsADirectoryError):
            raise ImportFailure.of(NO_FILE, where=where) from None
        except Exception as error:  # torch raises many classes on files that are not its own
            if not trust:
                reason = _needed(error)
                raise ImportFailure.of(CODE_IN_WEIGHTS, where=where, reason=reason) from None
        try:
            return torch.load(path, map_location="cpu", weights_only=False)
        except Exception as error:  # whatever the code in the file raises
            reason = _short(f"{type(error).__name__}: {error}", 200)
            raise ImportFailure(f"torch cannot read the weights: {reason}", where=where) from None


def _records() -> list[Any]:
    """Plain records that checkpoints hold beside the weights, and that run nothing when read."""
    import argparse
    import importlib
    import pathlib
    import types

    arrays: Any = importlib.import_module("numpy._core.multiarray")
    kinds = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    return [
        argparse.Namespace, types.SimpleNamespace, pathlib.PosixPath, pathlib.PurePosixPath,
        np.ndarray, np.dtype, arrays.scalar, arrays._reconstruct,
        *(type(np.dtype(kind)) for kind in kinds),
    ]  # fmt: skip


def _needed(error: Exception) -> str:
    """Why weights cannot be read alone: the class that would have to be imported, if torch says."""
    found = re.search(r"(?:GLOBAL|class|global:?) `?([\w.]+\.[\w.]+)`? ", str(error))
    if found:
        return f"it holds a pickled {found[1]}"
    if "TorchScript" in str(error):
        return "it is a TorchScript archive"
    return _short(str(error) or type(error).__name__, 120)


def _states(held: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """Mappings of names to tensors in what a file holds, outer ones first, with their keys."""
    from torch import nn

    if isinstance(held, nn.Module):
        held = held.state_dict()
    if isinstance(held, list | tuple):
        held = dict(enumerate(held))
    if not isinstance(held, Mapping) or depth > DEPTH:
        return
    tensors = {key: _tensor(value) for key, value in held.items() if isinstance(key, str)}
    state = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    if state:
        yield name, {**state, **_extra(held)}
    for key, value in held.items():
        yield from _states(value, f"{name}.{key}".lstrip("."), depth + 1)


def _extra(held: Mapping[Any, Any]) -> State:
    return {k: v for k, v in held.items() if isinstance(k, str) and k.endswith("_extra_state")}


def _tensor(value: Any) -> torch.Tensor | None:
    import torch

    if isinstance(value, torch.Tensor):
        plain = value.dequantize() if value.is_quantized else value
        return plain if plain.layout == torch.strided else plain.to_dense()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(np.array(value))
    return None


def _fitting(module: nn.Module, states: list[tuple[str, State]]) -> dict[str, State]:
    """Weights that fit, by where they stand, equal ones once."""
    own = module.state_dict()
    found: dict[str, State] = {}
    for name, state in states:
        for prefix in _prefixes(state):
            inner = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
            part = _renamed(own, inner)
            alike = any(_equal(part, other) for other in found.values())
            if _fits(own, part) and not alike:
                found[".".join(each for each in (name, prefix.rstrip(".")) if each)] = part
    return found


def _taken(fitting: dict[str, State], where: str) -> str:
    """Which of the weights that fit are the module's: those in a usual place, before others."""
    usual = [name for key in USUAL for name in fitting if _last(name) == key]
    taken = usual[0] if usual else next(iter(fitting))
    shown = {name: f"'{name}'" if name else "the outermost" for name in fitting}
    if not usual and len(fitting) > 1:
        raise ImportFailure.of(SEVERAL_WEIGHTS, where=where, names=", ".join(shown.values()))
    first = shown.pop(taken)
    if shown:
        left = ", ".join(shown.values())
        tell(finding(WEIGHTS_TAKEN, where=where, taken=first, left=left))
    return taken


def _last(name: str) -> str:
    return next((p for p in reversed(name.split(".")) if p not in WRAPPERS), "")


def _prefixes(state: State) -> list[str]:
    """Leading parts of names, none of them first: a larger module may hold the module."""
    parts = [key.split(".") for key in state]
    found = {".".join([*p[:n], ""]) for p in parts for n in range(1, min(len(p), DEPTH))}
    return ["", *sorted(found)]


def _renamed(own: State, state: State) -> State:
    """Weights under the module's names, where the two differ by what torch's wrappers insert."""
    names = {_bare(name): name for name in own}
    bare = {_bare(name): name for name in state}
    if len(names) != len(own) or len(bare) != len(state):
        return state
    return {names.get(key, name): state[name] for key, name in bare.items()}


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _fits(own: State, state: State) -> bool:
    shapes = ({k: getattr(v, "shape", None) for k, v in each.items()} for each in (own, state))
    one, other = shapes
    return bool(state) and one == other


def _equal(one: State, other: State) -> bool:
    import torch

    tensors = [one, other]
    if one.keys() != other.keys() or any(
        not isinstance(v, torch.Tensor) for each in tensors for v in each.values()
    ):
        return False
    return all(torch.equal(one[key], other[key]) for key in one)


def _nearest(module: nn.Module, states: list[tuple[str, State]]) -> State:
    """Of weights that do not fit, those with most of the module's names."""
    own = module.state_dict()
    renamed = [_renamed(own, state) for _, state in states]
    return max(renamed, key=lambda state: len(state.keys() & own.keys()))


def _check_kinds(module: nn.Module, state: State, where: str) -> None:
    """Copying complex numbers into real ones would drop their imaginary parts."""
    for name, own in module.state_dict().items():
        given = state.get(name)
        if given is not None and getattr(given, "is_complex", bool)() and not own.is_complex():
            reason = f"{name} is complex in the file, and real in the module"
            raise ImportFailure.of(OTHER_WEIGHTS, where=where, reason=reason)


def _told(held: Any) -> str:
    """What a file holds, for an error: the keys and kinds of the outermost mapping."""
    if isinstance(held, Mapping):
        keys = [f"'{key}' ({type(value).__name__})" for key, value in held.items()]
        more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
        return _short(", ".join(keys[:SHOWN]), 300) + more if keys else "nothing"
    if isinstance(held, list | tuple):
        return f"a {type(held).__name__} of {len(held)}, without names"
    return f"a {type(held).__name__}"


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."
