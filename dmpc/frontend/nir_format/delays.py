"""Delays as shift registers."""

from dataclasses import dataclass

import numpy as np

from dmpc.frontend.nir_format.network import Node
from dmpc.frontend.nir_format.neurons import ROUNDING, Timing
from dmpc.ir.graph import Array

MOST_PLACES = 1 << 14  # of one register, all elements together


@dataclass(frozen=True)
class Register:
    """A shift register for elements x [n] that are each late by `steps` [n] timesteps, 0 or more.

    It holds the last timesteps of each element, the latest first, element after element. What
    comes out, and what it holds next, are selections from x followed by what it holds.
    """

    steps: Array

    @property
    def places(self) -> int:
        """How many values the register holds."""
        return int(self.steps.sum())

    @property
    def output(self) -> tuple[int, ...]:
        """Which of x and the register [n + places] comes out: the end of each element's part."""
        size = len(self.steps)
        ends = size + np.cumsum(self.steps) - 1
        return tuple(np.where(self.steps > 0, ends, np.arange(size)).tolist())

    @property
    def next(self) -> tuple[int, ...]:
        """Which of x and the register the register holds next: all places move on by one."""
        size = len(self.steps)
        moved = size + np.arange(self.places) - 1
        late = np.flatnonzero(self.steps)
        moved[(np.cumsum(self.steps) - self.steps)[late]] = late
        return tuple(moved.tolist())


@dataclass(frozen=True)
class Line:
    """A register of a delay `node`: elements `columns` of `source` enter it, `held` is its state.

    A register without places has no state.
    """

    node: Node
    source: Node
    columns: Array
    register: Register
    held: str


def steps_of(node: Node, timing: Timing) -> Array:
    """The delays of a Delay node in timesteps, [n] or [1].

    Raises ImportFailure where one is negative, no whole number of timesteps, or very long.
    """
    delay = node.parameters["delay"].reshape(-1)
    if np.any(delay < 0):
        raise node.error(f"a delay of {delay.min():g} s is before its time")
    steps = np.minimum(np.rint(delay / timing.dt), 2.0 * MOST_PLACES)
    wrong = delay[np.abs(delay / timing.dt - steps) > ROUNDING * np.maximum(steps, 1)]
    wrong = wrong[wrong <= MOST_PLACES * timing.dt]  # longer ones are refused for that
    if wrong.size:
        raise node.error(
            f"a delay of {wrong[0]:g} s is no whole number of timesteps of {timing.dt:g} s",
            "choose --dt so that it divides every delay",
        )
    check_places(node, float(np.sum(delay / timing.dt)), timing)
    whole: Array = steps.astype(np.int64)
    return whole


def check_places(node: Node, places: float, timing: Timing) -> None:
    """Raises ImportFailure where a delay keeps too much of the past."""
    if places > MOST_PLACES:
        raise node.error(
            f"keeps {places:.0f} events of the past at timesteps of {timing.dt:g} s, more "
            f"than {MOST_PLACES}",
            "a longer timestep (--dt), or shorter delays",
        )
