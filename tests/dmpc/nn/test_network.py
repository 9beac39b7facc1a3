from collections.abc import Callable

import pytest
import torch

from dmpc.nn import (
    LIF,
    AxonalDelays,
    DMPLayer,
    DMPNetwork,
    LegendreMemory,
    fit,
    measure,
    parameter_count,
    state_ranges,
)


def lively_network(dropout: float = 0.0, dilation: int | list[int] = 1) -> DMPNetwork:
    """A random network whose every layer spikes."""
    torch.manual_seed(3)
    sizes = {"memory": 4, "window": 9.0, "dropout": dropout, "dilation": dilation}
    return DMPNetwork(12, [16, 20], 5, lif=LIF(0.5, 2.0), **sizes).eval()


def events(seed: int, *shape: int) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


@torch.no_grad()
@pytest.mark.parametrize("reset", [0.0, None])
@pytest.mark.parametrize("dilation", [1, 4, [3, 50]], ids=str)
def test_a_sequence_equals_its_timesteps(reset: float | None, dilation: int | list[int]) -> None:
    network = lively_network(dilation=dilation).double()
    for layer in network.dmp_layers:
        layer.lif = LIF(0.5, 2.0, reset=reset)
    x = events(0, 6, 30, 12).double()
    run = network.run(x)
    states, readouts, spikes = network.initial_states(6), [], []
    for now in x.unbind(1):
        y, fired, states = network.step_spikes(now, states)
        readouts.append(y)
        spikes.append(fired)
    for i, layer in enumerate(run.spikes):
        assert torch.equal(layer, torch.stack([fired[i] for fired in spikes], dim=1))
        assert 0.05 < layer.mean() < 0.6
    assert torch.allclose(run.logits, torch.stack(readouts).mean(0), rtol=0, atol=1e-12)
    assert torch.equal(network(x), run.logits)


@torch.no_grad()
def test_one_timestep_follows_the_equations() -> None:
    layer = DMPLayer(3, 2, 1, 1.0)
    for parameter, value in {
        layer.fast.weight: [[1.0, 0.0, -1.0], [2.0, 0.0, 0.0]],
        layer.fast.bias: [0.25, 0.5],
        layer.drive.weight: [[1.0, -8.0, 2.0]],
        layer.drive.bias: [0.5],
        layer.slow.weight: [[-1.0], [1.0]],
        layer.slow.bias: [0.0, -0.25],
        layer.memory.a_bar: [[0.5]],
        layer.memory.b_bar: [2.0],
    }.items():
        parameter.copy_(torch.tensor(value))
    state = layer.initial_state(1)._replace(memory=torch.tensor([[1.0]]))
    # Inputs 0 and 2: drive 3.5, memory 0.5 + 7 = 7.5, currents 0.25 - 7.5 and 2.5 + 7.25.
    spikes, state = layer.step(torch.tensor([[1.0, 0.0, 1.0]]), state)
    assert spikes.tolist() == [[0.0, 1.0]]
    assert state.memory.tolist() == [[7.5]]
    assert state.membrane.tolist() == [[-3.625, 0.0]]
    # Input 1 alone: the drive is rectified, so the memory only decays.
    _, state = layer.step(torch.tensor([[0.0, 1.0, 0.0]]), state)
    assert state.memory.tolist() == [[3.75]]


@torch.no_grad()
@pytest.mark.parametrize("dilation", [1, 2, 3, 5, 30])
def test_a_dilated_layer_against_a_plain_loop(dilation: int) -> None:
    torch.manual_seed(1)
    layer = DMPLayer(6, 8, 3, 7.0, LIF(0.5, 2.0), dilation).double()
    x = events(5, 4, 17, 6).double()
    memories = [torch.zeros(4, 3).double()]
    membrane, spikes = torch.zeros(4, 8).double(), []
    for k in range(17):
        drive = torch.relu(layer.drive(x[:, k]))
        memories.append(memories[-1] @ layer.memory.a_bar.T + drive * layer.memory.b_bar)
        slow = layer.slow(memories[1 + dilation * (k // dilation)])
        membrane = 0.5 * membrane + 2.0 * (layer.fast(x[:, k]) + slow)
        spikes.append((membrane >= 1.0).double())
        membrane = membrane * (1 - spikes[-1])
    assert torch.equal(layer(x), torch.stack(spikes, dim=1))
    assert dilation == 1 or not torch.equal(layer(x), DMPLayer.forward(_plain(layer), x))


def _plain(layer: DMPLayer) -> DMPLayer:
    """The layer without dilation."""
    other = DMPLayer(6, 8, 3, 7.0, LIF(0.5, 2.0)).double()
    other.load_state_dict(layer.state_dict())
    return other


def test_dropout_acts_in_training_only() -> None:
    network = lively_network(dropout=0.5)
    x = events(1, 4, 20, 12)
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))


def test_parameters_of_the_papers_network() -> None:
    network = DMPNetwork(140, [128, 128], 20, memory=10, window=40)
    # Fast paths, scalar drives, slow paths, readout; the paper says 40 K.
    layers = (140 * 128 + 128) + 141 + 11 * 128 + (128 * 128 + 128) + 129 + 11 * 128
    assert parameter_count(network) == layers + 129 * 20


def test_a_short_training_lowers_the_loss_and_learns() -> None:
    torch.manual_seed(0)
    # Two classes that differ in the order of two bursts, not in the count of any input.
    y = torch.arange(60) % 2
    x = torch.zeros(60, 20, 8)
    for sample, label in zip(x, y, strict=True):
        sample[2:7, :4] = label
        sample[12:17, :4] = 1 - label
    x[torch.rand_like(x) < 0.05] = 1.0
    network = DMPNetwork(8, [16], 2, memory=4, window=15, lif=LIF(0.5, 2.0))
    losses = list(fit(network, x[:40], y[:40], epochs=25, batch=10, learning_rate=1e-2))
    assert losses[-1] < 0.5 * losses[0]
    result = measure(network, x[40:], y[40:])
    assert result.accuracy >= 0.9
    assert 0 < result.densities[0] < 1


def test_a_penalty_makes_spikes_rarer() -> None:
    def density(penalty: float) -> float:
        torch.manual_seed(0)
        network = DMPNetwork(12, [16], 2, memory=3, window=9, lif=LIF(0.5, 2.0))
        x, y = events(4, 40, 10, 12), torch.arange(40) % 2
        list(fit(network, x, y, epochs=8, batch=10, spike_penalty=penalty))
        return measure(network, x, y).densities[0]

    assert density(1.0) < 0.8 * density(0.0)


@torch.no_grad()
def test_state_ranges_by_hand() -> None:
    network = DMPNetwork(1, [1], 1, memory=1, window=4)
    for parameter in network.parameters():
        parameter.zero_()
    (layer,) = network.dmp_layers
    layer.fast.weight.fill_(1.0)
    layer.drive.weight.fill_(-1.0)
    layer.memory.a_bar.fill_(0.5)
    layer.memory.b_bar.fill_(-1.0)
    # Membranes 0.75, -1.625, 0 (fired); drives 0, 4, 0 and memories 0, -4, -2.
    x = torch.tensor([[[1.5], [-4.0], [6.0]]])
    (found,) = state_ranges(network, x)
    assert found == ((-1.625, 0.75), (-4.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    assert str(found) == "membrane -1.6 to 0.8, memory -4.0 to 0.0"
    with pytest.raises(ValueError, match="no sample"):
        state_ranges(network, x[:0])


def test_training_repeats_exactly() -> None:
    def train() -> list[torch.Tensor]:
        torch.manual_seed(7)
        network = DMPNetwork(12, [8], 2, memory=3, window=9, dropout=0.2, lif=LIF(0.5, 2.0))
        list(fit(network, events(2, 20, 10, 12), torch.arange(20) % 2, epochs=2, batch=8))
        return list(network.parameters())

    assert all(torch.equal(a, b) for a, b in zip(train(), train(), strict=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LegendreMemory(0, 5.0), "states is 0"),
        (lambda: LegendreMemory(2, 0.5), r"window is 0\.5"),
        (lambda: AxonalDelays(0, 3), "inputs is 0"),
        (lambda: AxonalDelays(3, -1), "longest is -1"),
        (lambda: DMPLayer(3, 4, -2, 5.0), "memory is -2"),
    ],
    ids=["states", "window", "inputs", "delay", "memory"],
)
def test_impossible_parts_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_inputs_are_refused() -> None:
    network = lively_network()
    with pytest.raises(ValueError, match=r"shape \[2, 5, 11\], expected \[batch, time, 12\]"):
        network(torch.zeros(2, 5, 11))
    with pytest.raises(ValueError, match="at least one timestep"):
        network(torch.zeros(2, 0, 12))
    with pytest.raises(ValueError, match="1 states for 2 layers"):
        network.step(torch.zeros(2, 12), network.initial_states(2)[:1])
    with pytest.raises(ValueError, match="3 samples and y 2 labels"):
        measure(network, torch.zeros(3, 5, 12), torch.zeros(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": []}, "hidden is empty"),
        ({"hidden": [4, 0]}, "neurons is 0"),
        ({"classes": 0}, "classes is 0"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
        ({"memory": -1}, "memory is -1; it is a whole number, at least 0"),
        ({"memory": 2.5}, r"memory is 2\.5"),
        ({"window": None}, "2 memory states, but no window"),
        ({"window": 0}, "window is 0; it spans at least 1 timestep"),
        ({"window": float("nan")}, "window is nan"),
        ({"window": "40"}, "window is '40'"),
        ({"hidden": 4}, "hidden is 4; give the neurons of at least one layer as a list"),
        ({"hidden": "ab"}, "neurons is 'a'"),
        ({"hidden": [4.5]}, r"neurons is 4\.5"),
        ({"inputs": 0}, "inputs is 0"),
        ({"inputs": float("inf")}, "inputs is inf"),
        ({"delays": -3}, "delays is -3"),
        ({"delays": "long"}, "delays is 'long'"),
        ({"dilation": 0}, "dilation is 0; it is a whole number, at least 1"),
        ({"dilation": [2.5]}, r"dilation is 2\.5"),
        ({"dilation": [1, 2]}, "2 dilations for 1 layers; give one for all"),
    ],
)
def test_impossible_networks_are_refused(change: dict[str, object], message: str) -> None:
    sizes = {"inputs": 3, "hidden": [4], "classes": 2, "memory": 2, "window": 5} | change
    with pytest.raises(ValueError, match=message):
        DMPNetwork(**sizes)
