"""Modules that add up or average their outputs from a timestep on."""

import numpy as np
import pytest
import torch
from torch import nn

import dmpc
from dmpc.errors import DmpcError, ImportFailure
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


class MeanOfList(Spiking):
    """Of the first outputs nothing is left in an export."""

    def answer(self, outputs):
        return torch.stack(outputs[SINCE:], 1).mean(1)


class SumOfList(Spiking):
    def answer(self, outputs):
        return sum(outputs[SINCE:])


class InLoop(Spiking):
    """As the networks of Yin et al. (2021) add up what comes after their first timesteps."""

    def take(self, step, output):
        if step >= SINCE:
            self.total = self.total + output

    def answer(self, outputs):  # noqa: ARG002
        return self.total


class MeanInLoop(InLoop):
    def answer(self, outputs):
        return super().answer(outputs) / (STEPS - SINCE)


class BegunInLoop(InLoop):
    """A total that is nothing before the first output that counts."""

    def take(self, step, output):
        self.total = output if step <= SINCE else self.total + output


KINDS = {
    MeanOfSlice: "mean",
    SumOfSlice: "sum",
    SumAsMean: "mean",
    SumOverAll: "sum",
    MeanOfList: "mean",
    SumOfList: "sum",
    InLoop: "sum",
    MeanInLoop: "mean",
    BegunInLoop: "sum",
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


def test_an_image_that_begins_elsewhere_is_of_another_network():
    model = dmpc.from_torch(MeanOfSlice().eval(), X[:2])
    image = dmpc.compile(model, calibration=X).image
    model.graph.attrs["since"] = SINCE + 1
    with pytest.raises(DmpcError, match="the image was compiled from another network"):
        verify(model, image, X)


class Deep(nn.Module):
    """Two layers: the second may lag, hear the input of three timesteps, or be added up late."""

    def __init__(self, since, *, lags=False, hears=False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.since, self.lags, self.hears = since, lags, hears
        self.one, self.classify = nn.Linear(6, 10), nn.Linear(8, 3)
        self.two = nn.Linear(10, 8, bias=False)
        self.before = nn.Linear(6, 10, bias=False)

    def forward(self, x):
        first, u, v = torch.zeros(len(x), 10), torch.zeros(len(x), 10), torch.zeros(len(x), 8)
        total, inputs = torch.zeros(len(x), 3), [torch.zeros(len(x), 6)] * 2
        for k in range(STEPS):
            inputs.append(x[:, k])
            current = 3 * self.one(x[:, k])
            if self.hears:
                current = current + self.before(inputs[-2]) + self.before(inputs[-3])
            u = 0.9 * u * (1 - first) + current
            heard, first = first, (u > 1).float()
            v = 0.8 * v + 3 * self.two(heard if self.lags else first)
            second = (v > 1).float()
            v = v - second
            if k >= self.since:
                total = total + self.classify(second)
        return total


class LayerByLayer(nn.Module):
    """Each layer for all timesteps, the last with a loop that adds in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weigh = nn.ModuleList([nn.Linear(6, 10), nn.Linear(10, 8)])
        self.classify = nn.Linear(8, 3)

    def forward(self, x):
        for weigh in self.weigh:
            membrane, spikes = 0.0, []
            for k in range(STEPS):
                membrane = 0.9 * membrane + 3 * weigh(x[:, k])
                spikes.append((membrane > 1).float())
                membrane = membrane - spikes[-1]
            x = torch.stack(spikes, 1)
        total, logits = torch.zeros(len(x), 3), torch.zeros(len(x), 3)
        for k in range(STEPS):
            logits = 0.7 * logits + self.classify(x[:, k])
            if k > SINCE:
                total += logits
        return torch.log_softmax(total, 1)


def test_layer_by_layer():
    model = dmpc.from_torch(LayerByLayer().eval(), X[:2])
    assert (model.graph.attrs["readout"], model.graph.attrs["since"]) == ("sum", SINCE + 1)
    compiled = dmpc.compile(model, calibration=X)
    found = verify(model, compiled.image, X, max_drop=100)
    assert [rung.ok for rung in found.rungs] == [True] * 4


LOOPS = [
    *((since, {}) for since in (1, 4, 8, 9)),
    *((since, {"hears": True}) for since in (1, 4, 8)),
    *((since, {"lags": True}) for since in (2, 4, 8)),
]


@pytest.mark.parametrize(("since", "how"), LOOPS, ids=str)
def test_loops_that_lag_or_look_back(since, how):
    """Also where the sum begins behind the middle timestep."""
    module = Deep(since, **how).eval()
    model = dmpc.from_torch(module, X[:2])
    assert (model.graph.attrs["readout"], model.graph.attrs["since"]) == ("sum", since)
    compiled = dmpc.compile(model, calibration=X)
    found = verify(model, compiled.image, X, max_drop=100)
    assert [rung.ok for rung in found.rungs] == [True] * 4
    wanted = module(torch.from_numpy(X)).detach().numpy()
    logits = Program(compiled.image, "late").run(X).logits
    assert np.median(np.abs(logits - wanted)) < 0.01 * np.abs(wanted).max()


def test_a_sum_of_all_timesteps_of_what_looks_back_is_none_of_later_ones():
    model = dmpc.from_torch(Deep(0, hears=True).eval(), X[:2])
    assert model.graph.attrs["readout"] == "sum"
    assert "since" not in model.graph.attrs


class Largest(Spiking):
    def answer(self, outputs):
        return torch.stack(outputs, 1)[:, SINCE:].amax(1)


class Middle(Spiking):
    def answer(self, outputs):
        return torch.stack(outputs)[3:7].sum(0)


class MiddleInLoop(InLoop):
    def take(self, step, output):
        if 3 <= step < 7:
            self.total = self.total + output


class Begun(InLoop):
    """A constant that is not added over time."""

    def begin(self, batch):
        self.total = torch.ones(batch, 3)


class LargestInLoop(InLoop):
    def take(self, step, output):
        if step >= SINCE:
            self.total = torch.maximum(self.total, output)


class LargestBegunInLoop(InLoop):
    def take(self, step, output):
        self.total = output if step <= SINCE else torch.maximum(self.total, output)


class Two(Spiking):
    def answer(self, outputs):
        outputs = torch.stack(outputs)
        return outputs[SINCE:].sum(0) + outputs.sum(0)


REFUSED = {
    Largest: r"amax: ReduceMax runs over timesteps 4 to 11 of 0 to 11 alone, 8 of them \(",
    Middle: r"sum_1: ReduceSum runs over timesteps 3 to 6 of 0 to 11 alone, 4 of them \(",
    MiddleInLoop: r"add_\d+: ReduceSum runs over timesteps 3 to 6 of 0 to 11 alone, 4 of them \(",
    Begun: "adds a constant after the sum over time",
    LargestInLoop: r"maximum_\d+: ReduceMax runs over timesteps 4 to 11 of 0 to 11 alone, 8 of",
    LargestBegunInLoop: r"maximum_\d+: ReduceMax runs over timesteps 4 to 11 of 0 to 11 alone",
    Two: "combines values that are reduced over time in different ways",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_such_sum_is_refused(kind):
    with pytest.raises(ImportFailure, match=REFUSED[kind]):
        dmpc.from_torch(kind().eval(), X[:2])
