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
    Convolution,
    DMPLayer,
    DMPNetwork,
    Leak,
    QuantizedNetwork,
    Receptors,
    fit,
    initialise,
    measure,
    state_ranges,
    to_onnx,
)

CURRENTS: dict[str, Any] = {"alpha": (0.8, 0.3), "readout_beta": 0.9, "learn_leaks": True}
SEVERAL: dict[str, Any] = CURRENTS | {"alpha": (0.8, Receptors(0.3, [0.7] * 10))}


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


def test_receptors_have_weights_and_decays_of_their_own() -> None:
    layer = DMPLayer(1, 2, lif=LIF(0.0, 1.0, 10.0), alpha=Receptors(0.5, [0.25, 0.75]))
    with torch.no_grad():
        layer.fast.weight.copy_(torch.tensor([[4.0], [2.0], [-8.0], [1.0]]))
        layer.fast.bias.zero_()
    state, membranes = layer.initial_state(1), []
    for x in (1.0, 0.0, 0.0):
        _, state = layer.step(torch.tensor([[x]]), state)
        membranes.append(state.membrane.tolist()[0])
    # 4 and -8; 2 and -2; 1 and -0.5; of the second neuron 2 and 1; 1 and 0.75; 0.5 and 0.5625
    assert membranes == [[-4.0, 3.0], [0.0, 1.75], [0.5, 1.0625]]
    assert state.synapse.tolist() == [[1.0, 0.5, -0.5, 0.5625]]
    assert layer.slow_path is layer.recurrent is None
    assert DMPLayer(1, 2, 3, 9.0, recurrent=True, alpha=Receptors(0.1, 0.2)).slow.out_features == 4


@pytest.mark.parametrize("receptors", [Receptors(0.2, 0.95), Receptors(0.3, 0.5, 0.7, 0.9)])
@torch.no_grad()
def test_at_the_start_receptors_charge_neurons_alike(receptors: Receptors) -> None:
    network, x = (
        network_of(alpha=receptors, memory=3, window=9.0, recurrent=True),
        events(60, 20, 8),
    )
    initialise(network, x)
    layer = network.dmp_layers[0]
    memory = layer.memory(layer.driving(x).squeeze(2))
    for path, source in ((layer.fast, x), (layer.slow, memory)):
        currents = layer.arriving(path(source) - path.bias)
        charge = Leak("membranes", currents.shape[2], 0.5, learned=False)(currents)
        parts = (charge - charge.mean(dim=(0, 1))).chunk(layer.receptors, dim=2)
        spreads = torch.stack([part.square().mean().sqrt() for part in parts])
        torch.testing.assert_close(spreads, spreads.mean().expand_as(spreads))
    for density in measure(network, x, torch.arange(60) % 3).densities:
        assert 0.02 < density < 0.2


def test_neurons_that_keep_a_current_alone_have_it_for_a_membrane() -> None:
    network = DMPNetwork(3, [2], 2, lif=LIF(0.0, 2.0, 1.1), alpha=0.5)
    layers = to_layers(import_onnx(to_onnx(network)), Options())
    assert [op.kind for op in layers.ops] == ["dense", "lif", "dense"]


@pytest.mark.parametrize(("over_time", "logit"), [("mean", 14 / 3), ("last", 2.0), ("max", 8.0)])
def test_the_answer_of_a_readout_that_leaks(over_time: Any, logit: float) -> None:
    network = DMPNetwork(1, [1], 1, readout_beta=0.5, over_time=over_time)
    readouts = torch.tensor([[[8.0], [0.0], [0.0]]])
    assert network.collect(readouts).item() == pytest.approx(logit)


@pytest.mark.parametrize(("kind", "sizes"), [(CURRENTS, [12, 10, 3]), (SEVERAL, [12, 10, 10, 3])])
def test_leaks_are_learned_within_their_limits(kind: dict[str, Any], sizes: list[int]) -> None:
    network, x, y = network_of(**kind), events(12, 10, 8), torch.arange(12) % 3
    leaks = [module for module in network.modules() if isinstance(module, Leak)]
    assert [len(leak.keep) for leak in leaks] == sizes
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


@pytest.mark.parametrize("kind", [CURRENTS, SEVERAL])
@pytest.mark.parametrize("over_time", ["mean", "last", "max"])
def test_the_gradient_of_leaks_is_near_that_of_the_float_network(
    over_time: Any, kind: dict[str, Any]
) -> None:
    network, x = network_of(recurrent=True, over_time=over_time, **kind).eval(), events(8, 12, 8)
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
        ({"alpha": Receptors(0.5, 1.0)}, r"DMPLayer: alpha is 1\.0; it is what a timestep leaves"),
        ({"alpha": Receptors(0.5, [0.5] * 12)}, r"alpha is \[.*; it is what .* or 10 of them"),
        ({"readout_beta": [0.5, 0.5]}, r"readout_beta is \[0\.5, 0\.5\].* or 3 of them"),
        ({"readout_beta": 0}, "DMPNetwork: readout_beta is 0"),
        ({"over_time": "sum"}, "DMPNetwork: over_time is 'sum'; choose one of"),
    ],
)
def test_what_leaks_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network_of(**wrong)


@pytest.mark.parametrize("number", [0, 5])
def test_the_machine_holds_four_receptors(number: int) -> None:
    with pytest.raises(ValueError, match=f"Receptors: {number} alphas; give one for each receptor"):
        Receptors(*[0.5] * number)


def test_a_convolution_has_one_receptor() -> None:
    convolution = Convolution((1, 4), torch.nn.Conv1d(1, 2, 3))
    with pytest.raises(ValueError, match="alpha is of 2 receptors; a convolution has weights of o"):
        DMPLayer(4, 4, convolution=convolution, alpha=Receptors(0.5, 0.6))
