"""Arrays that remember how they were computed, so that it can be done again with other numbers.

Passes are plain functions of arrays. Given recorded arrays they work as ever, while a tape notes
each call of NumPy. Played with other numbers it gives what the passes would give, bit for bit, as
long as they would decide alike: what is asked of an array as a truth or a whole number, or `told`,
is not part of a tape. What a tape cannot note (numbers written into an array, or taken as Python's)
is refused, so that no number can get lost.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, NamedTuple, NoReturn, ParamSpec, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")


class NotRecorded(Exception):
    """Something was done to a recorded array that a tape cannot note.

    NumPy makes it a ValueError here and there; what a tape has `lost` is told by it.
    """


class Slot(int):
    """The number of a result on a tape, where it stands among arguments."""


def each(held: Any, kind: type, changed: Callable[[Any], Any]) -> Any:
    """Arguments, where those of a kind have become others."""
    if isinstance(held, kind):
        return changed(held)
    if isinstance(held, tuple | list):
        return type(held)([each(one, kind, changed) for one in held])
    if isinstance(held, dict):
        return {name: each(one, kind, changed) for name, one in held.items()}
    return held


class Call(NamedTuple):
    """A function of arguments, in which slots stand for results, and the slot of its own."""

    slot: Slot
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Tape:
    """What was computed of some arrays, in order.

    Unless numbers may be `asked`, what is computed does not depend on what they are: to ask one for
    a truth or a whole number is refused, too.
    """

    asked = True

    def __init__(self) -> None:
        self.slots = 0
        self.given: dict[str, Slot] = {}
        self.calls: list[Call] = []
        self.wanted: dict[str, Slot] = {}
        self.lost = ""

    def input(self, name: str, value: NDArray[Any]) -> Recorded:
        """An array that may be another one whenever the tape is played."""
        made = self._made(value)
        self.given[name] = made.slot
        return made

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The result of a function of recorded arrays."""
        result = function(*each(args, Recorded, _value), **each(kwargs, Recorded, _value))
        if isinstance(result, bool | int):
            return self.asks(result)
        made = self._made(result)
        held = each(tuple(args), Recorded, _slot), each(dict(kwargs), Recorded, _slot)
        self.calls.append(Call(made.slot, function, *held))
        if isinstance(result, tuple):
            return tuple(self.call(operator.getitem, (made, n), {}) for n in range(len(result)))
        if not isinstance(result, np.ndarray | np.generic):
            self.refuse(f"{function.__name__} gives {type(result).__name__}")
        return made

    def asks(self, answer: R) -> R:
        """A truth or a whole number that is asked for; raises NotRecorded if none may be."""
        if not self.asked:
            self.refuse("a number decides")
        return answer

    def refuse(self, what: str) -> NoReturn:
        """Say that a number would get lost; raises NotRecorded."""
        self.lost = what
        raise NotRecorded(what)

    def end(self, wanted: Mapping[str, Recorded]) -> None:
        """Keep what gives these arrays, and nothing else."""
        self.wanted = {name: one.slot for name, one in wanted.items()}
        needed, kept = set[int](self.wanted.values()), list[Call]()
        for call in reversed(self.calls):
            if call.slot in needed:
                kept.append(call)
                each((call.args, call.kwargs), Slot, needed.add)
        self.calls = kept[::-1]

    def play(self, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What was wanted at the end, by name, of other numbers."""
        values: list[Any] = [None] * self.slots
        for name, own in self.given.items():
            values[own] = given[name]
        for slot, function, args, kwargs in self.calls:
            now = each((args, kwargs), Slot, values.__getitem__)
            values[slot] = function(*now[0], **now[1])
        return {name: values[slot] for name, slot in self.wanted.items()}

    def _made(self, value: Any) -> Recorded:
        self.slots += 1
        return Recorded(self, Slot(self.slots - 1), value)


class Recorded(NDArrayOperatorsMixin):
    """An array, or a number, that a tape can compute."""

    def __init__(self, tape: Tape, slot: Slot, value: Any) -> None:
        self.tape, self.slot, self.value = tape, slot, value

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if any(out is not args[0] for out in kwargs.pop("out", ())):
            self.tape.refuse(f"{ufunc.__name__} writes into an array")
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return self.tape.call(function, args, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        del types
        return self.tape.call(function, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "size", "ndim", "dtype"):
            return getattr(self.value, name)
        if name == "T":
            return self.tape.call(np.transpose, (self,), {})
        if name.startswith("_") or not callable(getattr(np.ndarray, name)):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.tape.call(_method, (name, self, *args), kwargs)

    def __getitem__(self, index: Any) -> Any:
        return self.tape.call(operator.getitem, (self, index), {})

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))

    def __bool__(self) -> bool:
        return self.tape.asks(bool(self.value))

    def _refused(self, *_: object, **__: object) -> Any:
        self.tape.refuse("numbers are written, or leave NumPy")

    def __index__(self) -> int:
        if self.value.dtype.kind not in "biu":
            self._refused()
        return self.tape.asks(operator.index(self.value))

    __int__ = __index__
    __array__ = __float__ = __complex__ = __round__ = __setitem__ = _refused


def recorded(function: Callable[P, R]) -> Callable[P, R]:
    """A function of arrays that a tape notes whole: one that writes into arrays of its own."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        for one in (*args, *kwargs.values()):
            if isinstance(one, Recorded):
                made: R = one.tape.call(function, args, kwargs)
                return made
        return function(*args, **kwargs)

    return called


def told(values: Any) -> NDArray[Any]:
    """Numbers that decide, as an array that is not recorded."""
    made: NDArray[Any] = values.value if isinstance(values, Recorded) else values
    return made


def _method(name: str, of: Any, *args: Any, **kwargs: Any) -> Any:
    return getattr(of, name)(*args, **kwargs)


def _value(found: Recorded) -> Any:
    return found.value


def _slot(found: Recorded) -> Slot:
    return found.slot
