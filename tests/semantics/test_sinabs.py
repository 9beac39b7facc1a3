"""Sinabs' neurons: its layers, networks that it converts, and the NIR that it writes."""

import nir
import numpy as np
import pytest
import sinabs
import sinabs.layers as sl
import torch
from sinabs.activation import MaxSpike, MembraneReset, MultiSpike, SingleSpike
from torch import nn

from dmpc import Options
from dmpc.check import compile_and_tell
from dmpc.errors import DmpcError, ImportFailure
from dmpc.findings import listening
from dmpc.frontend import Timing, from_torch, import_nir
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
from dmpc.verification import verify
from tests.semantics.compared import STEPS, assert_same_spikes, events

INPUTS, NEURONS = 6, 10
ONE = {"spike_fn": SingleSpike}
TIMING = Timing(dt=1.0, integration="exact", spike_at=True, reset="subtract")


def dense(most: float, inputs: int = INPUTS, outputs: int = NEURONS) -> nn.Linear:
    """Weights that charge neurons by about `most` in a timestep."""
    layer = nn.Linear(inputs, outputs)
    nn.init.uniform_(layer.weight, -most / 10, most * 6 / inputs)
    return layer


def network(layer: nn.Module, most: float = 0.3) -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(dense(most), layer).eval()


def traced(net: nn.Module):
    return from_torch(net, events(9, INPUTS)[:3].transpose(0, 1).float().numpy()).graph


def reset(net: nn.Module) -> None:
    """As `sinabs.reset_states`, which forgets recurrent layers."""
    for part in net.modules():
        if isinstance(part, sl.StatefulLayer):
            part.reset_states()


def run(net: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Events, and what a network makes of them, both [timesteps, samples, n]."""
    x = events(3, INPUTS)
    with torch.no_grad():
        wanted = net(x.float().transpose(0, 1))
    reset(net)
    return x, wanted.transpose(0, 1)


LAYERS = {
    "IAF": lambda: network(sl.IAF(**ONE)),
    "IAF, at most one spike": lambda: network(sl.IAF(spike_fn=MaxSpike(1))),
    "LIF": lambda: network(sl.LIF(tau_mem=torch.linspace(3, 20, NEURONS), **ONE), 2.0),
    "LIF, to zero": lambda: network(
        sl.LIF(tau_mem=10.0, norm_input=False, reset_fn=MembraneReset(), **ONE)
    ),
    "IAF with a floor": lambda: network(sl.IAF(min_v_mem=-0.1, **ONE)),
    "IAF with a floor at rest": lambda: network(sl.IAF(min_v_mem=0.0, **ONE), 0.2),
    "LIF with a floor": lambda: network(
        sl.LIF(tau_mem=torch.linspace(3, 20, NEURONS), min_v_mem=-0.05, **ONE), 2.0
    ),
    "LIF, to zero, with a floor": lambda: network(
        sl.LIF(tau_mem=10.0, norm_input=False, reset_fn=MembraneReset(), min_v_mem=-0.1, **ONE)
    ),
    "IAF, its default": lambda: network(sl.IAF(), 0.9),
    "LIF, its default": lambda: network(sl.LIF(tau_mem=4.0), 6.0),
    "LIF with a synapse and a floor, its default": lambda: network(
        sl.LIF(tau_mem=4.0, tau_syn=3.0, min_v_mem=-0.02), 3.0
    ),
    "recurrent IAF, its default": lambda: network(
        sl.IAFRecurrent(rec_connect=nn.Linear(NEURONS, NEURONS, bias=False)), 0.5
    ),
    "recurrent LIF with a synapse, its default": lambda: network(
        sl.LIFRecurrent(
            tau_mem=10.0, tau_syn=5.0, rec_connect=nn.Linear(NEURONS, NEURONS, bias=False)
        ), 6.0,
    ),
    "IAF, at most thirty spikes": lambda: network(sl.IAF(spike_fn=MaxSpike(30)), 0.9),
    "IAF, at most three spikes": lambda: network(sl.IAF(spike_fn=MaxSpike(3)), 0.7),
    "LIF, at most two spikes, with a floor": lambda: network(
        sl.LIF(tau_mem=10.0, norm_input=False, min_v_mem=-0.1, spike_fn=MaxSpike(2)), 0.7
    ),
    "LIF with a synapse and a floor": lambda: network(
        sl.LIF(tau_mem=10.0, tau_syn=5.0, min_v_mem=-0.02, **ONE), 0.8
    ),
    "LIF with a synapse": lambda: network(sl.LIF(tau_mem=10.0, tau_syn=5.0, **ONE), 0.8),
    "recurrent LIF": lambda: network(
        sl.LIFRecurrent(
            tau_mem=10.0, rec_connect=nn.Linear(NEURONS, NEURONS, bias=False), **ONE
        ), 1.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_layers(layer):
    net = layer()
    x, wanted = run(net)
    assert_same_spikes(traced(net), x, wanted)


@pytest.mark.parametrize(("mem", "syn"), [(20.0, 10.0), (10.0, 20.0), (7.0, 13.0)])
def test_a_current_is_none_that_follows_its_membrane(mem, syn):
    """The membrane before and after tells it, but for what float32 leaves of the time constants."""
    net = network(sl.LIF(tau_mem=mem, tau_syn=syn, **ONE), 0.8)
    x, wanted = run(net)
    graph = traced(net)
    assert_same_spikes(graph, x, wanted)
    assert "alif" not in {op.kind for op in apply(Recognise(), graph).ops}


def test_thresholds_that_adapt():
    """They spike once by default; three timesteps of them do not tell a loop."""
    net = network(sl.ALIF(tau_mem=4.0, tau_adapt=6.0), 6.0)
    x, wanted = run(net)
    graph = from_torch(net, events(9, INPUTS)[:6].transpose(0, 1).float().numpy()).graph
    assert_same_spikes(graph, x, wanted)


class Squeezed(nn.Module):
    """A network of layers that take [samples * timesteps, n]."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def converted(**options) -> nn.Module:
    torch.manual_seed(5)
    ann = nn.Sequential(dense(0.3), nn.ReLU(), dense(0.2, NEURONS, 4), nn.ReLU())
    found = sinabs.from_torch.from_model(ann, min_v_mem=None, batch_size=4, **options)
    return Squeezed(found.spiking_model).eval()


def test_a_network_that_it_converts():
    net = converted(**ONE)
    x, wanted = run(net)
    net(x[:1].float().transpose(0, 1))
    with pytest.raises(ImportFailure, match=r"'v_mem' of an earlier run.*its reset_states"):
        traced(net)
    reset(net)  # states of another number of samples are drawn from these
    for layer in net.net[1::2]:
        layer.batch_size, layer.num_timesteps = -1, 3
    assert_same_spikes(traced(net), x, wanted)


class Clearing(nn.Module):
    """A network that resets its layers itself, before it runs."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        reset(self.net)
        return self.net(x)


@pytest.mark.parametrize("samples", [2, 5])
def test_a_network_that_resets_itself_needs_no_reset_before(samples):
    net = Clearing(network(sl.LIF(tau_mem=10.0, tau_syn=5.0, **ONE), 0.8))
    x = events(3, INPUTS)
    with torch.no_grad():
        wanted = net(x.float().transpose(0, 1)).transpose(0, 1)
        net(x.float().transpose(0, 1)[:1].expand(samples, -1, -1))
    held = net.net[1].v_mem
    before = held.clone()
    assert_same_spikes(traced(net), x, wanted)
    assert net.net[1].v_mem is held
    assert torch.equal(held, before)


def test_a_network_of_defaults_is_compiled_and_every_bit_is_the_integer_graphs():
    """Of IAF neurons nothing is proved behind the first layer, and the samples tell."""
    torch.manual_seed(5)
    net = nn.Sequential(
        dense(0.9), sl.IAF(), dense(0.9, NEURONS, 8), sl.LIF(tau_mem=10.0), nn.Linear(8, 3)
    )
    x = events(3, INPUTS).transpose(0, 1).float().numpy()
    model = from_torch(net.eval(), x)
    with listening() as told:
        made = compile_and_tell(
            model, calibration=x, lengths=None, options=Options(balance=False), observe=None
        )
    limits = {one.message for one in told if one.rule == "spikes-limited"}
    assert len(limits) == 2
    assert all(rung.ok for rung in verify(model, made.image, x, max_drop=100).rungs)


@pytest.mark.parametrize("spike_fn", [MultiSpike, MaxSpike(3)], ids=["any number", "three"])
def test_several_spikes_of_a_membrane_that_is_reset_to_zero(spike_fn):
    net = network(sl.LIF(tau_mem=10.0, spike_fn=spike_fn, reset_fn=MembraneReset()), 2.0)
    with pytest.raises(DmpcError, match=r"one spike a timestep: Sinabs' SingleSpike") as caught:
        apply(Recognise(), traced(net))
    assert len(caught.value.every) == 1


class Pooled(nn.Module):
    """Sums of positions, of a convolution before neurons and of spikes behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(2, 3, 3, padding=1), sl.SumPool2d(2)
        self.spikes, self.out = sl.LIF(tau_mem=10.0, **ONE), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        charge = self.pool(self.conv(x.flatten(0, 1))).unflatten(0, x.shape[:2])
        pooled = self.pool(self.spikes(charge).flatten(0, 1))
        return self.out(pooled.flatten(1)).unflatten(0, x.shape[:2])


def test_sums_of_positions():
    torch.manual_seed(5)
    net, x = Pooled().eval(), events(3, 2 * 8 * 8).transpose(0, 1).float()
    frames = x.unflatten(2, (2, 8, 8))
    graph = apply(Recognise(), from_torch(net, frames[:3].numpy()).graph)
    reset(net)
    with torch.no_grad():
        wanted = net(frames).mean(dim=1).numpy()
    found = interpret(graph, x.numpy().astype(np.float64))
    np.testing.assert_allclose(found.logits, wanted, atol=1e-5)
    assert np.ptp(wanted, axis=0).max() > 0.01


def test_a_leaky_readout():
    torch.manual_seed(5)
    net = nn.Sequential(dense(0.3), sl.IAF(**ONE), dense(0.5, NEURONS, 3), sl.ExpLeak(tau_mem=20.0))
    x, wanted = run(net)
    layers = apply(Recognise(), traced(net))
    found = interpret(layers, x.numpy().transpose(1, 0, 2)).outputs.transpose(1, 0, 2)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-5 * wanted.abs().max())


def test_a_leaky_readout_with_a_floor():
    net = nn.Sequential(
        dense(0.3), sl.IAF(**ONE), dense(0.5, NEURONS, 3), sl.ExpLeak(tau_mem=20.0, min_v_mem=0.0)
    )
    with pytest.raises(DmpcError, match=r"'3\.relu.*this limit of state '3\."):
        apply(Recognise(), traced(net))


def written(net: nn.Module, x: torch.Tensor, path) -> nir.NIRGraph:
    """What `to_nir` makes of a network, through a file."""
    flat = x.float().transpose(0, 1).flatten(0, 1)
    nir.write(path, sinabs.nir.to_nir(net, flat))
    return path


NODES = {
    "IAF": lambda: network(sl.IAFSqueeze(num_timesteps=STEPS, **ONE)),
    "LIF": lambda: network(
        sl.LIFSqueeze(
            num_timesteps=STEPS, tau_mem=torch.linspace(3, 20, NEURONS),
            spike_threshold=torch.ones(NEURONS), **ONE,
        ), 2.0,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", NODES.values(), ids=NODES)
def test_files_that_it_writes(layer, tmp_path):
    net = layer()
    x, wanted = run(Squeezed(net))
    graph = import_nir(written(net, x, tmp_path / "net.nir"), timing=TIMING)
    assert_same_spikes(graph, x, wanted)
