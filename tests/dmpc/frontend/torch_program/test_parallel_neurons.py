"""Neurons that look at their last inputs and keep no membrane, as SpikingJelly's SlidingPSN.

They are neurons that forget, with a delay of each synapse for each timestep that they look at.
"""

import numpy as np
import pytest
import torch
from torch import nn

from dmpc.check import compile_and_tell
from dmpc.compiler import Options, to_layers
from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import from_torch
from dmpc.ir.interpret import interpret
from dmpc.verification import verify

INPUTS, NEURONS, STEPS, SAMPLES = 6, 7, 12, 8
X = (np.random.default_rng(1).random((SAMPLES, STEPS, INPUTS)) < 0.4).astype(np.float32)


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A whole sequence [timesteps, samples, n] at once: `SlidingPSN.multi_step_forward`."""
    steps, taps = len(x), len(weight)
    matrix = torch.zeros(steps, steps)
    for at in range(steps):
        first = max(0, at + 1 - taps)
        matrix[at][first : at + 1] = weight[taps - (at + 1 - first) :]
    return torch.addmm(bias, matrix, x.flatten(1)).view(x.shape)


def queue(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """One timestep after the other: `SlidingPSN.single_step_forward`."""
    held: list[torch.Tensor] = []
    charges = []
    for now in x:
        held = [*held, now.flatten()][-len(weight) :]
        rows = weight[len(weight) - len(held) :].unsqueeze(-1) * torch.stack(held)
        charges.append((rows.sum(0) + bias).view(now.shape))
    return torch.stack(charges)


class Sliding(nn.Module):
    """Two layers of them, and a readout."""

    def __init__(self, charge, taps: int, *, bias: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.charge = charge
        self.weight = nn.Parameter(2.0 ** torch.arange(1 - taps, 1))
        self.first = nn.Linear(INPUTS, NEURONS, bias=bias)
        self.second = nn.Linear(NEURONS, NEURONS, bias=bias)
        self.out = nn.Linear(NEURONS, 3)
        for layer in (self.first, self.second):
            nn.init.uniform_(layer.weight, -0.4, 1.0)
            if bias:
                nn.init.uniform_(layer.bias, -0.3, 0.3)

    def forward(self, x):
        for layer in (self.first, self.second):
            charge = self.charge(layer(x), self.weight, torch.tensor(-1.0))
            x = (charge >= 0).to(x.dtype)
        return self.out(x)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("taps", [1, 2, 3, 5])
@pytest.mark.parametrize("charge", [product, queue])
def test_neurons_that_look_at_their_last_inputs(charge, taps, bias):
    net = Sliding(charge, taps, bias=bias).eval()
    if taps == 1 and charge is product:
        pytest.skip("no timestep hangs on another: that is no sequence")
    layers = to_layers(from_torch(net, X, time_first=True).graph, Options())
    with torch.no_grad():
        wanted = net(torch.from_numpy(X).transpose(0, 1)).numpy().transpose(1, 0, 2)
    assert np.ptp(wanted, axis=(0, 1)).min() > 0.1
    found = interpret(layers, X.astype(np.float64)).outputs
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_down_to_the_simulator():
    net = Sliding(product, 3, bias=True).eval()
    model = from_torch(net, X, time_first=True)
    with listening() as told:
        made = compile_and_tell(model, calibration=X, lengths=None, options=Options(), observe=None)
    assert not told
    assert all(rung.ok for rung in verify(model, made.image, X, max_drop=100).rungs)


class Apart(Sliding):
    """Weights of each timestep for each other one, read by neurons behind them: PSN, MaskedPSN."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__(queue, 1, bias=False)
        self.matrix = nn.Parameter(matrix)

    def forward(self, x):
        charge = torch.addmm(torch.tensor(-1.0), self.matrix, self.first(x).flatten(1))
        spikes = (charge >= 0).to(x.dtype).view(STEPS, -1, NEURONS)
        return self.out(torch.stack([*self.running(spikes)]))

    def running(self, spikes):
        u = torch.zeros_like(spikes[0])
        for now in spikes:
            u = 0.5 * u + self.second(now)
            fired = (u >= 1).to(u.dtype)
            u = u * (1 - fired)
            yield fired


APART = {
    "that is full": (torch.rand(STEPS, STEPS), "timesteps depend on later ones, before Greater"),
    "of the last two": (
        torch.rand(STEPS, STEPS).tril().triu(-1),
        "is not the same at every timestep, first in timestep 6",
    ),
}


@pytest.mark.parametrize(("matrix", "said"), APART.values(), ids=APART)
def test_weights_of_each_timestep_are_told_so(matrix, said):
    """They were said to be many filters that do not decay."""
    with pytest.raises(ImportFailure, match=said):
        from_torch(Apart(matrix).eval(), X, time_first=True)
