"""A float graph whose numbers are set anew is the one that an export and its import give."""

from typing import Any

import pytest
import torch

from dmpc.nn import LIF, Adaptation, DMPNetwork, Receptors
from dmpc.nn.structure import Structure, imported

LEAKS: dict[str, Any] = {"alpha": (0.8, 0.3), "readout_beta": 0.9, "learn_leaks": True}
RAISED = Adaptation("threshold", 0.9, 0.3, learned=True)
PULLED = Adaptation("current", 0.8, 0.3, 0.1, learned=True)
MEMORY: dict[str, Any] = {"memory": 3, "window": 9.0}


def network_of(**family: Any) -> DMPNetwork:
    torch.manual_seed(3)
    return DMPNetwork(6, [5, 4], 3, **({"lif": LIF(0.7, None, 1.1)} | family))


@torch.no_grad()
def trained(network: DMPNetwork) -> None:
    """Move every parameter a little, as a step of training does."""
    for parameter in network.parameters():
        parameter += 0.05 * parameter.std(correction=0) * torch.randn_like(parameter)


FAMILIES = [
    {},
    MEMORY,
    {**MEMORY, "dilation": 3, "lif": LIF(0.7, 0.31, 1.1, None, learn_beta=True)},
    {"recurrent": True, "over_time": "max", **LEAKS},
    {"recurrent": True, **MEMORY, "alpha": (Receptors(0.3, 0.9), 0.5), "learn_leaks": True},
    {"lif": LIF(0.7, None, 1.1, -0.2, learn_beta=True), "delays": 3, **MEMORY, **LEAKS},
    {"lif": LIF(0.7, 2.0, 1.1, None, adaptation=RAISED), "recurrent": True, **MEMORY},
    {"lif": LIF(0.7, None, 1.1, -0.2, refractory=3), "recurrent": True, **MEMORY, **LEAKS},
]


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_alone_give_the_graph_that_an_import_gives(family: dict[str, Any]) -> None:
    network, structure = network_of(**family), Structure()
    for _ in range(4):
        assert structure.layers(network) == imported(network)
        assert structure.found is not None
        trained(network)


@pytest.mark.parametrize(
    "family",
    [
        {**MEMORY, "linear_drive": True},
        {"lif": LIF(0.7, None, 1.1, learn_beta=True, adaptation=PULLED)},
        {"lif": LIF(0.7, None, 1.1, floor=-0.5)},
        {"lif": LIF(0.7, None, 1.1, None, ceiling=1.5)},
    ],
)
def test_what_it_does_not_speak_of_is_imported_every_time(family: dict[str, Any]) -> None:
    network, structure = network_of(**family), Structure()
    for _ in range(2):
        assert structure.layers(network) == imported(network)
        assert structure.found is None
        trained(network)


def test_a_structure_that_changes_is_found_again() -> None:
    network, structure = network_of(**MEMORY, delays=3), Structure()
    assert structure.layers(network) == imported(network)
    first = network.dmp_layers[0]
    assert first.delays is not None
    with torch.no_grad():
        first.delays.delay.zero_()
    assert structure.layers(network) == imported(network)
    with torch.no_grad():
        first.slow.weight.zero_()
        first.slow.bias.zero_()
    silent = structure.layers(network)
    assert silent == imported(network)
    assert "layer1.slow.weight" not in silent.constants
