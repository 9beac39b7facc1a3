"""A float graph whose numbers are set anew is the one that an export and its import give."""

from typing import Any

import pytest
import torch
from torch import nn

from dmpc.ir.graph import Graph
from dmpc.nn import LIF, Adaptation, DMPNetwork, Receptors
from dmpc.nn import structure as structures
from dmpc.nn.structure import WORTH, Structure, imported

LEAKS: dict[str, Any] = {"alpha": (0.8, 0.3), "readout_beta": 0.9, "learn_leaks": True}
RAISED = Adaptation("threshold", 0.9, 0.3, learned=True)
PULLED = Adaptation("current", 0.8, 0.3, 0.1, learned=True)
MEMORY: dict[str, Any] = {"memory": 3, "window": 9.0}


def network_of(inputs: Any = 6, **family: Any) -> DMPNetwork:
    torch.manual_seed(3)
    return DMPNetwork(inputs, [5, 4], 3, **({"lif": LIF(0.7, None, 1.1)} | family))


@torch.no_grad()
def trained(network: DMPNetwork) -> None:
    """Move every parameter a little, as a step of training does; whole delays stay."""
    for name, parameter in network.named_parameters():
        if not name.endswith("delay"):
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
    {"memory": 1, "window": 9.0},
    {**MEMORY, "linear_drive": True},
    {"lif": LIF(0.7, None, 1.1, learn_beta=True, adaptation=PULLED)},
    {"lif": LIF(0.7, None, 1.1, -0.2, floor=-0.5), **MEMORY, **LEAKS},
    {"lif": LIF(0.7, None, 1.1, None, floor=-0.5, ceiling=1.5), "recurrent": True},
    {"inputs": (2, 6, 6), "front": [nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d(2)], **MEMORY},
    {"inputs": (2, 9), "front": [nn.Conv1d(2, 3, 3), nn.MaxPool1d(2), nn.Conv1d(3, 4, 2)]},
]


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_alone_give_the_graph_that_an_import_gives(family: dict[str, Any]) -> None:
    network, structure = network_of(**family), Structure()
    for number in range(WORTH + 3):
        found, expected = structure.layers(network), imported(network)
        assert found == expected
        for name, value in expected.constants.items():  # sums of products round by what lies where
            assert found.constants[name].strides == value.strides
        assert structure.last is not None
        assert structure.last.sure == (number >= WORTH)
        assert structure.last.refused == ""
        trained(network)


def imports(monkeypatch: pytest.MonkeyPatch) -> list[DMPNetwork]:
    """The networks that are imported from here on."""
    seen: list[DMPNetwork] = []

    def counted(network: DMPNetwork) -> Graph:
        seen.append(network)
        return model_of(network)

    model_of = structures._model
    monkeypatch.setattr(structures, "_model", counted)
    return seen


def test_a_tape_saves_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    network, structure, seen = network_of(**MEMORY), Structure(), imports(monkeypatch)
    for _ in range(2):
        structure.layers(network)
    assert len(seen) == 1  # of the same numbers
    for _ in range(2 * WORTH + 4):
        trained(network)
        structure.layers(network)
    assert len(seen) == WORTH + 1


def test_a_tape_is_held_against_an_import_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structures, "OFTEN", 3)
    network, structure, seen = network_of(**MEMORY), Structure(), imports(monkeypatch)
    for _ in range(WORTH + 1 + 2 * (3 + 1)):
        structure.layers(network)
        trained(network)
    assert len(seen) == WORTH + 1 + 2


def test_weights_that_an_import_changes_are_imported_every_time() -> None:
    front = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)]
    network, structure = network_of(inputs=(2, 6, 6), front=front).eval(), Structure()
    for _ in range(WORTH + 2):
        assert structure.layers(network) == imported(network)
        trained(network)
    assert structure.last is not None
    assert structure.last.refused.startswith("the importer makes other numbers of layers.0.fast.")


def test_a_tape_that_gives_something_else_is_not_played(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where recognition decides otherwise for the next numbers."""
    network, structure = network_of(**MEMORY), Structure()
    for _ in range(WORTH):
        structure.layers(network)
        trained(network)
    assert structure.last is not None
    assert structure.last.tape is not None
    played = structure.last.tape.play
    monkeypatch.setattr(
        structure.last.tape, "play", lambda given: {k: 2 * v for k, v in played(given).items()}
    )
    for _ in range(3):
        assert structure.layers(network) == imported(network)
        trained(network)
    assert structure.last.refused == "with other numbers recognition decides otherwise"


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
