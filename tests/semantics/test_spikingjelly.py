"""SpikingJelly's neurons, and the NIR nodes that its exporter makes of them.

The exporter is in SpikingJelly 0.0.0.1 and later; the nodes here are its (activation_based,
nir_exchange/to_nir.py): `tau dt`, `r` 1 or `tau`, v_leak = v_reset, IF with `r = 1/dt`.
"""

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron

from dmpc.errors import DmpcError
from dmpc.frontend import Timing, from_torch, import_nir
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
from tests.semantics.compared import assert_same_spikes, events

INPUTS, NEURONS = 6, 10
DT = 1e-4
SEEDS = pytest.mark.parametrize("seed", range(3))


def graph_of(node: neuron.BaseNode, seed: int, dt: float = DT) -> tuple[nir.NIRGraph, nir.Linear]:
    weight = nir.Linear(np.random.default_rng(seed).normal(0.3, 1, (NEURONS, INPUTS)))
    reset = node.v_reset or 0.0
    common = {
        "v_threshold": np.full(NEURONS, node.v_threshold),
        "v_reset": np.full(NEURONS, reset),
    }
    if isinstance(node, neuron.LIFNode):
        made = nir.LIF(
            tau=np.full(NEURONS, node.tau * dt),
            r=np.full(NEURONS, 1.0 if node.decay_input else node.tau),
            v_leak=np.full(NEURONS, reset),
            **common,
        )
    else:
        made = nir.IF(r=np.full(NEURONS, 1 / dt), **common)
    return nir.NIRGraph.from_list(weight, made), weight


def run(node: neuron.BaseNode, weight: nir.Linear, x: torch.Tensor) -> torch.Tensor:
    functional.reset_net(node)
    with torch.no_grad():
        return torch.stack([node(step @ torch.as_tensor(weight.weight).T) for step in x])


NODES = {
    "default": lambda: neuron.LIFNode(),
    "no decay of the input": lambda: neuron.LIFNode(tau=3.0, decay_input=False),
    "another reset": lambda: neuron.LIFNode(tau=4.0, v_reset=-0.25),
    "soft": lambda: neuron.LIFNode(v_reset=None),
    "integrate and fire": lambda: neuron.IFNode(v_threshold=2.0),
    "soft integrate and fire": lambda: neuron.IFNode(v_threshold=2.0, v_reset=None),
}


@SEEDS
@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
def test_neurons_as_spikingjelly_exports_them(make, seed):
    node, x = make(), events(seed, INPUTS)
    graph, weight = graph_of(node, seed)
    timing = Timing(reset="subtract" if node.v_reset is None else "value", spike_at=True)
    assert_same_spikes(import_nir(graph, timing=timing), x, run(node, weight, x))


def test_a_membrane_at_the_threshold_spikes():
    spikes = neuron.LIFNode(tau=2.0)(torch.tensor([[2.0 - 1e-6, 2.0]]))
    assert spikes.tolist() == [[0.0, 1.0]]


# -- modules themselves ----------------------------------------------------------------------------


class Single(torch.nn.Module):
    """A layer of neurons over time [timesteps, samples, inputs]."""

    def __init__(self, node: neuron.BaseNode):
        super().__init__()
        torch.manual_seed(7)
        self.fc, self.node = torch.nn.Linear(INPUTS, NEURONS), node
        torch.nn.init.uniform_(self.fc.weight, -0.5, 1.5)

    def forward(self, x):
        return torch.stack([self.node(self.fc(step)) for step in x])


def traced(net: Single):
    return from_torch(net, events(9, INPUTS)[:6].transpose(0, 1).float(), time_first=True).graph


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("node", [neuron.KLIFNode, neuron.ParametricLIFNode])
def test_modules_themselves(node):
    net, x = Single(node()).eval(), events(3, INPUTS)
    graph = traced(net)
    functional.reset_net(net)
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))


class Clearing(Single):
    """A network that resets its nodes itself, before it runs."""

    def forward(self, x):
        functional.reset_net(self)
        return super().forward(x)


@pytest.mark.filterwarnings("ignore")
def test_a_module_that_resets_itself_needs_no_reset_before():
    net, x = Clearing(neuron.LIFNode()).eval(), events(3, INPUTS)
    with torch.no_grad():
        wanted = net(x.float())
    held = net.node.v
    assert_same_spikes(traced(net), x, wanted)
    assert net.node.v is held


BENT = {
    "quadratic": (neuron.QIFNode, "becomes is not linear at .*, a product"),
    "Izhikevich": (neuron.IzhikevichNode, "becomes is not linear at .*, a product"),
    "exponential": (neuron.EIFNode, "what they keep, is bent: Exp"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "what"), BENT.values(), ids=BENT)
def test_neurons_that_are_no_linear_system_are_told_where_they_bend(make, what):
    with pytest.raises(DmpcError, match=f"{what} of computed values"):
        apply(Recognise(), traced(Single(make()).eval()))
