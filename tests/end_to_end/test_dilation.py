"""Dilation from a torch module to counted cycles."""

import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dmpc import Options
from dmpc import compile as compile_network
from dmpc.backend.predict import predict
from dmpc.cli.main import main
from dmpc.ir.interpret import interpret
from dmpc.nn import LIF, DMPNetwork, export_onnx
from dmpc.verification import verify
from isa.image import write_image
from runtime.program import Program
from tests.networks import Layer, Shape, network

X = np.random.default_rng(0).random((12, 23, 12)) < 0.3


def exported(path, dilation, form):
    torch.manual_seed(3)
    lif = LIF(0.5, 2.0)
    network = DMPNetwork(12, [16, 20], 5, memory=4, window=9.0, lif=lif, dilation=dilation).eval()
    export_onnx(network, path, form)
    return network


@pytest.mark.parametrize("form", ["scan", "step"])
@pytest.mark.parametrize("broken", [True, False], ids=["broken", "unbroken"])
@pytest.mark.parametrize("dilation", [3, (1, 10), (23, 2)], ids=str)
def test_torch_onnx_float_graph_and_machine_agree(tmp_path, form, broken, dilation):
    path = tmp_path / "model.onnx"
    network = exported(path, dilation, form)
    made = compile_network(path, calibration=X, options=Options(dependency_breaking=broken))
    with torch.no_grad():
        run = network.run(torch.from_numpy(X.astype(np.float32)))
    names = ["layer1.spikes", "layer2.spikes"]
    found = interpret(made.layers, X.astype(np.float64), trace=names)
    np.testing.assert_allclose(found.logits, run.logits.numpy(), atol=1e-5)
    for name, spikes in zip(names, run.spikes, strict=True):
        assert np.array_equal(found.traces[name], spikes.numpy().astype(bool))
    climbed = verify(path, made.image, X, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in climbed.rungs if not rung.ok]
    program = Program(made.image, "dilated")
    assert predict(made.image, program.encode(X)[0]).tolist() == program.run(X).cycles.tolist()


def test_a_longer_dilation_copies_less_often(tmp_path):
    copies = {}
    for dilation in (1, 2, 23):
        exported(tmp_path / "model.onnx", dilation, "scan")
        image = compile_network(tmp_path / "model.onnx", calibration=X).image
        counts = Program(image, "dilated").run(X).counts
        copies[dilation] = sum(
            number
            for (pc, _, _), number in counts.operations_at.items()
            if image.code[pc].mnemonic == "hold.value"
        )
    words = len(X) * 2 * (4 + 1)  # samples, layers, memory and drive
    assert copies == {1: 0, 2: 12 * words, 23: words}


@pytest.mark.parametrize(("timestep", "periods"), [(0, [3, 10]), (10, [10]), (12, [3]), (13, [])])
def test_the_schedule_shows_a_copy_in_its_timesteps(tmp_path, timestep, periods):
    exported(tmp_path / "model.onnx", (3, 10), "scan")
    options = Options(dependency_breaking=False)
    made = compile_network(tmp_path / "model.onnx", calibration=X, options=options)
    write_image(made.image, tmp_path / "model.elf")
    np.savez(tmp_path / "x.npz", x=X)
    arguments = ["inspect", tmp_path / "model.elf", "--schedule", "--input", tmp_path / "x.npz"]
    arguments += ["--timestep", timestep]
    said = CliRunner(env={"COLUMNS": "200"}).invoke(main, list(map(str, arguments)))
    assert said.exit_code == 0, said.output
    assert [int(n) for n in re.findall(r"hold\.value.*every=(\d+)", said.output)] == periods


@pytest.mark.parametrize("calibration", [None, X], ids=["static", "seen"])
def test_what_was_held_a_timestep_ago_starts_from_zeros(calibration):
    """A slow current that reads the copy before the copy is renewed."""
    layer = Layer(neurons=9, states=4, dilation=3)
    graph = network(Shape(inputs=12, layers=(layer, layer), seed=4))
    for op in graph.ops:
        op.operands = tuple(name.replace(".held.next", ".held") for name in op.operands)
    made = compile_network(graph, calibration=calibration)
    found = verify(graph, made.image, X, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]
    assert sum("clear.value" in line for line in made.graph.listing) == 5  # held, memories, counts
