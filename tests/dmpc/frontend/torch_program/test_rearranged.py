"""Delays that a loop writes into slices, channel by channel, are one delay of each input."""

import numpy as np
import pytest
import torch

from dmpc import from_torch
from dmpc.compiler import Options, to_layers

X = (np.random.default_rng(0).random((4, 6, 3)) < 0.4).astype(np.float32)
LATE = [0, 2, 1]


def by_column(x):
    y = torch.zeros_like(x)
    for k, n in enumerate(LATE):
        y[:, n:, k] = x[:, : x.shape[1] - n, k]
    return y


def in_a_copy(x):
    y = x.clone()
    for k, n in enumerate(LATE):
        y[..., n:, k : k + 1] = x[..., : x.shape[1] - n, k : k + 1]
        y[:, :n, k] = 0
    return y


def rolled(x):
    y = x.new_zeros(x.shape)
    for k, n in enumerate(LATE):
        y[:, :, k] = torch.roll(x[:, :, k], n, 1)
        y[:, :n, k].fill_(0)
    return y


class Net(torch.nn.Module):
    def __init__(self, delayed):
        super().__init__()
        torch.manual_seed(0)
        self.delayed, self.fc, self.out = delayed, torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)

    def forward(self, x):
        y, v, total = self.delayed(x), torch.zeros(x.shape[0], 4), 0.0
        for now in y.unbind(1):
            v = 0.5 * v + 3 * self.fc(now)
            s = (v >= 1).float()
            v = v * (1 - s)
            total = total + self.out(s)
        return total / x.shape[1]


@pytest.mark.parametrize("spelt", [by_column, in_a_copy, rolled])
def test_writes_into_slices_are_delays(spelt):
    layers = to_layers(from_torch(Net(spelt), X).graph, Options())
    late = next(op for op in layers.ops if op.kind == "delay")
    (delays,) = (layers.constants[one] for one in late.operands if one in layers.constants)
    assert delays.tolist() == LATE
