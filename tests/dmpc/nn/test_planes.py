"""Convolutions in front of DMP layers: trained, exported, compiled."""

import re
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import runtime
from dmpc import Options
from dmpc import compile as compile_model
from dmpc.compiler import import_model, to_layers
from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import import_onnx
from dmpc.frontend.forced import tied
from dmpc.frontend.proof import prove
from dmpc.nn import (
    LIF,
    Convolution,
    DMPLayer,
    DMPNetwork,
    Pool,
    QuantizedNetwork,
    export_onnx,
    fit,
    initialise,
    load_weights,
    measure,
    state_ranges,
    to_onnx,
)

PLANES = (2, 7, 8)
CONVS = nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d


def network_of(seed: int = 0, **others: Any) -> DMPNetwork:
    torch.manual_seed(seed)
    front = [
        nn.Conv2d(2, 5, 3, (1, 2), 1),
        nn.AvgPool2d((2, 1)),
        nn.Conv2d(5, 6, 2, padding=1, dilation=(1, 2)),
        nn.Conv2d(6, 4, 3, groups=2),
    ]
    sizes = {"memory": 3, "window": 8.0, "dilation": 2} | others
    return DMPNetwork(PLANES, [10], 3, front=front, lif=LIF(0.5, 2.0), **sizes).eval()


def lively(seed: int = 0) -> DMPNetwork:
    """A network whose layers fire."""
    network = network_of(seed)
    initialise(network, events(24), 0.2)
    return network


def events(samples: int = 6, steps: int = 9) -> Tensor:
    drawn = torch.rand(samples, steps, *PLANES, generator=torch.Generator().manual_seed(2))
    return (drawn < 0.3).float()


@torch.no_grad()
def test_a_front_computes_what_torch_does() -> None:
    network, x = lively(), events()
    first, second = network.dmp_layers[:2]
    conv = nn.Conv2d(2, 5, 3, (1, 2), 1)
    conv.weight, conv.bias = first.fast.weight, first.fast.bias
    current = torch.stack([conv(now) for now in x.unbind(1)], 1)
    spikes = network.run(x).spikes
    assert torch.equal(spikes[0], first.lif(current.flatten(2)))
    planes = spikes[0].unflatten(2, (5, 7, 4))[:, 4]
    conv = nn.Conv2d(5, 6, 2, padding=1, dilation=(1, 2))
    conv.weight, conv.bias = second.fast.weight, second.fast.bias
    wanted = conv(nn.AvgPool2d((2, 1))(planes)).flatten(1)
    assert torch.allclose(second.fast(second.late(spikes[0]))[:, 4], wanted, atol=1e-6)


@torch.no_grad()
def test_a_sequence_equals_its_timesteps_and_planes_may_lie_flat() -> None:
    network, x = lively().double(), events().double()
    run = network.run(x)
    assert torch.equal(network.run(x.flatten(2)).logits, run.logits)
    states, readouts = network.initial_states(len(x)), []
    for now in x.flatten(2).unbind(1):
        y, states = network.step(now, states)
        readouts.append(y)
    assert torch.allclose(network.collect(torch.stack(readouts, 1)), run.logits, atol=1e-12)
    assert all(0.01 < layer.mean() < 0.9 for layer in run.spikes)


@pytest.mark.parametrize("form", ["scan", "step"])
def test_a_file_is_the_network(tmp_path: Path, form: Any) -> None:
    network, x = lively(), events()
    export_onnx(network, tmp_path / "model.onnx", form)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    flat = x.flatten(2).numpy()
    with torch.no_grad():
        wanted = network(x).numpy()
    if form == "scan":
        found = session.run(None, {"x": flat})[0]
    else:
        _, *states = session.get_inputs()
        values = [np.zeros((len(x), state.shape[1]), np.float32) for state in states]
        found = np.zeros_like(wanted)
        for k in range(x.shape[1]):
            feed = {state.name: value for state, value in zip(states, values, strict=True)}
            y, *values = session.run(None, {"x": flat[:, k], **feed})
            found += y / x.shape[1]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    other = network_of(seed=1)
    load_weights(other, tmp_path / "model.onnx")
    with torch.no_grad():
        np.testing.assert_array_equal(other(x).numpy(), wanted)


@pytest.mark.parametrize("outputs", [4, 6])  # which fill rows of four lanes, or do not
def test_every_spike_of_the_file_is_held_against_the_compilers(
    tmp_path: Path, outputs: int
) -> None:
    """Plane by plane there, here position by position; one that is told otherwise is found."""
    torch.manual_seed(1)
    conv = nn.Conv2d(2, outputs, 3)
    network = DMPNetwork((2, 5, 6), [4], 2, front=[conv], lif=LIF(0.5, 2.0), alpha=0.5)
    initialise(network, events(8)[:, :, :, :5, :6], 0.2)
    export_onnx(network.eval(), tmp_path / "model.onnx")
    model = import_model(tmp_path / "model.onnx", Options())
    assert prove(model, to_layers(model.graph, Options())).fine
    with torch.no_grad():
        conv.bias[1] += 0.05
    other = to_layers(import_onnx(to_onnx(network)), Options())
    with pytest.raises(ImportFailure, match=r"in timestep \d+ of layer1: neuron \d+ "):
        prove(model, other)


@torch.no_grad()
def test_ties_are_looked_for_in_convolutions_and_currents() -> None:
    """With halves and eighths for weights float32 rounds nothing, so that no charge is a tie."""
    network, x = lively(), events().flatten(2).numpy()
    for parameter in network.parameters():
        parameter.copy_((8 * parameter).round() / 8)
    layers = to_layers(import_onnx(to_onnx(network)), Options())
    assert not tied(layers, x, 1e-9).all()
    assert tied(layers, x, 10.0).all()


def test_nothing_is_said_of_neurons_that_fill_up_rows(tmp_path: Path) -> None:
    export_onnx(lively(), tmp_path / "model.onnx")
    with listening() as said:
        compile_model(tmp_path / "model.onnx", calibration=events().flatten(2).numpy())
    assert [each.rule for each in said if "neurons" in each.message] == []


FRONTS: dict[str, tuple[tuple[int, ...], Callable[[], list[nn.Module]]]] = {
    "maxima between convolutions": (
        PLANES, lambda: [nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2, padding=1)],
    ),
    "maxima that overlap, before a dense layer": (
        PLANES, lambda: [nn.Conv2d(2, 4, 3, 2, 1), nn.MaxPool2d(3, 2, 1)],
    ),
    "means before a dense layer": (PLANES, lambda: [nn.Conv2d(2, 4, 3), nn.AvgPool2d(2)]),
    "means of the input": (PLANES, lambda: [nn.AvgPool2d((1, 2)), nn.Conv2d(2, 4, 3)]),
    "norms": (
        PLANES,
        lambda: [
            nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4),
            nn.AvgPool2d(2), nn.Conv2d(4, 4, 2, groups=4), nn.BatchNorm2d(4, eps=0.1),
        ],
    ),
    "padding in words": (
        PLANES,
        lambda: [nn.Conv2d(2, 4, (2, 3), padding="same"), nn.Conv2d(4, 3, 2, padding="valid")],
    ),
    "one axis": (
        (3, 14),
        lambda: [
            nn.Conv1d(3, 4, 4, 2, 1, dilation=1), nn.BatchNorm1d(4), nn.MaxPool1d(2),
            nn.Conv1d(4, 4, 2, padding="same"), nn.AvgPool1d(3),
        ],
    ),
}  # fmt: skip


def fronted(name: str, seed: int = 0) -> tuple[DMPNetwork, list[nn.Module], Tensor]:
    """A network whose layers fire, its norms those of the data; its modules, and events."""
    planes, front = FRONTS[name]
    torch.manual_seed(seed)
    modules = front()
    network = DMPNetwork(planes, [6], 3, memory=3, window=8.0, front=modules, lif=LIF(0.5, 2.0))
    x = (torch.rand(12, 6, *planes) < 0.3).float()
    initialise(network.eval(), x, 0.2)
    return network, modules, x


def by_torch(network: DMPNetwork, modules: list[nn.Module], x: Tensor) -> Tensor:
    """What the first dense layer reads: the modules, with neurons behind each convolution."""
    layers, values = iter(network.dmp_layers), x
    for module, behind in zip_longest(modules, modules[1:]):
        values = module(values.flatten(0, 1)).unflatten(0, x.shape[:2])
        if isinstance(module, CONVS) and not isinstance(behind, nn.BatchNorm1d | nn.BatchNorm2d):
            values = next(layers).lif(values.flatten(2)).reshape(values.shape)
    return values.flatten(2)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Using padding='same'")  # of torch's own modules
@pytest.mark.parametrize("name", FRONTS)
def test_a_front_of_any_kind_is_what_torch_the_file_and_the_compiler_compute(
    name: str, tmp_path: Path
) -> None:
    network, modules, x = fronted(name)
    run = network.run(x)
    assert all(0.05 < layer.mean() < 0.5 for layer in run.spikes)
    read = network.dmp_layers[-1].late(run.spikes[-2])
    assert torch.allclose(read, by_torch(network, modules, x), atol=1e-6)
    export_onnx(network, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (logits,) = session.run(None, {"x": x.flatten(2).numpy()})
    np.testing.assert_allclose(logits, run.logits, rtol=0, atol=1e-5)
    model = import_model(tmp_path / "model.onnx", Options())
    assert prove(model, to_layers(model.graph, Options())).fine
    other, *_ = fronted(name, seed=1)
    load_weights(other, tmp_path / "model.onnx")
    assert torch.equal(other(x), run.logits)


def test_the_machine_trains_maxima_norms_and_means() -> None:
    """Maxima are a layer of its own there, and a dense layer behind means fills up rows."""
    torch.manual_seed(0)
    front = [nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.MaxPool2d(2)]
    front += [nn.Conv2d(4, 4, 2, padding=1), nn.AvgPool2d(2)]
    network = DMPNetwork(PLANES, [6], 3, front=front, lif=LIF(0.5, 2.0))
    x = events(6, 6)
    initialise(network, x, 0.2)
    quantized = QuantizedNetwork(network, x, Options(target="paper"))
    seen = front[1].running_mean.clone()
    list(fit(quantized, x, torch.arange(6) % 3, epochs=1, learning_rate=1e-3))
    assert torch.equal(front[1].running_mean, seen)
    with torch.no_grad():
        run, floats = quantized.run(x), network.eval().run(x)
    for machine, real in zip(run.spikes, floats.spikes, strict=True):
        assert real.mean() > 0.02
        assert (machine != real).float().mean() < 0.1


def test_new_weights_are_scaled_to_the_data_and_learn() -> None:
    network, x = network_of(), events(24)
    y = torch.arange(24) % 3
    before = [parameter.clone() for parameter in network.parameters()]
    assert len(list(fit(network, x, y, epochs=1, learning_rate=1e-3))) == 1
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert all(0.02 < density < 0.5 for density in measure(network, x, y).densities)
    assert len(state_ranges(network, x)) == len(network.layers) == 4


def test_the_machines_integers_train_it_too(tmp_path: Path) -> None:
    """Spikes stand position by position there, and further outputs fill up rows."""
    x = events(12)
    quantized = QuantizedNetwork(lively(), x, Options(target="paper"))
    list(fit(quantized, x, torch.arange(12) % 3, epochs=1, learning_rate=1e-3))
    quantized.export_onnx(tmp_path / "model.onnx")
    image = compile_model(tmp_path / "model.onnx").image
    flat = x.flatten(2).numpy()
    with torch.no_grad():
        run = quantized.run(x)
        floats = quantized.network.run(x)
    np.testing.assert_allclose(runtime.Program(image, "m").run(flat).logits, run.logits, rtol=1e-6)
    for machine, real in zip(run.spikes, floats.spikes, strict=True):
        assert real.mean() > 0
        assert (machine != real).float().mean() < 0.1


CONV, NORM, MEANS = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.AvgPool2d(2)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: DMPNetwork(112, [4], 2, front=[CONV]), "(channels, lines, columns)"),
        (lambda: DMPNetwork((2, 7), [4], 2, front=[CONV]), "is for 2 axes, planes are [2, 7]"),
        (lambda: DMPNetwork((2, 7, 0), [4], 2, front=[CONV]), "inputs is 0"),
        (lambda: DMPNetwork((3, 7, 8), [4], 2, front=[CONV]), "takes 2 channels, 3 come"),
        (lambda: DMPNetwork((2, 2, 8), [4], 2, front=[CONV]), "has no room in [2, 2, 8]"),
        (lambda: DMPNetwork(PLANES, [4], 2, front=[CONV, nn.ReLU()]), "front holds ReLU()"),
        (lambda: DMPNetwork(PLANES, [4], 2, front=[nn.AvgPool2d(2)]), "front has no nn.Conv2d"),
        (lambda: DMPNetwork(PLANES, [4], 2, front=[nn.MaxPool2d(2), CONV]), "of spikes alone"),
        (lambda: DMPNetwork(PLANES, [4], 2, front=[MEANS, MEANS, CONV]), "front holds AvgPool2d"),
        (lambda: DMPNetwork(PLANES, [4], 2, front=[CONV, MEANS, NORM]), "front holds BatchNorm2d"),
        (lambda: Convolution(PLANES, nn.Conv2d(2, 3, 3, bias=False)), "give it a bias"),
        (lambda: Convolution(PLANES, nn.Conv2d(2, 4, 3), NORM), "as many features as that has"),
        (lambda: Convolution(PLANES, CONV, nn.BatchNorm2d(3, affine=False)), "needs as many"),
        (lambda: Convolution(PLANES, CONV, nn.BatchNorm1d(3)), "is for 1 axes"),
        (
            lambda: Convolution(PLANES, nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")),
            "no zeros around",
        ),
        (lambda: Pool(PLANES, nn.AvgPool2d(2, 1)), "overlaps"),
        (lambda: Pool(PLANES, nn.AvgPool2d(2, ceil_mode=True)), "rounds up"),
        (lambda: Pool(PLANES, nn.MaxPool2d(2, dilation=2)), "leaves gaps"),
        (lambda: Pool(PLANES, nn.MaxPool2d(9)), "has no room in [2, 7, 8]"),
        (
            lambda: DMPLayer(112, 4, convolution=Convolution(PLANES, CONV)),
            "112 inputs and 4 neurons, but the convolution has 112 and 90",
        ),
        (lambda: DMPNetwork((2, 7, 8), [4], 2), "inputs is (2, 7, 8)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(made: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        made()
