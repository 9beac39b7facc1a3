"""Work in a process of its own: what it returns, what it raises, and that it may die or not end."""

import os
import signal

import h5py
import numpy as np
import pytest

from dmpc.errors import ImportFailure
from dmpc.frontend import import_nir
from isa.files import hdf5
from isa.files.apart import Ended, apart
from runtime.errors import RuntimeFailure
from runtime.samples import load_samples


def forever():
    while True:
        pass


def test_what_comes_back():
    assert apart(os.getpid, 5) != os.getpid()
    assert apart(lambda: np.arange(3), 5).tolist() == [0, 1, 2]
    with pytest.raises(ImportFailure, match=r"^here: odd$") as raised:
        apart(lambda: raise_(ImportFailure("odd", where="here")), 5)
    assert raised.value.where == "here"
    with pytest.raises(AttributeError, match="pickle"):
        apart(lambda: lambda: 0, 5)


def raise_(error):
    raise error


def test_what_dies_or_does_not_end():
    with pytest.raises(Ended, match=r"^died of it$"):
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL), 5)
    with pytest.raises(Ended, match=r"^came to no end within 0\.05 s$"):
        apart(forever, 0.05)
    with pytest.raises(Ended, match=r"^asked for more memory than such a file needs$"):
        apart(lambda: bytearray(5 << 30), 5)
    assert apart(lambda: len(np.empty(5 << 30, np.int8)), 5, size=1 << 30) == 5 << 30


def heap_without_end(path):
    """A file in which an object of a global heap is as long as 2^64 bytes: the next is itself."""
    with h5py.File(path, "w") as file:
        file["node/type"] = "LIF"
        file["labels"] = "word"
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16  # number, references, 4 bytes of nothing, size; the word
    data[at + 8 : at + 16] = (2**64 - 16).to_bytes(8, "little")
    path.write_bytes(data)
    return path


def test_a_file_that_the_library_reads_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "SECONDS", 0.1)
    path = heap_without_end(tmp_path / "odd.h5")
    with pytest.raises(ImportFailure, match="the HDF5 library came to no end within 0"):
        import_nir(path)
    with pytest.raises(RuntimeFailure, match=r"odd.h5: "):
        load_samples(path)
