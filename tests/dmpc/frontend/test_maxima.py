"""Maxima over neighbours: of spikes a layer that forgets, of anything else refused."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import dmpc
from dmpc import Options
from dmpc.compiler import to_layers
from dmpc.ir.interpret import interpret
from dmpc.verification import verify


class Net(nn.Module):
    """Two convolutions; what is between them, and behind the second, is a maximum of spikes."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.pool = nn.Conv2d(2, 4, 3, padding=1), pool
        self.second, self.out = nn.Conv2d(4, 5, 2, padding=1), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        u, v, y = torch.zeros(x.shape[0], 4, 6, 6), 0.0, 0.0
        for now in x.unbind(1):
            u = 0.5 * u + 2 * self.first(now)
            fired = (u >= 1).float()
            u = torch.where(fired > 0, 0.0, u)
            v = 0.5 * v + 2 * self.second(self.pool(fired))
            spikes = (v >= 1).float()
            v = torch.where(spikes > 0, 0.0, v)
            y = y + self.out(spikes.amax(dim=(2, 3)))
        return y / x.shape[1]


X = (torch.rand(4, 7, 2, 6, 6, generator=torch.Generator().manual_seed(1)) < 0.3).float()
FLAT = X.flatten(2).numpy()
POOLS = (
    nn.MaxPool2d(2),
    nn.MaxPool2d((3, 2), (2, 1), (1, 0)),
    nn.MaxPool2d(2, dilation=2),
    nn.MaxPool2d(4, 3, ceil_mode=True),
    nn.AdaptiveMaxPool2d((3, 2)),
)


@pytest.mark.parametrize("pool", POOLS, ids=str)
@torch.no_grad()
def test_a_maximum_of_spikes_is_a_layer(pool: nn.Module) -> None:
    model = Net(pool).eval()
    layers = to_layers(dmpc.from_torch(model, X).graph, Options())
    assert [op.kind for op in layers.ops].count("lif") == 4
    np.testing.assert_allclose(interpret(layers, FLAT).logits, model(X).numpy(), atol=1e-5)


@pytest.mark.parametrize("pool", POOLS[:2], ids=str)
def test_on_the_machine_it_is_exact(pool: nn.Module) -> None:
    model = dmpc.from_torch(Net(pool).eval(), X)
    compiled = dmpc.compile(model, calibration=FLAT)
    assert verify(model, compiled.image, FLAT, max_drop=100).ok
    # whatever the charges of other layers, a spike more or less is never due to the maximum
    names = [op.results[0] for op in compiled.layers.ops if op.kind == "lif"]
    found = interpret(compiled.graph, FLAT.astype(np.int64), trace=names).traces
    fired, pooled = (found[name] for name in names[:2])
    planes = torch.from_numpy(fired.reshape(-1, 6, 6, 4).astype(np.float32)).permute(0, 3, 1, 2)
    wanted = pool(planes).permute(0, 2, 3, 1).flatten(1).numpy()
    np.testing.assert_array_equal(pooled.reshape(len(wanted), -1), wanted)


class Early(nn.Module):
    """A maximum of what charges neurons, or of the input."""

    def __init__(self, *, of_input: bool) -> None:
        super().__init__()
        self.first, self.out = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(36, 2)
        self.of_input = of_input

    def forward(self, x: Tensor) -> Tensor:
        u, y = torch.zeros(x.shape[0], 4, 3, 3), 0.0
        for now in x.unbind(1):
            if self.of_input:
                current = self.first(functional.max_pool2d(now, 2))
            else:
                current = functional.max_pool2d(self.first(now), 2)
            u = 0.5 * u + current
            spikes = (u >= 1).float()
            u = torch.where(spikes > 0, 0.0, u)
            y = y + self.out(spikes.flatten(1))
        return y / x.shape[1]


@pytest.mark.parametrize("of_input", [True, False])
def test_a_maximum_of_sums_or_of_the_input_is_refused(*, of_input: bool) -> None:
    said = r"^Early: max_pool2d\S*: MaxPool of what is no spike.*before it reaches the network\)$"
    with pytest.raises(dmpc.DmpcError, match=said):
        dmpc.from_torch(Early(of_input=of_input), X)
