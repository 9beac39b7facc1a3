"""Functions of the spikes of two layers, as users of torch write them."""

import numpy as np
import pytest
import torch
from torch import nn

from dmpc import compile as compile_network
from dmpc import from_torch
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
from dmpc.verification import verify

X = (np.random.default_rng(0).random((6, 12, 12)) < 0.3).astype(np.float32)


class Net(nn.Module):
    """Two layers, a function of their spikes, which the first may hear later, and a readout."""

    def __init__(self, function, *, heard: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w1, self.w2, self.back = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.out = nn.Linear(16, 4)
        for one in (self.w1, self.w2, self.back):
            one.weight.data *= 4
        self.function, self.heard = function, heard

    def forward(self, x):
        u = v = joined = torch.zeros(len(x), 16)
        y = 0
        for now in x.unbind(1):
            u = 0.8 * u + self.w1(now) + (self.back(joined) if self.heard else 0)
            a = u > 1
            u = torch.where(a, 0.0, u)
            v = 0.8 * v + self.w2(a.float())
            b = v > 1
            v = torch.where(b, 0.0, v)
            joined = self.function(a, b, a.float(), b.float()).float()
            y = y + self.out(joined)
        return y / x.shape[1]


FUNCTIONS = {
    "maximum": lambda a, b, s, t: torch.maximum(s, t),  # noqa: ARG005
    "minimum": lambda a, b, s, t: torch.minimum(s, 1 - t),  # noqa: ARG005
    "amax": lambda a, b, s, t: torch.stack([s, t]).amax(0),  # noqa: ARG005
    "clamp": lambda a, b, s, t: (s + t).clamp(0, 1),  # noqa: ARG005
    "sign": lambda a, b, s, t: torch.sign(s + t),  # noqa: ARG005
    "any": lambda a, b, s, t: (s + t) != 0,  # noqa: ARG005
    "greater": lambda a, b, s, t: a > b,  # noqa: ARG005
    "logical_xor": lambda a, b, s, t: torch.logical_xor(a, b),  # noqa: ARG005
    "unequal": lambda a, b, s, t: s != t,  # noqa: ARG005
    "equal": lambda a, b, s, t: a == b,  # noqa: ARG005
    "abs": lambda a, b, s, t: (s - t).abs(),  # noqa: ARG005
    "square": lambda a, b, s, t: (s - t) ** 2,  # noqa: ARG005
    "choice": lambda a, b, s, t: torch.where(a, 1 - t, t),  # noqa: ARG005
    "round": lambda a, b, s, t: ((s + t) / 2).round(),  # noqa: ARG005
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_layer_of_neurons_more(name):
    net = Net(FUNCTIONS[name]).eval()
    layers = apply(Recognise(), from_torch(net, X).graph)
    assert [op.kind for op in layers.ops].count("lif") == 3
    wanted = net(torch.as_tensor(X)).detach().numpy()
    np.testing.assert_allclose(interpret(layers, X).logits, wanted, rtol=0, atol=1e-5)
    assert np.ptp(wanted, axis=0).max() > 0.02


@pytest.mark.parametrize("name", ["maximum", "unequal"])
def test_what_is_heard_later_is_compared_once_more(name):
    """Spikes are held, and no sums of them."""
    model = from_torch(Net(FUNCTIONS[name], heard=True).eval(), X)
    made = compile_network(model, calibration=X)
    assert [op.kind for op in made.layers.ops].count("lif") == 3 + (name == "unequal")
    assert [rung.ok for rung in verify(model, made.image, X, max_drop=100).rungs] == [True] * 4


class Conv(nn.Module):
    """A convolution reads a function of the spikes of two others' neurons."""

    def __init__(self, function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c1, self.c2 = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.out, self.function = nn.Linear(32, 3), function

    def forward(self, x):
        u = v = w = torch.zeros(len(x), 2, 4, 4)
        y = 0
        for now in x.unbind(1):
            u = 0.5 * u + 4 * self.c1(now)
            s = (u >= 1).float()
            u = u * (1 - s)
            v = 0.5 * v + 5 * self.c2(s)
            t = (v >= 1).float()
            v = v * (1 - t)
            w = 0.5 * w + 5 * self.c2(self.function(s, t))
            z = (w >= 1).float()
            w = w * (1 - z)
            y = y + self.out(z.flatten(1))
        return y / x.shape[1]


@pytest.mark.parametrize(
    ("function", "neurons"), [(lambda s, t: (s - t).abs(), 5), (lambda s, t: s + t, 3)]
)
def test_a_convolution_reads_spikes_or_sums_of_such(function, neurons):
    x = (np.random.default_rng(0).random((6, 9, 1, 4, 4)) < 0.4).astype(np.float32)
    net = Conv(function).eval()
    layers = apply(Recognise(), from_torch(net, torch.as_tensor(x)).graph)
    assert [op.kind for op in layers.ops].count("lif") == neurons
    wanted = net(torch.as_tensor(x)).detach().numpy()
    flat = x.reshape(6, 9, 16)
    np.testing.assert_allclose(interpret(layers, flat).logits, wanted, rtol=0, atol=1e-5)
    assert np.ptp(wanted, axis=0).max() > 0.02
