"""Modules that take pictures: convolutions, batch norms and pools of torch's own."""

import numpy as np
import torch
from torch import nn

import dmpc
from dmpc import Options
from dmpc.backend.onnx_writer import to_onnx
from dmpc.compiler import import_layers
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


class Recurrent(nn.Module):
    """[timesteps, samples, channels, y, x]; neurons that a convolution of their own spikes charges,
    and those of the layer behind them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.own = nn.Conv2d(2, 7, 3, padding=1), nn.Conv2d(7, 7, 3, padding=1)
        self.second, self.back = nn.Conv2d(7, 5, 3, stride=2), nn.Conv2d(5, 7, 1)
        self.out = nn.Linear(45, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u, v = x.new_zeros(x.shape[1], 7, 8, 8), x.new_zeros(x.shape[1], 5, 3, 3)
        s, t, total = torch.zeros_like(u), torch.zeros_like(v), 0.0
        for frame in x:
            more = nn.functional.pad(self.back(t), (0, 5, 0, 5))
            u = u * 0.7 + 2 * self.first(frame) + 2 * self.own(s) + more
            s = (u > 0.5).float()
            u = u * (1 - s)
            v = v * 0.5 + 2 * self.second(s)
            t = (v >= 0.2).float()
            v = v * (1 - t)
            total = total + self.out(t.flatten(1))
        return total / len(x)


X = (np.random.default_rng(0).random((4, STEPS, 2, 8, 8)) < 0.3).astype(np.float32)


def test_convolutions_of_the_timestep_before(tmp_path):
    model = from_torch(Recurrent().eval(), X[:1], time_first=True)
    flat = X.reshape(4, STEPS, -1)
    image = dmpc.compile(model, calibration=flat).image
    found = verify(model, image, flat, max_drop=100.0)
    assert found.ok, found.to_json()
    path = tmp_path / "again.onnx"
    path.write_bytes(to_onnx(import_layers(model, Options())).SerializeToString())
    assert verify(path, image, flat, max_drop=100.0).ok


def test_a_saved_program_takes_pictures(tmp_path):
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Pictures().eval(), (torch.from_numpy(X),)), path)
    flat = X.reshape(4, STEPS, -1)
    found = verify(path, dmpc.compile(path, calibration=flat).image, flat, max_drop=100.0)
    assert found.ok, found.to_json()
    assert found.rungs[0].name == "torch ~ float graph"


def test_a_module_that_takes_pictures():
    x = X
    model = from_torch(Pictures().eval(), x[:1])
    assert model.graph.types[model.graph.inputs[0]].shape == (128,)
    assert [op.kind for op in model.graph.ops].count("conv") == 3
    flat = x.reshape(4, STEPS, -1)
    found = verify(model, dmpc.compile(model, calibration=flat).image, flat, max_drop=100.0)
    assert found.ok, found.to_json()
    assert found.rungs[0].name == "torch ~ float graph"
