"""Convolutions that read spikes in other planes than their layer is made of: `s.view(-1, c, l)`."""

import numpy as np
import pytest
import torch
from torch import nn

import dmpc
from dmpc import from_torch
from dmpc.verification import verify

INPUTS, NEURONS, CLASSES, STEPS = 6, 12, 3, 8


class Recurrent(nn.Module):
    """Neurons that read their own last spikes through a convolution, as SpikingJelly's ILC nodes;
    `written`: which is added to the sequence of their inputs, in place."""

    def __init__(self, conv: nn.Conv1d, *, written: bool):
        super().__init__()
        self.fc, self.out = nn.Linear(INPUTS, NEURONS), nn.Linear(NEURONS, CLASSES)
        self.conv, self.written = conv, written

    def heard(self, spikes):
        return self.conv(spikes.view(-1, self.conv.in_channels, NEURONS // self.conv.in_channels))

    def forward(self, x):
        currents = self.fc(x)
        u, s, answer = torch.zeros_like(currents[0]), torch.zeros_like(currents[0]), 0.0
        for k in range(len(x)):
            if self.written and k:
                currents[k] = currents[k] + self.heard(s).flatten(1)
            u = 0.75 * u + currents[k] + (0 if self.written else self.heard(s).flatten(1))
            s = (u >= 1).to(x.dtype)
            u, answer = u * (1 - s), answer + self.out(s)
        return answer


CONVS = {
    "groups": lambda: nn.Conv1d(3, 12, 4, groups=3, bias=False),
    "all at one place": lambda: nn.Conv1d(3, 12, 4, bias=False),
    "the same planes": lambda: nn.Conv1d(3, 3, 3, padding=1, bias=False),
    "other planes": lambda: nn.Conv1d(2, 4, 2, stride=2, bias=False),
}


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("conv", CONVS.values(), ids=CONVS)
def test_own_spikes_in_other_planes(conv, written):
    """They were read as if they stood in those of the results: the import did not agree."""
    torch.manual_seed(0)
    net = Recurrent(conv(), written=written).eval()
    x = (np.random.default_rng(0).random((20, STEPS, INPUTS)) < 0.4).astype(np.float32)
    model = from_torch(net, x, time_first=True)
    assert verify(model, dmpc.compile(model, calibration=x).image, x, max_drop=100).ok
