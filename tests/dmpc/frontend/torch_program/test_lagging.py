"""Networks that read their input a timestep late, and answer late for it: the answer is theirs."""

import numpy as np
import pytest
import torch
from torch import nn

from dmpc import from_torch
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

X = np.random.default_rng(0).integers(0, 2, (16, 12, 3)).astype(np.float32)


class Late(nn.Module):
    """The current of a timestep charges the neurons in the next; so does LSNN of Norse."""

    def __init__(self, adapts: float, answer: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weigh, self.out = nn.Linear(3, 4), nn.Linear(4, 2)
        self.adapts, self.answer = adapts, answer
        self.weigh.weight.data *= 4

    def forward(self, x):
        current = membrane = moved = torch.zeros(x.shape[0], 4)
        kept = total = 0
        every = []
        for now in x.unbind(1):
            membrane = 0.9 * membrane + current
            spikes = (membrane > 1 + self.adapts * moved).float()
            moved = 0.8 * moved + spikes
            membrane = membrane * (1 - spikes)
            current = self.weigh(now)
            given = self.out(spikes)
            kept = 0.7 * kept + given
            total = total + given
            every.append(kept if self.answer == "leaky" else given)
        named = {"sum": total, "last": given, "leaky last": kept}
        return named[self.answer] if self.answer in named else torch.stack(every, 1)


@pytest.mark.parametrize("answer", ["sum", "last", "every", "leaky", "leaky last"])
@pytest.mark.parametrize("adapts", [0.5, 0])
def test_the_answer_is_of_the_spikes_before(adapts, answer):
    net = Late(adapts, answer).eval()
    layers = apply(Recognise(), from_torch(net, X).graph)
    kinds = {op.kind for op in layers.ops}
    assert kinds >= {"alif" if adapts else "lif", "delay"}
    assert ("li" in kinds) == ("leaky" in answer)
    found = interpret(layers, X)
    given = found.outputs
    wanted = net(torch.as_tensor(X)).detach().numpy()
    if answer == "sum":
        given = given.sum(1)
    elif "last" in answer:
        given = given[:, -1]
    np.testing.assert_allclose(given, wanted, rtol=0, atol=1e-5)
    assert np.abs(given - np.median(given, axis=0)).max() > 0.1


class Filled(nn.Module):
    """Recurrent neurons whose membranes and spikes are tensors over time, filled a timestep ahead,
    as implementations of e-prop have them: what a spike takes off comes with the next charge."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.back = (nn.Parameter(torch.randn(n, 6) * 0.5) for n in (3, 6))
        self.out = nn.Parameter(torch.randn(6, 2))

    def forward(self, x):
        samples, steps, _ = x.shape
        v, z = torch.zeros(steps, samples, 6), torch.zeros(steps, samples, 6)
        y = torch.zeros(steps, samples, 2)
        for t in range(steps - 1):
            heard = torch.mm(z[t], self.back * (1 - torch.eye(6)))
            v[t + 1] = 0.9 * v[t] + heard + torch.mm(x[:, t], self.into) - z[t] * 0.6
            z[t + 1] = (v[t + 1] > 0.6).float()
            y[t + 1] = 0.8 * y[t] + torch.mm(z[t + 1], self.out)
        return y


def test_membranes_are_filled_a_timestep_ahead():
    net = Filled().eval()
    layers = apply(Recognise(), from_torch(net, X).graph)
    assert {"lif", "li", "delay"} <= {op.kind for op in layers.ops}
    given = interpret(layers, X).outputs
    wanted = net(torch.as_tensor(X)).detach().numpy().transpose(1, 0, 2)
    np.testing.assert_allclose(given, wanted, rtol=0, atol=1e-5)
    assert np.abs(given - np.median(given, axis=0)).max() > 0.1
