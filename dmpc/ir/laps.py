"""A ring's timestep on a tape: what needs the ring's past goes round, the rest is made ahead.

Most of what a ring computes in a timestep is of values that are known for all timesteps: how sums
are saturated and shifted, say. And where arrays are small, to find out what to do with them takes
as long as to do it. So a timestep is recorded once (`dmpc.ir.recorded`). Of the calls on the tape
those that nothing of the ring goes into are made for many timesteps at once, the others are
repeated as they stand there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from dmpc.ir.recorded import Call, NotRecorded, Recorded, Slot, Tape, each
from dmpc.ir.registry import EvalContext, Tensor
from isa.arithmetic import Saturation

WORTH = 8
"""The number of timesteps from which on a tape pays."""
ROWS = 256
"""Samples times timesteps of which something is made ahead: few enough to stay in the cache."""
TIMESTEP = ""
"""What the number of the timestep is called on a tape; no value is."""

Values = Mapping[str, Tensor]
Timestep = Callable[[EvalContext, Values], Values]
"""A ring's timestep: what comes of the values that it reads and of its states."""


@dataclass(frozen=True)
class _Step:
    """A function of what is in some slots, and the slot of what it gives."""

    slot: int
    function: Callable[..., Any]
    args: tuple[int, ...]


@dataclass(frozen=True)
class Lap:
    """A ring's timestep as a list of steps, in slots that `given` names, or that hold constants.

    Some are taken `ahead`, for many timesteps at once. The others, taken in each, find the rows of
    the timestep in slots of what is `known`. What they make is in slots, or always the same.
    """

    held: list[Any]
    given: Mapping[str, int]
    ahead: Sequence[_Step]
    each: Sequence[_Step]
    known: Sequence[int]
    made: Mapping[str, Slot | Tensor]

    def run(self, series: Values, states: Values, steps: range) -> Iterator[Values]:
        """What each timestep makes, of series [timesteps * samples, ...].

        It looks for `states` [samples, ...] anew in each: they are the caller's to move on.
        """
        held = list(self.held)
        samples = len(next(iter(states.values())))
        together = max(1, ROWS // max(samples, 1))
        for first in range(0, len(steps), together):
            some = steps[first : first + together]
            for name, array in series.items():
                held[self.given[name]] = array[first * samples : (first + len(some)) * samples]
            _take(self.ahead, held)
            known = [(slot, held[slot]) for slot in self.known]
            for number, step in enumerate(some):
                for slot, array in known:
                    held[slot] = array[number * samples : (number + 1) * samples]
                for name, array in states.items():
                    held[self.given[name]] = array
                held[self.given[TIMESTEP]] = step
                _take(self.each, held)
                yield {
                    name: held[one] if isinstance(one, Slot) else one
                    for name, one in self.made.items()
                }


def _take(steps: Sequence[_Step], held: list[Any]) -> None:
    for step in steps:
        held[step.slot] = step.function(*[held[arg] for arg in step.args])


def lap(
    timestep: Timestep, context: EvalContext, values: Values, series: Values, states: Values
) -> Lap | None:
    """A timestep, recorded on the first rows of `series`; None if a tape cannot hold it.

    `values` are the same in every timestep. Nothing is counted for what is recorded.
    """
    samples = len(next(iter(states.values())))
    tape = _Tape()
    clip = _Clip(tape)
    number: Any = tape.input(TIMESTEP, np.zeros((), np.int64))
    noted = replace(context, timestep=number, saturate=clip)
    of_series: dict[str, Any] = {n: tape.input(n, array[:samples]) for n, array in series.items()}
    of_states: dict[str, Any] = {n: tape.input(n, array) for n, array in states.items()}
    try:
        made = timestep(noted, {**values, **of_series, **of_states})
    except (NotRecorded, TypeError, ValueError):
        if not tape.lost:
            raise
    if tape.lost:
        return None
    found: Mapping[str, object] = made
    counted = {f"{number} clipped": one for number, one in enumerate(clip.noted)}
    shown = {name: one for name, one in found.items() if isinstance(one, Recorded)}
    tape.end({**counted, **shown})
    slots = {name: one.slot for name, one in shown.items()}
    return _laid_out(tape, [one.slot for one in of_series.values()], context, {**made, **slots})


def _laid_out(
    tape: _Tape, series: Sequence[Slot], context: EvalContext, made: Mapping[str, Slot | Tensor]
) -> Lap:
    """A tape's calls, those that need nothing but `series` ahead of the others."""
    held: list[Any] = [None] * tape.slots
    free, ahead, later = set(series), [], []
    read = {one for one in made.values() if isinstance(one, Slot)}
    for call in tape.calls:
        slots = list[Slot]()
        each((call.args, call.kwargs), Slot, slots.append)
        if free.issuperset(slots) and tape.by_rows(call, slots):
            free.add(call.slot)
            ahead.append(_step(call, slots, held, context))
        else:
            read.update(slots)
            later.append(_step(tape.spread(call), slots, held, context))
    return Lap(held, tape.given, ahead, later, sorted(read & free), made)


def _step(call: Call, slots: Sequence[Slot], held: list[Any], context: EvalContext) -> _Step:
    """A call as a step; it leaves what is constant in slots of its own."""
    function = context.saturate if call.function is _clip else call.function
    if sum(isinstance(one, Slot) for one in call.args) < len(slots):  # some lie deeper
        at = {slot: number for number, slot in enumerate(slots)}
        args, kwargs = each((call.args, call.kwargs), Slot, lambda slot: _Argument(at[slot]))
        return _Step(call.slot, partial(_called, function, args, kwargs), tuple(slots))
    if call.kwargs:
        function = partial(function, **call.kwargs)
    args = []
    for one in call.args:
        args.append(one if isinstance(one, Slot) else len(held))
        held += [] if isinstance(one, Slot) else [one]
    return _Step(call.slot, function, tuple(args))


class _Argument(int):
    """Which of the arrays that a function is given stands here among its arguments."""


def _called(function: Callable[..., Any], args: Any, kwargs: Any, *now: Any) -> Any:
    args, kwargs = each((args, kwargs), _Argument, now.__getitem__)
    return function(*args, **kwargs)


class _Tape(Tape):
    """A tape that remembers shapes, and on which no number decides what comes next."""

    asked = False

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def _made(self, value: Any) -> Recorded:
        self.shapes.append(np.shape(value))
        return super()._made(value)

    def by_rows(self, call: Call, slots: Sequence[Slot]) -> bool:
        """Whether each row of a result is made of that row of all arrays: any rows will do."""
        if not (_by_elements(call.function) or call.function is _clip):
            return False
        shape = self.shapes[call.slot]
        rows = [self.shapes[slot] for slot in slots]
        constants = [np.ndim(one) for one in call.args if not isinstance(one, Slot)]
        return all(len(one) == len(shape) > 0 and one[0] == shape[0] for one in rows) and all(
            axes < len(shape) for axes in constants
        )

    def spread(self, call: Call) -> Call:
        """A call with its constants spread over all rows, with which it takes half the time."""
        shape = self.shapes[call.slot]
        if not (_by_elements(call.function) or call.function is np.where):
            return call
        return call._replace(
            args=tuple(
                np.broadcast_to(one, shape).copy()
                if isinstance(one, np.ndarray) and 0 < one.ndim < len(shape)
                else one
                for one in call.args
            )
        )


def _by_elements(function: Callable[..., Any]) -> bool:
    return isinstance(function, np.ufunc) and function.signature is None


class _Clip(Saturation[str]):
    """A saturation that a tape notes."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape, self.noted = tape, list[Recorded]()

    def __call__(self, x: Any, bits: int, cause: str) -> Any:
        if not isinstance(x, Recorded):
            self.tape.refuse("what is always the same is saturated, and counted")
        made = self.tape.call(_clip, (x, bits, cause), {})
        self.noted.append(made)
        return made


def _clip(x: Any, bits: int, cause: str) -> Any:
    """What a saturation gives; on a tape it stands for that of those who play it."""
    return Saturation[str]()(x, bits, cause)
