"""Torch modules that loop over time in Python, as users write them, and their exports."""

import io
import warnings

import onnx
import torch
from torch import nn

M, N, D, C = 6, 5, 3, 4  # inputs, neurons, memory states, classes


class Layer(nn.Module):
    """A layer with a slow memory, one timestep at a time."""

    def __init__(self, inputs):
        super().__init__()
        self.fast, self.drive = nn.Linear(inputs, N), nn.Linear(inputs, 1)
        self.slow = nn.Linear(D, N)
        self.register_buffer("a", torch.eye(D) * 0.7 + 0.1 / D)
        self.register_buffer("b", torch.linspace(1, -0.5, D))

    def forward(self, x, u, m):
        m = m @ self.a.T + torch.relu(self.drive(x)) * self.b
        v = u + (3 * (self.fast(x) + self.slow(m)) - u) / 2.0
        s = (v >= 0.5).float()
        return s, (1 - s) * v, m


class Network(nn.Module):
    """Two layers and a readout; subclasses loop over them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.ModuleList([Layer(M), Layer(N)])
        self.out = nn.Linear(N, C)

    def zeros(self, x):
        return [(x.new_zeros(x.shape[0], N), x.new_zeros(x.shape[0], D)) for _ in self.layers]

    def step(self, x, states):
        """One timestep; replaces the states in the list."""
        for number, layer in enumerate(self.layers):
            x, *states[number] = layer(x, *states[number])
        return self.out(x)


class StepByStep(Network):
    """One loop over the whole timestep, x [batch, time, inputs], the outputs stacked."""

    def forward(self, x):
        states = self.zeros(x)
        return torch.stack([self.step(x[:, k], states) for k in range(x.shape[1])], 1).mean(1)


class RunningSum(Network):
    """One loop that adds the outputs up as it goes."""

    def forward(self, x):
        states, total = self.zeros(x), 0
        for k in range(x.shape[1]):
            total = total + self.step(x[:, k], states)
        return total / x.shape[1]


class LayerByLayer(Network):
    """Two loops for each layer, x [time, batch, inputs], whole sequences between them; the
    states start as Python's zero."""

    def forward(self, x):
        for layer in self.layers:
            drive = torch.relu(layer.drive(x))
            m, memories = 0.0, []
            for k in range(len(x)):
                m = (m @ layer.a.T if k else 0.0) + drive[k] * layer.b
                memories.append(m)
            current = 3 * (layer.fast(x) + layer.slow(torch.stack(memories)))
            v, spikes = 0.0, []
            for k in range(len(x)):
                v = v + (current[k] - v) / 2.0
                s = (v >= 0.5).float()
                v = (1 - s) * v
                spikes.append(s)
            x = torch.stack(spikes)
        return self.out(x).mean(0)


def exported(module, x, dynamo: bool, **options) -> onnx.ModelProto:
    """The module as torch's own exporters write it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (x,),
            None if dynamo else buffer,
            dynamo=dynamo,
            verbose=False,
            **options,
        )
    return program.model_proto if dynamo else onnx.load_from_string(buffer.getvalue())


class Neurons(nn.Module):
    """One layer without memory; subclasses loop over its timesteps, x [batch, time, inputs]."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.fast, self.out = nn.Linear(M, 5), nn.Linear(5, 4)

    def step(self, x, v):
        v = v + (3 * self.fast(x) - v) / 2.0
        s = (v >= 0.5).float()
        return s, (1.0 - s) * v


class Lists(Neurons):
    """A list that grows, and is stacked."""

    def forward(self, x):
        v = torch.zeros(x.size(0), 5)
        ys: list[torch.Tensor] = []
        for k in range(x.size(1)):
            s, v = self.step(x[:, k], v)
            ys.append(self.out(s))
        return torch.stack(ys, 1).mean(1)


class Writes(Neurons):
    """A tensor that is filled."""

    def forward(self, x):
        v = torch.zeros(x.size(0), 5)
        spikes = torch.zeros(x.size(0), x.size(1), 5)
        for k in range(x.size(1)):
            s, v = self.step(x[:, k], v)
            spikes[:, k] = s
        return self.out(spikes).mean(1)


class Unbound(Neurons):
    """The slices taken apart beforehand, the outputs added up."""

    def forward(self, x):
        v = torch.zeros(x.size(0), 5)
        y = torch.zeros(x.size(0), 4)
        for now in x.unbind(1):
            s, v = self.step(now, v)
            y = y + self.out(s)
        return y / x.size(1)


class Ranges(Neurons):
    """Slices of length one, squeezed, and joined along the axis that they keep."""

    def forward(self, x):
        v = torch.zeros(x.size(0), 5)
        ys = []
        for k in range(x.size(1)):
            s, v = self.step(x[:, k : k + 1].squeeze(1), v)
            ys.append(self.out(s)[:, None])
        return torch.cat(ys, 1).mean(1)
