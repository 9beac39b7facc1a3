"""Samples, checked before anything runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isa.interface import Numbers
from runtime.errors import RuntimeFailure

if TYPE_CHECKING:
    from runtime.data.binning import Binning


@dataclass(frozen=True)
class Samples:
    """`x` [samples, timesteps, inputs], bool, integer or float; labels `y` [samples] if known.

    With `lengths` [samples], the timesteps of a sample that lie behind its length are none. What
    came as frames is flat, in row-major order; `frame` are their axes, such as (2, 34, 34).
    """

    x: Numbers
    y: NDArray[np.int64] | None
    lengths: NDArray[np.int64] | None = None
    frame: tuple[int, ...] = ()

    def first(self, limit: int | None) -> "Samples":
        """The first so many of them, or all."""
        y, lengths = (None if part is None else part[:limit] for part in (self.y, self.lengths))
        return Samples(self.x[:limit], y, lengths, self.frame)


def load_samples(
    path: Path | str, *, any_length: bool = False, binning: "Binning | None" = None
) -> Samples:
    """The samples in a file of any format that is known (`runtime.data.reading`).

    Events in time become timesteps as `binning` says. Raises RuntimeFailure if the file is missing,
    of no such format, or its arrays do not fit; also if samples differ in length and not
    `any_length` is welcome.
    """
    return told_samples(path, any_length=any_length, binning=binning)[0]


def told_samples(
    path: Path | str, *, any_length: bool = False, binning: "Binning | None" = None
) -> tuple[Samples, str]:
    """The same, with what a user should know of what was read; "" if that is nothing new."""
    from runtime.data.binning import Binning
    from runtime.data.reading import read

    return read(path, binning or Binning(), any_length=any_length)


def as_samples(x: Any, lengths: Any = None) -> Numbers | list[Numbers]:
    """Samples as one array, or as a list if they differ in length: [timesteps, inputs] each.

    `x` is such an array, with the `lengths` of its samples if they differ, or a sequence of them.
    """
    if lengths is not None:
        x = check_shape(np.asarray(x))
        lengths = check_lengths(np.asarray(lengths), x)
        if (lengths == x.shape[1]).all():
            return np.asarray(x)
        return [sample[:length] for sample, length in zip(x, lengths, strict=True)]
    if isinstance(x, np.ndarray) and x.dtype != np.object_:
        array: Numbers = x
        return array
    samples: list[Numbers] = []
    for number, sample in enumerate(x):
        try:
            samples.append(np.asarray(sample))
        except ValueError as error:
            raise RuntimeFailure(f"x[{number}] is no array [timesteps, inputs]: {error}") from error
    if len({sample.shape for sample in samples}) <= 1:
        return np.array(samples)
    for number, sample in enumerate(samples):
        if sample.ndim != 2 or 0 in sample.shape:
            raise RuntimeFailure(
                f"x[{number}] has shape {list(sample.shape)}; a sample is [timesteps, inputs], "
                "none of them 0"
            )
    return samples


def check_lengths(lengths: Numbers, x: Numbers) -> NDArray[np.int64]:
    """Lengths of samples `x`, whole numbers from 1; RuntimeFailure names the first that is not."""
    if lengths.shape != (len(x),) or lengths.dtype.kind not in "iu":
        raise RuntimeFailure(
            f"lengths are {lengths.dtype} {list(lengths.shape)}; they must be integers [{len(x)}], "
            "the timesteps of each sample"
        )
    wrong = (lengths < 1) | (lengths > x.shape[1])
    if wrong.any():
        at = int(wrong.argmax())
        raise RuntimeFailure(f"lengths[{at}] is {lengths[at]}; x holds 1 to {x.shape[1]} timesteps")
    return lengths.astype(np.int64)


def check_input(x: Numbers) -> Numbers:
    """`x` if it is [samples, timesteps, inputs] of finite numbers; else RuntimeFailure."""
    return check_numbers(check_shape(x))


def check_shape(x: Numbers) -> Numbers:
    """`x` if it is [samples, timesteps, inputs]; else RuntimeFailure."""
    if x.ndim != 3 or 0 in x.shape:
        frames = " (frames: x.reshape(*x.shape[:2], -1))" if x.ndim > 3 and 0 not in x.shape else ""
        single = " (one vector a sample: x[:, None])" if x.ndim == 2 and 0 not in x.shape else ""
        if single and x.shape[1] == 4:  # x, y, p, t
            single = f"{single[:-1]}; a table of events: docs/samples.md)"
        raise RuntimeFailure(
            f"x has shape {list(x.shape)}; it must be [samples, timesteps, inputs], none of them "
            f"0{frames}{single}"
        )
    return x


def check_numbers(x: Numbers, name: str = "x") -> Numbers:
    """`x` of any shape if it holds finite numbers; else RuntimeFailure that says where."""
    if x.dtype.kind not in "biuf":
        raise RuntimeFailure(f"{name} holds {x.dtype}; it must be bool, integer or float")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        at = tuple(map(int, np.argwhere(~np.isfinite(x))[0]))
        raise RuntimeFailure(f"{name}[{', '.join(map(str, at))}] is {x[at]}")
    return x


def check_labels(y: Numbers, samples: int, classes: int | None = None) -> NDArray[np.int64]:
    """Labels `y` as class numbers, one a sample, of `classes` if that is known.

    Whole numbers of any type are labels. RuntimeFailure names the first that is not.
    """
    if y.shape != (samples,):
        what = f"y has shape {list(y.shape)}; it must be [{samples}], one a sample"
        if y.ndim == 2 and len(y) == samples and y.dtype.kind in "biuf":
            how = "y[:, 0]" if y.shape[1] == 1 else "one-hot labels: y.argmax(1)"
            what = f"{what} ({how})"
        raise RuntimeFailure(what)
    if y.dtype.kind not in "biuf":
        raise RuntimeFailure(f"y holds {y.dtype}; labels must be numbers of classes")
    most = np.iinfo(np.int32).max if classes is None else classes - 1
    with np.errstate(invalid="ignore"):  # a NaN of any kind is no class
        if y.dtype.kind == "f":
            y = y.astype(np.float64)
        wrong = ~((y >= 0) & (y <= most) & (y == np.floor(y)))
    if wrong.any():
        at = int(wrong.argmax())
        known = "classes are" if classes is None else f"the network has {classes},"
        raise RuntimeFailure(f"y[{at}] is {y[at]}, which is no class; {known} numbered from 0")
    return y.astype(np.int64)
