"""Timesteps of events: which timestep and which input each falls into.

Times are whole nanoseconds from the start of a recording. Timestep k of bins of `width` takes the
events with `k * width <= time < (k + 1) * width`, and input j of `channels` inputs those of the
units u with `u // (units / channels) == j`. Several events in one bin are one event: the machine's
events are binary.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import RuntimeFailure
from runtime.npz import machine_memory
from runtime.samples import Samples

Integers = NDArray[np.int64]

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds in what times are given in."""
LONGEST = 1 << 16
"""Timesteps of a sample: more are a mistake in --bin."""


class Events(NamedTuple):
    """The events of one sample: `times` in nanoseconds, `units` by number."""

    times: Integers
    units: Integers


@dataclass(frozen=True)
class Recordings:
    """Samples as lists of events of so many `units`, with `labels` [samples] if known.

    `length` are nanoseconds that all samples last, if the file says it.
    """

    samples: Iterable[Events]
    units: int
    labels: NDArray[Any] | None = None
    length: int | None = None


@dataclass(frozen=True)
class Binning:
    """How events become timesteps; None is for what nobody chose.

    Timesteps are `width` nanoseconds wide, units are pooled to `channels` inputs, and samples have
    `steps` timesteps: of longer ones what comes later is left out. Without, each lasts as long as
    the file says, or until its last event.
    """

    width: int | None = None
    channels: int | None = None
    steps: int | None = None

    @property
    def chosen(self) -> bool:
        """Whether somebody chose anything."""
        return self != Binning()


def nanoseconds(text: str) -> int:
    """A time such as `10ms`, in whole nanoseconds; ValueError says what is wrong with it."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|ms|us|ns)", text)
    if not found:
        raise ValueError(f"'{text}' is no time; write it as 10ms: a number and s, ms, us or ns")
    time = Fraction(found[1]) * UNITS[found[2]]
    if time.denominator != 1 or not 0 < time < 1 << 62:
        raise ValueError(f"{text} is no whole number of nanoseconds from 1 on")
    return int(time)


def as_time(time: int) -> str:
    """Nanoseconds as `nanoseconds` reads them, in the largest unit of which they are whole ones."""
    unit, size = next(item for item in UNITS.items() if time % item[1] == 0)
    return f"{time // size}{unit}"


def whole(times: NDArray[np.generic], scale: int) -> Integers:
    """Times in whole nanoseconds, of numbers that are `scale` nanoseconds each."""
    if times.dtype.kind in "iu":
        wide = times.astype(np.int64)
        if wide.size and (wide.max(initial=0) >= (1 << 62) // scale or wide.min(initial=0) < 0):
            raise RuntimeFailure("an event has a time that is negative, or beyond all recordings")
        return wide * scale
    with np.errstate(over="ignore"):  # what is not finite is refused
        found = np.rint(times.astype(np.float64) * scale)
    if found.size and not (np.isfinite(found).all() and found.min() >= 0 and found.max() < 1 << 62):
        raise RuntimeFailure("an event has a time that is negative, or no finite number")
    return found.astype(np.int64)


def binned(recordings: Recordings, binning: Binning, path: str) -> tuple[Samples, str]:
    """Samples in timesteps, and what a user should know of how they were made."""
    if binning.width is None:
        raise RuntimeFailure(
            f"{path}: holds events in time; say how long a timestep is (--bin 10ms, and --steps N "
            "for samples of one length)"
        )
    channels = _channels(recordings.units, binning, path)
    pool = recordings.units // channels
    places: list[tuple[Integers, Integers]] = []
    lengths, late, every = [], 0, 0
    for number, events in enumerate(recordings.samples):
        _check_units(events.units, recordings.units, f"{path}: sample {number}")
        steps = events.times // binning.width
        length = _steps(steps, recordings.length, binning)
        if length > LONGEST:
            raise RuntimeFailure(
                f"{path}: sample {number} takes {length:,} timesteps of {as_time(binning.width)}, "
                f"more than {LONGEST:,}; longer ones (--bin), or the first N of them (--steps N)"
            )
        within = steps < length
        late += int(np.count_nonzero(~within))
        every += len(steps)
        places.append((steps[within], events.units[within] // pool))
        lengths.append(length)
    x = _room(len(places), max(lengths, default=0), channels, path)
    for sample, (steps, inputs) in zip(x, places, strict=True):
        sample[steps, inputs] = True
    lasting = np.array(lengths, np.int64)
    alike = not len(lasting) or bool((lasting == x.shape[1]).all())
    samples = Samples(x, recordings.labels, None if alike else lasting)
    said = f"{late:,} of {every:,} events come after their sample's last timestep" if late else ""
    return samples, said


def _check_units(units: Integers, number: int, where: str) -> None:
    wrong = (units < 0) | (units >= number)
    if wrong.any():
        raise RuntimeFailure(
            f"{where}: an event has unit {units[wrong.argmax()]}; there are {number}, from 0"
        )


def _channels(units: int, binning: Binning, path: str) -> int:
    channels = binning.channels or units
    if units % channels:
        near = [n for n in range(1, units + 1) if units % n == 0 and n <= channels][-1]
        raise RuntimeFailure(
            f"{path}: {units} units do not pool into {channels} inputs of as many each; "
            f"{near} would do (--channels {near})"
        )
    return channels


def _steps(steps: Integers, length: int | None, binning: Binning) -> int:
    """Timesteps of a sample."""
    assert binning.width
    if binning.steps is not None:
        return binning.steps
    if length is not None:
        return max(-(-length // binning.width), 1)
    return int(steps.max(initial=0)) + 1


def _room(samples: int, steps: int, inputs: int, path: str) -> NDArray[np.bool_]:
    """No events yet; RuntimeFailure if they take more memory than the machine has."""
    size, memory = samples * steps * inputs, machine_memory()
    if size > memory:
        raise RuntimeFailure(
            f"{path}: {samples} samples of {steps} timesteps and {inputs} inputs take "
            f"{size / 2**30:.1f} GiB, this machine has {memory / 2**30:.1f} GiB; longer timesteps "
            "(--bin), or fewer of them (--steps)"
        )
    return np.zeros((samples, steps, inputs), np.bool_)
