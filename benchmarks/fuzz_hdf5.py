"""Damage to HDF5 files: their bytes, their groups, datasets and attributes."""

import contextlib
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

from benchmarks.fuzz_damage import REALS, WORDS, some
from isa.files.apart import Ended, apart

SECONDS = 5.0  # of processor time; undamaged files take milliseconds
MOST = 1 << 20  # elements that are worth reading; a header may state any number
ODD = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)


def damaged_hdf5(random: Random, path: Path) -> None:
    """Change some groups, datasets and attributes of a file, as far as it can be opened.

    What is damaged already may be more than the library survives: then it stays as it is.
    """
    if not h5py.is_hdf5(path):
        return

    def work() -> Any:
        try:
            with h5py.File(path, "r+") as file:
                for _ in range(some(random)):
                    change = _attribute if random.random() < 0.2 else _damage
                    change(random, file)
        except ODD:
            pass  # the library refuses what is damaged already; the reader may meet it all the same
        return random.getstate()

    with contextlib.suppress(Ended):
        random.setstate(apart(work, SECONDS))


def _attribute(random: Random, file: Any) -> None:
    """An attribute of the file or of something in it: gone, of another type, shape or name."""
    places = ["/"]
    file.visit(places.append)
    attributes = file[random.choice(places)].attrs
    names = list(attributes) or ["x"]
    name = random.choice(names)
    match random.randrange(4):
        case 0 if name in attributes:
            del attributes[name]
        case 1 if name in attributes:
            attributes[name + "x"] = attributes[name]
        case _:
            attributes[name] = random.choice((
                "EventData", "", "x" * 300, 0, -1, 2**40, float("nan"), float("inf"), 1e300,
                np.zeros(3), np.zeros((0, 2)), b"\xff", True, h5py.Empty("f"), np.float16(1),
                ["a", "b"], file.ref,
            ))  # fmt: skip


def _damage(random: Random, file: Any) -> None:
    places: list[str] = []
    file.visit(places.append)
    if not places:
        return
    place = random.choice(places)
    match random.randrange(8):
        case 0:
            del file[place]
        case 1:
            file.move(place, place + random.choice(("x", "1", "/x")))
        case 2:
            del file[place]
            file[place] = h5py.SoftLink("/" + random.choice(places))
        case 3:
            del file[place]
            file[place] = h5py.ExternalLink("/etc/hostname", "/x")
        case 4:
            file.copy(random.choice(places), place + "x")
        case _ if isinstance(file[place], h5py.Dataset) and (file[place].size or 0) <= MOST:
            value = odd_array(random, file[place][()])
            del file[place]
            file[place] = value
        case _:
            del file[place]
            file[place] = random.choice((np.zeros(3), "LIF", 1.0, np.zeros((0, 2))))


def odd_array(random: Random, old: Any) -> Any:
    """Another value in place of an array or a text."""
    if isinstance(old, bytes | str) or np.ndim(old) == 0 or old.dtype.kind not in "fiub":
        word = random.choice(WORDS).encode("utf-8", "replace").replace(b"\0", b"").decode()
        return random.choice((word, "LIF", "Linear", "Flatten", "Conv1d", 7, np.zeros(2)))
    array = np.array(old)
    match random.randrange(7):
        case 0:
            return array[..., :-1]
        case 1:
            return array.astype(random.choice(("c8", "i1", "u8", "f2", "?", "S4")))
        case 2:
            return array[None]
        case 3:
            return array.reshape(-1)
        case 4:
            return np.full(array.shape, random.choice(REALS))
        case 5:
            return random.choice((0.5, -1, "text", np.zeros(0), np.zeros((1, 1, 1, 1))))
        case _:
            flat = array.astype(np.float64).reshape(-1)
            if flat.size:
                flat[random.randrange(flat.size)] = random.choice(REALS)
            return flat.reshape(array.shape)
