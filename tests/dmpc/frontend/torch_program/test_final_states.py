"""Modules that return their states beside the answer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dmpc import from_torch
from dmpc.errors import ImportFailure
from dmpc.findings import listening

X = (np.random.default_rng(0).random((2, 9, 5)) < 0.4).astype(np.float32)


class Ended(torch.nn.Module):
    """Neurons that are read, of which `make` gives something.

    `y` [samples, timesteps, classes] is read of each timestep, `kept` leaks, `total` sums it up;
    `u` and `v` are the membrane and the leaky readout after the last timestep.
    """

    def __init__(self, make) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc, self.out, self.make = torch.nn.Linear(5, 7), torch.nn.Linear(7, 3), make

    def forward(self, x):
        u, v = torch.zeros(x.shape[0], 7), torch.zeros(x.shape[0], 3)
        total, seen, kept = torch.zeros_like(v), [], []
        for k in range(x.shape[1]):
            u = 0.9 * u + 5 * self.fc(x[:, k])
            spikes = (u >= 1).float()
            u = u - spikes
            y = self.out(spikes)
            v, total = 0.8 * v + y, total + y
            seen.append(y)
            kept.append(v)
        y, kept = torch.stack(seen, 1), torch.stack(kept, 1)
        return self.make(SimpleNamespace(y=y, kept=kept, total=total, u=u, v=v))


FINAL = {
    "every timestep's": (lambda m: (m.y, m.u), lambda m: m.y.mean(1)),
    "in a tuple": (lambda m: (m.y, (m.u, m.u)), lambda m: m.y.mean(1)),
    "the last of them": (lambda m: (m.y[:, -1], m.u), lambda m: m.y[:, -1]),
    "summed up": (lambda m: (m.u, m.total), lambda m: m.total),
    "a leaky readout": (lambda m: {"u": m.u, "v": m.v}, lambda m: m.v),
    "what a leaky readout was": (lambda m: (m.kept, (m.u, m.v)), lambda m: m.kept.mean(1)),
}


@pytest.mark.parametrize(("make", "wanted"), FINAL.values(), ids=FINAL)
def test_final_states_need_no_choice(make, wanted):
    with listening() as told:
        model = from_torch(Ended(make), X)
    assert [one.rule for one in told] == ["outputs-left-out"]
    with torch.no_grad():
        logits = Ended(wanted)(torch.from_numpy(X))
    np.testing.assert_allclose(model.reference.logits(X), logits, rtol=1e-5)


CHOICES = {
    "readouts of every timestep": lambda m: (m.y, m.kept),
    "two sums": lambda m: (m.total, m.v),
    "a sum and what it is of": lambda m: (m.total, m.y),
    "beside a state": lambda m: (m.y, m.total, m.u),
}


@pytest.mark.parametrize("make", CHOICES.values(), ids=CHOICES)
def test_results_that_do_not_follow_from_each_other_are_a_choice(make):
    with pytest.raises(ImportFailure, match=r": --output 0 or --output 1\)"):
        from_torch(Ended(make), X)
