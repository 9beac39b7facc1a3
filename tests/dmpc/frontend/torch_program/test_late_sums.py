"""Modules that add up or average their outputs from a timestep on."""

import numpy as np
import pytest
import torch
from torch import nn

import dmpc
from dmpc.errors import ImportFailure
from dmpc.verification import verify
from runtime.program import Program

STEPS, SINCE = 12, 4
X = (np.random.default_rng(0).random((8, STEPS, 6)) < 0.4).astype(np.float32)


class Spiking(nn.Module):
    """Neurons, and outputs of all timesteps, of which a subclass makes an answer."""

    def __init__(self, *, leaky=False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weigh, self.classify, self.leaky = nn.Linear(6, 10), nn.Linear(10, 3), leaky
        self.classify.bias.data = torch.tensor([4.0, -3.0, 0.5])

    def forward(self, x):
        membrane, logits = torch.zeros(len(x), 10), torch.zeros(len(x), 3)
        self.begin(len(x))
        outputs = []
        for k in range(STEPS):
            membrane = 0.9 * membrane + 3 * self.weigh(x[:, k])
            spikes = (membrane > 1).float()
            membrane = membrane * (1 - spikes)
            logits = 0.8 * logits + self.classify(spikes)
            outputs.append(logits if self.leaky else self.classify(spikes))
            self.take(k, outputs[-1])
        return self.answer(outputs)

    def begin(self, batch):
        self.total = torch.zeros(batch, 3)

    def take(self, step, output):
        pass


class MeanOfSlice(Spiking):
    def answer(self, outputs):
        return torch.stack(outputs, 1)[:, SINCE:].mean(1)


class SumOfSlice(Spiking):
    def answer(self, outputs):
        return torch.stack(outputs)[SINCE:].sum(0)


class SumAsMean(Spiking):
    def answer(self, outputs):
        return torch.stack(outputs)[SINCE:].sum(0) / (STEPS - SINCE)


class SumOverAll(Spiking):
    """Fewer outputs than it divides by."""

    def answer(self, outputs):
        return torch.stack(outputs)[SINCE:].sum(0) / STEPS


KINDS = {
    MeanOfSlice: "mean",
    SumOfSlice: "sum",
    SumAsMean: "mean",
    SumOverAll: "sum",
}


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_module_on_all_rungs(kind, leaky):
    module = kind(leaky=leaky).eval()
    model = dmpc.from_torch(module, X[:2])
    assert model.graph.attrs["readout"] == KINDS[kind]
    assert model.graph.attrs["since"] == SINCE
    wanted = module(torch.from_numpy(X)).detach().numpy()
    for counted in (True, False):
        options = dmpc.Options(count_readout=counted)
        compiled = dmpc.compile(model, calibration=X, options=options)
        found = verify(model, compiled.image, X, options=options, max_drop=100)
        assert [rung.ok for rung in found.rungs] == [True] * 4
        late = {op.mnemonic for op in compiled.image.code if op.operands.get("since") == SINCE}
        assert late == (
            {"count.events", "readout"} if counted and not leaky else {"collect.logits"}
        )
        logits = Program(compiled.image, "late").run(X).logits
        assert np.median(np.abs(logits - wanted)) < 0.01 * np.abs(wanted).max()


def test_samples_of_other_lengths_and_streams():
    """Of a sample that ends before the first timestep that counts, the answer is zero."""
    model = dmpc.from_torch(MeanOfSlice().eval(), X[:2])
    program = Program(dmpc.compile(model, calibration=X).image, "late")
    lengths = np.array([12, 3, 5, 4, 12, 1, 8, 12])
    together = program.run(X, lengths=lengths).logits
    for sample, (x, length) in enumerate(zip(X, lengths, strict=True)):
        alone = program.run(x[None, :length]).logits[0]
        assert (together[sample] == alone).all()
        assert (length > SINCE) == alone.any()
        with program.stream() as stream:
            stream.feed(x[:length])
            assert (stream.answer().logits == alone).all()


class Largest(Spiking):
    def answer(self, outputs):
        return torch.stack(outputs, 1)[:, SINCE:].amax(1)


class Middle(Spiking):
    def answer(self, outputs):
        return torch.stack(outputs)[3:7].sum(0)


class Two(Spiking):
    def answer(self, outputs):
        outputs = torch.stack(outputs)
        return outputs[SINCE:].sum(0) + outputs.sum(0)


REFUSED = {
    Largest: r"amax: ReduceMax runs over timesteps 4 to 11 of 0 to 11 alone, 8 of them \(",
    Middle: r"sum_1: ReduceSum runs over timesteps 3 to 6 of 0 to 11 alone, 4 of them \(",
    Two: "combines values that are reduced over time in different ways",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_such_sum_is_refused(kind):
    with pytest.raises(ImportFailure, match=REFUSED[kind]):
        dmpc.from_torch(kind().eval(), X[:2])
