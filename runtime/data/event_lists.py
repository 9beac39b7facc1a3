"""Lists of events in `.npz`: `t`, `x` and, where there are some, `y` and `p`, an element an event.

`t` are microseconds, or seconds where they are no whole numbers. `sample` says which sample each
event is of, where there are several, `labels` their classes, `size` is the sensor's, [width,
height]. The unit of an event is `(p * height + y) * width + x`: frames [p, y, x] as one vector.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.data.binning import Binning, Events, Recordings, binned, whole
from runtime.errors import RuntimeFailure
from runtime.npz import names_in, read_arrays
from runtime.samples import Samples

EVENT = ("t", "x", "y", "p", "sample")
"""Arrays with an element for each event."""
MOST_SAMPLES = 1 << 24


def holds(path: Path | str) -> bool:
    """Whether an `.npz` file holds times."""
    return "t" in names_in(path)


def read(path: Path | str, binning: Binning) -> tuple[Samples, str]:
    """Its samples in timesteps, and what is to be said of them."""
    arrays, held = read_arrays(path, (*EVENT, "labels", "size"))
    if "x" not in arrays:
        raise RuntimeFailure(f"{path}: has times t, and no x; it holds {held}")
    for name in EVENT:
        array = arrays.get(name)
        if array is not None and (array.ndim != 1 or len(array) != len(arrays["t"])):
            raise RuntimeFailure(
                f"{path}: {name} has shape {list(array.shape)}; t, x, y, p and sample hold an "
                f"element for each of {len(arrays['t'])} events"
            )
        if array is not None and name != "t" and array.dtype.kind not in "biu":
            raise RuntimeFailure(f"{path}: {name} holds {array.dtype}; it must be whole numbers")
    units, number = _units(arrays, str(path))
    try:
        times = whole(arrays["t"], 10**3 if arrays["t"].dtype.kind in "iu" else 10**9)
    except RuntimeFailure as error:
        raise RuntimeFailure(f"{path}: t: {error}") from error
    samples, labels = _split(arrays, times, units, str(path)), arrays.get("labels")
    if labels is not None and len(labels) != len(samples):
        raise RuntimeFailure(f"{path}: labels are {len(labels)}, samples {len(samples)}")
    return binned(Recordings(samples, number, labels), binning, str(path))


def _units(arrays: dict[str, NDArray[np.generic]], path: str) -> tuple[NDArray[np.int64], int]:
    """The unit of every event, and how many units there are."""
    x = arrays["x"].astype(np.int64)
    y = arrays["y"].astype(np.int64) if "y" in arrays else np.zeros_like(x)
    p = arrays["p"].astype(np.int64) if "p" in arrays else np.zeros_like(x)
    p = np.where(p < 0, 0, p)  # -1 and 1 are what others call 0 and 1
    if p.max(initial=0) > 1:
        raise RuntimeFailure(f"{path}: p is {p.max()}; a polarity is 0 or 1, or -1 or 1")
    size = arrays.get("size")
    if size is None:
        width, height = int(x.max(initial=0)) + 1, int(y.max(initial=0)) + 1
    elif size.shape == (2,) and size.dtype.kind in "iu" and size.min() > 0:
        width, height = map(int, size)
    else:
        raise RuntimeFailure(f"{path}: size is {size.tolist()}; it must be [width, height]")
    for name, values, most in (("x", x, width), ("y", y, height)):
        wrong = (values < 0) | (values >= most)
        if wrong.any():
            raise RuntimeFailure(
                f"{path}: {name} is {values[wrong.argmax()]}; it must be 0 .. {most - 1}"
            )
    return (p * height + y) * width + x, (2 if "p" in arrays else 1) * height * width


def _split(
    arrays: dict[str, NDArray[np.generic]],
    times: NDArray[np.int64],
    units: NDArray[np.int64],
    path: str,
) -> list[Events]:
    """The events of each sample, in the order in which they stand."""
    if "sample" not in arrays:
        return [Events(times, units)]
    sample = arrays["sample"].astype(np.int64)
    labels = arrays.get("labels")
    count = int(sample.max(initial=-1)) + 1 if labels is None else len(labels)
    if sample.min(initial=0) < 0 or sample.max(initial=0) >= min(max(count, 1), MOST_SAMPLES):
        raise RuntimeFailure(f"{path}: sample must be 0 .. {count - 1}")
    order = np.argsort(sample, kind="stable")
    ends = np.searchsorted(sample[order], np.arange(1, count))
    parts = zip(np.split(times[order], ends), np.split(units[order], ends), strict=True)
    return [Events(*part) for part in parts]
