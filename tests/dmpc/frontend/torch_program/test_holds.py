"""Modules that hold a slow state for some timesteps, and layers that hear one late."""

import numpy as np
import pytest
import torch
from torch import nn

import dmpc
from dmpc.errors import DmpcError
from dmpc.verification import verify

STEPS = 20
X = (np.random.default_rng(1).random((6, STEPS, 6)) < 0.4).astype(np.float32)


class Held(nn.Module):
    """Neurons that a slow state charges which is looked at in some timesteps alone.

    `late`: before it hears of the timestep; `own`: it hears the neurons, and not the input;
    `twice`: another layer holds it, too, for another while.
    """

    def __init__(self, *, late=False, own=False, twice=False, rectified=True, raw=False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.late, self.own, self.twice, self.rectified, self.raw = late, own, twice, rectified, raw
        self.weigh, self.drive = nn.Linear(6, 8), nn.Linear(8 if own else 6, 1)
        self.slow, self.next = nn.Linear(3, 8), nn.Linear(8, 8)
        self.slower = nn.Linear(3, 8, bias=False)
        self.keep = nn.Parameter(torch.randn(3, 3) * 0.3)
        self.take = nn.Parameter(torch.randn(1, 3))
        self.classify = nn.Linear(8, 4)

    def due(self, step):
        return step % 3 == 0

    def charge(self, held):
        return held.repeat(1, 3)[:, :8] if self.raw else self.slow(held)

    def charged(self, membrane, fast, held):
        return 0.9 * membrane + fast + self.charge(held)

    def forward(self, x):
        membrane, second = torch.zeros(len(x), 8), torch.zeros(len(x), 8)
        memory, held, longer = (torch.zeros(len(x), 3) for _ in range(3))
        total = 0
        for step in range(x.shape[1]):
            if self.late and self.due(step):
                held = memory
            if not self.own:
                memory = self.update(memory, x[:, step])
            if not self.late and self.due(step):
                held = memory
            membrane = self.charged(membrane, self.weigh(x[:, step]), held)
            spikes = (membrane >= 1).float()
            membrane = membrane - spikes
            if self.own:
                memory = self.update(memory, spikes)
            if self.twice:
                longer = memory if step % 5 == 0 else longer
                second = 0.8 * second + self.next(spikes) + self.slower(longer)
                spikes = (second >= 1).float()
                second = second * (1 - spikes)
            total = total + self.classify(spikes)
        return total / x.shape[1]

    def update(self, memory, heard):
        drive = self.drive(heard)
        drive = torch.relu(drive) if self.rectified else drive
        return memory @ self.keep + drive @ self.take


def verified(network):
    """The layers of a network that every oracle agrees on."""
    model = dmpc.from_torch(network, torch.from_numpy(X))
    result = dmpc.compile(model, calibration=X)
    found = verify(model, result.image, X, max_drop=100)
    assert found.ok, found.to_json()
    return dmpc.from_torch(network, torch.from_numpy(X)).graph.ops


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"late": True},
        {"own": True},
        {"own": True, "late": True},
        {"twice": True},
        {"rectified": False},
        {"own": True, "rectified": False},
        {"raw": True},
        {"raw": True, "late": True},
    ],
    ids=lambda kind: " ".join(kind) or "now",
)
def test_a_slow_state_is_held(kind):
    kinds = [op.kind for op in verified(Held(**kind))]
    assert kinds.count("where") >= 1 + bool(kind.get("twice"))


class Sometimes(Held):
    def due(self, step):
        return step % 3 == 0 and step != 12


class Faster(Held):
    def due(self, step):
        return step % (4 if step < 10 else 2) == 0


class Before(Held):
    """What is held is added before this timestep's input."""

    def charged(self, membrane, fast, held):
        return 0.9 * membrane + self.charge(held) + fast


class Joined(Held):
    """What is held itself lies beside this timestep's input."""

    def charged(self, membrane, fast, held):
        weight = torch.cat([torch.eye(8), self.slower.weight.T])
        return 0.9 * membrane + torch.cat([fast, held], 1) @ weight


@pytest.mark.parametrize("network", [Before, Joined])
@pytest.mark.parametrize("late", [False, True])
def test_a_held_state_is_read_anywhere(network, late):
    assert verified(network(late=late))


class Afterwards(Held):
    def __init__(self, since, **kind):
        super().__init__(**kind)
        self.since = since

    def due(self, step):
        return step % 3 == self.since


@pytest.mark.parametrize("since", [1, 2])
@pytest.mark.parametrize(
    "kind", [{}, {"late": True}, {"own": True}, {"raw": True}], ids=lambda kind: " ".join(kind)
)
def test_a_slow_state_is_held_from_a_later_timestep_on(since, kind):
    assert verified(Afterwards(since, **kind))


@pytest.mark.parametrize("network", [Sometimes, Faster])
def test_what_is_held_for_other_whiles_is_refused(network):
    with pytest.raises(DmpcError, match="this is not computed at timestep 11"):
        dmpc.from_torch(network(), torch.from_numpy(X))


class Heard(nn.Module):
    """Neurons that a slow state charges which hears them, with other layers that read it or not."""

    def __init__(self, *, drives=1, rectified=True, current=False, read=False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rectified, self.current, self.read = rectified, current, read
        self.weigh, self.drive = nn.Linear(6, 8), nn.Linear(14, drives)
        self.slow, self.next = nn.Linear(3, 8, bias=False), nn.Linear(8, 5)
        self.again = nn.Linear(3, 5, bias=False)
        self.keep = nn.Parameter(torch.randn(3, 3) * 0.3)
        self.take = nn.Parameter(torch.randn(drives, 3))
        self.classify = nn.Linear(5, 4)

    def forward(self, x):
        membrane, current = torch.zeros(len(x), 8), torch.zeros(len(x), 8)
        second, memory = torch.zeros(len(x), 5), torch.zeros(len(x), 3)
        total = 0
        for step in range(x.shape[1]):
            charge = self.weigh(x[:, step]) + self.slow(memory)
            current = 0.7 * current + charge
            membrane = 0.9 * membrane + (current if self.current else charge)
            spikes = (membrane >= 1).float()
            membrane = membrane - spikes
            drive = self.drive(torch.cat([spikes, x[:, step]], 1))
            drive = torch.relu(drive) if self.rectified else drive
            memory = memory @ self.keep + drive @ self.take
            second = 0.8 * second + self.next(spikes)
            second = second + self.again(memory) if self.read else second
            spikes = (second >= 1).float()
            second = second * (1 - spikes)
            total = total + self.classify(spikes)
        return total / x.shape[1]


@pytest.mark.parametrize("drives", [1, 2])
@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("more", [{}, {"current": True}, {"read": True}], ids=str)
def test_a_slow_state_hears_what_it_charged(drives, rectified, more):
    network = Heard(drives=drives, rectified=rectified, **more)
    assert verified(network)
