"""Answers made of lists of outputs, or kept up in the loop, as tutorials write them.

Those of surrogate gradients (Neftci, Mostafa and Zenke 2019):

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
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
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
    said = r"^Net: stack\S*: gives 10 outputs of 9 timesteps: .*leave out the .*outputs\[1:\]\)$"
    with pytest.raises(DmpcError, match=said):
        from_torch(Net(heard=False, answer=lambda outputs: outputs).eval(), X)


class Plain(nn.Module):
    """A layer and a leaky readout, whose outputs and spikes are lists that begin with `start`."""

    def __init__(self, answer, start: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w, self.out = nn.Linear(12, 16), nn.Linear(16, 4)
        self.w.weight.data *= 3
        self.out.weight.data *= 2
        self.answer, self.start = answer, start

    def forward(self, inputs):
        mem = spikes = torch.zeros(len(inputs), 16)
        kept = out = torch.full((len(inputs), 4), self.start)
        heard, outputs, best = [spikes], [out], torch.zeros_like(out)
        for t in range(inputs.shape[1]):
            mem = 0.8 * mem + self.w(inputs[:, t])
            spikes = (mem > 1).float()
            mem = mem * (1 - spikes)
            kept = self.out(spikes) + (0.7 * kept if t else 0)
            heard.append(spikes)
            outputs.append(kept)
            best = torch.maximum(kept, best)
        return self.answer(self, torch.stack(outputs, 1), torch.stack(heard, 1), best)


ANSWERS = {
    "mean": lambda net, out, heard, best: out.mean(1),  # noqa: ARG005
    "mean, turned": lambda net, out, heard, best: (2 * out).swapaxes(1, 2).mean(2),  # noqa: ARG005
    "sum": lambda net, out, heard, best: out.sum(1),  # noqa: ARG005
    "last": lambda net, out, heard, best: out[:, -1],  # noqa: ARG005
    "all but the first": lambda net, out, heard, best: out[:, 1:].mean(1),  # noqa: ARG005
    "largest": lambda net, out, heard, best: out.amax(1),  # noqa: ARG005
    "largest, kept up": lambda net, out, heard, best: best,  # noqa: ARG005
    "largest, scaled": lambda net, out, heard, best: (out / 2).max(1)[0],  # noqa: ARG005
    "read out behind": lambda net, out, heard, best: net.out(heard).mean(1),  # noqa: ARG005
    "spikes": lambda net, out, heard, best: heard.sum(1),  # noqa: ARG005
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_lists_that_begin_with_the_initial_output(answer):
    """The mean over T + 1 is T / (T + 1) of that over T; the largest may be that of the start."""
    net = Plain(ANSWERS[answer]).eval()
    layers = apply(Recognise(), from_torch(net, X).graph)
    wanted = net(torch.as_tensor(X)).detach().numpy()
    np.testing.assert_allclose(interpret(layers, X).logits, wanted, rtol=0, atol=1e-4)
    assert np.ptp(wanted, axis=0).max() > 0.3
    if "largest" in answer:
        assert layers.attrs["readout"] == "max0"
        assert (wanted == 0).any()


def test_a_largest_that_starts_from_zero_on_the_machine():
    module = from_torch(Plain(ANSWERS["largest"]).eval(), X)
    made = compile_network(module, calibration=X)
    assert [rung.ok for rung in verify(module, made.image, X, max_drop=100).rungs] == [True] * 4


def test_the_largest_of_a_list_that_begins_elsewhere_is_refused():
    with pytest.raises(DmpcError, match="takes the largest of 10 outputs of 9 timesteps"):
        from_torch(Plain(ANSWERS["largest"], start=2.0).eval(), X)


class Running(nn.Module):
    """All in one loop, whose answer is kept up from one timestep to the next.

    With `currents` the spikes of a timestep hang on the input of two timesteps before; a `hidden`
    layer adds as many.
    """

    def __init__(self, answer: str, *, currents: bool, heard: bool = False, hidden: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.w1 = nn.Linear(12, 10, bias=False)
        self.w2 = nn.Linear(10, 10, bias=False)
        self.v1 = nn.Linear(10, 10, bias=False) if heard else None
        self.out = nn.Linear(10, 4)
        for one in (self.w1, self.w2):
            one.weight.data *= 4
        self.answer, self.currents, self.hidden = answer, currents, hidden

    def forward(self, inputs):
        syn = mem = above = spikes = count = torch.zeros(len(inputs), 10)
        kept = total = late = largest = torch.zeros(len(inputs), 4)
        best = torch.full_like(total, -torch.inf)
        for t in range(inputs.shape[1]):
            h1 = self.w1(inputs[:, t])
            if self.v1 is not None:
                h1 = h1 + self.v1(spikes)
            spikes = fired = (mem - 1.0 > 0).float()
            if self.currents:
                syn, h1 = 0.8 * syn + h1, syn
            mem = (0.9 * mem + h1) * (1.0 - spikes)
            if self.hidden:
                fired = (above - 1.0 > 0).float()
                above = (0.9 * above + self.w2(spikes)) * (1.0 - fired)
            count = count + fired
            given = self.out(fired)
            kept, late = 0.7 * kept + given, 0.9 * late + kept
            total = total + given
            largest, best = torch.maximum(largest, kept), torch.maximum(best, kept)
        named = {"count": count, "leaky": kept, "sum": total, "last": given, "spikes": fired}
        return (named | {"late": late, "largest": largest, "best": best})[self.answer]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("sum", {"currents": False}),
        ("count", {"currents": False, "heard": True}),
        ("leaky", {"currents": True}),
        ("last", {"currents": True, "heard": True}),
        ("spikes", {"currents": True}),
        ("sum", {"currents": True, "hidden": True}),
        ("leaky", {"currents": False, "hidden": True}),
        ("late", {"currents": True}),
        ("late", {"currents": False, "hidden": True}),
        ("largest", {"currents": False}),
        ("best", {"currents": False, "heard": True}),
    ],
)
def test_answers_that_are_kept_up_of_spikes_of_the_timestep_before(answer, kind):
    """The last spikes move as those of the timestep before, which their own neurons read too."""
    x = (np.random.default_rng(1).random((6, 14, 12)) < 0.3).astype(np.float32)
    net = Running(answer, **kind).eval()
    layers = apply(Recognise(), from_torch(net, x).graph)
    assert [op.kind for op in layers.ops].count("rlif") == 1 + kind.get("hidden", False)
    wanted = net(torch.as_tensor(x)).detach().numpy()
    np.testing.assert_allclose(interpret(layers, x).logits, wanted, rtol=0, atol=1e-4)
    assert np.ptp(wanted, axis=0).max() > 0.3
