"""Neurons that spike several times in a timestep: found, proved against torch, bit for bit."""

import warnings

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from dmpc import Options, from_torch
from dmpc import compile as compile_network
from dmpc.backend.onnx_writer import to_onnx
from dmpc.compiler import import_layers
from dmpc.errors import DmpcError
from dmpc.verification import verify

X = (np.random.default_rng(0).random((4, 7, 8)) < 0.4).astype(np.float32)


class Net(nn.Module):
    """Two layers of neurons of 9 and 5 whose step makes of a charge what it spikes and leaves."""

    def __init__(self, step) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w1, self.w2, self.o = nn.Linear(8, 9), nn.Linear(9, 5), nn.Linear(5, 4)
        self.w1.weight.data *= 3
        self.w2.weight.data *= 2
        self.step = step

    def forward(self, x):
        u = torch.zeros(x.shape[0], 9)
        v = torch.zeros(x.shape[0], 5)
        total = 0
        for now in x.unbind(1):
            s, u = self.step(0.9 * u + self.w1(now))
            z, v = self.step(v + self.w2(s))
            total = total + self.o(z)
        return total / x.shape[1]


def counted(v):
    n = torch.clamp(torch.floor(v / 0.8), 0, 3)
    return n, v - 0.8 * n


def divided(v):
    n = (v > 0) * torch.div(v, 0.5, rounding_mode="trunc")
    n = torch.clamp(n, max=4)
    return n, torch.relu(v - 0.5 * n + 0.2) - 0.2


def compared(v):
    n = (v >= 1).float() + (v >= 2).float()
    return n, v - n


def taken_off_more(v):
    n = (v >= 1).float() + (v >= 1.75).float()
    return n, v - 0.75 * n


def rounded(v):
    """Integer LIF as SpikeYOLO has it (Luo et al. 2024, eq. 8)."""
    n = torch.round(torch.clamp(v, 0, 4))
    return n, v - n


def normalised(v):
    """... and as E-SpikeFormer has it (Yao et al. 2025)."""
    n = torch.floor(torch.clamp(v, min=0, max=4) + 0.5) / 4
    return n, v - n * 4


STEPS = (counted, divided, compared, taken_off_more, rounded, normalised)


@pytest.mark.parametrize("step", STEPS, ids=lambda one: one.__name__)
def test_it_is_compiled_and_every_bit_is_the_integer_graphs(step):
    module = from_torch(Net(step).eval(), X)
    made = compile_network(module, calibration=X, options=Options(balance=False))
    assert [op.attrs.get("times", 1) > 1 for op in made.layers.ops if "lif" in op.kind] == [
        True
    ] * 2
    found = verify(module, made.image, X, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]


def test_whole_parts_as_torchs_exporter_spells_them(tmp_path):
    """torch.div(.., rounding_mode="trunc") is sign(x) * floor(abs(x)) in its files."""
    net, path = Net(divided).eval(), tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.from_numpy(X),), path, dynamo=True, verbose=False)
    assert "Abs" in {node.op_type for node in onnx.load(path).graph.node}
    found, wanted = (import_layers(one, Options()) for one in (path, from_torch(net, X)))
    assert [op.kind for op in found.ops] == [op.kind for op in wanted.ops]


class Recurrent(nn.Module):
    """Neurons that hear of their last counts, which are kept, or what they make of them."""

    def __init__(self, most, *, weighted) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w, self.r, self.o = nn.Linear(8, 9), nn.Linear(9, 9, bias=False), nn.Linear(9, 4)
        self.most, self.weighted = most, weighted

    def forward(self, x):
        v = kept = torch.zeros(x.shape[0], 9)
        total = 0
        for now in x.unbind(1):
            v = 0.9 * v + 3 * self.w(now) + (kept if self.weighted else self.r(kept))
            n = sum((v >= at).float() for at in range(1, self.most + 1))
            v = v - n
            kept = self.r(n) if self.weighted else n
            total = total + self.o(n)
        return total / x.shape[1]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("most", [1, 2])
def test_recurrence_by_counts(most, weighted):
    module = from_torch(Recurrent(most, weighted=weighted).eval(), X)
    made = compile_network(module, calibration=X, options=Options(balance=False))
    assert [op.kind for op in made.layers.ops] == ["dense", "dense", "lif", "dense"]
    found = verify(module, made.image, X, max_drop=100)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]


def unlike_the_thresholds(v):
    n = (v >= 1).float() + (v >= 3).float()
    return n, v - n


def reset_to_zero(v):
    n = (v >= 1).float() + (v >= 2).float()
    return n, v * (n == 0)


@pytest.mark.parametrize("step", [unlike_the_thresholds, reset_to_zero], ids=lambda f: f.__name__)
def test_other_counts_are_refused(step):
    with pytest.raises(
        DmpcError, match=r"spike several times in a timestep, but not once for each"
    ):
        compile_network(from_torch(Net(step).eval(), X), calibration=X)


THETA = 0.8
ENDLESS = (
    lambda v: torch.relu(torch.floor(v / THETA)),
    lambda v: (v // THETA).clamp(min=0),
    lambda v: torch.relu(v) // THETA,
    lambda v: torch.relu(v / THETA).int().float(),
    lambda v: torch.relu(torch.trunc(v / THETA)),
    lambda v: torch.where(v >= THETA, torch.floor(v / THETA), torch.zeros_like(v)),
    lambda v: torch.floor(v / THETA).clamp(0, 2**16),
)
"""Ways to write how often a membrane holds its threshold, without a limit."""


def above(v):
    return torch.relu(torch.ceil(v / THETA) - 1)


class SideBySide(nn.Module):
    """Layers whose neurons count their spikes each in its own way."""

    def __init__(self, counts) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.ModuleList(nn.Linear(8, 4) for _ in counts)
        self.o = nn.Linear(5, 4)
        self.last = nn.Linear(4 * len(counts), 5)
        self.counts = counts

    def forward(self, x):
        v, u = [torch.zeros(x.shape[0], 4) for _ in self.counts], torch.zeros(x.shape[0], 5)
        total = 0
        for now in x.unbind(1):
            every = []
            for at, (w, count) in enumerate(zip(self.w, self.counts, strict=True)):
                h = 0.9 * v[at] + 4 * w(now)
                n = count(h)
                v[at] = h - n * THETA
                every.append(n)
            u = 0.5 * u + self.last(torch.cat(every, 1))
            s = (u > 1).float()
            u = u * (1 - s)
            total = total + self.o(s)
        return total / x.shape[1]


def test_counts_without_end_in_any_spelling(tmp_path):
    """They are proved against torch, and against themselves as they are written and read again."""
    made = import_layers(from_torch(SideBySide((*ENDLESS, above)).eval(), X[:, :6]), Options())
    neurons = [op.attrs for op in made.ops if op.kind == "lif"]
    assert [bool(attrs.get("endless")) for attrs in neurons] == [True] * 8 + [False]
    assert [attrs["strict"] for attrs in neurons] == [False] * 7 + [True] * 2
    path = tmp_path / "again.onnx"
    path.write_bytes(to_onnx(made).SerializeToString())
    again = import_layers(path, Options())
    assert [op.attrs for op in again.ops if op.kind == "lif"] == neurons


def test_rounding_to_decimals_is_no_count():
    net = Net(lambda v: (n := torch.round(v.clamp(0, 2), decimals=1), v - n))
    with pytest.raises(DmpcError, match="round to decimals is not supported"):
        from_torch(net.eval(), X)
