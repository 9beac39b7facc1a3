"""snnTorch's neurons: leak, input, threshold and reset, as imported from its own NIR export."""

import copy

import nir
import pytest
import snntorch
import torch
from snntorch import utils
from snntorch.export_nir import export_to_nir

from dmpc.errors import CompileError
from dmpc.frontend import Timing, from_torch, import_nir, import_onnx
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
from tests.semantics.compared import SAMPLES, assert_same_spikes, events

# snnTorch's exporter calls what NIRTorch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning")

INPUTS, HIDDEN, CLASSES = 6, 12, 5
SEEDS = pytest.mark.parametrize("seed", range(4))


def leaky(size: int, **options) -> snntorch.Leaky:
    """Neurons with leaks and thresholds of their own, which the exporter needs as vectors."""
    beta, threshold = torch.rand(size) * 0.5 + 0.45, torch.rand(size) * 0.4 + 1.2
    return snntorch.Leaky(beta=beta, threshold=threshold, init_hidden=True, **options)


def linear(inputs: int, outputs: int, most: float) -> torch.nn.Linear:
    """Weights that make neurons spike now and then."""
    made = torch.nn.Linear(inputs, outputs)
    torch.nn.init.uniform_(made.weight, -0.1, most)
    return made


def network(seed: int, **options) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        linear(INPUTS, HIDDEN, 0.4), leaky(HIDDEN, **options),
        linear(HIDDEN, CLASSES, 0.5), leaky(CLASSES, **options),
    )  # fmt: skip


def run(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([net(step) for step in x.float()])


def exported(net: torch.nn.Module, tmp_path) -> str:
    path = tmp_path / "net.nir"
    nir.write(path, export_to_nir(copy.deepcopy(net), torch.zeros(INPUTS)))
    return str(path)


RESETS = {
    "the default: subtracted after the next leak": ({}, "late"),
    "to zero, a step late": ({"reset_mechanism": "zero"}, "value"),
    "to zero at once": ({"reset_mechanism": "zero", "reset_delay": False}, "value"),
}


@SEEDS
@pytest.mark.parametrize(("options", "reset"), RESETS.values(), ids=RESETS)
def test_a_leaky_network_through_nir(seed, options, reset, tmp_path):
    net = network(seed, **options)
    path = exported(net, tmp_path)
    x = events(seed, INPUTS)
    assert_same_spikes(import_nir(path, timing=Timing(reset=reset)), x, run(net, x))


@SEEDS
def test_neurons_that_subtract_at_once_while_none_is_charged_twice(seed, tmp_path):
    torch.manual_seed(seed)
    net = torch.nn.Sequential(linear(INPUTS, HIDDEN, 0.25), leaky(HIDDEN, reset_delay=False))
    x = events(seed, INPUTS)
    wanted = run(net, x)
    timing = Timing(reset="subtract")
    assert_same_spikes(import_nir(exported(net, tmp_path), timing=timing), x, wanted)


def test_what_snntorch_does_at_twice_the_threshold():
    """It holds one threshold more against the next charge: subtracting at once is not that."""
    neuron = snntorch.Leaky(beta=1.0, threshold=1.0, reset_delay=False)
    membrane, spikes = torch.zeros(1, 1), []
    for current in (2.5, 0.0, 0.0):
        spike, membrane = neuron(torch.tensor([[current]]), membrane)
        spikes.append(spike.item())
    assert (spikes, membrane.item()) == ([1.0, 0.0, 0.0], 1.5)


def test_the_resets_are_told_apart(tmp_path):
    """A network read with another reset gives other spikes: the test above means something."""
    net = network(0)
    path = exported(net, tmp_path)
    x = events(0, INPUTS)
    wanted = run(net, x)
    for reset in ("subtract", "value"):
        with pytest.raises(AssertionError, match="Not equal"):
            assert_same_spikes(import_nir(path, timing=Timing(reset=reset)), x, wanted)


@SEEDS
def test_a_recurrent_network_through_nir(seed, tmp_path):
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        linear(INPUTS, HIDDEN, 0.6),
        snntorch.RLeaky(beta=0.8, linear_features=HIDDEN, init_hidden=True),
    )
    x = events(seed, INPUTS)
    path = exported(net, tmp_path)
    assert_same_spikes(import_nir(path, timing=Timing(reset="late")), x, run(net, x))


def test_a_membrane_at_the_threshold_does_not_spike():
    neuron = snntorch.Leaky(beta=0.5, threshold=1.0)
    spikes, _ = neuron(torch.tensor([[1.0, 1.0 + 1e-6]]), torch.zeros(1, 2))
    assert spikes.tolist() == [[0.0, 1.0]]


def synaptic(size: int, **options) -> snntorch.Synaptic:
    alpha, beta = torch.rand(size) * 0.6 + 0.2, torch.rand(size) * 0.5 + 0.45
    threshold = torch.rand(size) * 0.4 + 1.2
    return snntorch.Synaptic(alpha, beta, threshold, init_hidden=True, **options)


@SEEDS
@pytest.mark.parametrize(
    ("options", "reset"),
    [({}, "late"), ({"reset_mechanism": "zero", "reset_delay": False}, "value")],
)
def test_a_synaptic_network_through_nir(seed, options, reset, tmp_path):
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        linear(INPUTS, HIDDEN, 0.3), synaptic(HIDDEN, **options),
        linear(HIDDEN, CLASSES, 0.4), synaptic(CLASSES, **options),
    )  # fmt: skip
    path = exported(net, tmp_path)
    x = events(seed, INPUTS)
    assert_same_spikes(import_nir(path, timing=Timing(reset=reset)), x, run(net, x))


@SEEDS
def test_a_synaptic_network_without_memory_of_its_input(seed, tmp_path):
    torch.manual_seed(seed)
    ones = torch.ones(HIDDEN)
    net = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, HIDDEN),
        snntorch.Synaptic(alpha=0 * ones, beta=0.8 * ones, threshold=0.5 * ones, init_hidden=True),
    )
    path = exported(net, tmp_path)
    x = events(seed, INPUTS)
    assert_same_spikes(import_nir(path, timing=Timing(reset="late")), x, run(net, x))


# -- one timestep through ONNX ---------------------------------------------------------------------


class Step(torch.nn.Module):
    """One timestep of two layers with their membranes, as snnTorch's tutorials write it."""

    def __init__(self, **options):
        super().__init__()
        self.fc1, self.fc2 = linear(INPUTS, HIDDEN, 0.4), linear(HIDDEN, CLASSES, 0.5)
        self.lif1 = snntorch.Leaky(beta=0.9, threshold=1.2, **options)
        self.lif2 = snntorch.Leaky(beta=torch.linspace(0.5, 0.9, CLASSES), **options)

    def forward(self, x, mem1, mem2):
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return spk2, mem1, mem2


@pytest.mark.filterwarnings("ignore")  # snnTorch's neurons keep what the exporter warns of
def test_a_timestep_through_onnx(tmp_path, capsys):
    torch.manual_seed(5)
    net = Step().eval()
    path = tmp_path / "step.onnx"
    start = [torch.zeros(1, n) for n in (INPUTS, HIDDEN, CLASSES)]
    names = ["spikes", "mem1_next", "mem2_next"]
    torch.onnx.export(
        net, tuple(start), path, dynamo=True, verbose=False,
        input_names=["x", "mem1", "mem2"], output_names=names,
    )  # fmt: skip
    capsys.readouterr()
    for seed in range(3):
        x = events(seed, INPUTS)
        membranes = [torch.zeros(SAMPLES, n) for n in (HIDDEN, CLASSES)]
        wanted = []
        with torch.no_grad():
            for step in x.float():
                spikes, *membranes = net(step, *membranes)
                wanted.append(spikes)
        assert_same_spikes(import_onnx(path), x, torch.stack(wanted))


class Sequence(torch.nn.Module):
    """The loop over time [timesteps, samples, inputs] of snnTorch's tutorials."""

    def __init__(self, **options):
        super().__init__()
        self.step = Step(**options)

    def forward(self, x):
        membranes = [lif.init_leaky() for lif in (self.step.lif1, self.step.lif2)]
        spikes = []
        for k in range(x.shape[0]):
            spike, *membranes = self.step(x[k], *membranes)
            spikes.append(spike)
        return torch.stack(spikes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mechanism", ["subtract", "zero", "none"])
def test_the_module_itself(mechanism):
    torch.manual_seed(6)
    net = Sequence(reset_mechanism=mechanism).eval()
    graph = from_torch(net, events(9, INPUTS)[:8].transpose(0, 1).float(), time_first=True).graph
    x = events(3, INPUTS)
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))


AT_ONCE = {
    "leaky": (lambda **options: snntorch.Leaky(0.9, **options), "init_leaky"),
    "synaptic": (lambda **options: snntorch.Synaptic(0.9, 0.8, **options), "init_synaptic"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("lif", "start"), AT_ONCE.values(), ids=AT_ONCE)
def test_resets_to_zero_at_once(lif, start):
    """Which mechanism it is, the module asks a buffer; and it looks at the old membrane as well."""
    torch.manual_seed(6)
    net = Single(lif(reset_mechanism="zero", reset_delay=False), start).eval()
    graph = from_torch(net, events(9, INPUTS)[:8].transpose(0, 1).float(), time_first=True).graph
    x = events(3, INPUTS)
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("lif", "start"), AT_ONCE.values(), ids=AT_ONCE)
def test_resets_by_subtraction_at_once_look_at_a_membrane_twice(lif, start):
    """A membrane that holds the threshold twice is compared with more in the next timestep."""
    net = Single(lif(reset_mechanism="subtract", reset_delay=False), start).eval()
    graph = from_torch(net, events(9, INPUTS)[:8].transpose(0, 1).float(), time_first=True).graph
    with pytest.raises(CompileError, match="several comparisons look at this state") as caught:
        apply(Recognise(), graph)
    assert len(caught.value.every) == 1


class Hidden(torch.nn.Module):
    """Neurons that keep their membranes; `utils.reset` of one module resets those of all."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(linear(INPUTS, HIDDEN, 0.6), leaky(HIDDEN, output=True))

    def forward(self, x):
        utils.reset(self.net)
        return torch.stack([self.net(now)[0] for now in x])


@pytest.mark.filterwarnings("ignore")
def test_a_module_is_traced_beside_another_and_leaves_it_as_it_was():
    torch.manual_seed(7)
    one, other = Hidden().eval(), Hidden().eval()
    x = events(3, INPUTS)
    one(x.float())
    before = one.net[1].mem.clone()
    for net in (other, one):
        graph = from_torch(net, x.transpose(0, 1).float(), time_first=True).graph
        assert torch.equal(one.net[1].mem, before)
    with torch.no_grad():
        assert_same_spikes(graph, x, one(x.float()))


class Single(torch.nn.Module):
    """A layer of any kind of neuron over time; `start` makes its states."""

    def __init__(self, lif: torch.nn.Module, start: str):
        super().__init__()
        self.fc, self.lif, self.start = linear(INPUTS, HIDDEN, 0.6), lif, start

    def forward(self, x):
        spikes, states = [], getattr(self.lif, self.start)()
        states = states if isinstance(states, tuple) else (states,)
        for k in range(x.shape[0]):
            spike, *rest = self.lif(self.fc(x[k]), *states)
            states = (spike, *rest) if self.start.startswith("init_r") else tuple(rest)
            spikes.append(spike)
        return torch.stack(spikes)


KINDS = {
    "lapicque": (lambda: snntorch.Lapicque(R=4.0, C=1.25, time_step=1.0), "init_lapicque"),
    "recurrent": (lambda: snntorch.RLeaky(beta=0.8, linear_features=HIDDEN), "init_rleaky"),
    "recurrent, with a current": (
        lambda: snntorch.RSynaptic(alpha=0.7, beta=0.8, linear_features=HIDDEN),
        "init_rsynaptic",
    ),
    "each to itself": (
        lambda: snntorch.RLeaky(beta=0.8, all_to_all=False, V=torch.linspace(-1, 1, HIDDEN)),
        "init_rleaky",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("lif", "start"), KINDS.values(), ids=KINDS)
def test_other_neurons_themselves(lif, start):
    torch.manual_seed(8)
    net = Single(lif(), start).eval()
    graph = from_torch(net, events(9, INPUTS)[:6].transpose(0, 1).float(), time_first=True).graph
    x = events(4, INPUTS)
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options", [{}, {"threshold": 0.7}, {"alpha": torch.linspace(0.2, 0.9, HIDDEN)}]
)
def test_a_synaptic_module(options):
    torch.manual_seed(8)
    neurons = snntorch.Synaptic(**{"alpha": 0.9, "beta": 0.8, **options})
    net = Single(neurons, "init_synaptic").eval()
    graph = from_torch(net, events(9, INPUTS)[:6].transpose(0, 1).float(), time_first=True).graph
    x = events(4, INPUTS)
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))


@pytest.mark.filterwarnings("ignore")
def test_alpha_synapses_are_two_currents():
    torch.manual_seed(8)
    neurons = snntorch.Alpha(alpha=0.9, beta=0.8, reset_mechanism="none")
    net, x = Single(neurons, "init_alpha").eval(), events(4, INPUTS)
    graph = from_torch(net, events(9, INPUTS)[:6].transpose(0, 1).float(), time_first=True).graph
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mechanism", ["zero", "subtract"])
def test_alpha_synapses_that_spikes_reset_are_refused_for_that(mechanism):
    neurons = snntorch.Alpha(alpha=0.9, beta=0.8, reset_mechanism=mechanism)
    net = Single(neurons, "init_alpha").eval()
    graph = from_torch(net, events(9, INPUTS)[:6].transpose(0, 1).float(), time_first=True).graph
    with pytest.raises(CompileError, match="cut off several states of their neurons"):
        apply(Recognise(), graph)


LOSING = {
    "with a current": (
        lambda: snntorch.Synaptic(0.9, 0.8, reset_mechanism="zero"),
        "init_synaptic",
    ),
    "recurrent": (
        lambda: snntorch.RLeaky(0.8, linear_features=HIDDEN, reset_mechanism="zero"),
        "init_rleaky",
    ),
    "recurrent, with a current": (
        lambda: snntorch.RSynaptic(0.7, 0.8, linear_features=HIDDEN, reset_mechanism="zero"),
        "init_rsynaptic",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("lif", "start"), LOSING.values(), ids=LOSING)
def test_resets_to_zero_that_lose_what_the_next_timestep_brings(lif, start):
    torch.manual_seed(8)
    net = Single(lif(), start).eval()
    graph = from_torch(net, events(9, INPUTS)[:6].transpose(0, 1).float(), time_first=True).graph
    (neurons,) = (op for op in apply(Recognise(), graph).ops if op.kind == "rlif")
    assert neurons.attrs["reset_mode"] == "hard"
    x = events(4, INPUTS)
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))


class Parallel(torch.nn.Module):
    """A layer that takes the whole sequence at once."""

    def __init__(self, layer: torch.nn.Module):
        super().__init__()
        self.fc, self.layer = linear(INPUTS, HIDDEN, 0.6), layer

    def forward(self, x):
        given = self.layer(self.fc(x))
        return given[0] if isinstance(given, tuple) else given


WHOLE = {
    "a filter": lambda: snntorch.StateLeaky(0.8, HIDDEN),
    "a filter for each": lambda: snntorch.StateLeaky(torch.linspace(0.5, 0.9, HIDDEN), HIDDEN),
    "weighted": lambda: snntorch.LinearLeaky(0.7, HIDDEN, HIDDEN),
    "rectified": lambda: snntorch.LeakyParallel(HIDDEN, HIDDEN, beta=0.8, threshold=0.3),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", WHOLE.values(), ids=WHOLE)
def test_layers_of_a_whole_sequence(layer):
    """Their membranes are convolutions of the input, or `nn.RNN`, which no spike resets."""
    torch.manual_seed(3)
    net, x = Parallel(layer()).eval(), events(5, INPUTS)
    graph = from_torch(net, x.float().transpose(0, 1), time_first=True).graph
    with torch.no_grad():
        assert_same_spikes(graph, x, net(x.float()))
