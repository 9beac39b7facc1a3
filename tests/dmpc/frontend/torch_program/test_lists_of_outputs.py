"""Networks as the tutorials of surrogate gradients write them (Neftci, Mostafa and Zenke 2019).

Neurons compare the membrane as it was left, resets take what comes in with them, the readout is
charged a timestep late, and its list of outputs begins with the initial one: of T + 1 outputs the
largest is the answer.
"""

import numpy as np
import pytest
import torch
from torch import nn

from dmpc import compile as compile_network
from dmpc import from_torch
from dmpc.errors import DmpcError
from dmpc.verification import verify

X = (np.random.default_rng(0).random((6, 9, 12)) < 0.3).astype(np.float32)


class Net(nn.Module):
    """One layer and a leaky readout; `heard` adds recurrence."""

    def __init__(self, *, heard: bool, answer) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w1 = nn.Parameter(torch.randn(12, 24) * 0.4)
        self.w2 = nn.Parameter(torch.randn(24, 4) * 0.4)
        self.v1 = nn.Parameter(torch.randn(24, 24) * 0.1) if heard else None
        self.answer = answer

    def forward(self, inputs):
        syn = mem = out = torch.zeros(len(inputs), 24)
        spikes = []
        currents = torch.einsum("abc,cd->abd", (inputs, self.w1))
        for t in range(inputs.shape[1]):
            h1 = currents[:, t]
            if self.v1 is not None:
                h1 = h1 + torch.einsum("ab,bc->ac", (out, self.v1))
            out = (mem - 1.0 > 0).float()
            syn, mem = 0.8 * syn + h1, (0.9 * mem + syn) * (1.0 - out)
            spikes.append(out)
        h2 = torch.einsum("abc,cd->abd", (torch.stack(spikes, dim=1), self.w2))
        flt = out = torch.zeros(len(inputs), 4)
        outputs = [out]
        for t in range(inputs.shape[1]):
            flt, out = 0.8 * flt + h2[:, t], 0.9 * out + flt
            outputs.append(out)
        return self.answer(torch.stack(outputs, dim=1))


def largest(outputs):
    return torch.max(outputs, 1)[0]


@pytest.mark.parametrize("heard", [False, True])
def test_the_largest_of_a_list_that_begins_with_the_initial_output(heard):
    module = from_torch(Net(heard=heard, answer=largest).eval(), X)
    made = compile_network(module, calibration=X)
    assert [rung.ok for rung in verify(module, made.image, X, max_drop=100).rungs] == [True] * 4


def test_all_of_such_a_list_are_no_sequence():
    with pytest.raises(DmpcError, match="4 values are filtered over time, before output"):
        from_torch(Net(heard=False, answer=lambda outputs: outputs).eval(), X)
