"""AEDAT4, as event cameras write it: one file is one sample, without a label."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from isa.errors import one_line
from isa.interface import Numbers
from runtime.data.binning import Binning, Events, Recordings, binned
from runtime.errors import RuntimeFailure
from runtime.samples import Samples

DECODER = Path(__file__).with_name("aedat_decoder.py")


def holds(path: Path | str) -> bool:
    """Whether it is of the version that can be read."""
    with open(path, "rb") as file:
        return file.read(14) == b"#!AER-DAT4.0\r\n"


def read(path: Path | str, binning: Binning) -> tuple[Samples, str]:
    """Its events in timesteps, from the first event on; and what is to be said of them."""
    if find_spec("aedat") is None:
        raise RuntimeFailure(f"{path}: AEDAT files need a library (pip install 'dmpc[aedat]')")
    (streams, width, height), (t, x, y, p) = _decoded(path)
    if streams != 1:
        raise RuntimeFailure(f"{path}: holds {streams} streams of events; it must be one")
    start = t.min(initial=t[0]) if len(t) else 0  # a clock of the camera, or of the world
    recorded = Events((t - start) * 1000, (p * height + y) * width + x)
    return binned(Recordings([recorded], 2 * height * width), binning, str(path))


def _decoded(path: Path | str) -> tuple[list[int], Numbers]:
    """Streams, width and height, and the events [4, events], by a process that may die of it."""
    made = subprocess.run(
        [sys.executable, "-P", DECODER, path],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RUST_BACKTRACE": "0"},
    )
    if made.returncode:
        said = made.stderr.decode("utf-8", "replace") if made.returncode > 0 else "its decoder died"
        raise RuntimeFailure(f"{path}: damaged, or no AEDAT4 file: {one_line(said)[:200]}")
    head, _, rows = made.stdout.partition(b"\n")
    return [int(number) for number in head.split()], np.frombuffer(rows, np.int64).reshape(4, -1)
