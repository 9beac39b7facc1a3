"""The families beside DMP: no memory, recurrence, learned delays."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from dmpc import from_torch
from dmpc.compiler import Options, import_model, to_layers
from dmpc.compiler import compile as compile_model
from dmpc.frontend.proof import prove
from dmpc.ir.interpret import interpret
from dmpc.nn import (
    LIF,
    Adaptation,
    AxonalDelays,
    DMPLayer,
    DMPNetwork,
    QuantizedNetwork,
    Receptors,
    export_onnx,
    fit,
    load_weights,
    measure,
    parameter_count,
)
from dmpc.verification import verify

RAISED = Adaptation("threshold", 0.9, 0.3, learned=True)
PULLED = Adaptation("current", 0.8, 0.3, 0.1, learned=True)
FAMILIES: dict[str, dict[str, Any]] = {
    "fsnn": {},
    "rsnn": {"recurrent": True},
    "dsnn": {"delays": 5},
    "dmp": {"memory": 3, "window": 8.0},
    "currents": {"recurrent": True, "alpha": (0.8, 0.3), "readout_beta": 0.9, "learn_leaks": True},
    "slow currents": {"memory": 3, "window": 8.0, "alpha": 0.7, "dilation": 2, "over_time": "last"},
    "linear drive": {"memory": 3, "window": 8.0, "linear_drive": True},
    "everything": {"memory": 3, "window": 8.0, "recurrent": True, "delays": 4, "dilation": 2},
    "raised": {"recurrent": True, "lif": LIF(0.7, 2.0, 1.0, None, adaptation=RAISED)},
    "pulled": {"alpha": 0.5, "lif": LIF(0.6, None, 0.3, learn_beta=True, adaptation=PULLED)},
    "receptors": {"recurrent": True, "alpha": Receptors(0.8, 0.3), "learn_leaks": True},
    "slow receptors": {"memory": 3, "window": 8.0, "alpha": (Receptors(0.2, 0.5, 0.9), 0.7)},
    "limits": {"recurrent": True, "lif": LIF(0.7, 2.0, 1.0, None, floor=-0.5, ceiling=1.4)},
}
families = pytest.mark.parametrize("family", FAMILIES)


def network_of(family: str, seed: int = 1) -> DMPNetwork:
    torch.manual_seed(seed)
    return DMPNetwork(12, [16, 20], 5, **({"lif": LIF(0.5, 2.0)} | FAMILIES[family])).eval()


def events(*shape: int) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(2)) < 0.3).float()


@families
@torch.no_grad()
def test_a_sequence_equals_its_timesteps(family: str) -> None:
    network = network_of(family).double()
    x = events(6, 30, 12).double()
    run = network.run(x)
    states, readouts, spikes = network.initial_states(6), [], []
    for now in x.unbind(1):
        y, fired, states = network.step_spikes(now, states)
        readouts.append(y)
        spikes.append(fired)
    for i, layer in enumerate(run.spikes):
        assert torch.equal(layer, torch.stack([fired[i] for fired in spikes], dim=1))
        assert 0.01 < layer.mean() < 0.6
    assert torch.allclose(run.logits, network.collect(torch.stack(readouts, 1)), rtol=0, atol=1e-12)


def test_parameters_of_the_families() -> None:
    fast = 12 * 16 + 16 + 16 * 20 + 20 + 20 * 5 + 5
    count = {family: parameter_count(network_of(family)) for family in FAMILIES}
    assert count["fsnn"] == fast
    assert count["rsnn"] == fast + 16 * 16 + 20 * 20
    assert count["dsnn"] == fast + 12 + 16
    assert count["dmp"] == fast + 12 + 1 + 3 * 16 + 16 + 16 + 1 + 3 * 20 + 20


def test_delays_are_whole_in_inference() -> None:
    delays = AxonalDelays(3, 4).eval()
    with torch.no_grad():
        delays.delay.copy_(torch.tensor([0.4, 1.6, 9.0]))
    x = torch.arange(1.0, 22.0).reshape(1, 7, 3)
    late = delays(x)[0]
    assert delays.whole().tolist() == [0, 2, 4]
    assert late[:, 0].tolist() == x[0, :, 0].tolist()
    assert late[:, 1].tolist() == [0, 0, *x[0, :5, 1].tolist()]
    assert late[:, 2].tolist() == [0, 0, 0, 0, *x[0, :3, 2].tolist()]


def test_delays_find_the_interval_that_tells() -> None:
    """An event of input 1 comes `d` timesteps after one of input 0; a neuron is to see both."""
    torch.manual_seed(0)
    delays = AxonalDelays(2, 8)
    with torch.no_grad():
        delays.delay.copy_(torch.tensor([2.0, 4.0]))
    x = torch.zeros(1, 20, 2)
    x[0, 3, 0] = x[0, 8, 1] = 1
    optimizer = torch.optim.Adam(delays.parameters(), lr=0.1)
    for step in range(300):
        delays.sharpen(0.7 * step / 300)
        late = delays(x)[0]
        loss = -(late[:, 0] * late[:, 1]).sum().sqrt()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    earlier, later = delays.whole().tolist()
    assert earlier - later == 5


def test_sharpening() -> None:
    delays = AxonalDelays(1, 40)
    spreads = []
    for progress in (0.0, 0.25, 0.5, 0.6, 0.75, 1.0):
        delays.sharpen(progress)
        spreads.append(delays.spread)
    assert spreads == pytest.approx([20, (20 * 0.23) ** 0.5, 0.23, 0.23, 0, 0])


@families
def test_training_lowers_the_loss_and_delays_stay_in_range(family: str) -> None:
    network, y = network_of(family), torch.arange(20) % 2
    x = events(20, 15, 12) * torch.stack([torch.arange(12) < 6, torch.arange(12) >= 6])[y][:, None]
    losses = list(fit(network, x, y, epochs=12, batch=10, learning_rate=2e-2))
    assert losses[-1] < 0.7 * losses[0]
    for module in network.modules():
        if isinstance(module, AxonalDelays):
            assert module.spread == 0
            assert 0 <= module.delay.min() <= module.delay.max() <= module.longest
    if family != "dsnn":  # it has hardly begun when its delays are rounded
        assert measure(network, x, y).accuracy > 0.8


@families
@torch.no_grad()
@pytest.mark.parametrize("form", ["scan", "step"])
def test_the_exported_file_compiles_to_the_same_network(
    tmp_path: Path, family: str, form: str
) -> None:
    network, x = network_of(family), events(8, 20, 12)
    path = tmp_path / "model.onnx"
    export_onnx(network, path, form)
    run = network.run(x)
    options = Options(readout="mean" if form == "step" else None)
    graph = to_layers(import_model(path, options).graph, options)
    traces = interpret(graph, x.double().numpy(), trace=["layer1.spikes", "layer2.spikes"]).traces
    for layer, spikes in zip(("layer1", "layer2"), run.spikes, strict=True):
        different = traces[f"{layer}.spikes"] != spikes.numpy()
        assert different.mean() < 1e-3  # a tie may round the other way in float32
    if form == "scan":
        session = onnxruntime.InferenceSession(path)
        (logits,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_allclose(logits, run.logits.numpy(), atol=1e-5)
    image = compile_model(path, options=options, calibration=x.numpy()).image
    assert verify(path, image, x.numpy(), options=options, max_drop=100).ok
    other = network_of(family, seed=2)
    load_weights(other, path)
    assert torch.equal(other(x), run.logits)


@pytest.mark.parametrize(
    "family", ["fsnn", "dsnn", "dmp", "everything", "currents", "raised", "limits"]
)
@torch.no_grad()
def test_the_module_itself_imports_as_its_export(tmp_path: Path, family: str) -> None:
    network, x = network_of(family), events(8, 10, 12).numpy()
    export_onnx(network, tmp_path / "model.onnx")
    exported = to_layers(import_model(tmp_path / "model.onnx", Options()).graph, Options())
    model = from_torch(network, x)
    layers = to_layers(model.graph, Options())
    assert prove(model, layers, x).holds
    trace = ["layer1.spikes", "layer2.spikes"]
    ours, theirs = (interpret(graph, x, trace=trace) for graph in (layers, exported))
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-4)
    for name in trace:
        assert np.array_equal(ours.traces[name], theirs.traces[name])
    kinds = [sorted(op.kind for op in graph.ops) for graph in (layers, exported)]
    assert kinds[0] == kinds[1]


@families
def test_quantization_aware_training(tmp_path: Path, family: str) -> None:
    network, x = network_of(family), events(12, 15, 12)
    quantized = QuantizedNetwork(network, x)
    list(fit(quantized, x, torch.arange(12) % 5, epochs=1, batch=6, learning_rate=1e-3))
    run = quantized.run(x)
    quantized.export_onnx(tmp_path / "model.onnx")
    made = compile_model(tmp_path / "model.onnx")
    found = verify(tmp_path / "model.onnx", made.image, x.numpy(), max_drop=100)
    assert found.ok
    parameters = dict(network.named_parameters())
    (run.logits.square().sum()).backward()
    if "layers.0.recurrent.weight" in parameters:
        assert parameters["layers.0.recurrent.weight"].grad.abs().max() > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"memory": 3}, "DMPLayer: 3 memory states, but no window in timesteps"),
        ({"delays": -1}, "DMPLayer: delays is -1; it is a whole number, at least 0"),
    ],
)
def test_what_a_layer_cannot_be(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DMPLayer(3, 4, **wrong)
