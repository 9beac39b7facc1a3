"""Modules that take some number of samples and no other, as those that lay them and the timesteps
on one axis do (Sinabs' IAFSqueeze)."""

import numpy as np
import pytest
import torch

import dmpc
from dmpc.verification import verify

X = (np.random.default_rng(0).random((6, 9, 3)) < 0.4).astype(np.float32)


class Squeezed(torch.nn.Module):
    """A network in which samples and timesteps share an axis outside of its neurons."""

    def __init__(self, batch):
        super().__init__()
        torch.manual_seed(0)
        self.batch, self.fc, self.out = batch, torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)

    def forward(self, x):
        samples, steps = x.shape[:2]
        current = self.fc(x.reshape(samples * steps, 3) * 2)
        current = current.reshape(self.batch, -1, 4)
        v, spikes = torch.zeros(self.batch, 4), []
        for now in current.unbind(1):
            v = 0.5 * v + now
            spikes.append((v >= 1).float())
            v = v * (1 - spikes[-1])
        flat = torch.stack(spikes, 1).reshape(samples * steps, 4)
        return self.out(flat).reshape(samples, steps, 2).mean(1)


@pytest.mark.parametrize("batch", [2, 6])
def test_it_is_run_on_as_many(batch):
    model = dmpc.from_torch(Squeezed(batch), X)
    assert model.reference.batch == batch
    found = verify(model, dmpc.compile(model, calibration=X).image, X, max_drop=100)
    assert found.ok, found.to_json()
