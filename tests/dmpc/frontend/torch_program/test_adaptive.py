"""Neurons that adapt, as people write them in torch: found, proved against torch, bit for bit."""

import numpy as np
import pytest
import torch
from torch import nn

from dmpc import Options, from_torch
from dmpc import compile as compile_network
from dmpc.errors import ImportFailure
from dmpc.verification import verify

X = (np.random.default_rng(0).random((12, 7, 8)) < 0.4).astype(np.float32)


class Net(nn.Module):
    """A layer of neurons with spikes z, membranes m and what they adapt by, b, from zero."""

    def __init__(self, step, recurrent=False, start=(0.0, 0.0)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w, self.r, self.o = nn.Linear(8, 12), nn.Linear(12, 12, bias=False), nn.Linear(12, 4)
        self.w.weight.data *= 3
        self.step, self.recurrent, self.start = step, recurrent, start

    def forward(self, x):
        z = torch.zeros(x.shape[0], 12)
        m, b = (torch.full_like(z, start) for start in self.start)
        total = 0
        for now in x.unbind(1):
            current = self.w(now) + (self.r(z) if self.recurrent else 0)
            z, m, b = self.step(current, z, m, b)
            total = total + self.o(z)
        return total / x.shape[1]


def taken_off(i, z, m, b):
    m = 0.9 * m + i
    z = (m >= 0.5 + 1.8 * b).float()
    return z, m - (0.5 + 1.8 * b) * z, 0.95 * b + 0.05 * z


def lsnn(i, z, m, b):
    b = 0.95 * b + 0.05 * z
    m = 0.9 * m + 0.1 * i - 0.5 * z
    return ((m - (0.5 + 1.8 * b)) / 0.5 > 0).float(), m, b


def taken_off_late(i, z, m, b):
    b = 0.95 * b + 0.05 * z
    threshold = 0.5 + 1.8 * b
    m = 0.9 * m + 0.1 * i - threshold * z
    return (m - threshold > 0).float(), m, b


def cut_off(i, z, m, b):
    b = 0.95 * b + 0.05 * z
    m = m * 0.9 * (1 - z) + 0.1 * i
    return (m - (0.5 + 1.8 * b) > 0).float(), m, b


def adlif(i, z, m, b):
    b = 0.95 * b + 0.1 * m + 0.3 * z
    m = 0.9 * (m - z) + 0.1 * (i - b)
    return (m > 0.3).float(), m, b


def about_its_rest(i, z, m, b):
    m = 0.9 * m + i
    z = (m >= b).float()
    return z, m * (1 - z), 0.4 + 0.95 * (b - 0.4) + 0.1 * z


def as_it_is(i, z, m, b):
    m = 0.9 * m + i
    z = (m >= b).float()
    return z, m - b * z, 0.95 * b + 0.02 + 0.1 * z


STEPS = (taken_off, lsnn, taken_off_late, cut_off, adlif)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("step", STEPS, ids=lambda one: one.__name__)
def test_it_is_compiled_and_every_bit_is_the_integer_graphs(step, recurrent):
    module = from_torch(Net(step, recurrent).eval(), X)
    made = compile_network(module, calibration=X, options=Options(balance=False))
    assert [op.kind for op in made.layers.ops].count("alif") == 1
    found = verify(module, made.image, X, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]


@pytest.mark.parametrize(
    ("step", "start"),
    [(about_its_rest, 0.4), (as_it_is, 0.4), (about_its_rest, 0.9), (as_it_is, 0.0)],
)
def test_a_threshold_that_rests_elsewhere_than_at_zero(step, start):
    """And that starts there, or not."""
    module = from_torch(Net(step, start=(0.0, start)).eval(), X)
    made = compile_network(module, calibration=X, options=Options(balance=False))
    assert [op.kind for op in made.layers.ops].count("alif") == 1
    found = verify(module, made.image, X, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]


@pytest.mark.parametrize(
    ("step", "start"), [(lsnn, (-0.5, 0.2)), (taken_off_late, (0.0, 0.3)), (adlif, (0.25, 0.0))]
)
def test_it_starts_elsewhere_though_all_that_reads_the_start_is_computed_ahead(step, start):
    module = from_torch(Net(step, start=start).eval(), X)
    made = compile_network(module, options=Options(balance=False))
    assert any(state.init for state in made.layers.states)
    found = verify(module, made.image, X, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]


class EachItsOwn(Net):
    """Neurons that each adapt at a rate of their own; where they start, all its readers are
    computed ahead, another number for each."""

    def __init__(self) -> None:
        super().__init__(self.stepped, recurrent=True, start=(0.0, 0.01))
        self.ta, self.tm = torch.linspace(20, 60, 12), torch.linspace(8, 20, 12)

    def stepped(self, i, z, m, b):
        ro, alpha = torch.exp(-1.0 / self.ta), torch.exp(-1.0 / self.tm)
        b = ro * b + (1 - ro) * z
        threshold = 0.01 + 1.8 * b
        m = m * alpha + (1 - alpha) * i - threshold * z
        return (m - threshold > 0).float(), m, b


def test_each_neuron_starts_where_forward_lets_it():
    """No membrane of an earlier run: nothing that the module holds has an axis of samples."""
    module = from_torch(EachItsOwn().eval(), X)
    made = compile_network(module, calibration=X, options=Options(balance=False))
    assert [op.kind for op in made.layers.ops].count("alif") == 1
    found = verify(module, made.image, X, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]


class Kept(Net):
    """A network whose membranes start from what an earlier run left."""

    def __init__(self) -> None:
        super().__init__(taken_off)
        self.left = torch.linspace(0.1, 0.3, 12).repeat(2, 1)

    def forward(self, x):
        z, b, total = torch.zeros(2, 12), torch.zeros(2, 12), 0
        m = self.left
        for now in x.unbind(1):
            z, m, b = self.step(self.w(now), z, m, b)
            total = total + self.o(z)
        return total


def test_membranes_of_an_earlier_run_are_told_for_what_they_are():
    with pytest.raises(ImportFailure, match=r"initial state '.*' of the Scan is not zero"):
        from_torch(Kept().eval(), X)
