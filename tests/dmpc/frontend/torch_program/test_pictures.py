"""Modules that take pictures: convolutions, batch norms and pools of torch's own."""

import numpy as np
import torch
from torch import nn

import dmpc
from dmpc.frontend import from_torch
from dmpc.verification import verify

STEPS = 5


class Pictures(nn.Module):
    """[samples, timesteps, channels, y, x]; a convolution, a norm, means, one in parts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.norm.running_mean.uniform_(-0.2, 0.2)
        self.norm.running_var.uniform_(0.5, 2)
        self.pool = nn.AvgPool2d(2)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2)
        self.out = nn.Linear(8 * 2 * 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = v = 0.0
        found = []
        for k in range(STEPS):
            u = u * 0.5 + self.norm(self.first(x[:, k]))
            s = (u >= 0.5).float()
            u = u * (1 - s)
            v = v * 0.5 + self.second(self.pool(s))
            t = (v >= 0.2).float()
            v = v * (1 - t)
            found.append(self.out(t.flatten(1)))
        return torch.stack(found, 1).mean(1)


def test_a_module_that_takes_pictures():
    x = (np.random.default_rng(0).random((4, STEPS, 2, 8, 8)) < 0.3).astype(np.float32)
    model = from_torch(Pictures().eval(), x[:1])
    assert model.graph.types[model.graph.inputs[0]].shape == (128,)
    assert [op.kind for op in model.graph.ops].count("conv") == 3
    flat = x.reshape(4, STEPS, -1)
    found = verify(model, dmpc.compile(model, calibration=flat).image, flat, max_drop=100.0)
    assert found.ok, found.to_json()
    assert found.rungs[0].name == "torch ~ float graph"
