"""Modules whose classifier reads several layers: residual sums, concatenations, several of them."""

import numpy as np
import pytest
import torch
from torch import nn

import dmpc
from dmpc.errors import CompileError
from dmpc.verification import verify

STEPS = 12
X = (np.random.default_rng(0).random((8, STEPS, 6)) < 0.4).astype(np.float32)


def leaky(currents, beta):
    """Membranes [T, batch, n] that currents charge."""
    membrane, found = torch.zeros_like(currents[0]), []
    for current in currents.unbind(0):
        membrane = beta * membrane + current
        found.append(membrane)
    return torch.stack(found)


class Layers(nn.Module):
    """Three layers, and what a subclass makes of their spikes, [T, batch, n] each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weigh = nn.ModuleList([nn.Linear(6, 10), nn.Linear(10, 8), nn.Linear(8, 8)])
        self.classify, self.other = nn.Linear(8, 3), nn.Linear(10, 3)
        self.joined = nn.Linear(26, 3)

    def forward(self, x):
        x = now = x.transpose(0, 1)
        spikes = []
        for weigh in self.weigh:
            membrane, found = torch.zeros_like(weigh(now)[0]), []
            for current in (3 * weigh(now)).unbind(0):
                membrane = membrane + (current - membrane) / 2
                fired = (membrane > 0.5).float()
                membrane = membrane - 0.5 * fired
                found.append(fired)
            now = torch.stack(found)
            spikes.append(now)
        return self.answer(x, *spikes)


class Residual(Layers):
    """The blocks of SEW-ResNet that add: the last gives its own spikes and those that it reads."""

    def answer(self, x, one, two, three):  # noqa: ARG002
        return self.classify((three + two).mean(0))


class Dense(Layers):
    def answer(self, x, one, two, three):  # noqa: ARG002
        return self.joined(torch.cat([one, two, three], dim=-1)).amax(0)


class Classifiers(Layers):
    def answer(self, x, one, two, three):  # noqa: ARG002
        return (self.classify(three) + self.other(one)).sum(0)


class Input(Layers):
    def answer(self, x, one, two, three):  # noqa: ARG002
        return self.classify(three).mean(0) + x[..., :3].mean(0)


class Alike(Layers):
    betas = 0.9, 0.9

    def answer(self, x, one, two, three):  # noqa: ARG002
        return (
            leaky(self.classify(three), self.betas[0]) + leaky(self.other(one), self.betas[1])
        ).mean(0)


class Unlike(Alike):
    betas = 0.9, 0.7


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        (Residual, ["layer3.spikes", "layer2.spikes"]),
        (Dense, ["layer3.spikes", "layer2.spikes", "layer1.spikes"]),
        (Classifiers, ["layer3.spikes", "layer1.spikes"]),
        (Input, ["layer3.spikes", "x"]),
        (Alike, ["layer3.spikes", "layer1.spikes"]),
    ],
)
def test_a_classifier_reads_several_layers(kind, read):
    model = dmpc.from_torch(kind().eval(), X[:2])
    compiled = dmpc.compile(model, calibration=X)
    products = [op for op in compiled.layers.ops if op.attrs["layer"] == "readout"]
    assert [op.operands[0] for op in products if op.kind == "dense"] == read
    assert [rung.ok for rung in verify(model, compiled.image, X, max_drop=100).rungs] == [True] * 4


def test_readouts_that_leak_each_in_its_own_way():
    model = dmpc.from_torch(Unlike().eval(), X[:2])
    with pytest.raises(CompileError, match=r"the output depends on state .*, state .* \(a readout"):
        dmpc.compile(model, calibration=X)


def test_an_input_of_values_is_no_part_of_a_readout():
    model = dmpc.from_torch(Input().eval(), X[:2])
    with pytest.raises(CompileError, match=r"the readout takes %x, which are not spikes"):
        dmpc.compile(model, calibration=0.5 * X)
