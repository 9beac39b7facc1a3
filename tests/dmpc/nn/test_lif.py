import pytest
import torch
from torch import Tensor

from dmpc.nn import LIF


def step(lif: LIF, current: Tensor, membrane: Tensor) -> tuple[Tensor, Tensor]:
    spikes, state = lif.step(current, lif.rest(membrane)._replace(membrane=membrane))
    return spikes, state.membrane


def fire(lif: LIF, current: float, membrane: float) -> tuple[float, float]:
    spikes, after = step(lif, torch.tensor([[current]]), torch.tensor([[membrane]]))
    return spikes.item(), after.item()


def test_a_membrane_that_equals_the_threshold_fires() -> None:
    assert fire(LIF.from_tau(2.0), 2.0, 0.0) == (1.0, 0.0)
    below = torch.nextafter(torch.tensor(2.0), torch.tensor(0.0)).item()
    assert fire(LIF.from_tau(2.0), below, 0.0)[0] == 0.0


@pytest.mark.parametrize(
    ("reset", "after"), [(0.0, 0.0), (-0.25, -0.25), (None, 0.5)], ids=["zero", "value", "soft"]
)
def test_reset(reset: float | None, after: float) -> None:
    # 0.5 * 1 + 0.5 * 2 = 1.5
    assert fire(LIF(0.5, 0.5, 1.0, reset), 2.0, 1.0) == (1.0, after)


def test_without_spike_the_membrane_leaks_and_keeps_its_charge() -> None:
    assert fire(LIF(0.5, 0.5, 1.0), 0.5, 1.0) == (0.0, 0.75)
    assert fire(LIF(0.5, 0.5, 1.0), -8.0, -4.0) == (0.0, -6.0)


@pytest.mark.parametrize(("decay_input", "gain"), [(True, 0.25), (False, 1.0)])
def test_time_constant(decay_input: bool, gain: float) -> None:
    lif = LIF.from_tau(4.0, decay_input)
    assert (lif.beta, lif.gain) == (0.75, gain)


@pytest.mark.parametrize("reset", [0.0, -0.3, None])
def test_a_sequence_equals_its_timesteps(reset: float | None) -> None:
    torch.manual_seed(1)
    lif = LIF(0.7, 0.9, 0.8, reset)
    current, membrane = torch.randn(3, 40, 5), torch.randn(3, 5)
    expected = []
    after = membrane
    for now in current.unbind(1):
        spikes, after = step(lif, now, after)
        expected.append(spikes)
    found = lif(current, membrane)
    assert torch.equal(found, torch.stack(expected, dim=1))
    assert 0.1 < found.mean() < 0.6


@pytest.mark.parametrize("reset", [0.0, None])
def test_the_gradient_is_that_of_the_timesteps_with_a_surrogate_step(reset: float | None) -> None:
    torch.manual_seed(2)
    lif = LIF(0.7, 0.9, 0.8, reset)
    current = torch.randn(3, 20, 5, dtype=torch.float64, requires_grad=True)
    start = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 20, 5, dtype=torch.float64)
    found = torch.autograd.grad((lif(current, start) * weight).sum(), (current, start))

    # atan(pi x) / pi has the surrogate's slope 1 / (1 + (pi x)^2), so autograd can go through it.
    membrane, loss = start, torch.zeros((), dtype=torch.float64)
    for k, now in enumerate(current.unbind(1)):
        charged = lif.beta * membrane + lif.gain * now
        excess = charged - lif.threshold
        loss = loss + (torch.atan(torch.pi * excess) / torch.pi * weight[:, k]).sum()
        membrane = lif.dynamics().after(charged, (excess >= 0).double(), membrane)
    expected = torch.autograd.grad(loss, (current, start))
    assert torch.allclose(found[0], expected[0], atol=1e-12)
    assert torch.allclose(found[1], expected[1], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 1.25}, "beta is 1.25"),
        ({"beta": 1.0, "learn_beta": True}, "0 <= beta < 1"),
        ({"beta": 1.0, "gain": None}, "0 <= beta < 1"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"gain": 0.0}, "gain is 0.0"),
        ({"threshold": -1.0}, "threshold is -1.0"),
        ({"reset": 1.0}, "below the threshold"),
    ],
)
def test_impossible_neurons_are_refused(arguments: dict[str, float | None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LIF(**arguments)


def test_a_time_constant_below_one_timestep_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tau is 0\.5"):
        LIF.from_tau(0.5)
