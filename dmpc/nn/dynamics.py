"""What spiking neurons do in a timestep, and in a sequence with a surrogate gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from dmpc.nn.leak import integrate

SURROGATE_SLOPE: Final = 2.0


def surrogate(excess: Tensor) -> Tensor:
    """Slope that stands in for the step's at `excess` (membrane minus threshold): an arc tangent's.

    Fang et al., 2021; 1 at the threshold, same shape as `excess`.
    """
    scaled = (math.pi / 2 * SURROGATE_SLOPE) * excess
    return (SURROGATE_SLOPE / 2) / (1 + scaled * scaled)


class NeuronState(NamedTuple):
    """What neurons carry from one timestep to the next, [batch, neurons] each."""

    membrane: Tensor
    synapse: Tensor  # currents [batch, receptors * neurons]; empty where there are none
    adaptation: Tensor  # empty where there is none
    resting: Tensor  # for how many timesteps still; empty where neurons never rest


class Limits(NamedTuple):
    """What cuts charges off, a number or one for each neuron [neurons]; None where nothing does."""

    floor: Tensor | None = None
    ceiling: Tensor | None = None

    def cut(self, charged: Tensor) -> Tensor:
        """Charges [.., neurons] within the limits."""
        return charged if self.floor is self.ceiling is None else charged.clamp(*self)

    def free(self, charged: Tensor) -> Tensor | None:
        """Where charges that were cut off are not at a limit, as behind a relu; None: anywhere."""
        floor, ceiling = self
        within = [] if floor is None else [charged > floor]
        within += [] if ceiling is None else [charged < ceiling]
        return torch.stack(within).all(dim=0) if within else None

    def each(self, changed: Callable[[Tensor], Tensor]) -> Limits:
        """Limits that became others."""
        return Limits(*(None if limit is None else changed(limit) for limit in self))


class Dynamics(NamedTuple):
    """The numbers of neurons, one for all or one for each [neurons].

    `keep` [receptors * neurons] is what a timestep leaves of synaptic currents, one receptor's
    behind the other's, as all that arrives is; `rho`, `jump` and `coupling` are those of what
    neurons adapt by, which `raises` their thresholds or is taken from their currents. After a spike
    they rest for `refractory` timesteps; their charges are within `limits`.
    """

    threshold: float
    reset: float | None
    raises: bool
    refractory: Tensor | None
    limits: Limits
    receptors: int
    beta: float | Tensor
    gain: float | Tensor
    keep: Tensor | None = None
    rho: Tensor | None = None
    jump: float | Tensor = 1.0
    coupling: Tensor | None = None

    @property
    def numbers(self) -> tuple[float | Tensor | None, ...]:
        """Those that may be trained, in their order."""
        return self[6:]

    def rest(self, like: Tensor) -> NeuronState:
        """The state before the first timestep, zeros, of neurons whose membranes are as `like`."""
        zeros, none = torch.zeros_like(like), like.new_zeros(len(like), 0)
        held = ((self.keep, self.apart(zeros)), (self.rho, zeros), (self.refractory, zeros))
        return NeuronState(zeros, *(none if number is None else each for number, each in held))

    def together(self, currents: Tensor) -> Tensor:
        """What currents [.., receptors * neurons] charge neurons with, [.., neurons]."""
        if self.receptors == 1:
            return currents
        return currents.reshape(*currents.shape[:-1], self.receptors, -1).sum(dim=-2)

    def apart(self, each: Tensor) -> Tensor:
        """Numbers [batch, neurons] for every receptor, [batch, receptors * neurons]."""
        return each if self.receptors == 1 else each.repeat(1, self.receptors)

    def step(self, current: Tensor, state: NeuronState) -> tuple[Tensor, Tensor, NeuronState]:
        """One timestep: what arrives [batch, receptors * neurons] -> charges, spikes, new state."""
        membrane, synapse, a, resting = state
        if self.keep is not None:
            synapse = torch.addcmul(current, self.keep, synapse)
            current = self.together(synapse)
        if self.rho is not None and not self.raises:
            current = current - a
        charged = self.beta * membrane + self.gain * current
        if self.refractory is not None and self.reset is not None:
            charged = torch.where(resting > 0, self.reset, charged)
        charged = self.limits.cut(charged)
        threshold = self.threshold + a if self.raises else self.threshold
        spikes = (charged >= threshold).to(charged.dtype)
        membrane = self.after(charged, spikes, a)
        if self.rho is not None:
            a = torch.addcmul(self.left(membrane, spikes), self.rho, a)
        if self.refractory is not None:
            resting = _rested(resting, spikes, self.refractory)
        return charged, spikes, NeuronState(membrane, synapse, a, resting)

    def after(self, charged: Tensor, spikes: Tensor, a: Tensor) -> Tensor:
        """Membranes after the reset: where they fired, its value, or the threshold less."""
        if self.reset is not None:
            return torch.where(spikes > 0, self.reset, charged)
        return charged - (self.threshold + a if self.raises else self.threshold) * spikes

    def left(self, membrane: Tensor, spikes: Tensor) -> Tensor:
        """What is added to the adaptation after neurons have fired."""
        added = self.jump * spikes
        return added if self.coupling is None else added + self.coupling * membrane

    def sequence(
        self,
        current: Tensor,
        weight: Tensor | None = None,
        start: Tensor | None = None,
        found: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """All timesteps: `current` [batch, time, receptors * neurons] -> spikes, of each neuron.

        `weight` [receptors * neurons, neurons] is of recurrent synapses, `start` [batch, neurons]
        the membranes before the first timestep. With `found`, charged membranes and spikes that
        another machine computed, it gives these spikes, with the gradient at these membranes.
        """
        start = torch.zeros_like(self.together(current[:, 0])) if start is None else start
        spikes: Tensor = _Sequence.apply(  # type: ignore[no-untyped-call]
            self, found, current, weight, start, *self.numbers
        )
        return spikes

    def run(self, current: Tensor, weight: Tensor | None, start: Tensor) -> tuple[Tensor, Tensor]:
        """Charged membranes and spikes of a sequence, without a gradient."""
        state = self.rest(start)._replace(membrane=start)
        fired, found = torch.zeros_like(start), []
        for arriving in current.unbind(1):
            if weight is not None:
                arriving = torch.addmm(arriving, fired, weight.T)
            charged, fired, state = self.step(arriving, state)
            found.append((charged, fired))
        charges, spikes = zip(*found, strict=True)
        return torch.stack(charges, dim=1), torch.stack(spikes, dim=1)


class _Sequence(torch.autograd.Function):
    """`Dynamics.sequence`, with the surrogate gradient through time written out.

    Autograd would record half a dozen small ops per timestep, and training spend its time there.
    """

    @staticmethod
    def forward(
        ctx: Any,
        neurons: Dynamics,
        found: tuple[Tensor, Tensor] | None,
        current: Tensor,
        weight: Tensor | None,
        start: Tensor,
        *_numbers: float | Tensor | None,
    ) -> Tensor:
        charged, spikes = found or neurons.run(current, weight, start)
        ctx.save_for_backward(current, weight, start, charged, spikes)
        ctx.neurons = neurons
        return spikes.clone() if found else spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        back = _Back(ctx.neurons, *ctx.saved_tensors)
        back.through_time(gradients[0])
        numbers = back.of_numbers(ctx.needs_input_grad[5:])
        return None, None, back.arriving, back.of_weight(), back.start, *numbers


class _Back:
    """The way back through a sequence: what its timesteps compute from, and their gradients."""

    def __init__(
        self,
        neurons: Dynamics,
        current: Tensor,
        weight: Tensor | None,
        start: Tensor,
        charged: Tensor,
        spikes: Tensor,
    ) -> None:
        self.neurons, self.current, self.weight = neurons, current, weight
        self.before, self.charged, self.spikes = start, charged, spikes
        self.taken = torch.zeros_like(start)
        if neurons.rho is not None:
            # What raises thresholds follows spikes alone: there, membranes do not matter.
            left = neurons.left(neurons.after(charged, spikes, self.taken[:, None]), spikes)
            self.taken = _late(integrate(left, neurons.rho), self.taken)

    def through_time(self, gradient: Tensor) -> None:
        """From the gradient of the spikes to those of charges, currents and adaptations."""
        n, spikes = self.neurons, self.spikes
        charges, left = torch.empty_like(spikes), torch.empty_like(spikes)
        threshold = n.threshold + self.taken if n.raises else n.threshold
        slope = surrogate(self.charged - threshold)
        # A hard reset forgets the charged membrane. No gradient through the reset itself: it
        # would chain the surrogate over all timesteps.
        kept = torch.ones_like(slope) if n.reset is None else 1 - spikes
        if n.refractory is not None:  # at rest they are at the reset, whatever comes in
            awake = _awake(spikes, n.refractory)
            slope, kept = slope * awake, kept * awake
        if (free := n.limits.free(self.charged)) is not None:
            slope, kept = slope * free, kept * free
        after = a = torch.zeros_like(self.before)
        arriving, currents = n.apart(after), []
        each = zip(*(one.unbind(1) for one in (gradient, slope, kept, charges)), strict=True)
        for k, (heard, steep, lasts, room) in reversed(list(enumerate(each))):
            if self.weight is not None:
                heard = torch.addmm(heard, arriving, self.weight)
            if n.rho is not None:
                left[:, k] = a
                heard = heard + n.jump * a
            fired = heard * steep
            if n.coupling is not None:
                after = torch.addcmul(after, n.coupling, a)
            charge = torch.addcmul(fired, after, lasts, out=room)
            if n.rho is not None:
                lost = n.gain * charge
                if n.raises:
                    lost = fired if n.reset is not None else fired + spikes[:, k] * after
                a = n.rho * a - lost
            if self.weight is not None or n.keep is not None:
                lasting = 0 if n.keep is None else n.keep * arriving
                arriving = n.apart(n.gain * charge) + lasting
                currents.append(arriving)
            after = n.beta * charge
        self.charges, self.left, self.start = charges, left, after
        self.arriving = torch.stack(currents[::-1], dim=1) if currents else n.gain * charges

    def of_weight(self) -> Tensor | None:
        """The gradient of recurrent synapses."""
        if self.weight is None:
            return None
        return self.arriving[:, 1:].flatten(0, 1).T @ self.spikes[:, :-1].flatten(0, 1)

    def of_numbers(self, needed: tuple[bool, ...]) -> list[Tensor | None]:
        """The gradients of those of the neurons' numbers for which one is needed."""
        if not any(needed):
            return [None] * len(needed)
        n, total = self.neurons, self.current.clone()
        after = n.after(self.charged, self.spikes, self.taken)
        if self.weight is not None:
            total[:, 1:] += self.spikes[:, :-1] @ self.weight.T
        if n.keep is not None:
            total = integrate(total, n.keep)
        pulled = n.rho is not None and not n.raises
        charging = n.together(total) - self.taken if pulled else n.together(total)
        factors = (
            (self.charges, _late(after, self.before)),
            (self.charges, charging),
            (self.arriving[:, 1:], total[:, :-1]),
            (self.left, self.taken),
            (self.left, self.spikes),
            (self.left, after),
        )
        return [
            (one * other).sum_to_size(number.shape)
            if wanted and isinstance(number, Tensor)
            else None
            for wanted, number, (one, other) in zip(needed, n.numbers, factors, strict=True)
        ]


def _late(values: Tensor, first: Tensor) -> Tensor:
    """Values [batch, time, neurons] a timestep later, and those before the first."""
    return torch.cat([first[:, None], values[:, :-1]], dim=1)


def _rested(resting: Tensor, spikes: Tensor, refractory: Tensor) -> Tensor:
    """For how many timesteps neurons still rest, after one with these spikes."""
    return torch.where(spikes > 0, refractory, (resting - 1).clamp(min=0))


def _awake(spikes: Tensor, refractory: Tensor) -> Tensor:
    """1 where neurons that fire `spikes` [batch, time, neurons] do not rest, else 0, as these."""
    resting, found = torch.zeros_like(spikes[:, 0]), []
    for fired in spikes.unbind(1):
        found.append((resting == 0).to(spikes.dtype))
        resting = _rested(resting, fired, refractory)
    return torch.stack(found, dim=1)
