"""Samples from files: what is accepted, and what is said of everything else."""

import numpy as np
import pytest

from runtime import RuntimeFailure, load_samples

X = np.zeros((3, 4, 2))


def refused(path):
    with pytest.raises(RuntimeFailure) as caught:
        load_samples(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float32, np.float64])
def test_samples_of_every_kind_of_number(tmp_path, kind):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=X.astype(kind), y=np.arange(3, dtype=np.uint8))
    loaded = load_samples(path)
    assert (loaded.x.dtype, loaded.x.shape) == (np.dtype(kind), X.shape)
    assert loaded.y.tolist() == [0, 1, 2]
    assert loaded.y.dtype == np.int64


def test_labels_may_be_missing(tmp_path):
    np.savez(tmp_path / "a.npz", x=X)
    assert load_samples(tmp_path / "a.npz").y is None


def with_nan(where):
    x = X.copy()
    x[where] = np.nan
    return x


FAULTS = {
    "no x": ({"data": X, "y": X}, "no array 'x' [samples, timesteps, inputs]; it holds data, y"),
    "empty": ({}, "no array 'x' [samples, timesteps, inputs]; it holds nothing"),
    "rank": (
        {"x": X[0]}, "x has shape [4, 2]; it must be [samples, timesteps, inputs], none of them 0",
    ),
    "no samples": (
        {"x": X[:0]},
        "x has shape [0, 4, 2]; it must be [samples, timesteps, inputs], none of them 0",
    ),
    "NaN": ({"x": with_nan((2, 1, 0))}, "x[2, 1, 0] is nan"),
    "infinite": ({"x": X + np.inf}, "x[0, 0, 0] is inf"),
    "complex": ({"x": X + 0j}, "x holds complex128; it must be bool, integer or float"),
    "text": ({"x": np.full((1, 1, 1), "a")}, "x holds <U1; it must be bool, integer or float"),
    "labels shape": (
        {"x": X, "y": np.zeros((3, 1), int)},
        "y has shape [3, 1]; it must be [3], one a sample",
    ),
    "labels number": (
        {"x": X, "y": np.zeros(2, int)}, "y has shape [2]; it must be [3], one a sample",
    ),
    "labels kind": ({"x": X, "y": np.zeros(3)}, "y holds float64; labels must be integers"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_arrays_that_do_not_fit(tmp_path, fault):
    arrays, message = FAULTS[fault]
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    assert refused(path) == f"{path}: {message}"


def test_a_missing_file(tmp_path):
    path = tmp_path / "none.npz"
    assert refused(path) == f"{path}: cannot read samples: No such file or directory"


def test_a_folder(tmp_path):
    assert refused(tmp_path) == f"{tmp_path}: cannot read samples: Is a directory"


def pickled(path):
    np.savez(path, x=np.array([{"a": 1}], dtype=object))


def cut(path):
    np.savez(path, x=X)
    path.write_bytes(path.read_bytes()[:-40])


def bent(path):
    """One byte of the array is another: the archive's checksum tells."""
    np.savez(path, x=X + 3)
    data = bytearray(path.read_bytes())
    data[150] ^= 255
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x03\x04nothing"),
        lambda path: path.write_text("x = 1\n"),
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00garbage"),
        pickled,
        cut,
        bent,
    ],
    ids=["empty", "zip header", "text", "npy header", "pickled", "cut", "bent"],
)
def test_a_file_of_another_kind(tmp_path, write):
    path = tmp_path / "a.npz"
    write(path)
    assert refused(path) == f"{path}: not an .npz file of plain arrays"


def test_a_plain_npy_file(tmp_path):
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, X)
    assert refused(path) == f"{path}: not an .npz file of plain arrays"
