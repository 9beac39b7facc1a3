"""Neurons with states of their own: how they adapt, the gradient through time, what is learned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

import runtime
from dmpc.compiler import compile as compile_model
from dmpc.nn import (
    LIF,
    Adaptation,
    DMPLayer,
    DMPNetwork,
    QuantizedNetwork,
    fit,
    measure,
    state_ranges,
)
from dmpc.nn.dynamics import surrogate
from dmpc.verification import verify

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "threshold": {"acts": "threshold", "jump": [0.4, 0.1, 0.3, 0.2, 0.8]},
    "current": {"acts": "current", "jump": 0.3, "coupling": [0.1, 0.2, -0.02, 0.3, 0.0]},
}
OTHERS: dict[str, dict[str, Any]] = {
    "rest": {"refractory": [1, 3, 2, 1, 4]},
    "floor": {"floor": [-0.1, 0.0, -0.2, 0.1, -0.3]},
    "ceiling": {"ceiling": [0.75, 1.0, 1.2, 0.9, 0.8]},
    "limits": {"floor": -0.1, "ceiling": [0.75, 1.0, 1.2, 0.9, 0.8]},
}
RESETS = {"rest": [0.1], "ceiling": [None], "limits": [None]}
"""Of neurons that have not any."""


def neurons(kind: str, reset: float | None, gain: float | None = None) -> LIF:
    """Five, each with numbers of its own, all of them learned."""
    how = OTHERS.get(kind, {})
    if KINDS.get(kind):
        how = {"adaptation": Adaptation(keep=0.9, learned=True, **KINDS[kind])}
    beta = [0.7, 0.5, 0.9, 0.6, 0.8]
    return LIF(beta, gain, 0.7, reset, learn_beta=True, **how).of(5).double()


def by_autograd(
    lif: LIF, current: Tensor, weight: Tensor | None, keep: Tensor | None, start: Tensor
) -> Tensor:
    """Neurons written out, with the surrogate's slope and no gradient of the reset."""
    n = lif.dynamics(keep)
    u, fired, total, a = start, torch.zeros_like(start), 0, torch.zeros_like(start)
    resting = torch.zeros_like(start)
    spikes = []
    for now in current.unbind(1):
        arriving = now if weight is None else now + linear(fired, weight)
        total = arriving if keep is None else keep.flatten() * total + arriving
        heard = total if n.receptors == 1 else sum(total.chunk(n.receptors, dim=1))
        charged = n.beta * u + n.gain * (heard if n.raises else heard - a)
        charged = torch.where(resting > 0, n.reset or 0.0, charged)
        if lif.floor is not None:
            charged = torch.where(charged > lif.floor, charged, lif.floor.double())
        if lif.ceiling is not None:
            charged = torch.where(charged < lif.ceiling, charged, lif.ceiling.double())
        threshold = n.threshold + a if n.raises else n.threshold
        step = (charged >= threshold).double()
        excess = charged - threshold
        fired = step + surrogate(excess).detach() * (excess - excess.detach())
        if n.refractory is not None:
            resting = torch.where(step > 0, n.refractory, resting - 1)
        u = charged - step * threshold if n.reset is None else (1 - step) * charged + step * n.reset
        if n.rho is not None:
            a = n.rho * a + n.jump * fired + (0 if n.coupling is None else n.coupling * u)
        spikes.append(fired)
    return torch.stack(spikes, dim=1)


@pytest.mark.parametrize("replayed", [False, True])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("currents", [0, 1, 3])
@pytest.mark.parametrize(
    ("kind", "reset"),
    [(kind, reset) for kind in (KINDS | OTHERS) for reset in RESETS.get(kind, [0.1, None])],
)
def test_the_gradient_is_that_of_a_plain_loop(
    kind: str, reset: float | None, currents: int, recurrent: bool, replayed: bool
) -> None:
    lif, random = neurons(kind, reset), torch.Generator().manual_seed(0)

    def drawn(*size: int) -> Tensor:
        return torch.rand(*size, generator=random, dtype=torch.float64, requires_grad=True)

    width = 5 * max(currents, 1)
    current, start, wanted = drawn(3, 12, width), drawn(3, 5), drawn(3, 12, 5).detach()
    weight = drawn(width, 5) if recurrent else None
    keep = None if not currents else drawn(5) if currents == 1 else drawn(currents, 5)
    given = [x for x in (current, start, weight, keep, *lif.parameters()) if x is not None]
    heard = None if weight is None else weight - 0.5
    arriving = (3 * current - 0.6) / max(currents, 1)
    ours = lif(arriving, start, weight=heard, keep=keep)
    assert 0.05 < ours.mean() < 0.7
    if replayed:
        with torch.no_grad():
            machine = lif.dynamics(keep).run(arriving, heard, start)
        ours = lif.dynamics(keep).sequence(arriving, heard, start, machine)
    theirs = by_autograd(lif, arriving, heard, keep, start)
    assert torch.equal(ours, theirs)
    found = [
        torch.autograd.grad((spikes * wanted).sum(), given, retain_graph=True)
        for spikes in (ours, theirs)
    ]
    for one, other in zip(*found, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other)


def test_thresholds_by_hand() -> None:
    lif = LIF(0.5, 1.0, 1.0, None, adaptation=Adaptation("threshold", 0.5, 1.0))
    state, seen = lif.rest(torch.zeros(1, 1)), []
    for _ in range(4):
        spikes, state = lif.step(torch.full((1, 1), 1.25), state)
        seen.append((spikes.item(), state.membrane.item(), state.adaptation.item()))
    # 1.25 >= 1; 1.375 < 2; 1.9375 >= 1.5; 1.46875 < 1 + 1.25
    assert seen == [(1, 0.25, 1), (0, 1.375, 0.5), (1, 0.4375, 1.25), (0, 1.46875, 0.625)]


def test_currents_by_hand() -> None:
    pulled = Adaptation("current", 0.5, 1.0, 0.25)
    lif = LIF(0.5, 2.0, 4.0, 0.0, adaptation=pulled)
    state, seen = lif.rest(torch.zeros(1, 1)), []
    for arriving in (1.0, 2.0, 1.0):
        spikes, state = lif.step(torch.full((1, 1), arriving), state)
        seen.append((spikes.item(), state.membrane.item(), state.adaptation.item()))
    # 2; 1 + 2 (2 - 0.5) = 4 fires, a = 0.25 + 1; 2 (1 - 1.25) = -0.5, a = 0.625 - 0.125
    assert seen == [(0, 2, 0.5), (1, 0, 1.25), (0, -0.5, 0.5)]


def test_rests_by_hand() -> None:
    lif = LIF(0.5, 1.0, 1.0, -0.25, refractory=2)
    state, seen = lif.rest(torch.zeros(1, 1)), []
    for _ in range(7):
        spikes, state = lif.step(torch.full((1, 1), 1.125), state)
        seen.append((spikes.item(), state.membrane.item(), state.resting.item()))
    # 1.125 >= 1; twice at rest; 1.125 - 0.125 = 1 fires again
    assert seen == [(1, -0.25, 2), (0, -0.25, 1), (0, -0.25, 0)] * 2 + [(1, -0.25, 2)]


def test_floors_by_hand() -> None:
    lif = LIF(0.5, 1.0, 1.0, None, floor=-0.5)
    state, seen = lif.rest(torch.zeros(1, 1)), []
    for arriving in (-2.0, 0.0, 1.5, -0.5):
        spikes, state = lif.step(torch.full((1, 1), arriving), state)
        seen.append((spikes.item(), state.membrane.item()))
    assert seen == [(0, -0.5), (0, -0.25), (1, 0.375), (0, -0.3125)]


def test_ceilings_by_hand() -> None:
    lif = LIF(0.5, 1.0, 1.0, None, floor=-1.0, ceiling=1.5)
    state, seen = lif.rest(torch.zeros(1, 1)), []
    for arriving in (4.0, 0.0, 1.125, -2.0):
        spikes, state = lif.step(torch.full((1, 1), arriving), state)
        seen.append((spikes.item(), state.membrane.item()))
    # 4 is cut off at 1.5, of which a spike takes 1; 0.25; 0.125 + 1.125 = 1.25 fires; -1.875
    assert seen == [(1, 0.5), (0, 0.25), (1, 0.25), (0, -1.0)]


def groups() -> tuple[Tensor, Tensor]:
    """Two classes: in each another half of 12 inputs has three times the other's events."""
    y = torch.arange(48) % 2
    rates = torch.tensor([0.1, 0.3])[(torch.arange(12) // 6 == y[:, None]).long()]
    return torch.rand(48, 20, 12, generator=torch.Generator().manual_seed(1)) < rates[:, None], y


@pytest.mark.parametrize("kind", ["threshold", "current"])
def test_a_network_that_adapts_learns_and_is_compiled(tmp_path: Path, kind: str) -> None:
    """The beta of each neuron and how it adapts, too; verified bit for bit."""
    torch.manual_seed(0)
    how = {"acts": kind, "jump": 0.3, "coupling": 0.05 if kind == "current" else 0.0}
    adaptation = Adaptation(keep=0.9, learned=True, **how)
    lif = LIF(0.8, None, 1.0, None, learn_beta=True, adaptation=adaptation)
    network = DMPNetwork(12, [16], 2, lif=lif)
    before = {name: p.detach().clone() for name, p in network.layers[0].lif.named_parameters()}
    x, y = groups()
    list(fit(network, x, y, epochs=12, batch=12))
    assert measure(network, x, y).accuracy > 0.9
    for name, now in network.layers[0].lif.named_parameters():
        assert (now - before[name]).abs().min() > 0, name
    assert len(before) == (3 if kind == "threshold" else 4)

    quantized, path = QuantizedNetwork(network, x), tmp_path / "model.onnx"
    gradients = []
    for trained in (network.eval(), quantized.eval()):
        network.zero_grad()
        trained.run(x.float()).logits.square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters()})
    for name, expected in gradients[0].items():
        assert torch.cosine_similarity(gradients[1][name].flatten(), expected.flatten(), 0) > 0.9

    quantized.export_onnx(path)
    made = compile_model(path)
    assert [op.kind for op in made.layers.ops] == ["dense", "alif", "dense"]
    found = verify(path, made.image, x.float().numpy(), y.numpy(), max_drop=10)
    assert not [(rung.name, rung.reason) for rung in found.rungs if not rung.ok]
    seen = runtime.Program(made.image, "model").run(x.numpy()).logits
    np.testing.assert_allclose(quantized(x.float()).detach(), seen, rtol=1e-5, atol=1e-6)


def test_learned_couplings_stay_where_membranes_are_stable() -> None:
    how = Adaptation("current", 0.9, 0.1, 0.5, learned=True)
    layer = DMPLayer(2, 3, lif=LIF(0.8, 0.5, adaptation=how))
    with torch.no_grad():
        layer.lif.adaptation.coupling.copy_(torch.tensor([-9.0, 0.3, 9.0]))
    limits = [-0.99 * 0.2 * 0.1 / 0.5, 0.3, 0.99 * 1.8 * 1.9 / 0.5]
    assert layer.lif.dynamics().coupling.tolist() == pytest.approx(limits)
    for limit in (limits[0] / 0.99, limits[2] / 0.99):
        for share in (0.99, 1.01):
            lif = LIF(0.8, 0.5, 1e9, adaptation=Adaptation("current", 0.9, 0.1, share * limit))
            state = lif.rest(torch.zeros(2, 1, dtype=torch.float64))
            state = state._replace(
                membrane=torch.tensor([[1.0], [0.0]]), adaptation=torch.tensor([[0.0], [1.0]])
            )
            _, after = lif.step(torch.zeros(2, 1), state)
            moved = torch.cat([after.membrane, after.adaptation], dim=1)
            assert (torch.linalg.eigvals(moved).abs().max() < 1) == (share < 1)


def test_layers_may_have_neurons_of_their_own() -> None:
    network = DMPNetwork(4, [2, 3], 2, lif=[LIF([0.1, 0.2]), LIF([0.3, 0.4, 0.5], learn_beta=True)])
    assert [len(layer.lif.beta) for layer in network.dmp_layers] == [2, 3]
    assert dict(network.layers[0].lif.named_parameters()) == {}
    raised = LIF(adaptation=Adaptation("threshold", 0.5, 0.25))
    with torch.no_grad():
        network = DMPNetwork(1, [1], 2, lif=[raised])
        network.layers[0].fast.weight.fill_(3.0)
        network.layers[0].fast.bias.zero_()
    (found,) = state_ranges(network, torch.ones(1, 2, 1))
    assert str(found) == "membrane 0.0 to 0.0, memory 0.0 to 0.0, adaptation 0.0 to 0.4"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Adaptation("weight", 0.5, 1.0), "acts is 'weight'; choose one of"),
        (lambda: Adaptation("current", 1.0, 1.0), r"Adaptation: keep is 1\.0; it is what"),
        (lambda: Adaptation("current", 0.5, float("nan")), "Adaptation: jump is nan"),
        (lambda: Adaptation("threshold", 0.5, 1.0, 0.1), "coupling is 0.1; .* 0 for thresholds"),
        (lambda: LIF(refractory=1.5), r"LIF: refractory is 1\.5; neurons rest for whole timesteps"),
        (lambda: LIF(refractory=[0, 1]), r"refractory is \[0, 1\]; .* 1 or more: a number, or one"),
        (lambda: LIF(reset=None, refractory=1), "refractory is given and reset is None; neurons"),
        (
            lambda: LIF(adaptation=Adaptation("current", 0.5, 1.0), refractory=1),
            "adaptation and refractory are given",
        ),
        (lambda: LIF(refractory=1, floor=-1), "refractory and floor are given"),
        (lambda: LIF(floor=1.0), r"LIF: floor is 1\.0; .* a finite one below the threshold 1\.0"),
        (lambda: LIF(reset=None, ceiling=0.9), r"ceiling is 0\.9; .* at the threshold 1\.0 or ab"),
        (lambda: LIF(ceiling=2.0), r"ceiling is given and reset is 0\.0; to that a spike resets"),
        (lambda: LIF(reset=None, floor=0, ceiling=2, refractory=1), "refractory and floor and ce"),
        (lambda: DMPLayer(2, 3, lif=LIF([0.1, 0.2])), "LIF: beta is .*: a number, or 3 of them"),
        (lambda: DMPNetwork(2, [3, 3], 2, lif=[LIF()]), "1 kinds of neurons for 2 layers"),
    ],
)
def test_what_neurons_cannot_be(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()
