"""New networks fire on their data, and learn from it with the defaults."""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from dmpc.nn import LIF, DMPNetwork, fit, initialise, measure

Data = Callable[[float], tuple[torch.Tensor, torch.Tensor]]
FAMILIES: Mapping[str, dict[str, Any]] = {
    "dmp": {"memory": 8, "window": 20},
    "dilated": {"memory": 8, "window": 20, "dilation": 4},
    "fsnn": {},
    "rsnn": {"recurrent": True},
    "dsnn": {"delays": 10},
    "subtractive": {"memory": 8, "window": 20, "lif": LIF(reset=None)},
    "slow": {"memory": 8, "window": 20, "lif": LIF(0.95, 1.0, threshold=3.0)},
}


def newcomer(seed: int = 0, **family: Any) -> DMPNetwork:
    """Three layers, as who tries the library might make them."""
    torch.manual_seed(seed)
    return DMPNetwork(32, [64, 96, 48], 4, **family)


def groups(density: float, samples: int = 64, steps: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """Four classes: in each, another quarter of 32 inputs has three times the others' events."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(samples) % 4
    rates = torch.full((4, 32), density * 2 / 3)
    for label in range(4):
        rates[label, 8 * label : 8 * label + 8] = min(2 * density, 0.95)
    return torch.rand(samples, steps, 32, generator=generator) < rates[y][:, None], y


def grey(scale: float, offset: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Four patterns of 32 grey values, noisy."""
    generator = torch.Generator().manual_seed(2)
    y = torch.arange(64) % 4
    pattern = torch.rand(4, 32, generator=generator)[y][:, None]
    return offset + scale * (pattern + 0.2 * torch.rand(64, 20, 32, generator=generator)), y


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("density", [0.01, 0.1, 0.5])
def test_every_layer_fires_at_the_start(family: str, density: float) -> None:
    network = newcomer(**FAMILIES[family])
    x, y = groups(density)
    initialise(network, x)
    for layer in measure(network, x, y).densities:
        assert 0.02 < layer < 0.2


@pytest.mark.parametrize(("scale", "offset"), [(0.01, 0.0), (1.0, 0.0), (255.0, 0.0), (1.0, -5.0)])
def test_every_layer_fires_on_grey_values_of_any_scale(scale: float, offset: float) -> None:
    x, y = grey(scale, offset)
    network = newcomer(**FAMILIES["dmp"])
    initialise(network, x)
    assert all(0.02 < layer < 0.2 for layer in measure(network, x, y).densities)


def test_the_rate_is_what_is_asked_for() -> None:
    x, y = groups(0.2)
    found = []
    for rate in (0.02, 0.1, 0.3):
        network = newcomer()
        initialise(network, x, rate)
        found.append(measure(network, x, y).densities[0])
    assert found[0] < 0.03 < found[1] < 0.1 < found[2] < 0.3
    with pytest.raises(ValueError, match=r"initialise: rate is 0\.5"):
        initialise(network, x, 0.5)


@pytest.mark.parametrize("family", ["dmp", "dilated", "fsnn", "rsnn", "dsnn", "subtractive"])
def test_a_newcomers_network_learns_with_the_defaults(family: str) -> None:
    x, y = groups(0.1, samples=96)
    network = newcomer(**FAMILIES[family])
    list(fit(network, x, y, epochs=24))
    assert measure(network, x, y).accuracy >= 0.9


@pytest.mark.parametrize(
    ("data", "size"), [(groups, 0.04), (groups, 0.5), (grey, 0.02), (grey, 100.0)]
)
def test_it_learns_from_data_of_any_density_and_scale(data: Data, size: float) -> None:
    network = newcomer(**FAMILIES["dmp"])
    x, y = data(size)
    list(fit(network, x, y, epochs=16))
    assert measure(network, x, y).accuracy >= 0.9


@pytest.mark.parametrize("seed", range(3))
def test_the_example_of_the_readme_learns(seed: int) -> None:
    torch.manual_seed(seed)
    y = torch.arange(400) % 2
    x = torch.rand(400, 30, 20) < 0.05 + 0.05 * y[:, None, None]
    network = DMPNetwork(20, [32], 2, memory=4, window=20)
    list(fit(network, x, y, epochs=5))
    assert measure(network, x, y).accuracy >= 0.93


def test_weights_that_somebody_has_set_are_not_touched() -> None:
    x, y = groups(0.1, samples=8, steps=5)

    def moved(network: DMPNetwork, **how: Any) -> float:
        before = network.layers[0].fast.weight.detach().clone()
        list(fit(network, x, y, epochs=1, learning_rate=1e-9, **how))
        return (network.layers[0].fast.weight - before).abs().max().item()

    new = newcomer()
    loaded = newcomer(seed=1)
    loaded.load_state_dict(new.state_dict())
    changed = newcomer()
    with torch.no_grad():
        changed.layers[2].fast.weight[0, 0] += 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their layers are silent on these few events
        assert moved(loaded) < 1e-6
        assert moved(changed) < 1e-6
        assert moved(newcomer(), initial_rate=None) < 1e-6
    assert moved(copy.deepcopy(new)) > 0.1
    assert moved(new) > 0.1
    assert moved(new) < 1e-6, "it is new no more"


def test_nothing_is_divided_by_where_nothing_happens() -> None:
    for x in (torch.zeros(4, 5, 32), torch.ones(1, 1, 32), torch.full((3, 4, 32), -2.0)):
        network = newcomer(**FAMILIES["dmp"], recurrent=True)
        initialise(network, x)
        assert all(parameter.isfinite().all() for parameter in network.parameters())
