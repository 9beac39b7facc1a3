"""Cells as keras-lmu and pytorch-lmu have them, with spiking neurons, from plain torch modules."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmpc import from_torch
from dmpc.compiler import Options, to_layers
from dmpc.frontend.proof import prove
from dmpc.legendre import legendre_system, zero_order_hold

INPUTS, NEURONS, ORDER = 9, 8, 4


class Cell(nn.Module):
    """`u = e_x x + e_h h + e_m m`, `m = A m + B u` for each of u, `h` spikes of x, h and m."""

    def __init__(self, scalars: int, *, rectified: bool) -> None:
        super().__init__()
        a, b = zero_order_hold(*legendre_system(ORDER, 12.0))
        each, states = np.eye(scalars), scalars * ORDER
        self.register_buffer("a", torch.tensor(np.kron(each, a), dtype=torch.float32))
        self.register_buffer("b", torch.tensor(np.kron(each, b[:, None]), dtype=torch.float32))
        self.e_x = nn.Linear(INPUTS, scalars)
        self.e_h, self.e_m = nn.Linear(NEURONS, scalars), nn.Linear(states, scalars)
        self.w_x, self.w_h = nn.Linear(INPUTS, NEURONS), nn.Linear(NEURONS, NEURONS)
        self.w_m, self.out = nn.Linear(states, NEURONS), nn.Linear(NEURONS, 3)
        self.rectified = rectified
        with torch.no_grad():
            self.e_m.weight *= 0.1
            self.w_x.weight *= 3

    def forward(self, x: Tensor) -> Tensor:
        m = x.new_zeros(len(x), len(self.a))
        v = h = x.new_zeros(len(x), NEURONS)
        total = x.new_zeros(len(x), 3)
        for s in x.unbind(1):
            u = self.e_x(s) + self.e_h(h)
            u = torch.relu(u) if self.rectified else u + self.e_m(m)
            m = m @ self.a.T + u @ self.b.T
            v = 0.8 * v + self.w_x(s) + self.w_h(h) + self.w_m(m)
            h = (v >= 1).float()
            v = v - h
            total = total + self.out(h)
        return total / x.shape[1]


@pytest.mark.parametrize(("scalars", "rectified"), [(1, False), (2, False), (2, True)])
def test_a_cell_is_a_memory_that_hears_input_spikes_and_itself(
    scalars: int, rectified: bool
) -> None:
    torch.manual_seed(4)
    x = np.random.default_rng(4).random((6, 12, INPUTS)) < 0.25
    model = from_torch(Cell(scalars, rectified=rectified), x)
    layers = to_layers(model.graph, Options())
    drives = [op.attrs for op in layers.ops if op.kind == "drive"]
    assert [bool(attrs.get("adds")) for attrs in drives] == [False, True] * scalars
    assert [bool(attrs.get("linear")) for attrs in drives] == [True, not rectified] * scalars
    (memory,) = (op for op in layers.ops if op.kind == "memory")
    assert layers.types[memory.operands[1]].shape == (scalars,)
    assert prove(model, layers, x).holds
