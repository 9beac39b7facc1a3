import numpy as np
import pytest
import torch
from scipy.linalg import expm

from dmpc.nn import LegendreMemory, legendre_system, zero_order_hold


@pytest.mark.parametrize(("states", "window"), [(1, 5.0), (10, 40.0), (16, 64.0), (40, 300.0)])
def test_zero_order_hold_against_scipy(states: int, window: float) -> None:
    a, b = legendre_system(states, window)
    # exp of [[A, B], [0, 0]] is [[Abar, Bbar], [0, 1]]: no inverse of A, so independent of ours.
    both = expm(np.block([[a, b[:, None]], [np.zeros((1, states + 1))]]))
    a_bar, b_bar = zero_order_hold(a, b)
    np.testing.assert_allclose(a_bar, both[:states, :states], rtol=0, atol=1e-12)
    np.testing.assert_allclose(b_bar, both[:states, states], rtol=0, atol=1e-12)


def test_legendre_system_written_out() -> None:
    a, b = legendre_system(3, 2.0)
    assert a.tolist() == [[-0.5, -0.5, -0.5], [1.5, -1.5, -1.5], [-2.5, 2.5, -2.5]]
    assert b.tolist() == [0.5, -1.5, 2.5]


def test_the_memory_remembers_its_window() -> None:
    # Legendre polynomials at the far end of the window are all 1: their sum is x, delayed.
    memory = LegendreMemory(12, 40.0)
    k, pace = torch.arange(200), 2 * torch.pi / 60
    delayed = memory(torch.sin(k * pace)[None]).sum(2)[0]
    # Held for a whole timestep, x is half a step younger on average.
    assert torch.allclose(delayed[100:], torch.sin((k - 39.5) * pace)[100:], atol=0.01)


def test_impulse_response_is_the_recurrence_on_an_impulse() -> None:
    memory = LegendreMemory(10, 40.0).double()
    state, drive = torch.zeros(10, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for response in memory.impulse_response(75):
        state = memory.step(drive, state)
        assert torch.allclose(state, response, rtol=0, atol=1e-12)
        drive = torch.zeros(1, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 63, 64, 65, 100])
def test_a_sequence_equals_its_timesteps(steps: int) -> None:
    torch.manual_seed(0)
    memory = LegendreMemory(10, 40.0).double()
    drive = torch.rand(3, steps, dtype=torch.float64)
    state = torch.zeros(3, 10, dtype=torch.float64)
    found = memory(drive)
    assert found.shape == (3, steps, 10)
    for k in range(steps):
        state = memory.step(drive[:, k, None], state)
        assert torch.allclose(found[:, k], state, rtol=0, atol=1e-12)


def test_buffers_are_the_float64_result_rounded_once() -> None:
    memory = LegendreMemory(16, 64.0)
    a_bar, b_bar = zero_order_hold(*legendre_system(16, 64.0))
    assert memory.a_bar.numpy().tobytes() == a_bar.astype(np.float32).tobytes()
    assert memory.b_bar.numpy().tobytes() == b_bar.astype(np.float32).tobytes()
    assert not list(memory.parameters())


@pytest.mark.parametrize(
    ("states", "window", "message"), [(0, 4.0, "states is 0"), (3, 0.5, r"window is 0\.5")]
)
def test_impossible_memories_are_refused(states: int, window: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LegendreMemory(states, window)
