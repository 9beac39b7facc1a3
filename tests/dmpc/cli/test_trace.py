"""`dmpc run --trace`: by the name of the file, and refused before anything runs."""

import json

import numpy as np
import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace


def test_the_suffix_says_which_form(files, dmpc):
    vcd, perfetto = files.folder / "a.vcd", files.folder / "a.perfetto-trace"
    told = files.folder / "run.json"
    run = ("run", files.image, "--input", files.data, "--json", told, "--trace")
    dmpc.ok(*run, vcd)
    cycles = [sample["cycles"] for sample in json.loads(told.read_text())["samples"]]
    assert vcd.read_text().splitlines()[-1] == f"#{cycles[0] * 5000}"
    assert vcd.read_text() == dmpc.ok("run", files.image, "--input", files.data, "--trace", "-")
    dmpc.ok(*run, perfetto, "--samples", "3,1:3")
    trace = Trace.FromString(perfetto.read_bytes())
    roots = [
        p.track_descriptor.name for p in trace.packet if p.track_descriptor.HasField("process")
    ]
    assert [name.split(" on ")[0] for name in roots] == ["sample 1", "sample 2", "sample 3"]
    dmpc.ok(*run, perfetto, "--timesteps", "2:4")
    steps = {
        p.track_event.name for p in Trace.FromString(perfetto.read_bytes()).packet
        if p.track_event.name.startswith("timestep ")
    }  # fmt: skip
    assert {"timestep 2", "timestep 3"} <= steps
    assert "timestep 0" not in steps


def test_values_show_on_request(files, dmpc):
    vcd = files.folder / "a.vcd"
    run = ("run", files.image, "--input", files.data, "--trace", vcd)
    dmpc.ok(*run)
    assert " values " not in vcd.read_text()
    dmpc.ok(*run, "--show", "*.spikes", "--show", "*.u")
    (layer,) = {s for s in vcd.read_text().split() if s.endswith("_u")}
    assert f"$scope module {layer} $end" in vcd.read_text()


def test_samples_of_different_lengths_are_as_long_as_they_are(files, dmpc):
    with np.load(files.data) as data:
        x = data["x"]
    padded = files.folder / "padded.npz"
    np.savez(padded, x=x[:2], lengths=[3, len(x[0])])
    told, vcd = files.folder / "run.json", files.folder / "a.vcd"
    dmpc.ok("run", files.image, "--input", padded, "--json", told, "--trace", vcd)
    cycles = json.loads(told.read_text())["samples"][0]["cycles"]
    assert vcd.read_text().splitlines()[-1] == f"#{cycles * 5000}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--trace", "a.json"),
            "a.json: no trace is called .json (write a.vcd for a wave viewer, a",
        ),
        (
            ("--trace", "a.vcd", "--timesteps", "1,3"),
            "timesteps that are chosen follow each other (--timesteps 1:4)",
        ),
        (("--trace", "a.vcd", "--samples", "12"), "there is no sample 12; the last is 11"),
        (
            ("--trace", "a.vcd", "--timesteps", "8:9"),
            "the sample has 8 timesteps, from 0; none of 8",
        ),
        (
            ("--trace", "a.vcd", "--show", "q9"),
            "the program leaves nothing called 'q9'; it leaves ",
        ),
    ],
)
def test_what_cannot_be_traced(options, said, files, dmpc, monkeypatch):
    monkeypatch.chdir(files.folder)
    assert said in dmpc.fails("run", files.image, "--input", files.data, *options)
    assert not (files.folder / "a.vcd").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--samples", "1"), "--samples has no effect without --trace"),
        (
            ("--trace", "a.pftrace", "--show", "e1"),
            "--show has no effect for a Perfetto tra",
        ),
        (
            ("--trace", "a.vcd", "--samples", "4:4"),
            "'4:4' is neither a number from 0 nor a range su",
        ),
        (("--trace", "a.vcd", "--timesteps", "-1"), "'-1' is neither a number"),
    ],
)
def test_what_is_no_usage(options, said, files, dmpc, monkeypatch):
    monkeypatch.chdir(files.folder)
    assert said in dmpc.misused("run", files.image, "--input", files.data, *options)
