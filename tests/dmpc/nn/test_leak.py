"""Leaky integrators: synaptic currents and readouts that leak."""

from typing import Any

import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

from dmpc.compiler import Options, to_layers
from dmpc.frontend import import_onnx
from dmpc.nn import (
    LIF,
    DMPLayer,
    DMPNetwork,
    Leak,
    QuantizedNetwork,
    fit,
    measure,
    state_ranges,
    to_onnx,
)

CURRENTS: dict[str, Any] = {"alpha": (0.8, 0.3), "readout_beta": 0.9, "learn_leaks": True}


def network_of(**kind: Any) -> DMPNetwork:
    torch.manual_seed(1)
    return DMPNetwork(8, [12, 10], 3, lif=LIF(0.5, 2.0), **kind)


def events(*shape: int) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(2)) < 0.3).float()


def test_a_leak_by_hand() -> None:
    leak = Leak("currents", 2, [0.5, 0.25], learned=False)
    x = torch.tensor([[[8.0, 16.0], [0.0, 0.0], [1.0, 1.0]]])
    assert leak(x).tolist() == [[[8.0, 16.0], [4.0, 4.0], [3.0, 2.0]]]


def test_a_current_charges_the_membrane_in_its_timestep() -> None:
    layer = DMPLayer(1, 1, lif=LIF(0.5, 1.0, 10.0), alpha=0.5)
    with torch.no_grad():
        layer.fast.weight.fill_(4.0)
        layer.fast.bias.zero_()
    state, membranes = layer.initial_state(1), []
    for x in (1.0, 0.0, 0.0):
        _, state = layer.step(torch.tensor([[x]]), state)
        membranes.append(state.membrane.item())
    assert membranes == [4.0, 4.0, 3.0]
    network = DMPNetwork(1, [1], 1)
    network.layers[0] = layer
    (found,) = state_ranges(network, torch.tensor([[[1.0], [0.0], [0.0]]]))
    assert str(found) == "membrane 0.0 to 4.0, memory 0.0 to 0.0, current 0.0 to 4.0"


def test_neurons_that_keep_a_current_alone_have_it_for_a_membrane() -> None:
    network = DMPNetwork(3, [2], 2, lif=LIF(0.0, 2.0, 1.1), alpha=0.5)
    layers = to_layers(import_onnx(to_onnx(network)), Options())
    assert [op.kind for op in layers.ops] == ["dense", "lif", "dense"]


@pytest.mark.parametrize(("over_time", "logit"), [("mean", 14 / 3), ("last", 2.0), ("max", 8.0)])
def test_the_answer_of_a_readout_that_leaks(over_time: Any, logit: float) -> None:
    network = DMPNetwork(1, [1], 1, readout_beta=0.5, over_time=over_time)
    readouts = torch.tensor([[[8.0], [0.0], [0.0]]])
    assert network.collect(readouts).item() == pytest.approx(logit)


def test_leaks_are_learned_within_their_limits() -> None:
    network, x, y = network_of(**CURRENTS), events(12, 10, 8), torch.arange(12) % 3
    leaks = [module for module in network.modules() if isinstance(module, Leak)]
    assert [len(leak.keep) for leak in leaks] == [12, 10, 3]
    before = [leak.keep.detach().clone() for leak in leaks]
    list(fit(network, x, y, epochs=2, batch=6, weight_decay=0.5))
    for leak, old in zip(leaks, before, strict=True):
        assert (leak.keep - old).abs().min() > 0
    with torch.no_grad():
        leaks[0].keep.fill_(1.5)  # as the last step of a training may leave it
    assert leaks[0].kept().max().item() == pytest.approx(0.999)
    (written,) = (
        t for t in to_onnx(network).graph.initializer if t.name.endswith("0.synapse.keep")
    )
    assert numpy_helper.to_array(written).max() == pytest.approx(0.999)
    network.train()
    network(x)
    assert leaks[0].keep.max().item() == pytest.approx(0.999)


def test_layers_with_currents_fire_at_the_start() -> None:
    network, x = network_of(recurrent=True, **CURRENTS), events(40, 20, 8)
    losses = list(fit(network, x, torch.arange(40) % 3, epochs=1, learning_rate=1e-9))
    assert losses[0] < 2  # logits of a spread of 0.5 make about log 3
    for density in measure(network, x, torch.arange(40) % 3).densities:
        assert 0.02 < density < 0.2


@pytest.mark.parametrize("over_time", ["mean", "last", "max"])
def test_the_gradient_of_leaks_is_near_that_of_the_float_network(over_time: Any) -> None:
    network, x = (
        network_of(recurrent=True, over_time=over_time, **CURRENTS).eval(),
        events(8, 12, 8),
    )
    gradients = []
    for trained in (network, QuantizedNetwork(network, x).eval()):
        network.zero_grad()
        trained.run(x).logits.square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters()})
    for name, expected in gradients[0].items():
        found = gradients[1][name]
        assert torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > 0.9, name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": torch.tensor(1.0)}, r"DMPLayer: alpha is tensor\(1\.\)"),
        ({"alpha": 1.0}, r"DMPLayer: alpha is 1\.0; it is what a timestep leaves"),
        ({"alpha": ("slow", 0.5)}, "DMPLayer: alpha is 'slow'"),
        ({"alpha": (0.5, float("nan"))}, "DMPLayer: alpha is nan"),
        ({"alpha": (0.5, 0.5, 0.5)}, "DMPNetwork: 3 alphas for 2 layers"),
        ({"readout_beta": [0.5, 0.5]}, r"readout_beta is \[0\.5, 0\.5\].* or 3 of them"),
        ({"readout_beta": 0}, "DMPNetwork: readout_beta is 0"),
        ({"over_time": "sum"}, "DMPNetwork: over_time is 'sum'; choose one of"),
    ],
)
def test_what_leaks_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network_of(**wrong)
