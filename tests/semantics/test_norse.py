"""Norse's neurons: leak, input, threshold and reset, as read by its own NIR import."""

import nir
import norse.torch
import numpy as np
import pytest
import torch
from norse.torch.functional.reset import reset_subtract
from norse.torch.utils.import_nir import _import_norse_module

from dmpc.frontend import Timing, import_nir
from tests.semantics.compared import assert_same_spikes, events

INPUTS, NEURONS = 6, 10
DT = 1e-3
SEEDS = pytest.mark.parametrize("seed", range(4))


def graph_of(seed: int, v_leak: float = 0.0, v_reset: float = 0.0) -> nir.NIRGraph:
    random = np.random.default_rng(seed)
    size = np.ones(NEURONS)
    return nir.NIRGraph.from_list(
        nir.Affine(random.normal(0, 3, (NEURONS, INPUTS)), random.normal(0, 1, NEURONS)),
        nir.LIF(
            tau=random.uniform(2e-3, 2e-2, NEURONS), r=size, v_leak=v_leak * size,
            v_threshold=random.uniform(0.3, 0.8, NEURONS), v_reset=v_reset * size,
        ),
    )  # fmt: skip


def run(graph: nir.NIRGraph, x: torch.Tensor, **parameters) -> torch.Tensor:
    """The network as Norse reads it, node by node."""
    affine = _import_norse_module(graph.nodes["affine"]).double()
    cell = _import_norse_module(graph.nodes["lif"], dt=DT)
    cell.p = cell.p._replace(
        **{
            name: torch.as_tensor(value, dtype=torch.float64)
            for name, value in {
                "tau_mem_inv": 1 / graph.nodes["lif"].tau,
                "v_th": graph.nodes["lif"].v_threshold,
                "v_leak": graph.nodes["lif"].v_leak,
            }.items()
        },
        **parameters,
    )
    affine.weight.data = torch.as_tensor(graph.nodes["affine"].weight)
    affine.bias.data = torch.as_tensor(graph.nodes["affine"].bias)
    state, spikes = None, []
    with torch.no_grad():
        for step in x:
            z, state = cell(affine(step), state)
            spikes.append(z)
    return torch.stack(spikes)


@SEEDS
@pytest.mark.parametrize("v_leak", [0.0, 0.2])
def test_box_neurons_as_norse_reads_them(seed, v_leak):
    graph, x = graph_of(seed, v_leak), events(seed, INPUTS)
    assert_same_spikes(import_nir(graph, timing=Timing(dt=DT)), x, run(graph, x))


@SEEDS
def test_box_neurons_that_subtract_their_threshold(seed):
    graph, x = graph_of(seed), events(seed, INPUTS)
    wanted = run(graph, x, reset_method=reset_subtract)
    assert_same_spikes(import_nir(graph, timing=Timing(dt=DT, reset="subtract")), x, wanted)


def test_a_membrane_at_the_threshold_does_not_spike():
    p = norse.torch.LIFBoxParameters(tau_mem_inv=torch.as_tensor(1 / DT))
    spikes, _ = norse.torch.LIFBoxCell(p, dt=DT)(torch.tensor([[1.0, 1.0 + 1e-6]]))
    assert spikes.tolist() == [[0.0, 1.0]]
