"""Spikes and resets written by masks, and votes over groups: the same layers as plainly spelled."""

from functools import cache

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer
from torch import nn
from torch.nn import functional

from dmpc.compiler import Options, import_layers
from dmpc.errors import ImportFailure
from dmpc.frontend import from_torch
from dmpc.ir.interpret import interpret

STEPS = 5
X = (np.random.default_rng(0).random((4, STEPS, 6)) < 0.4).astype(np.float32)


def plain(v):
    fired = (v > 1).to(v)
    return fired, v * (1 - fired)


def by_masks(v):
    fired = torch.zeros_like(v)
    fired[v > 1] = 1.0
    v = v.clone()
    v[fired == 1] = 0
    return fired, v


def by_masked_fill(v):
    fired = torch.zeros_like(v).masked_fill(v > 1, 1.0)
    return fired, v.masked_fill(fired.bool(), 0.0)


def by_places(v):
    fired = (v > 1).to(v)
    v = v.clone()
    v[torch.where(fired > 0)] = 0
    return fired, v


def by_nonzero(v):
    fired = (v > 1).to(v)
    rows, columns = fired.nonzero(as_tuple=True)
    v = v.clone()
    v[rows, columns] = 0
    return fired, v


def by_isclose(v):
    fired = (v > 1).to(v)
    return fired, torch.where(torch.isclose(fired, torch.ones_like(fired)), 0, v)


def by_sign(v):
    fired = torch.relu(torch.sign(v - 1))
    return fired, v * (1 - fired)


def by_ceil(v):
    fired = torch.ceil(torch.clamp(v - 1, 0, 1))
    return fired, v * (1 - fired)


def as_linear(counts):
    return functional.linear(counts, torch.kron(torch.eye(2), torch.full((1, 4), 0.25)))


def by_slices(counts):
    """As snntorch's `LossFunctions._population_code` adds up the spikes of a population."""
    made = torch.zeros((counts.size(0), 2))
    for idx in range(2):
        made[:, idx] = counts[:, int(8 * idx / 2) : int(8 * (idx + 1) / 2)].sum(-1)
    return made / 4


VOTES = {
    "view and mean": lambda n: n.view(-1, 2, 4).mean(2),
    "pooling": lambda n: functional.avg_pool1d(n[:, None], 4, 4)[:, 0],
    "adaptive pooling": lambda n: functional.adaptive_avg_pool1d(n[:, None], 2)[:, 0],
    "spikingjelly's layer": layer.VotingLayer(4),
    "snntorch's populations": by_slices,
    "view and sum": lambda n: n.reshape(-1, 2, 4).sum(-1) / 4,
}


class Net(nn.Module):
    def __init__(self, step, vote):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.step, self.vote = nn.Linear(6, 8), step, vote
        self.fc.weight.data *= 3

    def forward(self, x):
        v, total = x.new_zeros(x.shape[0], 8), 0
        for t in range(x.shape[1]):
            fired, v = self.step(0.9 * v + self.fc(x[:, t]))
            total = total + fired
        return self.vote(total)


@cache  # most of the time goes into torch's export
def imported(step, vote):
    return import_layers(from_torch(Net(step, vote), X), Options(), X)


def layers(step, vote):
    graph = imported(step, vote)
    weights = [np.sort(array.ravel()) for array in graph.constants.values()]
    return [op.kind for op in graph.ops], sorted(map(tuple, weights))


@pytest.mark.parametrize("step", [by_masks, by_masked_fill, by_places, by_nonzero, by_isclose])
def test_spikes_and_resets_by_masks(step):
    assert layers(step, as_linear) == layers(plain, as_linear)


@pytest.mark.parametrize("vote", [as_linear, lambda n: as_linear(n / STEPS)], ids=["sum", "mean"])
@pytest.mark.parametrize("step", [by_sign, by_ceil])
def test_spikes_without_a_comparison_are_summed_over_time(step, vote):
    assert layers(step, vote)[0] == layers(plain, vote)[0]
    expected, found = (interpret(imported(each, vote), X).logits for each in (plain, step))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert expected.any()


@pytest.mark.parametrize("vote", VOTES.values(), ids=VOTES)
def test_votes_over_groups_are_folded_into_the_readout(vote):
    kinds, weights = layers(plain, vote)
    expected_kinds, expected = layers(plain, as_linear)
    assert kinds == expected_kinds
    np.testing.assert_allclose(np.concatenate(weights), np.concatenate(expected), atol=1e-6)


OWNERS = torch.arange(8) // 4  # the class that a neuron votes for


class Groups(nn.Module):
    """A vote over groups that a buffer tells apart."""

    def __init__(self, vote):
        super().__init__()
        self.vote = vote
        self.register_buffer("owners", OWNERS.clone())

    def forward(self, n):
        return self.vote(n, self.owners) / 4


def by_number(n, owners):
    groups = [(owners == each).nonzero().squeeze(1) for each in range(2)]
    return torch.stack([n[:, group].sum(1) for group in groups], 1)


GROUPS = {
    "masks": lambda n, of: torch.stack([n[:, of == each].sum(1) for each in range(2)], 1),
    "where": lambda n, of: torch.stack([n[:, torch.where(of == k)[0]].sum(1) for k in (0, 1)], 1),
    "nonzero": by_number,
    "index_add": lambda n, of: torch.zeros(len(n), 2).index_add(1, of, n),
    "index_add in front": lambda n, of: torch.zeros(2, len(n)).index_add(0, of, n.T).T,
    "scatter_add": lambda n, of: torch.zeros(len(n), 2).scatter_add(1, of.expand_as(n), n),
}


@pytest.mark.parametrize("vote", GROUPS.values(), ids=GROUPS)
def test_groups_that_a_constant_tells_apart(vote):
    kinds, weights = layers(plain, Groups(vote))
    expected_kinds, expected = layers(plain, as_linear)
    assert kinds == expected_kinds
    np.testing.assert_allclose(np.concatenate(weights), np.concatenate(expected), atol=1e-6)


@pytest.mark.parametrize("chosen", [OWNERS == 1, torch.tensor([7, 4, 6, 5])], ids=["mask", "list"])
def test_columns_that_are_written(chosen):
    class Columns(Net):
        def forward(self, x):
            self.step = self.written
            return super().forward(x)

        def written(self, v):
            fired, v = plain(v)
            v = v.clone()
            v[:, chosen] = v[:, chosen] * 0.5
            return fired, v

    net = Columns(None, as_linear)
    x = X[:, :4]
    expected = net(torch.from_numpy(x))
    graph = import_layers(from_torch(net, x), Options(), x)
    np.testing.assert_allclose(interpret(graph, x).logits, expected.detach(), atol=1e-6)


def test_elements_that_a_mask_chooses_are_written_back():
    def step(v):
        fired = v > 1
        v = v.clone()
        v[fired] = v[fired] * 0
        return fired.to(v), v

    assert layers(step, as_linear) == layers(plain, as_linear)


def of_another_mask(v):
    w = v.clone()
    w[v > 1] = v[v >= 1]
    return plain(w)


def summed(v):
    return plain(v + v[v > 1].sum())


def of_rows(v):
    fired, v = plain(v)[0], v.clone()
    v[torch.where(fired > 0)[0]] = 0
    return fired, v


def counted(v):
    return plain(v + torch.where(v > 1)[1].sum())


def between_values(v):
    return plain(v * torch.isclose(v, 2 * v))


def added_by_place(v):
    places = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7]]).flip(1) + torch.zeros(len(v), 8).long()
    places[0, :2] = 3
    return plain(v.scatter_add(1, places, v))


def added_times(v):
    return plain(v.index_add(1, torch.arange(8), v, alpha=2))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (of_another_mask, "writing values of their own"),
        (summed, "elements that a mask chooses"),
        (of_rows, "writing values of their own"),
        (counted, "sum of the places where a mask is true"),
        (added_by_place, "scatter_add by computed places, or other ones in each row"),
        (added_times, "index_add by computed places, or times a factor"),
        (between_values, "isclose of two computed values"),
    ],
)
def test_other_uses_of_chosen_elements_are_refused(step, message):
    with pytest.raises(ImportFailure, match=message):
        from_torch(Net(step, as_linear), X)
