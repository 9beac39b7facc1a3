"""Numbers joined to the values of a timestep: padding of branches, ones that stand for a bias."""

import numpy as np
import pytest
import torch

import dmpc
from dmpc.verification import verify

X = (np.random.default_rng(0).random((6, 8, 3)) < 0.4).astype(np.float32)


class Net(torch.nn.Module):
    """Recurrent neurons whose weights read events, past spikes and numbers, in some order."""

    def __init__(self, joined, width):
        super().__init__()
        torch.manual_seed(0)
        self.joined, self.fc, self.out = joined, torch.nn.Linear(width, 4), torch.nn.Linear(4, 2)

    def forward(self, x):
        v, s, total = torch.zeros(x.shape[0], 4), torch.zeros(x.shape[0], 4), 0.0
        for now in x.unbind(1):
            v = 0.5 * v * (1 - s) + 2 * self.fc(self.joined(now, s))
            s = (v >= 1).float()
            total = total + self.out(s)
        return total


FORMS = {
    "padding behind": (lambda x, s: torch.cat((x, s, torch.zeros(len(x), 2)), 1), 9),
    "numbers between": (lambda x, s: torch.cat((x, torch.ones(len(x), 1), s), 1), 8),
    "different numbers": (
        lambda x, s: torch.cat((torch.tensor([[0.5, -1.0]]).expand(len(x), 2), s, x), 1), 9
    ),
    "of a row of each": (
        lambda x, s: torch.stack((x, s[:, :3], torch.ones_like(x)), 1).flatten(1), 9
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_numbers_beside_values_are_constants_of_a_timestep(form):
    model = dmpc.from_torch(Net(*FORMS[form]), X)
    found = verify(model, dmpc.compile(model, calibration=X).image, X, max_drop=100)
    assert found.ok, found.to_json()
