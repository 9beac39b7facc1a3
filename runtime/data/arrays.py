"""Arrays of timesteps: `.npz` with names, `.npy` with nothing but samples."""

from pathlib import Path

from runtime.data.binning import Binning
from runtime.errors import RuntimeFailure
from runtime.npz import read_array, read_arrays
from runtime.samples import Samples


def read_npz(path: Path | str, binning: Binning) -> tuple[Samples, str]:
    """`x` and, where known, `y` and `lengths`."""
    del binning
    arrays, held = read_arrays(path, ("x", "y", "lengths"))
    if "x" not in arrays:
        raise RuntimeFailure(f"{path}: no array 'x' [samples, timesteps, inputs]; it holds {held}")
    return Samples(arrays["x"], arrays.get("y"), arrays.get("lengths")), ""


def read_npy(path: Path | str, binning: Binning) -> tuple[Samples, str]:
    """Samples without labels."""
    del binning
    return Samples(read_array(path), None), ""
