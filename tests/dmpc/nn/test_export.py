from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dmpc.nn import LIF, DMPNetwork, export_onnx, load_weights, to_onnx

RESETS = pytest.mark.parametrize("reset", [0.0, -0.3, None], ids=["zero", "value", "soft"])


DILATIONS = pytest.mark.parametrize("dilation", [1, (3, 1), (2, 7)], ids=str)
STATES = ("membrane", "memory", "held", "timestep")


def network_of(
    reset: float | None = 0.0, seed: int = 3, dilation: int | tuple[int, ...] = 1
) -> DMPNetwork:
    torch.manual_seed(seed)
    sizes = {"memory": 4, "window": 9.0, "dropout": 0.5, "dilation": dilation}
    return DMPNetwork(12, [16, 20], 5, lif=LIF(0.5, 2.0, 1.1, reset), **sizes).eval()


def events(*shape: int) -> np.ndarray:
    return (np.random.default_rng(0).random(shape) < 0.3).astype(np.float32)


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@RESETS
@DILATIONS
@pytest.mark.parametrize(("batch", "time"), [(1, 1), (7, 30)])
def test_scan_equals_torch(
    tmp_path: Path,
    reset: float | None,
    dilation: int | tuple[int, ...],
    batch: int,
    time: int,
) -> None:
    network, x = network_of(reset, dilation=dilation), events(batch, time, 12)
    export_onnx(network, tmp_path / "model.onnx")
    (logits,) = session(tmp_path / "model.onnx").run(["logits"], {"x": x})
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-6)


@RESETS
def test_scan_gives_the_spikes_of_torch(tmp_path: Path, reset: float | None) -> None:
    network, x = network_of(reset), events(7, 30, 12)
    # A readout that counts spikes instead of weighing them shows each neuron by itself.
    with torch.no_grad():
        network.readout = torch.nn.Linear(20, 20)
        network.readout.weight.copy_(torch.eye(20))
        network.readout.bias.zero_()
        spikes = network.run(torch.from_numpy(x)).spikes[-1].numpy()
    export_onnx(network, tmp_path / "model.onnx")
    (means,) = session(tmp_path / "model.onnx").run(["logits"], {"x": x})
    counts = np.rint(means * 30)
    np.testing.assert_allclose(means * 30, counts, atol=1e-4)
    assert (counts == spikes.sum(1)).all()
    assert counts.any()


@RESETS
@DILATIONS
def test_step_in_a_loop_equals_torch(
    tmp_path: Path, reset: float | None, dilation: int | tuple[int, ...]
) -> None:
    network, x = network_of(reset, dilation=dilation), events(7, 30, 12)
    export_onnx(network, tmp_path / "step.onnx", form="step")
    runtime = session(tmp_path / "step.onnx")
    kept = [STATES if layer.dilation > 1 else STATES[:2] for layer in network.dmp_layers]
    names = [f"layers.{i}.{state}" for i in (0, 1) for state in kept[i]]
    assert [i.name for i in runtime.get_inputs()] == ["x", *names]
    assert [o.name for o in runtime.get_outputs()] == ["y", *(f"{n}_next" for n in names)]
    states = network.initial_states(7)
    values = [getattr(states[i], name).numpy() for i in (0, 1) for name in kept[i]]
    resets = 0
    for k in range(30):
        feed = dict(zip(names, values, strict=True))
        y, *values = runtime.run(None, {"x": x[:, k], **feed})
        with torch.no_grad():
            expected, spikes, states = network.step_spikes(torch.from_numpy(x[:, k]), states)
        np.testing.assert_allclose(y, expected.numpy(), rtol=0, atol=1e-5)
        expected_states = (getattr(states[i], name) for i in (0, 1) for name in kept[i])
        for value, want in zip(values, expected_states, strict=True):
            np.testing.assert_allclose(value, want.numpy(), rtol=0, atol=1e-5)
        resets += int(spikes[0].sum() * spikes[1].sum() > 0)
    assert resets > 10  # the states agree although both layers fired and were reset


def test_a_tie_fires_in_onnx_too(tmp_path: Path) -> None:
    network = DMPNetwork(1, [1], 1, memory=1, window=4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.dmp_layers[0].fast.weight.fill_(2.0)
        network.readout.weight.fill_(1.0)
    export_onnx(network, tmp_path / "model.onnx")
    below = np.nextafter(np.float32(1), np.float32(0))
    x = np.array([[[1.0]], [[below]]], np.float32)
    (logits,) = session(tmp_path / "model.onnx").run(None, {"x": x})
    assert logits.tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize("form", ["scan", "step"])
def test_same_weights_same_bytes(tmp_path: Path, form: str) -> None:
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        export_onnx(network_of(), path, form)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    export_onnx(network_of(seed=4), paths[1], form)
    assert paths[0].read_bytes() != paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == paths


def test_standard_ops_and_named_nodes() -> None:
    for form, dilation in product(("scan", "step"), (1, 3)):
        model = to_onnx(network_of(dilation=dilation), form)
        assert [o.domain for o in model.opset_import] == [""]
        onnx.checker.check_model(model, full_check=True)
        nodes = list(model.graph.node)
        for node in model.graph.node:
            nodes += [inner for a in node.attribute for inner in a.g.node]
        names = [node.name for node in nodes]
        assert all(names)
        assert len(set(names)) == len(names)
        assert {node.op_type for node in nodes}.isdisjoint({"Dropout", "RandomUniform"})
    axis = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in axis] == ["batch", 12]


def test_exported_weights_load_again(tmp_path: Path) -> None:
    network, other = network_of(seed=3), network_of(seed=4)
    export_onnx(network, tmp_path / "model.onnx")
    load_weights(other, tmp_path / "model.onnx")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_foreign_or_misfit_weights_are_refused(tmp_path: Path) -> None:
    export_onnx(network_of(), tmp_path / "model.onnx")
    wider = DMPNetwork(12, [24, 20], 5, memory=4, window=9)
    with pytest.raises(ValueError, match=r"fast\.weight' has shape \[16, 12\].*\[24, 12\]"):
        load_weights(wider, tmp_path / "model.onnx")
    deeper = DMPNetwork(12, [16, 20, 8], 5, memory=4, window=9)
    with pytest.raises(ValueError, match=r"no initialiser 'layers\.2\."):
        load_weights(deeper, tmp_path / "model.onnx")


def test_bad_exports_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    network = network_of()
    with pytest.raises(ValueError, match="form is 'loop'"):
        export_onnx(network, tmp_path / "model.onnx", "loop")
    with torch.no_grad():
        network.dmp_layers[1].slow.bias[3] = float("nan")
    with pytest.raises(ValueError, match=r"layers\.1\.slow\.bias' holds NaN"):
        export_onnx(network, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        export_onnx(network_of(), tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
