"""Lists of free places in HDF5 files that have no end are found before the library follows them."""

import h5py
import numpy as np
import pytest

from dmpc.errors import ImportFailure
from dmpc.frontend import import_nir
from isa.files.local_heaps import BLOCK, HEADER, SIGNATURE, endless_list
from runtime.errors import RuntimeFailure
from runtime.samples import load_samples


def file_with(path, *, circle):
    with h5py.File(path, "w") as file:
        file["node/x"] = np.zeros(3)
    data = bytearray(path.read_bytes())
    at = data.rindex(SIGNATURE)
    _, _, first, start = HEADER.unpack_from(data, at)
    if circle:
        BLOCK.pack_into(data, start + first, first, 16)
    path.write_bytes(data)
    return path


def test_a_list_that_comes_back_to_itself(tmp_path):
    good = file_with(tmp_path / "good.h5", circle=False)
    assert not endless_list(good)
    odd = file_with(tmp_path / "odd.h5", circle=True)
    assert endless_list(odd)
    with pytest.raises(ImportFailure, match="damaged: the names of a group"):
        import_nir(odd)
    with pytest.raises(RuntimeFailure, match=r"odd.h5: damaged, .*: the names of a group"):
        load_samples(odd)


def test_what_lies_outside_of_a_file_is_no_circle(tmp_path):
    path = tmp_path / "cut.h5"
    for tail in (b"", SIGNATURE, SIGNATURE + b"\xff" * 24, SIGNATURE + bytes(24)):
        path.write_bytes(tail)
        assert not endless_list(path)
