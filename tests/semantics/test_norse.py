"""Norse's neurons: leak, input, threshold and reset, as read by its own NIR import."""

import nir
import norse.torch
import numpy as np
import pytest
import torch
from norse.torch.functional.izhikevich import tonic_spiking
from norse.torch.functional.reset import reset_subtract
from norse.torch.utils.export_nir import _extract_norse_module
from norse.torch.utils.import_nir import _import_norse_module

from dmpc.errors import DmpcError
from dmpc.frontend import Timing, from_torch, import_nir
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
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


@SEEDS
def test_neurons_without_leak_take_no_timestep(seed):
    """Norse's `IAFCell` adds its input whatever dt is, and its import takes r to be 1."""
    random = np.random.default_rng(seed)
    weight = nir.Linear(random.normal(0.2, 0.3, (NEURONS, INPUTS)))
    graph = nir.NIRGraph.from_list(
        weight, nir.IF(np.ones(NEURONS), v_threshold=random.uniform(0.5, 1, NEURONS))
    )
    x = events(seed, INPUTS)
    cell = _import_norse_module(graph.nodes["if"], dt=DT)
    cell.p = cell.p._replace(v_th=torch.as_tensor(graph.nodes["if"].v_threshold))
    state, wanted = None, []
    with torch.no_grad():
        for step in x:
            spikes, state = cell(step @ torch.as_tensor(weight.weight).T, state)
            wanted.append(spikes)
    assert_same_spikes(import_nir(graph, timing=Timing(dt=1.0)), x, torch.stack(wanted))


def test_norses_exporter_divides_the_timestep_by_the_inverse_of_tau():
    """So a file that it wrote with its default timestep is read with the square of that."""
    node = _extract_norse_module(norse.torch.LIFBoxCell(), dt=DT)
    tau = 1 / float(norse.torch.LIFBoxParameters().tau_mem_inv)
    assert float(node.tau) == pytest.approx(DT * tau)
    assert DT**2 / float(node.tau) == pytest.approx(DT / tau)


@SEEDS
def test_neurons_with_a_synapse_as_norse_reads_them(seed):
    """Norse's current takes all of its input at once: `w_in` undoes the timestep's share of it."""
    random, size = np.random.default_rng(seed), np.ones(NEURONS)
    tau_syn, tau_mem = 5e-3 * size, 1e-2 * size
    cuba = nir.CubaLIF(
        tau_syn=tau_syn, tau_mem=tau_mem, r=size, v_leak=0 * size,
        v_threshold=random.uniform(0.5, 1, NEURONS), w_in=tau_syn / DT,
    )  # fmt: skip
    weight = nir.Linear(random.normal(0.5, 1, (NEURONS, INPUTS)))
    cell = norse.torch.LIFCell(dt=DT)
    cell.p = cell.p._replace(
        tau_syn_inv=torch.as_tensor(1 / tau_syn), tau_mem_inv=torch.as_tensor(1 / tau_mem),
        v_th=torch.as_tensor(cuba.v_threshold),
    )  # fmt: skip
    x, state, wanted = events(seed, INPUTS), None, []
    with torch.no_grad():
        for step in x:
            spikes, state = cell(step @ torch.as_tensor(weight.weight).T, state)
            wanted.append(spikes)
    graph = import_nir(nir.NIRGraph.from_list(weight, cuba), timing=Timing(dt=DT))
    assert_same_spikes(graph, x, torch.stack(wanted))


# -- modules themselves ----------------------------------------------------------------------------


class Sequence(torch.nn.Module):
    """A loop over time [timesteps, samples, inputs], as Norse's tutorials write it."""

    def __init__(self, cell: torch.nn.Module, most: float):
        super().__init__()
        self.fc, self.cell = torch.nn.Linear(INPUTS, NEURONS), cell
        torch.nn.init.uniform_(self.fc.weight, -most / 6, most)

    def forward(self, x):
        state, spikes = None, []
        for k in range(x.shape[0]):
            z, state = self.cell(self.fc(x[k]), state)
            spikes.append(z)
        return torch.stack(spikes)


def traced(net: Sequence, steps: int = 6):
    return from_torch(net, events(9, INPUTS)[:steps].transpose(0, 1).float(), time_first=True).graph


CELLS = {
    "box": (norse.torch.LIFBoxCell, 5.0),
    "box that subtracts": (
        lambda: norse.torch.LIFBoxCell(norse.torch.LIFBoxParameters(reset_method=reset_subtract)),
        5.0,
    ),
    "without leak": (norse.torch.IAFCell, 0.5),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "most"), CELLS.values(), ids=CELLS)
def test_the_module_itself(cell, most):
    torch.manual_seed(7)
    net = Sequence(cell(), most).eval()
    x = events(3, INPUTS)
    with torch.no_grad():
        assert_same_spikes(traced(net), x, net(x.float()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("parameters", [{}, {"tau_syn_inv": 400.0, "v_th": 0.4}])
def test_a_module_with_synapses(parameters):
    torch.manual_seed(7)
    given = {name: torch.as_tensor(value) for name, value in parameters.items()}
    cell = norse.torch.LIFCell(norse.torch.LIFParameters(**given))
    net = Sequence(cell, 5.0).eval()
    x = events(3, INPUTS)
    with torch.no_grad():
        assert_same_spikes(traced(net), x, net(x.float()))


RESTING = {
    "forward": lambda p: norse.torch.LIFRefracCell(p),
    "recurrent": lambda p: norse.torch.LIFRefracRecurrentCell(NEURONS, NEURONS, p),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [4.0, 2.5])
@pytest.mark.parametrize("cell", RESTING.values(), ids=RESTING)
def test_a_module_whose_neurons_rest(cell, steps):
    torch.manual_seed(7)
    p = norse.torch.LIFRefracParameters(
        lif=norse.torch.LIFParameters(v_th=torch.as_tensor(0.15)), rho_reset=torch.as_tensor(steps)
    )
    net, x = Sequence(cell(p), 30.0).eval(), events(3, INPUTS)
    graph = traced(net)
    assert "rlif" in {op.kind for op in apply(Recognise(), graph).ops}
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))


class Whole(torch.nn.Module):
    """A layer of Norse's that takes the whole sequence."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x, state):
        """Of a cell's timestep, as `Sequence` calls it."""
        spikes, state = self.layer(x[None], state)
        return spikes[0], state


ADAPTING = {
    "forward": lambda p: norse.torch.LSNNCell(p),
    "recurrent": lambda p: norse.torch.LSNNRecurrentCell(NEURONS, NEURONS, p),
    "layer": lambda p: Whole(norse.torch.LSNN(p)),
    "recurrent layer": lambda p: Whole(norse.torch.LSNNRecurrent(NEURONS, NEURONS, p)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", ADAPTING.values(), ids=ADAPTING)
def test_a_module_whose_threshold_adapts(cell):
    """Its current takes in the input behind the spike, and its threshold rests at `v_th`."""
    torch.manual_seed(7)
    p = norse.torch.LSNNParameters(
        v_th=torch.as_tensor(0.3), tau_adapt_inv=torch.as_tensor(20.0), beta=torch.as_tensor(0.5)
    )
    net, x = Sequence(cell(p), 8.0).eval(), events(3, INPUTS)
    graph = traced(net, steps=8)
    assert {"alif", "delay"} <= {op.kind for op in apply(Recognise(), graph).ops}
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))


@pytest.mark.filterwarnings("ignore")
def test_a_recurrent_module_with_synapses():
    torch.manual_seed(7)
    net = Sequence(norse.torch.LIFRecurrentCell(NEURONS, NEURONS), 5.0).eval()
    x = events(3, INPUTS)
    with torch.no_grad():
        assert_same_spikes(traced(net), x, net(x.float()))


class Read(torch.nn.Module):
    """Neurons with currents and recurrence, read by the membranes of Norse's leaky integrators."""

    def __init__(self):
        super().__init__()
        self.first, self.out = torch.nn.Linear(INPUTS, NEURONS), torch.nn.Linear(NEURONS, 3)
        torch.nn.init.uniform_(self.first.weight, 0, 5.0)
        self.neurons = norse.torch.LIFRecurrentCell(NEURONS, NEURONS)
        self.read = norse.torch.LICell()

    def forward(self, x):
        state, kept, outputs = None, None, []
        for step in x:
            spikes, state = self.neurons(self.first(step), state)
            output, kept = self.read(self.out(spikes), kept)
            outputs.append(output)
        return torch.stack(outputs)


@pytest.mark.filterwarnings("ignore")
def test_recurrent_neurons_read_by_leaky_integrators():
    torch.manual_seed(7)
    net = Read().eval()
    x = events(3, INPUTS)
    with torch.no_grad():
        wanted = net(x.float()).numpy().transpose(1, 0, 2)
    layers = apply(Recognise(), traced(net))
    assert [op.kind for op in layers.ops].count("li") == 3
    found = interpret(layers, x.numpy().transpose(1, 0, 2)).outputs
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


REFUSED = {
    "compartments": (
        lambda: norse.torch.LIFMCRecurrentCell(NEURONS, NEURONS), "neurons leak into each other",
    ),
    "compartments that rest": (
        lambda: norse.torch.LIFMCRefracRecurrentCell(NEURONS, NEURONS),
        "neurons leak into each other",
    ),
    # its conductances take in the input, and then are overwritten
    "conductances": (
        lambda: norse.torch.CobaLIFCell(NEURONS, NEURONS), "output does not depend on the input",
    ),
    "exponential": (norse.torch.LIFExCell, "keep, is bent: Exp of computed values"),
    "exponential and adaptive": (norse.torch.LIFAdExCell, "keep, is bent: Exp of computed values"),
    "Izhikevich": (
        lambda: norse.torch.IzhikevichCell(tonic_spiking), "keep, is bent: Pow of computed values"
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "said"), REFUSED.values(), ids=REFUSED)
def test_a_module_that_the_machine_cannot_hold(cell, said):
    torch.manual_seed(7)
    with pytest.raises(DmpcError, match=said) as caught:
        apply(Recognise(), traced(Sequence(cell(), 8.0).eval(), steps=8))
    assert len(caught.value.every) == 1
