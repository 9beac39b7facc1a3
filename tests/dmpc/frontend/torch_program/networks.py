"""Torch networks as users write them: FFT memories, SpikingJelly's neurons, what training leaves.

The operations are those of the networks of Sun et al. (2026); the code is this project's. Both
versions of SpikingJelly run it, 0.0.0.0.14 and 2.0, whichever is imported.
"""

import numpy as np
import torch
from spikingjelly.activation_based import layer, neuron
from torch import fft, nn

from dmpc.frontend.torch_program.program import untouched
from dmpc.legendre import legendre_system, zero_order_hold

INPUTS, NEURONS, STATES, STEPS, CLASSES, WINDOW = 7, 8, 3, 11, 4, 9.0


class SlowState(nn.Module):
    """A Legendre memory for a whole sequence: the convolution with a stored impulse response."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        a, b = zero_order_hold(*legendre_system(STATES, WINDOW))
        response = np.stack([np.linalg.matrix_power(a, k) @ b for k in range(steps)], axis=-1)
        stored = torch.from_numpy(response).float()
        self.register_buffer("response", stored)
        self.register_buffer("spectrum", fft.rfft(stored, n=2 * steps, dim=-1))

    def forward(self, drive):  # [batch, time, 1] -> [batch, time, states]
        steps = drive.shape[1]
        spectrum = fft.rfft(drive.permute(0, 2, 1), n=2 * steps, dim=-1)
        m = fft.irfft(spectrum * self.spectrum.unsqueeze(0), n=2 * steps, dim=-1)
        return m[:, :, :steps].permute(0, 2, 1).contiguous()


class Layer(nn.Module):
    """Fast and slow current, a gate on the slow one, gradient taps, a batch norm never applied."""

    def __init__(self, inputs: int, gate: float, **lif) -> None:
        super().__init__()
        self.fast, self.drive = nn.Linear(inputs, NEURONS), nn.Linear(inputs, 1)
        self.memory, self.slow = SlowState(STEPS), nn.Linear(STATES, NEURONS)
        self.neurons = neuron.LIFNode(step_mode="m", detach_reset=True, **lif)
        self.norm = nn.BatchNorm1d(NEURONS)
        self.gate, self.tap, self.shown = gate, None, None

    def forward(self, x):
        m = self.memory(torch.relu(self.drive(x)))
        current = self.fast(x) + self.gate * self.slow(m)
        tap = self.fast(x).mean(dim=-1, keepdim=True)
        if torch.is_grad_enabled():
            self.tap, self.shown = current, tap
            self.tap.retain_grad()
        spikes = self.neurons(current.permute(1, 0, 2)).permute(1, 0, 2).contiguous()
        return spikes, spikes[:, -1, :].unsqueeze(-1)


class DualPathway(nn.Module):
    """Two layers, dropout between them, and a readout that is averaged over time."""

    def __init__(self, gate: float = 0.7) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.second = Layer(INPUTS, gate, tau=2.0), Layer(NEURONS, gate, tau=4.0)
        self.dropout, self.readout = nn.Dropout(0.3), nn.Linear(NEURONS, CLASSES)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.fast.weight.mul_(6)
                layer.slow.weight.mul_(6)
                layer.drive.bias.fill_(1.5)

    def forward(self, x):
        x, _ = self.first(x)
        x, _ = self.second(self.dropout(x))
        return self.readout(x.squeeze()).mean(dim=1)


def factory() -> nn.Module:
    return DualPathway()


NODES = {
    "lif": lambda: neuron.LIFNode(step_mode="m"),
    "lif-undecayed": lambda: neuron.LIFNode(tau=4.0, decay_input=False, step_mode="m"),
    "lif-soft": lambda: neuron.LIFNode(tau=3.0, v_reset=None, step_mode="m"),
    "lif-soft-undecayed": lambda: neuron.LIFNode(
        tau=3.0, v_reset=None, decay_input=False, v_threshold=0.75, step_mode="m"
    ),
    "lif-reset": lambda: neuron.LIFNode(v_threshold=0.5, v_reset=-0.25, step_mode="m"),
    "lif-reset-undecayed": lambda: neuron.LIFNode(v_reset=-0.25, decay_input=False, step_mode="m"),
    "plif": lambda: neuron.ParametricLIFNode(init_tau=2.5, step_mode="m"),
    "plif-soft-undecayed": lambda: neuron.ParametricLIFNode(
        init_tau=2.5, v_reset=None, decay_input=False, step_mode="m"
    ),
    "if": lambda: neuron.IFNode(step_mode="m"),
    "if-soft": lambda: neuron.IFNode(v_threshold=0.5, v_reset=None, step_mode="m"),
    "lif-stored": lambda: neuron.LIFNode(step_mode="m", store_v_seq=True),
    "lif-heard": lambda: layer.ElementWiseRecurrentContainer(
        neuron.LIFNode(), element_wise_function=lambda heard, x: x - 0.5 * heard, step_mode="m"
    ),
}


NODES2 = {"ilif": lambda: neuron.ILIFNode(step_mode="m")}
"""Nodes that version 2 alone has."""


class Spiking(nn.Module):
    """One spiking node and nothing more: what goes in is the current, what comes out the spikes."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self.weigh = nn.Linear(3, 3)
        self.node = (NODES | NODES2)[node]()
        with torch.no_grad():
            self.weigh.weight.copy_(torch.eye(3))
            self.weigh.bias.zero_()

    def forward(self, x):
        return self.node(self.weigh(x).transpose(0, 1)).transpose(0, 1)


def spikes_of(network: DualPathway, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Logits, and spikes [samples, time, neurons] of both layers, as torch computes them."""
    kept: list[np.ndarray] = []
    layers = (network.first, network.second)
    hooks = [
        layer.neurons.register_forward_hook(
            lambda _, __, spikes: kept.append(spikes.permute(1, 0, 2).numpy())
        )
        for layer in layers
    ]
    with untouched(network):
        logits = network(torch.from_numpy(x).float()).numpy()
    for hook in hooks:
        hook.remove()
    return logits, kept


class TimeFirst(Spiking):
    """Takes [timesteps, samples, inputs], as SpikingJelly's own layers do."""

    def __init__(self) -> None:
        super().__init__("lif")

    def forward(self, x):
        return self.node(self.weigh(x))


def currents() -> np.ndarray:
    """Currents [samples, steps, 3]: random ones, and the tie: 2 from a membrane of 0."""
    x = np.random.default_rng(3).normal(0.6, 1.2, (4, 9, 3))
    x[0, 0] = [2.0, np.nextafter(np.float32(2), np.float32(0)), 1.0]
    return x.astype(np.float32)


def events(samples: int = 12) -> np.ndarray:
    """Samples of events; the first is silent: biases alone charge memories and membranes."""
    x = np.random.default_rng(7).random((samples, STEPS, INPUTS)) < 0.35
    x[0] = False
    return x
