"""HDF5 files, which a library reads that some damaged files end, or that never ends on them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from isa.files.apart import Ended, apart
from isa.files.local_heaps import ENDLESS, endless_list

if TYPE_CHECKING:
    import h5py

T = TypeVar("T")
SECONDS = 10.0
"""Processor time that every file has. Those of samples take tens of megabytes a second."""
PER_BYTE = 1e-6
"""Seconds for each byte beyond that."""


def read_hdf5(path: Path | str, read: "Callable[[h5py.File], T]") -> T:
    """What `read` makes of an open file, with nothing in it that belongs to the library.

    Raises what `read` and h5py raise, and OSError of a file that the library does not survive.
    """
    import h5py

    def work() -> T:
        with h5py.File(path, "r") as file:
            return read(file)

    if endless_list(path):
        raise OSError(ENDLESS)
    try:
        size = os.path.getsize(path)
        return apart(work, SECONDS + PER_BYTE * size, size)
    except Ended as ended:
        raise OSError(f"the HDF5 library {ended}") from None
