"""Samples of other formats on the command line: how events become timesteps, and what is told."""

import json

import numpy as np
import pytest

from dmpc.cli.check_verb import check
from dmpc.cli.models import check_command
from isa.image import read_image
from runtime.program import Program
from tests.dmpc.cli.conftest import CLASSES, INPUTS, STEPS


@pytest.fixture
def events(files, tmp_path):
    """The samples of the small network as a list of events, a timestep every 2 ms."""
    samples = np.load(files.data)
    sample, step, unit = np.nonzero(samples["x"])
    path = tmp_path / "events.npz"
    np.savez(
        path, t=2000 * step, x=2 * unit, sample=sample, labels=samples["y"], size=[2 * INPUTS, 1]
    )
    return path


BINNED = ("--bin", "2ms", "--channels", INPUTS, "--steps", STEPS)


def test_binned_events_run_as_the_timesteps_that_they_were(files, dmpc, events):
    plain = dmpc("run", files.image, "--input", files.data)
    found = dmpc("run", files.image, "--input", events, *BINNED)
    assert found.stdout == plain.stdout
    assert found.stderr.startswith(f"dmpc: note: {events}: 12 samples of {STEPS} timesteps, ")
    assert found.stderr.endswith(f"% active, {CLASSES} classes\n")


def test_of_two_files_options_are_for_the_one_that_needs_them(files, dmpc, events, tmp_path):
    image = tmp_path / "again.elf"
    result = dmpc("compile", files.model, "--calibration", events, *BINNED, "-o", image)
    assert result.exit_code == 0, result.output
    result = dmpc("quantize", files.model, "--calibration", events, "--input", files.data, *BINNED)
    assert result.exit_code == 0, result.output


def test_options_that_nothing_needs_are_refused(files, dmpc, events):
    assert "holds timesteps already" in dmpc.fails(
        "run", files.image, "--input", files.data, *BINNED
    )
    assert "say how long a timestep is" in dmpc.fails("run", files.image, "--input", events)
    said = dmpc.misused("compile", files.model, "--bin", "2ms")
    assert "--bin, --channels and --steps are for files of samples" in said
    said = dmpc.misused("run", files.image, "--input", events, "--bin", "2")
    assert "'2' is no time; write it as 10ms" in said


def test_a_command_in_a_message_has_them(events):
    words = ["m.onnx", "--calibration", str(events), *map(str, BINNED)]
    with check.make_context("check", words):
        assert check_command("m.onnx") == f"dmpc check m.onnx --calibration {events} " + " ".join(
            map(str, BINNED)
        )


def test_samples_of_different_lengths_are_verified_as_long_as_they_are(files, dmpc, tmp_path):
    """Noise behind a length is no part of a sample; predictions are those of runs of their own."""
    samples = np.load(files.data)
    x, y = samples["x"].copy(), samples["y"]
    lengths = np.array([STEPS, 3, 5, STEPS, 1, 3] * 2)
    for sample, length in zip(x, lengths, strict=True):
        sample[length:] = True
    path = tmp_path / "ragged.npz"
    np.savez(path, x=x, y=y, lengths=lengths)
    result = dmpc("verify", files.model, files.image, "--input", path, "--max-drop", 100)
    assert result.exit_code == 0, result.output
    assert "samples: 12" in result.stdout
    right = [
        Program(read_image(files.image), "a").run(x[n : n + 1, :length]).predictions[0] == y[n]
        for n, length in enumerate(lengths)
    ]
    assert f"integer accuracy: {100 * np.mean(right):.2f} %" in result.stdout


def test_a_calibration_set_whose_samples_differ_in_length(files, dmpc, tmp_path):
    samples = np.load(files.data)
    lengths = np.arange(len(samples["x"])) % STEPS + 1
    path = tmp_path / "ragged.npz"
    np.savez(path, x=samples["x"], y=samples["y"], lengths=lengths)
    for verb in (
        ("compile", "-o", tmp_path / "a.elf"),
        ("check",),
        ("inspect", "--level", "integer"),
        ("inspect", "--ranges"),
        ("quantize", "--report"),
    ):
        result = dmpc(verb[0], files.model, "--calibration", path, *verb[1:])
        assert result.exit_code == 0, result.output
    last = int(lengths[3]) - 1
    schedule = ("inspect", files.image, "--schedule", "--input", path, "--sample", "3")
    assert dmpc(*schedule, "--timestep", str(last)).exit_code == 0
    assert dmpc(*schedule, "--timestep", str(last + 1)).exit_code == 1


def test_ranges_see_nothing_behind_a_length(files, dmpc, tmp_path):
    """Those of samples of different lengths are those of the same samples one by one."""
    x, lengths = np.load(files.data)["x"][:3], np.array([2, STEPS, 4])

    def seen(**arrays):
        np.savez(tmp_path / "x.npz", **arrays)
        options = ("--ranges", "--input", tmp_path / "x.npz", "--json", "-")
        found = json.loads(dmpc("inspect", files.image, *options).stdout)
        return [item["seen"] for item in found["ranges"] if item["seen"]]

    alone = [seen(x=x[n : n + 1, :length]) for n, length in enumerate(lengths)]
    hulls = [np.array(ends) for ends in zip(*alone, strict=True)]
    assert seen(x=x, lengths=lengths) == [[h[:, 0].min(), h[:, 1].max()] for h in hulls]
