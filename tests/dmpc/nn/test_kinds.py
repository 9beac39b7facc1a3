"""Neurons that rest, have a floor, or do not leak: in exports, and in quantized training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dmpc.compiler import compile as compile_model
from dmpc.nn import LIF, DMPNetwork, QuantizedNetwork, export_onnx
from dmpc.nn.dynamics import Limits
from dmpc.verification import verify

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rest": ("rlif", {"reset": -0.2, "refractory": [1, 3, 2, 5, 1, 4]}),
    "floor": ("clif", {"reset": None, "floor": [-0.1, -0.2, 0.0, -0.3, 0.1, -0.1]}),
    "same floor": ("clif", {"reset": -0.2, "floor": -0.1}),
    "ceiling": ("clif", {"reset": None, "ceiling": [0.6, 0.5, 0.9, 0.7, 1.1, 0.6]}),
    "limits": ("clif", {"reset": None, "floor": -0.1, "ceiling": [0.6, 0.5, 0.9, 0.7, 1.1, 0.6]}),
    "no leak": ("lif", {"beta": [1.0, 0.5, 1.0, 1.0, 0.75, 1.0]}),
    "no leak, a floor": ("clif", {"beta": 1.0, "reset": None, "floor": -0.25}),
}


PLAIN: dict[str, Any] = {"beta": 0.75, "gain": 2.0, "threshold": 0.5}


def network_of(kind: str) -> DMPNetwork:
    torch.manual_seed(1)
    return DMPNetwork(4, [6], 3, lif=LIF(**(PLAIN | KINDS[kind][1])), alpha=0.5)


def samples() -> Tensor:
    return torch.randint(0, 2, (16, 7, 4), generator=torch.Generator().manual_seed(2)).float()


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_recognised_and_verified(kind: str, tmp_path: Path) -> None:
    network, x, path = network_of(kind).eval(), samples(), tmp_path / "model.onnx"
    export_onnx(network, path)
    made = compile_model(path, calibration=x.numpy())
    assert [op.kind for op in made.layers.ops] == ["dense", "li", KINDS[kind][0], "dense"]
    labels = network(x).argmax(dim=1).numpy()
    found = verify(path, made.image, x.numpy(), labels, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_are_their_timesteps(kind: str) -> None:
    network, x = network_of(kind).eval(), samples()
    states, seen = network.initial_states(len(x)), []
    with torch.no_grad():
        for now in x.unbind(1):
            _, (spikes,), states = network.step_spikes(now, states)
            seen.append(spikes)
        (found,) = network.run(x).spikes
        (other,) = DMPNetwork(4, [6], 3, lif=LIF(0.75, 2.0, 0.5), alpha=0.5).run(x).spikes
    assert torch.equal(torch.stack(seen, dim=1), found)
    assert 0.1 < found.mean() < 0.6
    assert not torch.equal(found, other)


@pytest.mark.parametrize("kind", KINDS)
def test_the_machines_integers_have_the_gradient_of_the_float_network(kind: str) -> None:
    network, x, gradients = network_of(kind).eval(), samples(), []
    quantized = QuantizedNetwork(network, x).eval()
    runs = []
    for trained in (network, quantized):
        network.zero_grad()
        runs.append(trained.run(x))
        runs[-1].logits.square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters()})
    for one, other in zip(*(run.spikes for run in runs), strict=True):
        assert (one != other).float().mean() < 0.02
    for name, expected in gradients[0].items():
        cosine = torch.cosine_similarity(gradients[1][name].flatten(), expected.flatten(), dim=0)
        assert cosine > 0.95, name


def test_a_rounded_floor_is_told_from_a_charge_right_above_it() -> None:
    """In the machine a floor lies beside that of the float network, which must not tell of it."""
    lif = LIF(0.5, 1.0, 1.0, floor=-0.5)
    current = torch.zeros(1, 3, 2, requires_grad=True)
    for floor in (-0.53, -0.47):  # the second neuron is right above it
        charged = torch.tensor([floor, floor + 0.01]).expand(1, 3, 2)
        given = charged, torch.zeros(1, 3, 2)
        spikes = lif.replay(current, *given, limits=Limits(torch.full((2,), floor)))
        (found,) = torch.autograd.grad(spikes.sum(), current)
        assert (found[..., 0] == 0).all()
        assert (found[..., 1] > 0).all()


def test_floors_that_do_nothing_in_the_machine_have_their_gradient() -> None:
    """Neurons that keep nothing of their membranes are plain ones there."""
    torch.manual_seed(1)
    network, x = DMPNetwork(4, [6], 3, lif=LIF(0.0, 2.0, 0.5, floor=-0.1)).eval(), samples()
    gradients = []
    for trained in (network, QuantizedNetwork(network, x).eval()):
        network.zero_grad()
        trained.run(x).logits.square().sum().backward()
        gradients.append(network.layers[0].fast.weight.grad.flatten().clone())
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95
