"""The spiking digits and commands of Heidelberg, SHD and SSC, in HDF5.

`spikes/times` and `spikes/units` hold a list for each sample, `labels` a class. Times are seconds.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.data.binning import Binning, Events, Recordings, binned, whole
from runtime.data.hdf5 import array, member, read_file
from runtime.errors import RuntimeFailure
from runtime.samples import Samples

if TYPE_CHECKING:
    import h5py

Array = NDArray[np.generic]
Lists = list[Array]
CHANNELS = 700
"""Channels of the cochlea that the data sets were made with."""


def holds(path: Path | str) -> bool:
    """Whether an HDF5 file is laid out like that."""
    return read_file(path, lambda file: member(file, "spikes", path) is not None)


def read(path: Path | str, binning: Binning) -> tuple[Samples, str]:
    """Its samples in timesteps, and what is to be said of them."""
    times, units, labels = read_file(path, lambda file: _contents(file, path))
    recorded = Recordings(_events(times, units, path), CHANNELS, labels)
    return binned(recorded, binning, str(path))


def _contents(file: "h5py.File", path: Path | str) -> tuple[Lists, Lists, Array | None]:
    """Times, units and labels of each sample, as they are stored."""
    times, units = (_lists(file, f"spikes/{name}", path) for name in ("times", "units"))
    labels = array(file, "labels", path)
    for name, size in (
        ("spikes/units", len(units)),
        ("labels", None if labels is None else len(labels)),
    ):
        if size not in (None, len(times)):
            raise RuntimeFailure(f"{path}: {name} has {size} samples, spikes/times {len(times)}")
    return list(times[()]), list(units[()]), labels


def _lists(file: "h5py.File", name: str, path: Path | str) -> "h5py.Dataset":
    """A dataset of a list of numbers for each sample."""
    import h5py

    found = member(file, name, path)
    if found is None:
        raise RuntimeFailure(f"{path}: has no {name}, as SHD and SSC have")
    inner = isinstance(found, h5py.Dataset) and h5py.check_vlen_dtype(found.dtype)
    if not inner or len(found.shape) != 1 or np.dtype(inner).kind not in "iuf":
        raise RuntimeFailure(f"{path}: {name} is no list of numbers for each sample")
    if len(found) > found.id.get_storage_size():
        raise RuntimeFailure(f"{path}: {name} states {len(found):,} samples, and holds fewer")
    return found


def _events(times: Lists, units: Lists, path: Path | str) -> Iterator[Events]:
    for number, (when, where) in enumerate(zip(times, units, strict=True)):
        if when.shape != where.shape:
            raise RuntimeFailure(
                f"{path}: sample {number} has {len(when)} times and {len(where)} units"
            )
        try:
            yield Events(whole(when, 10**9), where.astype(np.int64))
        except RuntimeFailure as error:
            raise RuntimeFailure(f"{path}: sample {number}: {error}") from error
