"""Samples from files: what is accepted, and what is said of everything else."""

import os
import re
import zipfile
from pathlib import Path
from random import Random

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from runtime import Binning, RuntimeFailure, load_samples, npz

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


def test_frames_are_flat_and_keep_their_axes(tmp_path):
    x = np.random.default_rng(0).random((3, 4, 2, 3, 5))
    np.savez(tmp_path / "a.npz", x=x, lengths=[4, 2, 3])
    np.save(tmp_path / "a.npy", x)
    for name in ("a.npz", "a.npy"):
        loaded = load_samples(tmp_path / name, any_length=True)
        assert loaded.frame == loaded.first(2).frame == (2, 3, 5)
        np.testing.assert_array_equal(loaded.x[0], x[0].reshape(4, 30))
    np.savez(tmp_path / "a.npz", x=X)
    assert load_samples(tmp_path / "a.npz").frame == ()


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
        "y has shape [3, 1]; it must be [3], one a sample (y[:, 0])",
    ),
    "labels number": (
        {"x": X, "y": np.zeros(2, int)}, "y has shape [2]; it must be [3], one a sample",
    ),
    "labels kind": (
        {"x": X, "y": np.array(["a", "b", "c"])}, "y holds <U1; it must be bool, integer or float",
    ),
    "one-hot labels": (
        {"x": X, "y": np.eye(3)},
        "y has shape [3, 3]; it must be [3], one a sample (one-hot labels: y.argmax(1))",
    ),
    "negative label": ({"x": X, "y": np.array([0, 1, -1])}, "y[2] is -1, which is no class; "),
    "half a label": ({"x": X, "y": np.array([0, 1.5, 1])}, "y[1] is 1.5, which is no class; "),
    "NaN label": ({"x": X, "y": np.array([np.nan, 0, 1])}, "y[0] is nan, which is no class; "),
    "signalling NaN label": (
        {"x": X, "y": np.full(3, 0x7FA00000, np.uint32).view(np.float32)},
        "y[0] is nan, which is no class; ",
    ),
    "label beyond int64": (
        {"x": X, "y": np.array([2**64 - 1, 0, 1], np.uint64)},
        "y[0] is 18446744073709551615, which is no class; classes are numbered from 0",
    ),
    "objects": (
        {"x": np.array([[1], [1, 2]], dtype=object)},
        "x holds Python objects, not numbers; lists of events must be binned (docs/samples.md)",
    ),
    "records": (
        {"x": np.zeros((1, 1, 1), "i4,f4")},
        "x holds [('f0', '<i4'), ('f1', '<f4')]; it must be bool, integer or float",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_arrays_that_do_not_fit(tmp_path, fault):
    arrays, message = FAULTS[fault]
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    assert refused(path).startswith(f"{path}: {message}")


def test_a_missing_file(tmp_path):
    path = tmp_path / "none.npz"
    assert refused(path) == f"{path}: cannot read samples: No such file or directory"


def test_a_folder(tmp_path):
    assert refused(tmp_path).startswith(f"{tmp_path}: cannot read samples: Is a directory; docs/")


def test_whole_labels_of_any_type(tmp_path):
    for kind in (bool, np.uint64, np.float16, ">f8"):
        np.savez(tmp_path / "a.npz", x=X, y=np.array([0, 1, 1]).astype(kind))
        assert load_samples(tmp_path / "a.npz").y.tolist() == [0, 1, 1]


def test_order_and_types_of_arrays_are_kept(tmp_path):
    x = np.arange(24).reshape(3, 4, 2)
    for given in (x, np.asfortranarray(x), x.astype(">f4"), x.astype(np.longdouble), x[:, ::2]):
        np.savez_compressed(tmp_path / "a.npz", x=given)
        read = load_samples(tmp_path / "a.npz").x
        assert read.dtype == given.dtype
        assert (read == given).all()
        assert read.flags.writeable


def test_a_name_that_stands_twice(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=X)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x.npy", b"")
    assert refused(path) == f"{path}: holds x twice"


# -- files of other kinds -------------------------------------------------------------------------


def npy(path):
    with path.open("wb") as file:
        np.save(file, X)


FORM = "samples are an .npz of x [samples, timesteps, inputs] and, where known, labels y [samples]"
SAVE = "np.savez('a.npz', x=x, y=labels)"
OTHERS = {
    "empty": (lambda path: path.write_bytes(b""), f"an empty file; {FORM} ({SAVE}"),
    "text": (
        lambda path: path.write_text("0,1\n1,0\n"),
        f"text; {FORM} (x = np.loadtxt('a.dat', delimiter=',').reshape(samples, timesteps, ",
    ),
    "hdf5": (
        lambda path: h5py.File(path, "w").create_dataset("x", data=[1]).file.close(),
        f"an HDF5 file; {FORM} (it holds neither spikes/times, as SHD and SSC do, nor NIRData; ",
    ),
    "matlab": (
        lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(99)),
        f"a MATLAB file; {FORM} (x = scipy.io.loadmat('a.dat')['x']; {SAVE})",
    ),
    "torch": (
        lambda path: zipfile.ZipFile(path, "w").writestr("archive/data.pkl", b"."),
        f"a file of torch.save; {FORM} (x = torch.load('a.dat', weights_only=True).numpy(); ",
    ),
    "unknown": (lambda path: path.write_bytes(b"\xff\x00"), f"not an .npz file; {FORM} ("),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_kind_is_named_with_what_to_do(tmp_path, kind):
    write, message = OTHERS[kind]
    path = tmp_path / "a.dat"
    write(path)
    assert refused(path).startswith(f"{path}: {message}")


def code_of_the_page(*words, page="docs/samples.md"):
    """The block of a page that holds the words, of which there is one."""
    text = (Path(__file__).parents[2] / page).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if all(word in block for word in words)]
    return found


def test_the_pages_recipes_make_samples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(1).random((3, 20, 2)) < 0.3
    np.savetxt("x.csv", x.reshape(-1, 2), delimiter=",")
    scipy.io.savemat("x.mat", {"x": x.astype(float)})
    torch.save(torch.from_numpy(x), "x.pt")
    for words in ("np.loadtxt", "loadmat", "torch.load"):
        Path("samples.npz").unlink(missing_ok=True)
        exec(code_of_the_page(words), {})
        assert (load_samples("samples.npz").x == x).all()


def drawn_events(width, steps, count=40, seed=0):
    """Columns x, y, p, t of events, in the order of time."""
    draw = np.random.default_rng(seed)
    x, y, p = draw.integers(0, [[width], [width], [2]], (3, count))
    return x, y, p, np.sort(draw.integers(0, steps, count))


def frames_of(events, width, step, steps):
    """Timesteps [steps, 2 * width * width] of events, one after the other."""
    made = np.zeros((steps, 2, width, width), bool)
    for x, y, p, t in zip(*events, strict=True):
        made[t // step, p, y, x] = True
    return made.reshape(steps, -1)


def test_the_page_reads_folders_of_raw_events(tmp_path, monkeypatch):
    """As N-MNIST lies on disk: 40 bits an event."""
    monkeypatch.chdir(tmp_path)
    wanted, labels = [], []
    for label, name in ((0, "00002"), (0, "00010"), (7, "00001")):
        events = x, y, p, t = drawn_events(34, 300_000, seed=len(labels))
        file = tmp_path / "Train" / str(label) / f"{name}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        bits = (x << 32) | (y << 24) | (p << 23) | t
        file.write_bytes(b"".join(int(one).to_bytes(5, "big") for one in bits))
        wanted.append(frames_of(events, 34, 5000, 60))
        labels.append(label)
    exec(code_of_the_page("*.bin"), {})
    made = load_samples("samples.npz", binning=Binning(5_000_000, None, 60))
    assert (made.x == np.stack(wanted)).all()
    assert made.y.tolist() == labels
    assert "docs/samples.md" in refused(file)
    assert "docs/samples.md" in refused(tmp_path / "Train")


def test_the_page_reads_tables_of_events(tmp_path, monkeypatch):
    """As tonic keeps the recordings of DVS128 Gesture: x, y, p and milliseconds."""
    monkeypatch.chdir(tmp_path)
    events = drawn_events(128, 90)
    np.save("0.npy", np.stack(events, 1))
    exec(code_of_the_page("0.npy"), {})
    made = load_samples("samples.npz", binning=Binning(10_000_000, None, 9))
    assert (made.x[0] == frames_of(events, 128, 10, 9)).all()
    assert "a table of events: docs/samples.md" in refused(tmp_path / "0.npy")


def test_the_recipe_of_the_gestures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = {}
    for part in ("Train", "Test"):
        for label in (0, 3):
            events = x, y, p, t = drawn_events(128, 4000, seed=len(drawn))
            file = tmp_path / "data/DVSGesture" / f"ibmGesture{part}/user01_led/{label}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, np.stack(events, 1))
            t = (t - t[0]) * 1000 // (t[-1] - t[0] + 1)
            drawn[part, label] = frames_of((x // 4, y // 4, p, t), 32, 1, 1000)
    exec(code_of_the_page("ibmGesture", page="examples/families/README.md"), {})
    for part in ("Train", "Test"):
        made = load_samples(f"{part.lower()}.npz")
        assert made.y.tolist() == [0, 3]
        assert (made.x == np.stack([drawn[part, 0], drawn[part, 3]])).all()


# -- damaged files --------------------------------------------------------------------------------


def archive(path, header=None, data=bytes(192), magic=b"\x93NUMPY\x01\x00"):
    """An `.npz` of zeros [3, 4, 2] whose header's text, data or magic number are others."""
    text = header or "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4, 2), }"
    raw = magic + len(text).to_bytes(2, "little") + text.encode() + data
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("x.npy", raw)


def header(shape="(3, 4, 2)", descr="'<f8'"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def patched(path, at, value):
    """A byte of the entry's header is another, there and in the archive's directory."""
    data = bytearray(path.read_bytes())
    data[at] = data[data.index(b"PK\x01\x02") + at + 2] = value
    path.write_bytes(bytes(data))


def with_byte(at, value):
    def write(path):
        archive(path)
        patched(path, at, value)

    return write


def cut(path):
    archive(path)
    path.write_bytes(path.read_bytes()[:-40])


DAMAGED = {
    "sound": (archive, None),
    "huge": (
        lambda path: archive(path, header("(1000000000, 1000, 700)")),
        "x is damaged: float64 [1000000000, 1000, 700] is 5600000000000000 bytes, 192 are there",
    ),
    "no end of it": (lambda path: archive(path, header(f"({'9' * 4999},)")), "x: damaged, or not"),
    "negative": (lambda path: archive(path, header("(-3, -4, 2)")), "x: damaged, or not as np"),
    "no shape": (lambda path: archive(path, header("'three'")), "x: damaged, or not as np.savez"),
    "a call": (
        lambda path: archive(path, header("exit()")),
        "x: damaged, or not as np.savez writes it: malformed node or string on line 1: <ast.Call o",
    ),
    "nested": (lambda path: archive(path, header("(" * 3000)), "x: damaged, or not as np.savez"),
    "long header": (lambda path: archive(path, header() + " " * 60000), "x: damaged, or not as "),
    "no dtype": (lambda path: archive(path, header(descr="'q?'")), "x: damaged, or not as np"),
    "void": (
        lambda path: archive(path, header("(10**18, 1, 1)".replace("10**18", "1" * 18), "'|V0'")),
        "x holds |V0; it must be bool, integer or float",
    ),
    "too short": (
        lambda path: archive(path, data=bytes(191)),
        "x is damaged: float64 [3, 4, 2] is 192 bytes, 191 are there",
    ),
    "version": (
        lambda path: archive(path, magic=b"\x93NUMPY\x07\x00"),
        "x: damaged, or not as np.savez writes it: a format of version 7.0",
    ),
    "checksum": (with_byte(14, 1), "x: damaged, or not as np.savez writes it: Bad CRC-32 for fil"),
    "encrypted": (with_byte(6, 1), "x is encrypted; save it without a password"),
    "compression": (
        with_byte(8, 99),
        "x: damaged, or not as np.savez writes it: That compression method is not supported",
    ),
    "cut": (cut, "damaged, or not as np.savez writes it: File is not a zip file"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files(tmp_path, kind):
    write, message = DAMAGED[kind]
    path = tmp_path / "a.npz"
    write(path)
    if message is None:
        assert load_samples(path).x.shape == (3, 4, 2)
    else:
        assert refused(path).startswith(f"{path}: {message}")
        assert "0x" not in refused(path)


def test_an_array_beyond_the_machines_memory_is_not_asked_for(tmp_path, monkeypatch):
    archive(tmp_path / "a.npz")
    monkeypatch.setattr(npz, "machine_memory", lambda: 100)
    assert "x takes 0.0 GiB, this machine has 0.0 GiB; save fewer" in refused(tmp_path / "a.npz")


def test_a_pipe_is_no_file_of_samples(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    assert refused(tmp_path / "a.npz").endswith("a pipe or device; save them to a file first")


@pytest.mark.parametrize("seed", range(4))
def test_files_with_a_few_bytes_changed(tmp_path, seed):
    """They load as they were, for bytes that mean nothing, or are refused; nothing else."""
    path, random = tmp_path / "a.npz", Random(seed)
    whole = np.random.default_rng(seed).random((3, 4, 2))
    (np.savez_compressed if seed % 2 else np.savez)(path, x=whole, y=np.arange(3))
    data, refusals = path.read_bytes(), 0
    for _ in range(150):
        path.write_bytes(mutated(data, random))
        said = ""
        try:
            loaded = load_samples(path)
        except RuntimeFailure as error:
            said = str(error)
        if said:
            refusals += 1
            assert said.startswith(f"{path}: ")
            assert said.isprintable()
        else:
            assert (loaded.x == whole).all()
            assert loaded.y is None or loaded.y.tolist() == [0, 1, 2]
    assert refusals > 75


def mutated(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(changed))
        match random.randrange(3):
            case 0:
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                changed[at : at + 4] = random.choice((bytes(4), b"\xff" * 4, b"PK\1\2"))
            case 2:
                del changed[at : at + random.choice((1, 8, 999))]
    return bytes(changed)
