"""Quantization-aware training: the machine's integers forward, float gradients back."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

import runtime
from dmpc.compiler import Compiled, Options
from dmpc.compiler import compile as compile_model
from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.nn import (
    LIF,
    Adaptation,
    DMPNetwork,
    QuantizedNetwork,
    Receptors,
    export_onnx,
    fit,
    initialise,
    load_weights,
    measure,
)
from isa.image import image_bytes

ROOT = Path(__file__).parents[3]
INPUTS, CLASSES = 12, 5
RAISED = Adaptation("threshold", 0.9, 0.3, learned=True)
PULLED = Adaptation("current", 0.8, 0.3, 0.1, learned=True)
LEAKS: dict[str, Any] = {"alpha": (0.8, 0.3), "readout_beta": 0.9, "learn_leaks": True}
RECEPTORS = Receptors(0.7, 0.2)


def network_of(
    reset: float | None = 0.0, dilation: int = 1, seed: int = 3, **family: Any
) -> DMPNetwork:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"memory": 4, "window": 9.0, "dilation": dilation, "dropout": 0.5}
    sizes |= {"lif": LIF(0.7, 2.0, 1.1, reset)} | family
    return DMPNetwork(INPUTS, [16, 20], CLASSES, **sizes)


def samples(count: int = 24, *, graded: bool = False) -> Tensor:
    x = torch.rand(count, 20, INPUTS, generator=torch.Generator().manual_seed(1))
    return 2 * x - 0.5 if graded else (x < 0.3).float()


def compiled(quantized: QuantizedNetwork, path: Path) -> Compiled:
    quantized.export_onnx(path)
    return compile_model(path, options=quantized.options)


@pytest.mark.parametrize(
    ("reset", "dilation", "graded", "target"),
    [
        (0.0, 1, False, "paper"),
        (None, 1, False, "pooled"),
        (-0.3, 3, False, "paper"),
        (0.0, 1, True, "paper"),
        (None, 2, True, "pooled"),
    ],
)
def test_spikes_and_logits_are_those_of_the_compiled_program(
    tmp_path: Path, reset: float | None, dilation: int, graded: bool, target: str
) -> None:
    x = samples(graded=graded)
    quantized = QuantizedNetwork(network_of(reset, dilation), x, Options(target=target))
    check_program(quantized, x, tmp_path)


@pytest.mark.parametrize(
    "family",
    [
        {"memory": 0},
        {"memory": 0, "recurrent": True},
        {"memory": 0, "delays": 6},
        {"memory": 0, "recurrent": True, **LEAKS, "over_time": "max"},
        {"dilation": 3, **LEAKS, "over_time": "last"},
        {"lif": LIF(0.7, 2.0, 1.1, None, learn_beta=True, adaptation=RAISED), "recurrent": True},
        {"memory": 0, "lif": LIF(0.7, 2.0, 1.1, adaptation=PULLED), **LEAKS},
        {"recurrent": True, "lif": LIF(0.7, 2.0, 1.1, -0.3, refractory=3), **LEAKS},
        {"recurrent": True, "lif": LIF(0.7, 2.0, 1.1, None, floor=-0.4), **LEAKS},
        {"recurrent": True, "lif": LIF(0.7, 2.0, 1.1, None, floor=-0.4, ceiling=1.5)},
        {"recurrent": True, "alpha": Receptors(0.3, 0.8), "learn_leaks": True},
        {"dilation": 2, "lif": LIF(0.7, 2.0, 1.1, floor=-0.4), "alpha": Receptors(0.9, 0.2, 0.6)},
        {"memory": 0, "alpha": RECEPTORS, "lif": LIF(0.7, 2.0, 1.1, adaptation=PULLED)},
        {"memory": 0, "alpha": RECEPTORS, "lif": LIF(0.7, 2.0, 1.1, None, adaptation=RAISED)},
        {"memory": 0, "alpha": RECEPTORS, "lif": LIF(0.7, 2.0, 1.1, refractory=2)},
    ],
    ids=[
        *("FSNN", "RSNN", "DSNN", "currents", "slow currents", "raised", "pulled", "rest", "floor"),
        *("limits", "receptors", "floored receptors", "pulled receptors", "raised receptors"),
        "resting receptors",
    ],
)
def test_other_families_are_those_of_the_compiled_program(
    tmp_path: Path, family: dict[str, Any]
) -> None:
    check_program(QuantizedNetwork(network_of(**family), samples()), samples(), tmp_path)


@pytest.mark.parametrize(
    "options",
    [Options(weight_bits=4), Options(widths={"layer2": {"weights": 3}})],
    ids=["4 bits", "3 bits in layer2"],
)
def test_chosen_widths_are_those_of_the_compiled_program(tmp_path: Path, options: Options) -> None:
    check_program(QuantizedNetwork(network_of(), samples(), options), samples(), tmp_path)


def check_program(quantized: QuantizedNetwork, x: Tensor, path: Path) -> None:
    """Trained a little, the network computes what its compiled program does."""
    list(fit(quantized, x, torch.arange(len(x)) % CLASSES, epochs=2, batch=8, learning_rate=1e-2))
    run = quantized.run(x)
    assert 0.02 < run.spikes[-1].mean() < 0.9
    program = compiled(quantized, path / "trained.onnx")
    device = runtime.Program(program.image, "trained")
    encoded, _ = device.encode(x.numpy())
    names = ["layer1.spikes", "layer2.spikes"]
    # The scheduled graph equals the simulator in every bit: tests/end_to_end.
    traces = interpret(program.graph, encoded, trace=names).traces
    for name, spikes in zip(names, run.spikes, strict=True):
        np.testing.assert_array_equal(traces[name], spikes.detach().numpy())
    logits = device.run(x.numpy()).logits
    np.testing.assert_allclose(run.logits.detach().numpy(), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reset", [0.0, None])
def test_replayed_spikes_have_the_gradient_of_the_neuron_that_fires_them(
    reset: float | None,
) -> None:
    torch.manual_seed(0)
    lif = LIF(0.7, 2.0, 1.1, reset)
    current = torch.randn(3, 15, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 15, 4, dtype=torch.float64)
    own = lif(current)
    with torch.no_grad():
        charged, _ = lif.dynamics().run(current, None, torch.zeros_like(current[:, 0]))
    replayed = lif.replay(current, charged, own.detach())
    assert torch.equal(replayed, own)
    (expected,) = torch.autograd.grad((own * weight).sum(), current)
    (found,) = torch.autograd.grad((replayed * weight).sum(), current)
    torch.testing.assert_close(found, expected)


def test_the_gradient_is_near_that_of_the_float_network() -> None:
    network, x = network_of().eval(), samples()
    quantized = QuantizedNetwork(network, x).eval()
    gradients = []
    for trained in (network, quantized):
        network.zero_grad()
        trained.run(x).logits.square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters()})
    for name, expected in gradients[0].items():
        found = gradients[1][name]
        assert torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > 0.9, name


def test_training_recovers_what_two_bits_lose(tmp_path: Path) -> None:
    text = (ROOT / "isa/targets/paper.toml").read_text("utf-8")
    narrow = tmp_path / "narrow.toml"
    narrow.write_text(re.sub(r"weight_bits = (8|10|12)\b", "weight_bits = 2", text), "utf-8")
    example = ROOT / "examples/spoken_digits"
    (x, y), (x_test, y_test) = (
        (torch.from_numpy(file["x"]), torch.from_numpy(file["y"]).long())
        for file in (np.load(example / "train.npz"), np.load(example / "test.npz"))
    )
    torch.manual_seed(0)
    network = DMPNetwork(140, [128, 128], 20, memory=10, window=40)
    load_weights(network, example / "model.onnx")
    quantized = QuantizedNetwork(network, x[:100], Options(target=str(narrow)))
    before = measure(quantized, x_test[:200], y_test[:200]).accuracy
    list(fit(quantized, x[:512], y[:512], epochs=1, learning_rate=1e-3))
    after = measure(quantized, x_test[:200], y_test[:200]).accuracy
    assert after > before + 0.05


@pytest.mark.parametrize(
    "family",
    [
        {"memory": 0, "alpha": Receptors(0.9, 0.4), "learn_leaks": True},
        {"memory": 0, "lif": LIF(0.8, None, 1.0, None, floor=-0.5, ceiling=1.6)},
    ],
    ids=["receptors", "limits"],
)
def test_two_bits_learn(family: dict[str, Any]) -> None:
    """Two classes: in each another half of the inputs has three times the other's events."""
    network, y = network_of(seed=5, dropout=0.0, **family), torch.arange(48) % 2
    rates = torch.tensor([0.1, 0.3])[(torch.arange(INPUTS) // 6 == y[:, None]).long()]
    x = torch.rand(48, 20, INPUTS, generator=torch.Generator().manual_seed(1)) < rates[:, None]
    initialise(network, x)
    quantized = QuantizedNetwork(network, x, Options(weight_bits=2))
    before = measure(quantized, x, y).accuracy
    losses = list(fit(quantized, x, y, epochs=12, batch=8, learning_rate=2e-2))
    assert losses[-1] < 0.5 * losses[0]
    assert before < 0.8 < 0.9 < measure(quantized, x, y).accuracy


def moments(text: str) -> str:
    """Ranges with the moments of one layer."""
    empty = '"bounds": {}, "charge": {}, "values": {}, "activity": {}'
    return f'{{"origin": "x", "events": true, "margin": 1, {empty}, "moments": {{"a": {text}}}}}'


def test_ranges_that_a_model_carries_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "trained.onnx"
    quantized = QuantizedNetwork(network_of(), samples())
    for text, problem in [
        ("{}", "origin"),
        ('{"origin": "x", "events": true, "margin": NaN}', "margin"),
        ("not json", "Invalid JSON"),
        (moments('{"size": 2, "triangle": "AAAA"}'), "the triangle has another size"),
        (moments('{"size": 1, "triangle": "AADAfw=="}'), "numbers must be finite"),
    ]:
        export_onnx(quantized.network, path, metadata={"dmpc.ranges": text})
        with pytest.raises(CompileError, match=r"metadata are damaged") as caught:
            compile_model(path)
        assert problem in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_calibration_set_overrules_what_a_model_carries(tmp_path: Path) -> None:
    quantized, path = QuantizedNetwork(network_of(), samples()), tmp_path / "trained.onnx"
    quantized.export_onnx(path)
    assert "quantization-aware" in str(compile_model(path).ranges.origin)
    other = compile_model(path, calibration=samples(5).numpy()).ranges
    assert other.origin == "calibration on 5 samples"


def test_the_file_is_the_same_each_time_and_runs_without_the_ranges(tmp_path: Path) -> None:
    contents = []
    for name in ("one.onnx", "two.onnx"):
        QuantizedNetwork(network_of(), samples()).export_onnx(tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    model = onnx.load(tmp_path / "one.onnx")
    assert [entry.key for entry in model.metadata_props] == ["dmpc.ranges", "dmpc.widths"]


def test_widths_of_training_need_not_be_said_again(tmp_path: Path) -> None:
    x = samples()
    quantized = QuantizedNetwork(network_of(), x, Options(weight_bits=3))
    quantized.export_onnx(tmp_path / "model.onnx")
    told, untold = (
        compile_model(tmp_path / "model.onnx", options=options)
        for options in (quantized.options, Options())
    )
    assert np.abs(untold.graph.constants["layer1.fast.weight"]).max() == 3
    assert image_bytes(untold.image) == image_bytes(told.image)
    assert untold.trained is not None
    assert untold.trained.text.endswith("was trained at: weights of 3 bits")
