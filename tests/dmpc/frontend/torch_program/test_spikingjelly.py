"""SpikingJelly's neurons, of version 0.0.0.0.14 (unrolled by tracing) and 2.0 (fused operations).

Version 2.0 lives in a folder of its own, which `make test` fills; what needs it runs in a process
of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dmpc.errors import ImportFailure
from dmpc.frontend import from_torch, load_dmpir, open_model
from dmpc.frontend.torch_program.convert import to_onnx
from dmpc.frontend.torch_program.program import example_of, export, untouched
from dmpc.ir.interpret import interpret
from tests.dmpc.frontend.oracle import session
from tests.dmpc.frontend.torch_program import networks

ROOT = Path(__file__).parents[4]
VERSION2 = Path(sys.prefix) / "spikingjelly-2.0"


def with_version2(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    if not VERSION2.is_dir():
        pytest.fail(f"{VERSION2} is missing; make test installs it")
    path = os.pathsep.join(map(str, (VERSION2, ROOT)))
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def version2(tmp_path_factory):
    """The folder that `write_version2` fills."""
    folder = tmp_path_factory.mktemp("version2")
    run = with_version2("-m", "tests.dmpc.frontend.torch_program.write_version2", str(folder))
    assert run.returncode == 0, run.stderr
    return folder


def torch_of(module, x):
    with untouched(module):
        return module(torch.from_numpy(x).float()).numpy()


@pytest.mark.parametrize("name", networks.NODES)
def test_unrolled_neurons_spike_as_torch_does(name):
    module, x = networks.Spiking(name), networks.currents()
    model = to_onnx(export(module, torch.from_numpy(x), name), name)
    (found,) = session(model).run(None, {model.graph.input[0].name: x})
    expected = torch_of(module, x)
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", networks.NODES)
def test_fused_neurons_spike_as_torch_does(version2, name):
    graph = load_dmpir(version2 / f"{name}.dmpir")
    expected = np.load(version2 / f"{name}.npy")
    assert 0.05 < expected.mean() < 0.95
    outputs = interpret(graph, networks.currents(), dtype=np.float32).outputs
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(torch_of(networks.Spiking(name), networks.currents()), expected)


def test_a_tie_fires(version2):
    """Input 2 from membrane 0 with tau 2 charges to 1, exactly the threshold."""
    assert np.load(version2 / "lif.npy")[0, 0].tolist() == [1.0, 0.0, 0.0]
    assert torch_of(networks.Spiking("lif"), networks.currents())[0, 0].tolist() == [1.0, 0.0, 0.0]


def test_the_network_converts_whole():
    network, x = networks.DualPathway(), networks.events(2)
    example = example_of(x, network, time_first=False)
    model = to_onnx(export(network, example, "network"), "network")
    weights = {tensor.name for tensor in model.graph.initializer}
    assert not any("norm" in name for name in weights)  # declared, never applied
    source = model.graph.input[0].name
    (found,) = session(model).run(None, {source: x.astype(np.float32)})
    np.testing.assert_allclose(found, torch_of(network, x), atol=1e-5)


def test_stale_membranes_are_refused_and_the_module_is_left_as_it_was():
    network, x = networks.DualPathway().train(), networks.events(2)
    network(torch.from_numpy(x).float())
    before = network.first.neurons.v.clone()
    with pytest.raises(ImportFailure) as info:
        from_torch(network, x)
    assert str(info.value).startswith("DualPathway: 'first.neurons' still holds 'v' of an earlier")
    assert "reset_net" in str(info.value)
    assert torch.equal(network.first.neurons.v, before)
    assert network.training
    assert network.first.tap is not None


def test_the_time_axis_must_be_the_one_that_was_said(version2):
    said = (version2 / "time_first.txt").read_text("utf-8")
    assert said.startswith("TimeFirst: the module runs over axis 0 of its input in time")
    assert "say --time-first" in said


def test_a_program_of_version_2_needs_it_to_load(version2):
    with pytest.raises(ImportFailure) as info:
        open_model(version2 / "network.pt2")
    said = str(info.value)
    assert said.startswith(f"{version2 / 'network.pt2'}: ")
    assert "SpikingJelly 2" in said
    assert "pip install 'spikingjelly>=2'" in said
