"""Operations that are one linear map of spikes in planes: what torch makes of unit vectors."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import dmpc
from dmpc.compiler import Options, import_layers
from dmpc.errors import ImportFailure
from dmpc.ir.interpret import interpret
from dmpc.verification import verify

X = (np.random.default_rng(0).random((4, 6, 2 * 6 * 6)) < 0.3).astype(np.float32)


class Net(nn.Module):
    """Neurons behind a convolution, a map of their spikes, neurons, and an answer."""

    def __init__(self, mapped) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.mapped = mapped
        with torch.no_grad():
            size = mapped(torch.zeros(1, 4, 6, 6)).numel()
        self.last = nn.Linear(size, 3)

    def forward(self, x):
        u, v, answer = torch.zeros(len(x), 4, 6, 6), 0.0, 0.0
        for now in x.unbind(1):
            u = 0.75 * u + 2.5 * self.first(now.reshape(-1, 2, 6, 6))
            spikes = (u > 1).float()
            u = u * (1 - spikes)
            v = 0.75 * v + 1.7 * self.mapped(spikes).flatten(1)
            fired = (v > 1).float()
            v = v * (1 - fired)
            answer = answer + self.last(fired)
        return answer / x.shape[1]


def padded(mode):
    return lambda z: functional.pad(z, (1, 2, 0, 1), mode=mode)


torch.manual_seed(0)
MAPS = {
    "transposed": nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    "transposed parts": nn.ConvTranspose2d(4, 4, 2, groups=2, dilation=2, bias=False),
    "nearest": nn.Upsample(scale_factor=2),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "at corners": nn.Upsample(size=(4, 9), mode="bilinear", align_corners=True),
    "bicubic": nn.Upsample(scale_factor=1.5, mode="bicubic"),
    "reflected": padded("reflect"),
    "replicated": padded("replicate"),
    "circular": padded("circular"),
    "shuffled": nn.PixelShuffle(2),
    "unshuffled": nn.PixelUnshuffle(2),
    "patches": lambda z: functional.unfold(z, 3, stride=2).mul(0.9),
    "folded": lambda z: functional.fold(z.reshape(-1, 16, 9), (4, 4), 2),
    "uneven means": nn.AdaptiveAvgPool2d((5, 4)),
    "triangle": torch.tril,
    "in three": lambda z: nn.functional.conv3d(z[:, None], KERNEL, padding=1),
    "before a convolution": nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 3, padding=1)
    ),
    "padded otherwise": nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"),
    "behind a convolution": nn.Sequential(nn.Conv2d(4, 4, 3), nn.PixelShuffle(2)),
}
KERNEL = torch.randn(2, 1, 3, 3, 3, generator=torch.Generator().manual_seed(0)) / 3
ON_THE_MACHINE = ("transposed", "nearest", "bilinear", "before a convolution")


@pytest.mark.parametrize("mapped", MAPS.values(), ids=MAPS)
@torch.no_grad()
def test_a_linear_map_of_planes_is_one_product(mapped):
    net = Net(mapped).eval()
    layers = import_layers(dmpc.from_torch(net, X), Options())
    assert [op.kind for op in layers.ops].count("lif") == 2
    wanted = net(torch.from_numpy(X)).numpy()
    assert np.ptp(wanted, axis=0).min() > 0.01
    np.testing.assert_allclose(interpret(layers, X).logits, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ON_THE_MACHINE)
def test_on_the_machine(name):
    model = dmpc.from_torch(Net(MAPS[name]).eval(), X)
    compiled = dmpc.compile(model, calibration=X)
    assert [rung.ok for rung in verify(model, compiled.image, X, max_drop=100).rungs] == [True] * 4


def test_a_map_without_weights_moves_elements():
    model = dmpc.from_torch(Net(MAPS["nearest"]).eval(), X)
    assert not any(op.kind == "matmul" and "mapped" in str(op.loc) for op in model.graph.ops)


REFUSED = {
    "a map of a whole picture": (
        lambda z: functional.conv_transpose2d(
            functional.interpolate(z, scale_factor=6), torch.ones(4, 4, 2, 2), stride=2
        ),
        r"conv_transpose2d of 5184 elements, each to 20736 is not supported \(a convolution, or sm",
    ),
    "weights that are computed": (
        lambda z: functional.conv_transpose2d(z, z[:1].transpose(0, 1)),
        r"conv_transpose2d by computed numbers is not supported \(weights of the model\)",
    ),
    "products of spikes": (
        lambda z: functional.bilinear(z.flatten(1), z.flatten(1), torch.ones(3, 144, 144)),
        r"operator bilinear is not supported \(linear\)",
    ),
}


@pytest.mark.parametrize(("mapped", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_none_is_refused(mapped, message):
    with pytest.raises(ImportFailure, match=message):
        dmpc.from_torch(Net(mapped).eval(), X)
