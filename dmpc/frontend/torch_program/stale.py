"""States that neurons keep of an earlier run, and modules that clear them themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.program import arguments, example_of, untouched
from dmpc.frontend.torch_program.repeatable import equal
from dmpc.frontend.torch_program.rules import OWN_INTERFACE, SCRIPTED, STALE_MODULE

if TYPE_CHECKING:
    from torch import nn

    from dmpc.ir.registry import Tensor

RESETS = {
    "spikingjelly": "spikingjelly's functional.reset_net(module)",
    "sinabs": "its reset_states()",
    "rockpool": "its reset_state()",
}
STRANGE = (1e6, -1e6, float("nan"))
"""What states are filled with to see whether a module looks at them: a spike, none, and a number
that no sum and no product loses."""


@dataclass(frozen=True)
class State:
    """A state of a library's neurons: what it is now, and what it is before the first run."""

    library: str
    path: str
    key: str
    held: dict[str, Any]  # where the library keeps it
    start: Any
    first: Any  # what stands there before the first run

    @property
    def stale(self) -> bool:
        """Whether an earlier run has left it."""
        return not _same(self.held[self.key], self.start)


@contextmanager
def from_start(module: nn.Module, name: str, x: Tensor, time_first: bool) -> Iterator[bool]:
    """A module as it is before its first run on `x`, and afterwards as it was.

    Gives whether there are modules of SpikingJelly, which has reset values of its own. Raises
    ImportFailure if neurons keep states of an earlier run that `forward` itself does not clear.
    """
    try:
        fresh = check_reset(module, name)
    except ImportFailure as error:
        if error.rule is not STALE_MODULE or not _clears(module, x, time_first):
            raise
        with untouched(module):
            _put(module, lambda state: state.first)
            yield check_reset(module, name)
    else:
        yield fresh


def check_reset(module: nn.Module, name: str) -> bool:
    """Raise ImportFailure if a library's neurons keep states of an earlier run.

    Returns whether there are modules of SpikingJelly.
    """
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        raise ImportFailure.of(SCRIPTED, where=name)
    if not isinstance(module.parameters(), Iterator):
        raise ImportFailure.of(OWN_INTERFACE, where=name)
    found = False
    for state in _states(module):
        found |= state.library == "spikingjelly"
        if state.stale:
            path, call = state.path or state.key, RESETS[state.library]
            raise ImportFailure.of(STALE_MODULE, where=name, path=path, key=state.key, call=call)
    return found


def _clears(module: nn.Module, x: Tensor, time_first: bool) -> bool:
    """Whether a module answers an example alike, whatever its states hold before."""
    import torch

    example = example_of(x, module, time_first)
    given, named = arguments(module, example)

    def answer(what: Callable[[State], Any]) -> Any:
        with untouched(module):
            _put(module, what)
            torch.manual_seed(0)
            return module(*given, **named)

    with torch.random.fork_rng(devices=[]):
        try:
            first = answer(lambda state: state.first)
            return all(equal(first, answer(partial(_filled, number))) for number in STRANGE)
        except Exception:  # of states of another number of samples, which forward does not clear
            return False


def _put(module: nn.Module, what: Callable[[State], Any]) -> None:
    """Put something in the place of every state; the caller keeps what was there."""
    for state in [*_states(module)]:
        state.held[state.key] = what(state)


def _filled(number: float, state: State) -> Any:
    import torch

    now = state.held[state.key]
    if isinstance(now, torch.Tensor):
        return torch.full_like(now, number) if now.is_floating_point() else now
    return number if isinstance(now, float) else now


def _states(module: nn.Module) -> Iterator[State]:
    """The states of all neurons of the libraries that are known."""
    import torch

    for path, part in module.named_modules():
        held: Any = getattr(part, "_memories", None)
        start: Any = getattr(part, "_memories_rv", None)
        libraries = {one.__module__.partition(".")[0] for one in type(part).__mro__}
        if isinstance(held, dict) and isinstance(start, dict):
            for key in [key for key in held if key in start]:
                begun = start[key]
                yield State("spikingjelly", path, key, held, begun, copy.copy(begun))
        elif "sinabs" in libraries:
            for key in part._buffers:
                yield State("sinabs", path, key, part._buffers, 0, torch.zeros(0))
        elif "rockpool" in libraries:
            states: Any = part.state
            for key in [key for key in part._buffers if key in states()]:
                empty = torch.zeros_like(part._buffers[key])
                yield State("rockpool", path, key, part._buffers, 0, empty)


def _same(value: Any, start: Any) -> bool:
    import torch

    if value is None or start is None or isinstance(value, str):
        return value is start or value == start
    tensors = [torch.as_tensor(each) for each in (value, start)]
    return bool((tensors[0] == tensors[1]).all())
