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
from spikingjelly.clock_driven.neuron import MultiStepLIFNode

import dmpc
from dmpc.compiler import Options, to_layers
from dmpc.errors import ImportFailure
from dmpc.frontend import from_torch, load_dmpir, open_model
from dmpc.frontend.torch_program.program import export, untouched
from dmpc.ir.interpret import interpret
from dmpc.verification import verify
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


@pytest.mark.parametrize("part", ["first", ""], ids=["first layer", "all"])
def test_pruned_networks_answer_as_torch_does(part):
    module = networks.DualPathway()
    with torch.no_grad():
        for parameter in module.get_submodule(part).parameters():
            parameter.zero_()
    x = (np.random.default_rng(2).random((3, networks.STEPS, networks.INPUTS)) < 0.4).astype(float)
    layers = to_layers(from_torch(module, x).graph, Options())
    assert [op.kind for op in layers.ops][-2:] == ["lif", "dense"]
    np.testing.assert_allclose(interpret(layers, x).logits, torch_of(module, x), atol=1e-5)


@pytest.mark.parametrize("name", networks.NODES)
def test_unrolled_neurons_spike_as_torch_does(name):
    module, x = networks.Spiking(name), networks.currents()
    expected = torch_of(module, x)
    assert 0.05 < expected.mean() < 0.95
    outputs = interpret(from_torch(module, x).graph, x, dtype=np.float32).outputs
    np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("name", networks.NODES)
def test_fused_neurons_spike_as_torch_does(version2, name):
    graph = load_dmpir(version2 / f"{name}.dmpir")
    expected = np.load(version2 / f"{name}.npy")
    assert 0.05 < expected.mean() < 0.95
    outputs = interpret(graph, networks.currents(), dtype=np.float32).outputs
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(torch_of(networks.Spiking(name), networks.currents()), expected)


@pytest.mark.parametrize("name", networks.NODES2)
def test_fused_neurons_of_version_2_alone_count_as_torch_does(version2, name):
    graph, expected = load_dmpir(version2 / f"{name}.dmpir"), np.load(version2 / f"{name}.npy")
    assert expected.max() > 1
    outputs = interpret(graph, networks.currents(), dtype=np.float32).outputs
    np.testing.assert_array_equal(outputs, expected)


def test_a_tie_fires(version2):
    """Input 2 from membrane 0 with tau 2 charges to 1, exactly the threshold."""
    assert np.load(version2 / "lif.npy")[0, 0].tolist() == [1.0, 0.0, 0.0]
    assert torch_of(networks.Spiking("lif"), networks.currents())[0, 0].tolist() == [1.0, 0.0, 0.0]


def assert_same_network(graph, x, logits, spikes):
    """The graph becomes two layers with memory, and every spike is torch's."""
    layers = to_layers(graph, Options(dependency_breaking=False))
    kinds = [op.kind for op in layers.ops]
    assert (kinds.count("memory"), kinds.count("lif"), kinds.count("dense")) == (2, 2, 5)
    windows = [op.attrs["window"] for op in layers.ops if op.kind == "memory"]
    np.testing.assert_allclose(windows, networks.WINDOW, rtol=1e-9)
    names = [op.results[0] for op in layers.ops if op.kind == "lif"]
    result = interpret(layers, x.astype(np.float64), trace=names)
    for name, expected in zip(names, spikes, strict=True):
        assert 0.05 < expected.mean() < 0.95
        np.testing.assert_array_equal(result.traces[name], expected != 0)
    np.testing.assert_allclose(result.logits, logits, atol=1e-5)


def test_the_unrolled_network_spikes_as_torch_does_down_to_the_simulator():
    network, x = networks.DualPathway(), networks.events()
    model = from_torch(network, x)
    logits, spikes = networks.spikes_of(network, x)
    assert_same_network(model.graph, x, logits, spikes)
    assert spikes[0][0].any()  # of the silent sample: its timesteps do work
    assert not any("norm" in name for name in model.graph.constants)  # declared, never applied
    compiled = dmpc.compile(model, calibration=x)
    labels = logits.argmax(1)
    first, *rest = verify(model, compiled.image, x, labels, max_drop=100).rungs
    assert first.name == "torch ~ float graph"
    assert first.figures["samples_beyond_tolerance"] == 0
    assert all(rung.ok for rung in (first, *rest))


@pytest.mark.parametrize("form", ["module", "program"])
def test_the_fused_network_spikes_as_torch_does(version2, form):
    found = np.load(version2 / "network.npz")
    graph = load_dmpir(version2 / f"{form}.dmpir")
    spikes = [found["first"], found["second"]]
    assert_same_network(graph, networks.events(), found["logits"], spikes)
    np.testing.assert_array_equal(np.load(version2 / f"{form}.npy"), found["logits"])
    logits, unrolled = networks.spikes_of(networks.DualPathway(), networks.events())
    np.testing.assert_array_equal(np.stack(unrolled), np.stack(spikes))
    np.testing.assert_array_equal(logits, found["logits"])


class Classic(torch.nn.Module):
    """The multi-step node of `clock_driven`, which SpikingJelly 2 no longer has."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.fast, self.readout = torch.nn.Linear(networks.INPUTS, 6), torch.nn.Linear(6, 3)
        self.neurons = MultiStepLIFNode(tau=2.0, detach_reset=True)

    def forward(self, x):
        spikes = self.neurons(4 * self.fast(x).permute(1, 0, 2))
        return self.readout(spikes.permute(1, 0, 2)).mean(1)


def test_a_saved_program_of_any_batch_with_the_classic_node(tmp_path):
    network, path, x = Classic().eval(), tmp_path / "any.pt2", networks.events()
    example = torch.zeros(3, networks.STEPS, networks.INPUTS)
    with torch.no_grad(), pytest.warns(UserWarning, match="assigned during export"):
        program = torch.export.export(
            network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    network.neurons.reset()
    torch.export.save(program, path)
    model = open_model(path)
    expected = torch_of(network, x)
    np.testing.assert_array_equal(model.reference.logits(x), expected)
    np.testing.assert_allclose(interpret(model.graph, x).logits, expected, atol=1e-6)


def test_a_program_traced_on_one_sample_whose_squeeze_took_the_batch_axis_is_told_so(tmp_path):
    network, path = networks.DualPathway(), tmp_path / "one.pt2"
    one = torch.zeros(1, networks.STEPS, networks.INPUTS)
    torch.export.save(export(network, one, "network"), path)
    with pytest.raises(ImportFailure) as info:
        open_model(path)
    assert str(info.value).startswith(f"{path}: mean")
    assert "classes" in str(info.value)
    assert "squeeze without an axis" in str(info.value)


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
