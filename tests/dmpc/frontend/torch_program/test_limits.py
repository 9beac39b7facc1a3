"""Membranes with floors and ceilings, as people write them in torch: found, proved, bit for bit."""

import numpy as np
import pytest
import torch
from torch import nn

from dmpc import Options, from_torch
from dmpc import compile as compile_network
from dmpc.errors import DmpcError
from dmpc.verification import verify

X = (np.random.default_rng(0).random((12, 7, 8)) < 0.4).astype(np.float32)
LOW = torch.linspace(-0.4, -0.1, 12)


class Net(nn.Module):
    """A layer of neurons with spikes z and membranes v, from zero."""

    def __init__(self, step) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w, self.o = nn.Linear(8, 12), nn.Linear(12, 4)
        self.w.weight.data *= 3
        self.step = step

    def forward(self, x):
        z = v = torch.zeros(x.shape[0], 12)
        total = 0
        for now in x.unbind(1):
            z, v = self.step(self.w(now), z, v)
            total = total + self.o(z)
        return total / x.shape[1]


def clamp_before(i, z, v):
    v = (0.9 * v + i).clamp(min=-0.3)
    z = (v >= 1).float()
    return z, v - z


def relu_behind(i, z, v):
    v = 0.9 * v + i
    z = (v > 1).float()
    return z, torch.relu(v * (1 - z))


def each_its_own(i, z, v):
    v = torch.maximum(0.9 * v + i, LOW)
    z = (v >= 1).float()
    return z, torch.where(z > 0, -0.5, v)


def clamp_each(i, z, v):
    v = torch.clamp(0.9 * v + i, LOW, 1.2 - LOW)
    z = (v >= 1).float()
    return z, v - 0.8 * z


def clamp_each_from_above(i, z, v):
    v = (0.9 * v + i).clamp(max=1.2 - LOW)
    z = (v >= 1).float()
    return z, v - 0.8 * z


def below_the_reset(i, z, v):
    v = v + i
    z = (v >= 1).float()
    return z, torch.where(z > 0, -0.5, v).clamp(min=-0.25)


def both_ways(i, z, v):
    v = torch.clamp(v + i, -0.3, 1.4)
    z = (v >= 1).float()
    return z, v - 0.8 * z


def ceiling_behind(i, z, v):
    v = v + i
    z = (v >= 1).float()
    return z, torch.minimum(v - z, torch.tensor(1.1)).clamp(min=-0.3)


def at_the_start(i, z, v):
    v = 0.8 * torch.relu(v + 0.5) - 0.4 + i
    z = (v >= 1).float()
    return z, v - z


def behind_the_leak(i, z, v):
    v = torch.clamp(0.8 * v, min=-0.1) + i
    z = (v >= 1).float()
    return z, v - z


def late(i, z, v):
    v = (0.9 * v + i - z).clamp(min=-0.2)
    return (v > 1).float(), v


def chosen(i, z, v):
    v = v + i
    v = torch.where(v < -0.2, torch.full_like(v, -0.2), v)
    z = (v >= 1).float()
    return z, v - z


def written_out(i, z, v):
    v = v + i
    v = v + torch.relu(-0.2 - v)
    z = (v >= 1).float()
    return z, v - z


STEPS = (
    *(clamp_before, relu_behind, each_its_own, below_the_reset, both_ways, ceiling_behind),
    *(clamp_each, clamp_each_from_above),
    *(at_the_start, behind_the_leak, late, chosen, written_out),
)


@pytest.mark.parametrize("step", STEPS, ids=lambda one: one.__name__)
def test_it_is_compiled_and_every_bit_is_the_integer_graphs(step):
    module = from_torch(Net(step).eval(), X)
    made = compile_network(module, calibration=X, options=Options(balance=False))
    assert [op.kind for op in made.layers.ops].count("clif") == 1
    found = verify(module, made.image, X, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]


def endless(i, z, v):
    v = v + i
    z = (v >= 1).float()
    return z, v * (1 - z)


def test_a_floor_makes_a_range_of_neurons_that_do_not_leak():
    made = compile_network(from_torch(Net(clamp_before).eval(), X))
    assert "clif" in [op.kind for op in made.layers.ops]
    with pytest.raises(DmpcError, match="can fall without bound"):
        compile_network(from_torch(Net(endless).eval(), X))


def test_a_ceiling_that_no_spike_meets_is_none():
    """Above the threshold a membrane that is reset to a value never stays."""

    def step(i, z, v):
        v = 0.9 * v + i
        z = (v >= 1).float()
        return z, (v * (1 - z)).clamp(max=1.5)

    layers = compile_network(from_torch(Net(step).eval(), X)).layers
    assert [op.kind for op in layers.ops] == ["dense", "lif", "dense"]
