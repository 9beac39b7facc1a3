"""States that a module keeps side by side in one tensor are states of their own."""

import numpy as np
import pytest
import torch

import dmpc
from dmpc.verification import verify

X = (np.random.default_rng(0).random((6, 9, 3)) < 0.4).astype(np.float32)
N = 4


def pair(v, i, _):
    return torch.cat((v, i), 1)


def written(v, i, _):
    state = v.new_zeros(len(v), 2, N)
    state[:, 0], state[:, 1] = v, i
    return state


# its shape without samples, how it is read, how it is made again
WAYS = {
    "chunk": ((2 * N,), lambda s: s.chunk(2, 1), pair),
    "slices": ((2 * N,), lambda s: (s[:, :N], s[:, N:]), pair),
    "in front": ((2, N), lambda s: s.unbind(1), lambda *parts: torch.stack(parts[:2], 1)),
    "written": ((2, N), lambda s: (s[:, 0], s[:, 1]), written),
    "last": ((N, 2), lambda s: s.unbind(-1), lambda *parts: torch.stack(parts[:2], -1)),
    "three": ((3 * N,), lambda s: s.split(N, 1), lambda *parts: torch.cat(parts, 1)),
    "before samples": (None, lambda s: (s[0], s[1]), lambda *parts: torch.stack(parts[:2])),
}


class Net(torch.nn.Module):
    """Neurons with a synaptic current, which hear their own spikes if the state holds them."""

    def __init__(self, way, start=0.0):
        super().__init__()
        torch.manual_seed(1)
        self.shape, self.read, self.made = WAYS[way]
        self.start = start
        self.fc, self.back = torch.nn.Linear(3, N), torch.nn.Linear(N, N)
        self.out = torch.nn.Linear(N, 2)

    def forward(self, x):
        shape = (2, len(x), N) if self.shape is None else (len(x), *self.shape)
        state, total = torch.full(shape, self.start), 0.0
        for now in x.unbind(1):
            v, i, *past = self.read(state)
            i = 0.8 * i + self.fc(now) + sum(self.back(z) for z in past)
            v = 0.9 * v + i
            z = (v >= 1).float()
            v = v * (1 - z)
            total = total + self.out(z)
            state = self.made(v, i, z)
        return total


def holds(net):
    model = dmpc.from_torch(net, X)
    found = verify(model, dmpc.compile(model, calibration=X).image, X, max_drop=100)
    return found.ok, found.to_json()


@pytest.mark.parametrize("way", WAYS)
def test_states_side_by_side_are_states(way):
    ok, told = holds(Net(way))
    assert ok, told


@pytest.mark.parametrize("way", ["slices", "last"])
def test_each_starts_where_its_part_does(way):
    ok, told = holds(Net(way, start=0.25))
    assert ok, told
