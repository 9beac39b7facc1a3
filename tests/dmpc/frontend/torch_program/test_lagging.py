"""Of networks that read their input a timestep late, what is wrong with them is said."""

import numpy as np
import pytest
import torch
from torch import nn

from dmpc import from_torch
from dmpc.errors import ImportFailure

X = np.ones((2, 6, 3), np.float32)


class Late(nn.Module):
    """The current of a timestep charges the neurons in the next; so does LSNN of Norse."""

    def __init__(self, adapts: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weigh, self.out, self.adapts = nn.Linear(3, 4), nn.Linear(4, 2), adapts

    def forward(self, x):
        current = membrane = moved = torch.zeros(x.shape[0], 4)
        total = 0
        for now in x.unbind(1):
            membrane = 0.9 * membrane + current
            spikes = (membrane > 1 + self.adapts * moved).float()
            moved = 0.8 * moved + spikes
            membrane = membrane * (1 - spikes)
            current = self.weigh(now)
            total = total + self.out(spikes)
        return total


@pytest.mark.parametrize("adapts", [0.5, 0])
def test_the_reason_is_the_lag(adapts):
    with pytest.raises(ImportFailure) as info:
        from_torch(Late(adapts), X)
    assert [one.rule.name for one in info.value.every] == ["no-counterpart"]
