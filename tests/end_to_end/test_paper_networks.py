"""The networks of the paper's comparison: read as what they are, and their recipes."""

import gzip
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import runtime
from benchmarks.paper import activity, cell, drawn, measured
from dmpc import Options
from dmpc.compiler import to_layers
from dmpc.frontend import import_onnx
from dmpc.nn import parameter_count, to_onnx

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPE = runpy.run_path(str(EXAMPLES / "families" / "paper.py"))
AS_SHD = runpy.run_path(str(EXAMPLES / "spoken_digits" / "as_shd.py"))


@pytest.mark.parametrize(("task", "states", "window"), [("shd", 10, 40), ("smnist-100", 100, 300)])
def test_a_network_is_read_as_a_legendre_memory_of_its_window(task, states, window):
    network = RECIPE["TASKS"][task].network("dmp")
    layers = to_layers(import_onnx(to_onnx(network)), Options())
    memories = [op for op in layers.ops if op.kind == "memory"]
    assert [op.attrs["window"] for op in memories] == [window, window]
    assert all(layers.types[op.results[0]].size == states for op in memories)


def test_sizes_are_the_papers():
    counts = {
        (task, family): parameter_count(RECIPE["TASKS"][task].network(family))
        for task, family in (("shd", "dmp"), ("shd", "rsnn"), ("ssc", "dmp"), ("gesture", "dmp"))
    }
    assert counts["shd", "dmp"] == 40_226
    assert counts["shd", "rsnn"] == 140 * 128 + 3 * 128**2 + 128 * 20 + 2 * 128 + 20
    assert counts["ssc", "dmp"] == 42_161
    assert counts["gesture", "dmp"] == pytest.approx(1.09e6, rel=0.005)


def trained(tmp_path: Path, *arguments: str) -> str:
    try:
        given = [*arguments, "--epochs", "1", "--samples", "8", "--out", str(tmp_path / "made")]
        result = CliRunner().invoke(RECIPE["main"], given, catch_exceptions=False)
    finally:
        torch.set_flush_denormal(False)
    assert result.exit_code == 0, result.output
    return result.stdout


def heard(samples: int, steps: int = 100) -> runtime.Samples:
    x = np.random.default_rng(0).random((samples, steps, 140)) < 0.05
    return runtime.Samples(x, np.arange(samples) % 20)


def heidelberg(folder: Path) -> None:
    for part in ("train", "test"):
        AS_SHD["write"](str(folder / f"shd_{part}.h5"), heard(8).x, np.arange(8))


def mnist(folder: Path) -> None:
    draw = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images = draw.integers(0, 256, (9, 28, 28), np.uint8).tobytes()
        head = bytes([0, 0, 8, 3]) + np.array([9, 28, 28], ">i4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images)
        labels = bytes([0, 0, 8, 1]) + np.array([9], ">i4").tobytes() + bytes(range(9))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


@pytest.mark.filterwarnings("ignore::dmpc.nn.TrainingWarning")
@pytest.mark.parametrize(("task", "write"), [("shd", heidelberg), ("psmnist", mnist)])
def test_a_recipe_trains_on_files_as_they_are_published(tmp_path, task, write):
    write(tmp_path)
    said = trained(tmp_path, task, "--family", "fsnn", "--data", str(tmp_path))
    assert "on 8 samples, " in said
    assert (tmp_path / "made" / f"{task}_fsnn.onnx").exists()


def test_files_of_mnist_become_grey_values_of_one_timestep_each(tmp_path):
    mnist(tmp_path)
    train, test = RECIPE["TASKS"]["smnist"].read(tmp_path)
    assert train.x.shape == test.x.shape == (9, 784, 1)
    assert train.y.tolist() == list(range(9))
    permuted, _ = RECIPE["TASKS"]["psmnist"].read(tmp_path)
    order = np.random.default_rng(0).permutation(784)
    np.testing.assert_array_equal(permuted.x, train.x[:, order])
    assert 0 <= train.x.min() < 0.02 < 0.98 < train.x.max() <= 1


def test_a_stand_in_has_the_timesteps_of_the_task():
    train, test = RECIPE["TASKS"]["smnist"].stand_in()
    assert (train.x.shape[1:], test.x.shape[1:]) == ((784, 1), (784, 1))
    assert train.x.max() == 1


def test_a_row_of_the_table():
    task = replace(RECIPE["TASKS"]["ssc-1"], stand_in=lambda: (heard(6, 30), heard(4, 30)))
    one = drawn("ssc-1", "dsnn", {**RECIPE, "TASKS": {"ssc-1": task}})
    assert (one.shape, one.parameters) == ("140-128-35", 140 * 129 + 128 + 129 * 35)
    found = {"paper": measured(one, "paper")}
    assert activity(one, found).startswith("drawn, 5.1, ")
    cycles, rest = cell(found["paper"]).split(", ")
    assert 100 < float(cycles) < 1000
    assert rest.endswith(" nJ")
