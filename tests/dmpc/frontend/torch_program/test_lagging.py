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
