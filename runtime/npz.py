"""Arrays from `.npz` and `.npy` files: one boundary around everything that such a file can be."""

import io
import os
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from isa.errors import one_line
from isa.interface import Numbers
from isa.kinds import kind_of_file
from runtime.errors import RuntimeFailure
from runtime.recipes import PAGE, recipe

_HEADER_BYTES = 1 << 14  # more than a header of numbers takes
_CHUNK = 1 << 24
_SHOWN = 8  # names of arrays in a message


def read_arrays(path: Path | str, wanted: tuple[str, ...]) -> tuple[dict[str, Numbers], str]:
    """Those of the `wanted` arrays that an `.npz` file holds, and the names of all it holds.

    Elements are bool, integer or float. Raises RuntimeFailure that names the file and the array,
    and asks for no memory before the array's shape, its bytes and the machine's memory agree.
    """
    with _opened(path) as archive:
        entries = [(entry.filename.removesuffix(".npy"), entry) for entry in archive.infolist()]
        arrays: dict[str, Numbers] = {}
        for name, entry in entries:
            if name in arrays:
                raise RuntimeFailure(f"{path}: holds {name} twice")
            if name in wanted:
                with reading(f"{path}: {name}"):
                    arrays[name] = _member(archive, entry, f"{path}: {name}")
    return arrays, _listed([name for name, _ in entries])


def names_in(path: Path | str) -> list[str]:
    """The names of what an `.npz` file holds; RuntimeFailure as `read_arrays`."""
    with _opened(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_array(path: Path | str) -> Numbers:
    """The array in an `.npy` file; RuntimeFailure as `read_arrays`."""
    with reading(str(path)):
        check_regular(path)
        return _array(lambda: open(path, "rb"), os.path.getsize(path), f"{path}: the array")


@contextmanager
def _opened(path: Path | str) -> Iterator[zipfile.ZipFile]:
    with reading(str(path)):
        check_regular(path)
        kind = kind_of_file(path)
        if kind != "a zip archive":
            raise RuntimeFailure(f"{path}: {recipe(path, kind)}")
        archive = zipfile.ZipFile(path)
    with archive:
        yield archive


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Whatever zipfile, its decompressors and NumPy raise on a damaged file is a RuntimeFailure.

    They raise some twenty kinds of exceptions, and more with every version.
    """
    try:
        yield
    except RuntimeFailure:
        raise
    except OSError as error:
        raise RuntimeFailure(f"{where}: cannot read samples: {error.strerror or error}") from error
    except Exception as error:
        told = one_line(str(error) or type(error).__name__)[:200]
        raise RuntimeFailure(f"{where}: damaged, or not as np.savez writes it: {told}") from error


def check_regular(path: Path | str) -> None:
    """Refuse what is no file with an end: RuntimeFailure; OSError if there is nothing."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise RuntimeFailure(
            f"{path}: cannot read samples: Is a directory; docs/samples.md makes one file of a "
            "folder of recordings"
        )
    if not stat.S_ISREG(mode):
        raise RuntimeFailure(
            f"{path}: cannot read samples: a pipe or device; save them to a file first"
        )


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> Numbers:
    if entry.flag_bits & 1:
        raise RuntimeFailure(f"{where} is encrypted; save it without a password")
    return _array(lambda: archive.open(entry), entry.file_size, where)


def _array(source: Callable[[], IO[bytes]], file_size: int, where: str) -> Numbers:
    """An array from what `source` opens, which is as large as it says."""
    with source() as file:
        start = io.BytesIO(file.read(_HEADER_BYTES))
    shape, fortran, dtype = _header(start)
    if dtype.hasobject:
        raise RuntimeFailure(
            f"{where} holds Python objects, not numbers; lists of events must be binned ({PAGE})"
        )
    if dtype.kind not in "biuf":
        raise RuntimeFailure(f"{where} holds {dtype}; it must be bool, integer or float")
    size, there = prod(shape) * dtype.itemsize, file_size - start.tell()
    if size != there:
        raise RuntimeFailure(
            f"{where} is damaged: {dtype} {list(shape)} is {size} bytes, {there} are there"
        )
    if size > (memory := machine_memory()):
        raise RuntimeFailure(
            f"{where} takes {size / 2**30:.1f} GiB, this machine has {memory / 2**30:.1f} GiB; "
            "save fewer samples, or another type (events as bool)"
        )
    flat = np.empty(prod(shape), dtype)
    raw, done = flat.view(np.uint8), 0
    with source() as file:
        file.read(start.tell())
        while chunk := file.read(min(_CHUNK, size - done) or 1):  # at the end for the checksum
            raw[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
            done += len(chunk)
    if done != size:
        raise RuntimeFailure(f"{where} is damaged: it ends after {done} of {size} bytes")
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    with warnings.catch_warnings(action="ignore"):  # of headers that Python 2 wrote
        if version == (1, 0):
            return npy.read_array_header_1_0(file)
        if version in ((2, 0), (3, 0)):  # 3.0 differs in the names of fields alone
            return npy.read_array_header_2_0(file)
    raise ValueError(f"a format of version {version[0]}.{version[1]}")


def machine_memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _listed(names: list[str]) -> str:
    shown = ", ".join(one_line(name)[:200] for name in names[:_SHOWN]) or "nothing"
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
