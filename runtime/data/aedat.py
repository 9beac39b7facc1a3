"""AEDAT4, as event cameras write it: one file is one sample, without a label."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from runtime.data.binning import Binning, Events, Recordings, binned
from runtime.errors import RuntimeFailure
from runtime.samples import Samples


def holds(path: Path | str) -> bool:
    """Whether it is of the version that can be read."""
    with open(path, "rb") as file:
        return file.read(14) == b"#!AER-DAT4.0\r\n"


def read(path: Path | str, binning: Binning) -> tuple[Samples, str]:
    """Its events in timesteps, from the first event on; and what is to be said of them."""
    try:
        import aedat
    except ImportError:
        raise RuntimeFailure(
            f"{path}: AEDAT files need a library (pip install 'dmpc[aedat]')"
        ) from None
    try:
        with _silent():
            decoder = aedat.Decoder(path)
            streams = decoder.id_to_stream()
            packets = [packet for packet in decoder if "events" in packet]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # its decoder panics on some damaged files
        raise RuntimeFailure(f"{path}: damaged, or no AEDAT4 file: {error}") from error
    used = {packet["stream_id"] for packet in packets}
    if len(used) != 1:
        raise RuntimeFailure(f"{path}: holds {len(used)} streams of events; it must be one")
    stream = streams[used.pop()]
    events = np.concatenate([packet["events"] for packet in packets])
    width, height = int(stream["width"]), int(stream["height"])
    t, x, y, p = (events[name].astype(np.int64) for name in ("t", "x", "y", "on"))
    start = t.min(initial=t[0]) if len(t) else 0  # a clock of the camera, or of the world
    recorded = Events((t - start) * 1000, (p * height + y) * width + x)
    return binned(Recordings([recorded], 2 * height * width), binning, str(path))


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing goes to standard error: a decoder that panics writes where no Python can keep it."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
