"""HDF5 files, read as data: whatever in one would lead elsewhere is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from isa.errors import one_line
from isa.files.hdf5 import read_hdf5
from runtime.errors import RuntimeFailure

if TYPE_CHECKING:
    import h5py

T = TypeVar("T")
MOST = 1 << 28
"""Elements of one dataset."""
ODD = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
"""What libraries raise on contents that they did not expect."""


def read_file(path: Path | str, read: "Callable[[h5py.File], T]") -> T:
    """What `read` makes of an open file; whatever a damaged one raises is a RuntimeFailure."""
    try:
        return read_hdf5(path, read)
    except RuntimeFailure:
        raise
    except ODD as error:
        told = one_line(str(error) or type(error).__name__)[:200]
        raise RuntimeFailure(f"{path}: damaged, or not what it seems: {told}") from error


def member(group: "h5py.Group", name: str, path: Path | str) -> "h5py.Group | h5py.Dataset | None":
    """What a group holds under a name of one or more parts; None if there is nothing.

    RuntimeFailure if it is a link, or stored in another file.
    """
    import h5py

    found: Any = group
    for part in name.split("/"):
        if not isinstance(found, h5py.Group) or part not in found:
            return None
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise RuntimeFailure(f"{path}: {name} is a link, which may lead to any file")
        found = found[part]
    if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
        raise RuntimeFailure(f"{path}: {name} is stored in another file")
    return found


def array(
    group: "h5py.Group", name: str, path: Path | str, kinds: str = "biuf"
) -> NDArray[np.generic] | None:
    """A dataset of numbers; None if there is none of that name."""
    import h5py

    found = member(group, name, path)
    if found is None:
        return None
    if not isinstance(found, h5py.Dataset) or found.size is None or found.dtype.kind not in kinds:
        raise RuntimeFailure(f"{path}: {name} is no array of numbers")
    if found.size > MOST:
        raise RuntimeFailure(f"{path}: {name} has {found.size:,} elements, more than {MOST:,}")
    read: NDArray[np.generic] = np.asarray(found[()])
    return read
