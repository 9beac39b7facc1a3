"""Samples from an `.npz` file, checked before anything runs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isa.interface import Numbers
from runtime.errors import RuntimeFailure
from runtime.npz import read_arrays


@dataclass(frozen=True)
class Samples:
    """`x` [samples, timesteps, inputs], bool, integer or float; labels `y` [samples] if known."""

    x: Numbers
    y: NDArray[np.int64] | None


def load_samples(path: Path | str) -> Samples:
    """The samples in an `.npz` file with `x` and, where known, `y`.

    Raises RuntimeFailure if the file is missing, not an `.npz`, or its arrays do not fit.
    """
    arrays, held = read_arrays(path, ("x", "y"))
    if "x" not in arrays:
        raise RuntimeFailure(f"{path}: no array 'x' [samples, timesteps, inputs]; it holds {held}")
    try:
        x = check_input(arrays["x"])
        return Samples(x, None if "y" not in arrays else check_labels(arrays["y"], len(x)))
    except RuntimeFailure as error:
        raise RuntimeFailure(f"{path}: {error}") from error


def check_input(x: Numbers) -> Numbers:
    """`x` if it is [samples, timesteps, inputs] of finite numbers; else RuntimeFailure."""
    if x.ndim != 3 or 0 in x.shape:
        frames = " (frames: x.reshape(*x.shape[:2], -1))" if x.ndim > 3 and 0 not in x.shape else ""
        raise RuntimeFailure(
            f"x has shape {list(x.shape)}; it must be [samples, timesteps, inputs], none of them "
            f"0{frames}"
        )
    return check_numbers(x)


def check_numbers(x: Numbers) -> Numbers:
    """`x` of any shape if it holds finite numbers; else RuntimeFailure that says where."""
    if x.dtype.kind not in "biuf":
        raise RuntimeFailure(f"x holds {x.dtype}; it must be bool, integer or float")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        at = tuple(map(int, np.argwhere(~np.isfinite(x))[0]))
        raise RuntimeFailure(f"x[{', '.join(map(str, at))}] is {x[at]}")
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
    if y.dtype.kind == "f":
        y = y.astype(np.float64)
    most = np.iinfo(np.int32).max if classes is None else classes - 1
    wrong = ~((y >= 0) & (y <= most) & (y == np.floor(y)))
    if wrong.any():
        at = int(wrong.argmax())
        known = "classes are" if classes is None else f"the network has {classes},"
        raise RuntimeFailure(f"y[{at}] is {y[at]}, which is no class; {known} numbered from 0")
    return y.astype(np.int64)
