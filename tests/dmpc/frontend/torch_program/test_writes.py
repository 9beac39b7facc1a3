"""Operations that write into their operands: what is read afterwards, by whatever name."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dmpc.frontend.torch_program.convert import to_onnx
from dmpc.frontend.torch_program.program import export, untouched
from tests.dmpc.frontend.oracle import session

B, T, M = 2, 3, 4


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def computed(module, x):
    """The program of a module, and what its ONNX model makes of x."""
    program = export(module, x, "module")
    model = to_onnx(program, "module")
    (found,) = session(model).run(None, {model.graph.input[0].name: x.numpy()})
    return program, found


def check(module, x):
    program, found = computed(module, x)
    with untouched(module):
        np.testing.assert_allclose(found, module(x.clone()).numpy(), 1e-5, 1e-6)
    return program


VIEWS = {
    "slice": lambda x: x[:],
    "turned": lambda x: x.flip(0).transpose(0, 1).transpose(0, 1),
    "dropout": lambda x: functional.dropout(x, 0.5, training=False),
    "contiguous": lambda x: x.contiguous(),
    "float": lambda x: x.float(),
    "joined": lambda x: x.reshape(B, -1).view(B, T, M),
}
MAKES = (
    lambda x, y: x + y,
    lambda x, y: x * 0.5 - y,
    lambda x, y: torch.where(x > y, x, -y),
    lambda x, y: (x > y).to(x.dtype),
    lambda x, _: x.clone(),
)
WRITES = (
    lambda x, y: x.mul_(y),
    lambda x, y: x.add_(y, alpha=-0.5),
    lambda x, y: x.sub_((y > x) * 1),
    lambda x, y: x.masked_fill_(y > 0, 0.5),
    lambda x, y: x.copy_(y),
    lambda x, y: x.gt_(y),
    lambda x, _: x.clamp_(-1, 1),
    lambda x, _: x.zero_(),
    lambda x, y: x[:, 1].copy_(y[:, 0]),
    lambda x, y: x[:, 0].mul_(y[:, 2]),
    lambda x, y: x.chunk(2, -1)[1].add_(y.unbind(-1)[0].unsqueeze(-1)),
)


def drawn(seed):
    """A function that makes, views and writes in a random order, and returns all it has.

    Without `einsum` and `type_as`: torch itself follows no write through what they return.
    """

    def function(x):
        draw = random.Random(seed)
        held, parts = [x * 0.5, x + 1], []
        for _ in range(12):
            one, other = draw.choice(held), draw.choice(held)
            kind = draw.randrange(4)
            if kind == 0:
                held.append(draw.choice(list(VIEWS.values()))(one))
            elif kind == 1:
                held.append(draw.choice(MAKES)(one, other))
            elif kind == 2:
                draw.choice(WRITES)(one, other)
            else:
                parts.extend(one.chunk(2, -1))
        return torch.cat([*held, *parts], -1)

    return function


@pytest.mark.parametrize("seed", range(16))
def test_writes_among_views(seed):
    x = torch.randn(B, T, M, generator=torch.Generator().manual_seed(seed))
    check(Function(drawn(seed)), x)


def neurons(x):
    """As Rockpool computes its own."""
    v, out = torch.zeros(B, M), torch.zeros(B, T, M)
    for t in range(T):
        v *= torch.exp(torch.tensor(-0.1))
        v = v + x[:, t]
        spikes = ((v >= 1) * torch.floor(v)).float()
        spikes -= (spikes > 1) * (spikes - 1)
        v = v - spikes
        out[:, t] = spikes
    return out


def test_neurons_that_decay_in_place_are_not_traced_again(monkeypatch):
    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", None)
    check(Function(neurons), 2 * torch.rand(B, T, M))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_that_a_later_write_changes(view):
    def function(x):
        v = x * 2
        seen = view(v)
        v.add_(1.0)
        return seen + 0

    check(Function(function), torch.randn(B, T, M))
