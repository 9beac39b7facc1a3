"""Samples as people have them: all known formats, binned as tonic does, or refused in a line."""

from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.data.binning import Binning, nanoseconds, whole
from runtime.errors import RuntimeFailure
from runtime.samples import load_samples, told_samples

HERE = Path(__file__).parent / "data"
MS = 10**6
TEN = Binning(10 * MS, steps=100)


def shd(path, samples, labels=None):
    """A file in the layout of SHD: times and units of each sample."""
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (len(samples),), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (len(samples),), h5py.vlen_dtype(np.uint16))
        for number, (when, where) in enumerate(samples):
            times[number], units[number] = np.float16(when), np.uint16(where)
        if labels is not None:
            file["labels"] = np.uint16(labels)
    return path


def refused(path, binning=TEN, **options):
    with pytest.raises(RuntimeFailure) as caught:
        load_samples(path, binning=binning, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


# -- binning ---------------------------------------------------------------------------------------


def frames_of(golden, name):
    shape = golden["shape" + name]
    bits = golden["ms" + name if name else "frames"]
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)


@pytest.mark.parametrize(("ms", "steps"), [(4, 250), (10, 100), (14, 100)])
def test_spikes_are_binned_as_tonic_bins_them(tmp_path, ms, steps):
    golden = np.load(HERE / "tonic_shd.npz")
    ends = np.cumsum(golden["counts"])[:-1]
    parts = zip(np.split(golden["times"], ends), np.split(golden["units"], ends), strict=True)
    path = shd(tmp_path / "shd.h5", list(parts))
    theirs = frames_of(golden, str(ms))
    x = load_samples(path, binning=Binning(ms * MS, steps=steps)).x
    assert x.shape == theirs.shape
    assert x.any()
    assert (x == theirs).all()
    pooled = load_samples(path, binning=Binning(ms * MS, 140, steps)).x
    assert (pooled == theirs.reshape(*theirs.shape[:2], 140, 5).any(3)).all()


def test_camera_events_are_binned_as_tonic_bins_them(tmp_path):
    golden = np.load(HERE / "tonic_events.npz")
    events = {name: golden[name] for name in "txyp"}
    np.savez(tmp_path / "e.npz", size=[16, 12], **events)
    x = load_samples(tmp_path / "e.npz", binning=Binning(5 * MS, steps=12)).x
    assert (x == frames_of(golden, "").reshape(1, 12, -1)).all()


def test_an_event_at_the_end_of_a_bin_is_in_the_next_one(tmp_path):
    path = shd(tmp_path / "a.h5", [([0, 0.25, 0.5, 0.999], [0, 4, 5, 699])], [3])
    samples = load_samples(path, binning=Binning(250 * MS, 140))
    assert np.argwhere(samples.x[0]).tolist() == [[0, 0], [1, 0], [2, 1], [3, 139]]
    assert samples.y.tolist() == [3]


@given(st.integers(1, 400), st.integers(1, 50))
def test_times_in_seconds_fall_into_the_bins_that_they_begin(step, milliseconds):
    """k times dt, in float64, is rarely that number: 0.07 * 1e6 is 70000.00000000001."""
    events = nir.EventData(np.array([[0]]), np.array([[step * milliseconds / 1000]]), 1, 1e3)
    assert whole(events.time[0], 10**9)[0] // (milliseconds * MS) == step


@pytest.mark.filterwarnings("error")
def test_times_beyond_all_numbers():
    with pytest.raises(RuntimeFailure, match="no finite number"):
        whole(np.array([1e300, 1.0]), 10**9)


def test_samples_of_different_lengths(tmp_path):
    path = shd(tmp_path / "a.h5", [([0.015], [7]), ([], []), ([0.099, 0.001], [1, 2])], [0, 1, 2])
    found = load_samples(path, any_length=True, binning=Binning(10 * MS))
    assert found.lengths.tolist() == [2, 1, 10]
    assert found.x.shape == (3, 10, 700)
    assert refused(path, Binning(10 * MS)).startswith("lengths: its samples differ in length")


def test_what_was_read_is_told(tmp_path):
    path = shd(tmp_path / "a.h5", [([0.005, 0.6], [7, 8]), ([0.01], [699])], [4, 19])
    _, told = told_samples(path, binning=Binning(10 * MS, 140, 50))
    assert told == (
        "2 samples of 50 timesteps, 140 inputs, 0.0143 % active, 2 classes; 1 of 3 events come "
        "after their sample's last timestep"
    )
    np.save(tmp_path / "x.npy", np.eye(4)[None])
    assert told_samples(tmp_path / "x.npy")[1] == (
        "1 samples of 4 timesteps, 4 inputs, 25 % active, no labels"
    )
    np.savez(tmp_path / "x.npz", x=np.eye(4)[None])
    assert told_samples(tmp_path / "x.npz")[1] == "", "whoever saved it knows"


@pytest.mark.parametrize(
    ("text", "time"), [("10ms", 10 * MS), ("0.5 ms", MS // 2), ("1s", 10**9), ("4us", 4000)]
)
def test_times(text, time):
    assert nanoseconds(text) == time


@pytest.mark.parametrize("text", ["10", "ms", "-1ms", "0ms", "1e3s", "0.1ns", "9999999999999s", ""])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match=r"is no "):
        nanoseconds(text)


# -- formats ---------------------------------------------------------------------------------------


def test_an_npy_file(tmp_path):
    x = np.random.default_rng(0).random((3, 4, 2))
    np.save(tmp_path / "x.npy", x)
    assert (load_samples(tmp_path / "x.npy").x == x).all()
    np.save(tmp_path / "x.npy", np.array([[{}]]), allow_pickle=True)
    assert refused(tmp_path / "x.npy", None).startswith("the array holds Python objects")
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:40])
    assert refused(tmp_path / "x.npy", None)


def nir_file(path, **observables):
    node = nir.NIRNodeData(observables)
    nir.write_data(path, nir.NIRGraphData({"input": node, "lif": nir.NIRNodeData({})}))
    return path


def test_nir_data(tmp_path):
    events = nir.EventData(
        np.array([[2, 0, -1], [1, -1, -1]]),
        np.array([[0.0, 0.07, np.inf], [0.009, np.inf, np.inf]]), 3, 0.08,
    )  # fmt: skip
    path = nir_file(tmp_path / "e.h5", spikes=events)
    x = load_samples(path, binning=Binning(10 * MS)).x
    assert (x == events.to_time_gridded(0.01).data).all()
    assert x.shape == (2, 8, 3)
    assert refused(path, Binning()).startswith("holds events in time; say how long a timestep is")
    gridded = nir_file(tmp_path / "g.h5", v=nir.TimeGriddedData(x, 0.01))
    assert (load_samples(gridded).x == x).all()
    assert refused(gridded).startswith("holds timesteps already")


def test_nir_data_of_which_nobody_knows_what_is_meant(tmp_path):
    gridded = nir.TimeGriddedData(np.zeros((1, 2, 3), bool), 0.01)
    path = nir_file(tmp_path / "a.h5", spikes=gridded, v=gridded)
    assert refused(path, None).startswith(
        "holds 2 observables (input/spikes, input/v); the samples"
    )
    valued = nir.ValuedEventData(np.zeros((1, 1), int), np.zeros((1, 1)), 3, 1.0, np.ones((1, 1)))
    path = nir_file(tmp_path / "b.h5", spikes=valued)
    assert (
        refused(path) == "input/spikes is ValuedEventData; samples are EventData or TimeGriddedData"
    )


def test_aedat4():
    found = load_samples(HERE / "small.aedat4", binning=Binning(MS))
    assert found.x.shape == (1, 60, 2 * 12 * 16)
    assert found.x.sum() == 200
    assert np.flatnonzero(found.x[0, 0])[0] == 7 * 16 + 8, "(8, 7), off, at the first microsecond"


def test_a_damaged_aedat4(tmp_path):
    (tmp_path / "a.aedat4").write_bytes((HERE / "small.aedat4").read_bytes()[:200])
    assert refused(tmp_path / "a.aedat4")
    whole = (HERE / "small.aedat4").read_bytes()
    at = whole.index(b"attr") + 1  # of its description: its decoder ends the process
    (tmp_path / "c.aedat4").write_bytes(whole[:at] + b"\xc0" + whole[at + 1 :])
    assert refused(tmp_path / "c.aedat4").startswith("damaged, or no AEDAT4 file: ")
    (tmp_path / "b.aedat").write_bytes(b"#!AER-DAT2.0\r\n" + bytes(99))
    assert refused(tmp_path / "b.aedat").startswith("an AEDAT file; samples are")


def events(path, **changed):
    arrays = {"t": [0, 900, 1100, 5000], "x": [0, 1, 2, 3], "y": [0, 0, 1, 1], "p": [0, 1, -1, 1]}
    np.savez(path, **arrays | changed)
    return path


def test_events_of_several_samples(tmp_path):
    path = events(tmp_path / "e.npz", sample=[1, 0, 1, 0], labels=[7, 5], size=[4, 2])
    found = load_samples(path, binning=Binning(MS, steps=6))
    assert found.y.tolist() == [7, 5]
    assert np.argwhere(found.x).tolist() == [[0, 0, 9], [0, 5, 15], [1, 0, 0], [1, 1, 6]]
    seconds = events(tmp_path / "s.npz", t=[0.0, 0.0009, 0.0011, 0.005])
    assert (load_samples(seconds, binning=Binning(MS)).x[0] == found.x.any(0)).all()


BAD = {
    "times": ({"t": [0, -1, 2, 3]}, "t: an event has a time that is negative"),
    "nan": ({"t": [0.0, np.nan, 2, 3]}, "t: an event has a time that is negative, or no finite"),
    "length": ({"x": [1, 2]}, "x has shape [2]; t, x, y, p and sample hold an element for each"),
    "kind": ({"y": [0.5, 1, 1, 1]}, "y holds float64; it must be whole numbers"),
    "polarity": ({"p": [0, 1, 2, 1]}, "p is 2; a polarity is 0 or 1, or -1 or 1"),
    "outside": ({"size": [3, 2]}, "x is 3; it must be 0 .. 2"),
    "size": ({"size": [3]}, "size is [3]; it must be [width, height]"),
    "sample": ({"sample": [0, 1, 2, 3], "labels": [0, 1]}, "sample must be 0 .. 1"),
    "labels": ({"labels": [0, 1]}, "labels are 2, samples 1"),
    "objects": ({"t": np.array([0, None, 1, 2])}, "t holds Python objects, not numbers"),
    "far": ({"t": [0, 1, 2, 10**15]}, "sample 0 takes 100,000,000,001 timesteps of 10ms, more"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_events_that_make_no_sense_are_refused(tmp_path, case):
    changed, message = BAD[case]
    path = events(tmp_path / "e.npz", **changed)
    assert refused(path, Binning(10 * MS)).removeprefix(": ").startswith(message)


def test_heidelberg_files_that_are_damaged_are_refused(tmp_path):
    good = [([0.1], [3]), ([0.2, 0.3], [4, 5])]
    path = shd(tmp_path / "units.h5", [([0.1], [700])])
    assert refused(path) == "sample 0: an event has unit 700; there are 700, from 0"
    path = shd(tmp_path / "odd.h5", good)
    with h5py.File(path, "r+") as file:
        file["spikes/units"][1] = np.uint16([1])
    assert refused(path) == "sample 1 has 2 times and 1 units"
    path = shd(tmp_path / "time.h5", [([np.nan], [3])])
    assert refused(path) == "sample 0: an event has a time that is negative, or no finite number"
    path = shd(tmp_path / "labels.h5", good, [1, 2, 3])
    assert refused(path) == "labels has 3 samples, spikes/times 2"
    path = tmp_path / "flat.h5"
    with h5py.File(path, "w") as file:
        file["spikes/times"], file["spikes/units"] = np.zeros(3), np.zeros(3, int)
    assert refused(path) == "spikes/times is no list of numbers for each sample"
    whole = shd(tmp_path / "cut.h5", good).read_bytes()
    for size in (len(whole) // 3, len(whole) - 100):
        (tmp_path / "cut.h5").write_bytes(whole[:size])
        assert refused(tmp_path / "cut.h5")


def test_what_leads_out_of_a_file_is_refused(tmp_path):
    good = shd(tmp_path / "good.h5", [([0.1], [3])], [1])
    for name, link in {
        "spikes": h5py.ExternalLink(str(good), "spikes"),
        "spikes/times": h5py.SoftLink("/elsewhere"),
        "labels": h5py.ExternalLink(str(good), "labels"),
    }.items():
        path = shd(tmp_path / "link.h5", [([0.1], [3])], [1])
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = link
        assert refused(path) == f"{name} is a link, which may lead to any file"


def test_channels_that_do_not_divide_the_units(tmp_path):
    path = shd(tmp_path / "a.h5", [([0.1], [3])])
    assert refused(path, Binning(10 * MS, 128)) == (
        "700 units do not pool into 128 inputs of as many each; 100 would do (--channels 100)"
    )
