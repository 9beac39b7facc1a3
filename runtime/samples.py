"""Samples from an `.npz` file, checked before anything runs."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isa.interface import Numbers


class RuntimeFailure(Exception):
    """Samples or an image that cannot be run; the message is one line."""


@dataclass(frozen=True)
class Samples:
    """`x` [samples, timesteps, inputs], bool, integer or float; labels `y` [samples] if known."""

    x: Numbers
    y: NDArray[np.int64] | None


def load_samples(path: Path | str) -> Samples:
    """The samples in an `.npz` file with `x` and, where known, `y`.

    Raises RuntimeFailure if the file is missing, not an `.npz`, or its arrays do not fit.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("x", "y") if name in archive}
            names = list(archive)
    except OSError as error:
        raise RuntimeFailure(f"{path}: cannot read samples: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError, KeyError) as error:
        raise RuntimeFailure(f"{path}: not an .npz file of plain arrays") from error
    if "x" not in arrays:
        held = ", ".join(names) or "nothing"
        raise RuntimeFailure(f"{path}: no array 'x' [samples, timesteps, inputs]; it holds {held}")
    try:
        x = check_input(arrays["x"])
        return Samples(x, None if "y" not in arrays else _labels(arrays["y"], len(x)))
    except RuntimeFailure as error:
        raise RuntimeFailure(f"{path}: {error}") from error


def check_input(x: Numbers) -> Numbers:
    """`x` if it is [samples, timesteps, inputs] of finite numbers; else RuntimeFailure."""
    if x.ndim != 3 or 0 in x.shape:
        raise RuntimeFailure(
            f"x has shape {list(x.shape)}; it must be [samples, timesteps, inputs], none of them 0"
        )
    if x.dtype.kind not in "biuf":
        raise RuntimeFailure(f"x holds {x.dtype}; it must be bool, integer or float")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        sample, step, number = np.argwhere(~np.isfinite(x))[0]
        raise RuntimeFailure(f"x[{sample}, {step}, {number}] is {x[sample, step, number]}")
    return x


def _labels(y: Numbers, samples: int) -> NDArray[np.int64]:
    if y.shape != (samples,):
        raise RuntimeFailure(f"y has shape {list(y.shape)}; it must be [{samples}], one a sample")
    if y.dtype.kind not in "biu":
        raise RuntimeFailure(f"y holds {y.dtype}; labels must be integers")
    return y.astype(np.int64)
