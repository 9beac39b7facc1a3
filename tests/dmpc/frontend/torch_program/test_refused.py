"""What users build that the machine cannot compute, and what is said of it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dmpc import from_torch
from dmpc.errors import CompileError, ImportFailure
from dmpc.frontend.nearest import nearest
from dmpc.frontend.torch_program.convert import HANDLERS
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

INPUTS, NEURONS, CLASSES, STEPS = 6, 10, 3, 8


def lif(x: torch.Tensor) -> torch.Tensor:
    """Spikes [timesteps, samples, neurons] of LIF neurons."""
    u, spikes = torch.zeros_like(x[0]), []
    for current in x:
        u = 0.9 * u + current
        spikes.append((u >= 1).to(x.dtype))
        u = u * (1 - spikes[-1])
    return torch.stack(spikes)


class Net(nn.Module):
    """A layer of neurons, something of torch's or the user's, a readout, and something behind."""

    def __init__(self, inner, outer):
        super().__init__()
        self.fc, self.out = nn.Linear(INPUTS, NEURONS), nn.Linear(NEURONS, CLASSES)
        self.inner, self.outer = inner, outer

    def forward(self, x):
        return self.outer(self.out(self.inner(lif(self.fc(x)))))


def mean(y: torch.Tensor) -> torch.Tensor:
    return y.mean(0)


def refused(inner, outer=mean) -> str:
    x = (np.random.default_rng(0).random((1, STEPS, INPUTS)) < 0.3).astype(np.float32)
    torch.manual_seed(0)
    with pytest.raises(ImportFailure) as caught:
        from_torch(Net(inner, outer).eval(), x, time_first=True)
    return str(caught.value)


def same(spikes):
    return spikes


@pytest.mark.parametrize("function", [torch.abs, torch.sqrt, torch.absolute])
def test_a_function_of_the_answer_is_no_neurons(function):
    """It was said that a state becomes what is not linear."""
    for outer in (lambda y: function(y.mean(0)), lambda y: function(y).mean(0)):
        assert "the answer is bent" in refused(same, outer)


@pytest.mark.parametrize("function", [torch.tanh, torch.sigmoid, torch.abs])
def test_an_activation_between_layers_bends_what_charges_neurons(function):
    mixed = nn.Linear(NEURONS, NEURONS).requires_grad_(False)
    assert "what neurons are charged with" in refused(lambda s: lif(function(mixed(s))))


class First(nn.Module):
    """The outputs of a recurrent layer, without its last state."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_recurrent_layers_of_torch_draw_no_random_numbers(layer):
    """Only their dropout does, in training."""
    said = refused(First(layer(NEURONS, NEURONS)))
    assert f"operator {layer.__name__.lower()} is not supported (LIF neurons that read" in said


def test_attention_multiplies_computed_values():
    def scaled(s):
        return functional.scaled_dot_product_attention(s, s, s)

    def spelled(s):
        return torch.softmax(s @ s.transpose(1, 2), -1) @ s

    assert "the machine multiplies no two computed values" in refused(scaled)
    assert "as in attention, weights that are constants" in refused(spelled)


def test_what_takes_the_place_of_operators_is_the_users_own():
    """Of a fused node, the names of other operations were named; of a winner, logits alone."""
    assert nearest("sj_stbif::forward", HANDLERS).startswith("SpikingJelly's IFNode, LIFNode, ")
    said = refused(lambda s: s * s.argmax(2, keepdim=True))
    assert "between neurons, inhibition by spikes of the" in said


def test_what_is_not_known_is_not_its_own_nearest():
    assert "(Sign)" not in refused(same, lambda y: torch.sign(y.mean(0)))
    assert "squeeze" not in refused(same, lambda y: torch.square(y.mean(0)))


def test_clip_is_clamp():
    """It was no operation at all."""
    x = np.zeros((1, STEPS, INPUTS), np.float32)
    kinds = [
        [op.kind for op in from_torch(Net(inner, mean).eval(), x, time_first=True).graph.ops]
        for inner in (lambda s: torch.clip(s, 0, 1), lambda s: torch.clamp(s, 0, 1))
    ]
    assert kinds[0] == kinds[1]


def test_the_other_direction_of_time_is_called_so():
    """It was said to be another axis."""

    def both(s):
        return lif(s) + torch.flip(lif(torch.flip(s, [0])), [0])

    def last(s):
        return lif(torch.flip(s, [0]))

    assert "Scan runs backwards in time (the machine runs forwards; a bidir" in refused(both)
    assert "Scan runs backwards in time" in refused(last)


class Scaled(nn.Module):
    """A batch norm for each timestep, as snnTorch's BatchNormTT1d is used."""

    def __init__(self, *, apart: bool):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(NEURONS) for _ in range(STEPS))
        for norm in self.norms if apart else ():
            norm.running_mean.normal_()

    def forward(self, s):
        u, spikes = torch.zeros_like(s[0]), []
        for norm, one in zip(self.norms, s, strict=True):
            fired = (u > 1).to(s.dtype)
            u = 0.9 * u + norm(one) - fired
            spikes.append((u > 1).to(s.dtype))
        return torch.stack(spikes)


def test_batch_norms_of_each_timestep_are_one_where_they_are_the_same():
    said = refused(Scaled(apart=True))
    assert "timestep 5 reads 'inner.norms.5.offset' where timestep 4 reads 'inner.n" in said
    assert "(the same weights, parameters and statistics at every timestep)" in said
    x = np.zeros((1, STEPS, INPUTS), np.float32)
    from_torch(Net(Scaled(apart=False), mean).eval(), x, time_first=True)


def test_a_matrix_over_time_is_no_loop():
    """Parallel spiking neurons: every timestep is charged by all."""

    class Parallel(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.out = nn.Linear(INPUTS, NEURONS), nn.Linear(NEURONS, CLASSES)
            self.weight = nn.Parameter(torch.rand(STEPS, STEPS))

        def forward(self, x):
            h = (self.weight @ self.fc(x).flatten(1)).view(STEPS, -1, NEURONS)
            return self.out((h >= 1).float()).mean(0)

    x = np.zeros((1, STEPS, INPUTS), np.float32)
    with pytest.raises(ImportFailure, match="no timestep hangs on the one before"):
        from_torch(Parallel().eval(), x, time_first=True)


def test_what_distributions_draw_is_said_first():
    """They look at their parameters, which no trace can follow: as SpikingJelly's DropConnect."""

    def drawn(s):
        spread = torch.square(s.mean(2, keepdim=True)).clamp(min=0.1)
        return torch.distributions.Normal(s, spread).sample()

    assert "normal draws random numbers" in refused(drawn)


class Resonating(nn.Module):
    """SpikingJelly's RAFNode: what charges a membrane follows it, and takes the input in."""

    def forward(self, s):
        u, v, spikes = torch.zeros_like(s[0]), torch.zeros_like(s[0]), []
        for now in s:
            u, v = 0.4 * u - 0.7 * v + now, 0.7 * u + 0.4 * v
            spikes.append((v >= 1).to(s.dtype))
            v = v * (1 - spikes[-1])
        return torch.stack(spikes)


def test_what_charges_a_membrane_is_told_with_what_drives_it():
    x = (np.random.default_rng(0).random((2, STEPS, INPUTS)) < 0.5).astype(np.float32)
    graph = from_torch(Net(Resonating(), mean).eval(), x, time_first=True).graph
    with pytest.raises(CompileError, match=r"the charge depends on state '.*', which .* drive \("):
        apply(Recognise(), graph)


class Branching(nn.Module):
    """Asks what it holds, as snnTorch's reset mechanism and SpikingJelly's MaskedPSN do."""

    def __init__(self, share: torch.Tensor):
        super().__init__()
        self.register_buffer("share", share)

    def forward(self, s):
        return s if self.share.sum() >= 1 else 2 * s


def test_branches_on_a_number_that_a_module_holds_are_taken():
    class Plain(Branching):
        def forward(self, s):
            return s if self.share >= 1 else 2 * s

    x = (np.random.default_rng(0).random((2, STEPS, INPUTS)) < 0.5).astype(np.float32)
    for share in (torch.tensor(1.0), torch.tensor(0.5), torch.tensor(0), torch.tensor(True)):
        net = Net(Plain(share), mean).eval()
        logits = from_torch(net, x, time_first=True).reference.logits(x)
        assert isinstance(net.inner.share, torch.Tensor)
        with torch.no_grad():
            wanted = net(torch.from_numpy(x).transpose(0, 1))
        np.testing.assert_allclose(logits, wanted, atol=1e-6)


def test_branches_on_tensors_that_a_module_holds_are_said_to_be_none_of_a_program():
    assert "nor on tensors that the module holds" in refused(Branching(torch.ones(2)))
