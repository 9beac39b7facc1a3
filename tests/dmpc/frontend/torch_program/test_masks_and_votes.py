"""Spikes and resets written by masks, and votes over groups: the same layers as plainly spelled."""

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

X = (np.random.default_rng(0).random((4, 12, 6)) < 0.4).astype(np.float32)


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


def layers(step, vote):
    graph = import_layers(from_torch(Net(step, vote), X), Options(), X)
    weights = [np.sort(array.ravel()) for array in graph.constants.values()]
    return [op.kind for op in graph.ops], sorted(map(tuple, weights))


@pytest.mark.parametrize("step", [by_masks, by_masked_fill, by_places, by_nonzero, by_isclose])
def test_spikes_and_resets_by_masks(step):
    assert layers(step, as_linear) == layers(plain, as_linear)


@pytest.mark.parametrize("vote", [as_linear, lambda n: as_linear(n / 12)], ids=["sum", "mean"])
@pytest.mark.parametrize("step", [by_sign, by_ceil])
def test_spikes_without_a_comparison_are_summed_over_time(step, vote):
    assert layers(step, vote)[0] == layers(plain, vote)[0]
    expected, found = (
        interpret(import_layers(from_torch(Net(each, vote), X), Options(), X), X).logits
        for each in (plain, step)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert expected.any()


@pytest.mark.parametrize("vote", VOTES.values(), ids=VOTES)
def test_votes_over_groups_are_folded_into_the_readout(vote):
    kinds, weights = layers(plain, vote)
    expected_kinds, expected = layers(plain, as_linear)
    assert kinds == expected_kinds
    np.testing.assert_allclose(np.concatenate(weights), np.concatenate(expected), atol=1e-6)


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


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (of_another_mask, "writing values of their own"),
        (summed, "elements that a mask chooses"),
        (of_rows, "writing values of their own"),
        (counted, "sum of the places where a mask is true"),
        (between_values, "isclose of two computed values"),
    ],
)
def test_other_uses_of_chosen_elements_are_refused(step, message):
    with pytest.raises(ImportFailure, match=message):
        from_torch(Net(step, as_linear), X)
