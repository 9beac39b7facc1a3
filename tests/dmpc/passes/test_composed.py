"""Convolutions of convolutions are one, whatever stands between, and whatever they are."""

import numpy as np
import pytest
import torch
from torch import nn

from dmpc import Options, from_torch
from dmpc.compiler import import_layers
from dmpc.errors import DmpcError
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_convolution import MAPS

X = (np.random.default_rng(0).random((3, 6, 2 * 10 * 9)) < 0.3).astype(np.float32)


class Net(nn.Module):
    """Neurons behind a chain of linear maps of a picture."""

    def __init__(self, *chain: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.chain = nn.Sequential(*chain)
        with torch.no_grad():
            self.wide = self.chain(torch.zeros(1, 2, 10, 9)).numel()
            for one in self.chain:
                for parameter in one.parameters():
                    nn.init.normal_(parameter, std=0.6)
        self.out = nn.Linear(self.wide, 3)

    def forward(self, x):
        u, total = torch.zeros(len(x), self.wide), 0
        for now in x.unbind(1):
            u = 0.5 * u + self.chain(now.reshape(-1, 2, 10, 9)).flatten(1)
            s = (u > 0.5).float()
            u = u * (1 - s)
            total = total + self.out(s)
        return total


CHAINS = {
    "means behind": lambda: (nn.Conv2d(2, 3, 3), nn.AvgPool2d(2)),
    "means that overlap": lambda: (nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d(3, stride=2)),
    "of a strided one": lambda: (nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.AvgPool2d((2, 1))),
    "separable": lambda: (nn.Conv2d(2, 4, 3, groups=2, padding=1), nn.Conv2d(4, 3, 1)),
    "of parts": lambda: (nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(4, 6, 2, groups=2, dilation=2)),
    "three": lambda: (nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, (2, 3), stride=2), nn.AvgPool2d(2)),
    "normalised": lambda: (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.AvgPool2d(2)),
    "means before": lambda: (nn.AvgPool2d(2), nn.Conv2d(2, 3, 2), nn.AvgPool2d(2)),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_one_convolution_for_several(chain):
    net = Net(*chain()).eval()
    layers = import_layers(from_torch(net, X), Options())
    assert sum(op.kind in MAPS for op in layers.ops) == 2  # of the neurons, and of the readout
    with torch.no_grad():
        wanted = net(torch.from_numpy(X)).numpy()
    assert np.ptp(wanted, axis=0).min() > 0
    np.testing.assert_allclose(interpret(layers, X).logits, wanted, rtol=1e-4, atol=1e-4)


def test_zeros_between_are_no_sums():
    """What a second convolution pads with is 0, where the first would not give 0: a product."""
    net = Net(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 3, padding=1)).eval()
    layers = import_layers(from_torch(net, X), Options())
    assert not any(op.kind == "conv" for op in layers.ops)
    with torch.no_grad():
        wanted = net(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(interpret(layers, X).logits, wanted, rtol=1e-4, atol=1e-4)


def test_what_is_large_is_not_multiplied_out():
    x = np.zeros((1, 4, 2 * 10 * 9), np.float32)
    net = Net(nn.Upsample(scale_factor=8), nn.Conv2d(2, 2, 3)).eval()
    with pytest.raises(DmpcError, match="neither the network's input nor spikes"):
        import_layers(from_torch(net, x), Options())
