"""Rockpool's neurons: its modules as `to_torch` gives them, and the NIR that it writes."""

import nir
import numpy as np
import pytest
import torch
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import (
    ExpSynTorch,
    LIFNeuronTorch,
    LIFTorch,
    LinearTorch,
    aLIFTorch,
    to_nir,
)
from rockpool.nn.modules.torch.lif_torch import PeriodicExponential

from dmpc.errors import ImportFailure
from dmpc.frontend import Timing, from_torch, import_nir
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
from tests.semantics.compared import assert_same_spikes, events

INPUTS, NEURONS = 6, 10
ONE = {"max_spikes_per_dt": 1}
TIMING = Timing(dt=1e-3, integration="rockpool", spike_at=True, reset="subtract")


def dense(most: float, inputs: int = INPUTS, outputs: int = NEURONS) -> LinearTorch:
    return LinearTorch((inputs, outputs), weight=torch.empty(inputs, outputs).uniform_(-0.1, most))


def network(layer, *more, most: float = 0.3):
    torch.manual_seed(5)
    return Sequential(dense(most), layer(), *(make() for make in more)).to_torch().eval()


def traced(net):
    return from_torch(net, events(9, INPUTS)[:3].transpose(0, 1).float().numpy()).graph


def run(net) -> tuple[torch.Tensor, torch.Tensor]:
    """Events, and what a network makes of them, both [timesteps, samples, n]."""
    x = events(3, INPUTS)
    with torch.no_grad():
        wanted = net(x.float().transpose(0, 1))
    net.reset_state()
    return x, wanted.transpose(0, 1)


def decays() -> torch.Tensor:
    return torch.linspace(3e-3, 2e-2, NEURONS)


LAYERS = {
    "LIFNeuron": lambda: LIFNeuronTorch(NEURONS, tau_mem=decays(), **ONE),
    "LIF": lambda: LIFTorch(NEURONS, tau_mem=decays(), tau_syn=5e-3, bias=0.01, **ONE),
    "recurrent LIF": lambda: LIFTorch(
        NEURONS, tau_syn=2e-3, has_rec=True, w_rec=torch.rand(NEURONS, NEURONS) / 5 - 0.15, **ONE
    ),
}


def receptors(**given) -> LIFTorch:
    """Neurons with two receptors, one that excites and is brief, one that inhibits and lasts."""
    tau = torch.stack([torch.full((NEURONS,), 2e-3), decays()], dim=1)
    return LIFTorch((2 * NEURONS, NEURONS), tau_mem=decays(), tau_syn=tau, **given, **ONE)


RECEPTORS = {
    "two": receptors,
    "as many, and a bias": lambda: receptors(bias=0.02),
    "recurrent": lambda: receptors(has_rec=True, w_rec=torch.rand(NEURONS, 2 * NEURONS) / 5 - 0.15),
}


@pytest.mark.parametrize("layer", RECEPTORS.values(), ids=RECEPTORS)
def test_receptors(layer):
    torch.manual_seed(5)
    net = Sequential(dense(0.3, outputs=2 * NEURONS), layer()).to_torch().eval()
    x, wanted = run(net)
    graph = traced(net)
    assert_same_spikes(graph, x, wanted)
    layers = apply(Recognise(), graph)
    assert [op.kind for op in layers.ops].count("li") == 2


@pytest.mark.filterwarnings("ignore")
def test_receptors_that_it_does_not_write(tmp_path):
    with pytest.raises(NotImplementedError, match="not yet supported for export"):
        written(Sequential(dense(0.3, outputs=2 * NEURONS), receptors()), tmp_path / "net.nir")


def test_a_recurrent_module():
    net = network(LAYERS["recurrent LIF"], most=0.1)
    x, wanted = run(net)
    assert_same_spikes(traced(net), x, wanted)


ADAPTING = {
    "once": lambda: aLIFTorch(NEURONS, tau_syn=5e-3, tau_ahp=1e-2, **ONE),
    "any number of times": lambda: aLIFTorch(NEURONS, tau_mem=decays(), tau_ahp=1e-2),
    "recurrent": lambda: aLIFTorch(
        NEURONS, has_rec=True, w_rec=torch.rand(NEURONS, NEURONS) / 5 - 0.15, **ONE
    ),
}


@pytest.mark.parametrize("layer", ADAPTING.values(), ids=ADAPTING)
def test_neurons_whose_spikes_hold_them_back(layer):
    """Their noise, nothing times a random number, is zeros of both signs."""
    net = network(layer, most=0.6)
    x = events(9, INPUTS)[:8].transpose(0, 1).float().numpy()
    assert_same_spikes(from_torch(net, x).graph, *run(net))


def test_neurons_that_may_spike_three_times():
    net = network(lambda: LIFNeuronTorch(NEURONS, tau_mem=decays(), max_spikes_per_dt=3), most=0.7)
    x, wanted = run(net)
    assert wanted.max() == 3
    assert_same_spikes(traced(net), x, wanted)


DEFAULTS = {
    "LIFNeuron": lambda: LIFNeuronTorch(NEURONS),
    "LIF": lambda: LIFTorch(NEURONS),
    "recurrent LIF": lambda: LIFTorch(
        NEURONS, has_rec=True, w_rec=torch.rand(NEURONS, NEURONS) / 20 - 0.03
    ),
    "exponential": lambda: LIFTorch(NEURONS, spike_generation_fn=PeriodicExponential),
}


@pytest.mark.parametrize("layer", DEFAULTS.values(), ids=DEFAULTS)
def test_neurons_that_may_spike_any_number_of_times(layer):
    """As they are by default, with time constants of 20 timesteps."""
    net = network(layer, most=0.9 if layer is DEFAULTS["LIFNeuron"] else 0.1)
    x, wanted = run(net)
    assert wanted.max() > 2
    assert_same_spikes(traced(net), x, wanted)


def test_a_module_that_is_called_as_its_own():
    net = Sequential(dense(0.3), LIFTorch(NEURONS, **ONE))
    with pytest.raises(ImportFailure, match=r"module\.to_torch"):
        traced(net)


def test_states_of_an_earlier_run():
    net = network(LAYERS["LIF"])
    net(events(1, INPUTS).float())
    with pytest.raises(ImportFailure, match=r"still holds 'vmem' .*its reset_state"):
        traced(net)


class Clearing(torch.nn.Module):
    """A network that resets its modules itself, before it runs."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        self.net.reset_state()
        return self.net(x)


def test_a_module_that_resets_itself_needs_no_reset_before():
    net, x = Clearing(network(LAYERS["LIF"])), events(3, INPUTS)
    with torch.no_grad():
        wanted = net(x.float().transpose(0, 1)).transpose(0, 1)
    assert_same_spikes(traced(net), x, wanted)


def test_a_module_with_a_readout_of_currents():
    net = network(LAYERS["LIF"], lambda: dense(0.5, NEURONS, 3), lambda: ExpSynTorch(3, tau=1e-2))
    x, wanted = run(net)
    layers = apply(Recognise(), traced(net))
    found = interpret(layers, x.numpy().transpose(1, 0, 2)).outputs.transpose(1, 0, 2)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-5 * wanted.abs().max())


def written(net, path):
    """What `to_nir` makes of a network, through a file. It can write weights without gradients."""
    for parameter in torch.nn.Module.parameters(net):
        parameter.requires_grad_(False)
    nir.write(path, to_nir(net))
    return path


NODES = {
    "LIFNeuron": LAYERS["LIFNeuron"],
    "LIF": lambda: LIFTorch(NEURONS, tau_mem=decays(), tau_syn=5e-3, **ONE),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", NODES.values(), ids=NODES)
def test_files_that_it_writes(layer, tmp_path):
    net = network(layer, most=0.1)
    x, wanted = run(net)
    graph = import_nir(written(net, tmp_path / "net.nir"), timing=TIMING)
    assert_same_spikes(graph, x, wanted)


@pytest.mark.filterwarnings("ignore")
def test_recurrent_weights_that_it_does_not_write(tmp_path):
    """Nothing in the file says that they are missing: the module has them."""
    net = nir.read(written(network(LAYERS["recurrent LIF"]), tmp_path / "net.nir"), False)
    kinds = [type(node).__name__ for node in net.nodes.values()]
    assert kinds.count("CubaLIF") == 1
    assert sum(kind in ("Linear", "Affine") for kind in kinds) == 1
