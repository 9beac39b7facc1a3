"""Modules that read out traces of spikes, as liquid state machines do: biases on either side."""

import numpy as np
import pytest
import torch
from torch import nn

import dmpc
from dmpc.verification import verify
from runtime.program import Program

STEPS = 12
X = (np.random.default_rng(0).random((8, STEPS, 6)) < 0.4).astype(np.float32)
OVER_TIME = {
    "last": lambda outputs: outputs[:, -1],
    "mean": lambda outputs: outputs.mean(1),
    "sum": lambda outputs: outputs.sum(1),
    "max": lambda outputs: outputs.max(1)[0],
}


class Traced(nn.Module):
    """Neurons, and what a subclass makes of their spikes, timestep by timestep."""

    def __init__(self, over_time="last") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weigh, self.classify, self.again = nn.Linear(6, 10), nn.Linear(10, 3), nn.Linear(3, 3)
        self.classify.bias.data = torch.tensor([4.0, -3.0, 0.5])
        self.over_time = over_time

    def forward(self, x):
        membrane, trace, logits, outputs = torch.zeros(len(x), 10), 0.0, torch.zeros(len(x), 3), []
        trace = torch.zeros(len(x), 10)
        for k in range(x.shape[1]):
            membrane = 0.9 * membrane + 3 * self.weigh(x[:, k])
            spikes = (membrane > 1).float()
            membrane = membrane - spikes
            output, trace, logits = self.step(spikes, trace, logits)
            outputs.append(output)
        return OVER_TIME[self.over_time](torch.stack(outputs, 1))


class Behind(Traced):
    def step(self, spikes, trace, logits):
        trace = 0.9 * trace + spikes
        return self.classify(trace), trace, logits


class Before(Traced):
    """It reads the trace as the timestep before left it."""

    def step(self, spikes, trace, logits):
        return self.classify(trace), 0.9 * trace + 0.1 * spikes, logits


class Between(Traced):
    def step(self, spikes, trace, logits):
        trace = 0.8 * trace + spikes
        logits = 0.9 * logits + self.classify(trace)
        return self.again(logits), trace, logits


@pytest.mark.parametrize("over_time", OVER_TIME)
@pytest.mark.parametrize("kind", [Behind, Before, Between])
def test_a_bias_on_any_side_of_a_leak(kind, over_time):
    module = kind(over_time).eval()
    model = dmpc.from_torch(module, X[:2])
    compiled = dmpc.compile(model, calibration=X)
    assert [rung.ok for rung in verify(model, compiled.image, X, max_drop=100).rungs] == [True] * 4
    wanted = module(torch.from_numpy(X)).detach().numpy()
    found = Program(compiled.image, "traced").run(X).logits
    assert np.median(np.abs(found - wanted)) < 0.01 * np.abs(wanted).max()
