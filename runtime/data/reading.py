"""Files of samples, by their formats."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isa.interface import Numbers
from isa.kinds import kind_of_file
from runtime.data import aedat, arrays, event_lists, heidelberg, nir_data
from runtime.data.binning import Binning
from runtime.errors import RuntimeFailure
from runtime.npz import check_regular, reading
from runtime.recipes import recipe
from runtime.samples import Samples, check_labels, check_lengths, check_numbers, check_shape

Read = Callable[[Path | str, Binning], tuple[Samples, str]]
"""Samples of a file, not looked at yet; and what is to be said of how they were made."""


@dataclass(frozen=True)
class Format:
    """A format of files: of what kind by their first bytes, and what tells them from others.

    `timed` says whether a file holds events in time, which have to be binned. What plain arrays
    hold those know who saved them: of others it is `told`.
    """

    name: str
    kind: str
    holds: Callable[[Path | str], bool]
    read: Read
    timed: Callable[[Path | str], bool]
    told: bool = True


def _always(path: Path | str) -> bool:
    del path
    return True


def _never(path: Path | str) -> bool:
    del path
    return False


def _events_of_nir(path: Path | str) -> bool:
    return not nir_data.is_gridded(path)


FORMATS = (
    Format("events in .npz", "a zip archive", event_lists.holds, event_lists.read, _always),
    Format(".npz", "a zip archive", _always, arrays.read_npz, _never, told=False),
    Format(".npy", "an .npy file", _always, arrays.read_npy, _never),
    Format("SHD, SSC", "an HDF5 file", heidelberg.holds, heidelberg.read, _always),
    Format("NIRData", "an HDF5 file", nir_data.holds, nir_data.read, _events_of_nir),
    Format("AEDAT4", "an AEDAT file", aedat.holds, aedat.read, _always),
)


def format_of(path: Path | str) -> Format:
    """The format of a file; RuntimeFailure if it has none of those that are known."""
    with reading(str(path)):
        check_regular(path)
        kind = kind_of_file(path)
        found = next((one for one in FORMATS if one.kind == kind and one.holds(path)), None)
    if found is None:
        raise RuntimeFailure(f"{path}: {recipe(path, kind)}")
    return found


def read(path: Path | str, binning: Binning, *, any_length: bool) -> tuple[Samples, str]:
    """The samples in a file, checked, and what is to be told of them; raises RuntimeFailure."""
    known = format_of(path)
    if binning.chosen and not known.timed(path):
        raise RuntimeFailure(
            f"{path}: holds timesteps already; --bin, --channels and --steps are for events in "
            "time (docs/samples.md says how a table of them becomes a list)"
        )
    with reading(str(path)):
        found, said = known.read(path, binning)
    try:
        samples = _checked(found, any_length)
    except RuntimeFailure as error:
        raise RuntimeFailure(f"{path}: {error}") from error
    told = (described(samples), said) if known.told else (said,)
    return samples, "; ".join(filter(None, told))


def _checked(found: Samples, any_length: bool) -> Samples:
    frame = found.x.shape[2:] if found.x.ndim > 3 and 0 not in found.x.shape else ()
    x = check_shape(found.x.reshape(*found.x.shape[:2], -1) if frame else found.x)
    y = None if found.y is None else check_labels(found.y, len(x))
    lengths = None if found.lengths is None else check_lengths(found.lengths, x)
    if lengths is None or (lengths == x.shape[1]).all():
        return Samples(check_numbers(x), y, frame=frame)
    if not any_length:
        raise RuntimeFailure(
            "lengths: its samples differ in length; say any_length=True and pass `lengths` on "
            "with them, or leave them out of the file, and the padding counts as timesteps"
        )
    return Samples(_without_padding(x, lengths), y, lengths, frame)


def _without_padding(x: Numbers, lengths: NDArray[np.int64]) -> Numbers:
    """Samples with nothing behind their lengths, whatever the file holds there."""
    behind = np.arange(x.shape[1])[None, :] >= lengths[:, None]
    if x[behind].any():
        x = x.copy()
        x[behind] = 0
    return x


def described(samples: Samples) -> str:
    """Samples, timesteps, inputs, density and classes in words."""
    x, y, lengths = samples.x, samples.y, samples.lengths
    steps = x.shape[1] if lengths is None else int(lengths.sum())
    last = f"{x.shape[1]}" if lengths is None else f"{lengths.min()} to {lengths.max()}"
    total = (len(x) if lengths is None else 1) * steps * x.shape[2]
    words = [f"{len(x)} samples of {last} timesteps", f"{x.shape[2]} inputs"]
    words += [f"{100 * np.count_nonzero(x) / total:.3g} % active"]
    words += [f"{len(np.unique(y))} classes" if y is not None else "no labels"]
    return ", ".join(words)
