"""Leaky integrate-and-fire neurons with a surrogate gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from dmpc.nn.adaptation import Adaptation
from dmpc.nn.dynamics import Dynamics, Limits, NeuronState
from dmpc.nn.leak import LEARNED, Each, each_of, hold, within


class Kinds(TypedDict, total=False):
    """What makes neurons of a kind of their own; see `LIF`."""

    adaptation: Adaptation | None
    refractory: Each | None
    floor: Each | None
    ceiling: Each | None


class LIF(nn.Module):
    """Neurons that leak, integrate and fire: `u = beta u + gain I`, spike where `u >= threshold`.

    Paper, section on the DMP layer: membrane and reset. A membrane that equals the threshold
    fires. After a spike the membrane becomes `reset` (hard reset), or loses the threshold
    (`reset=None`, soft reset). Membrane, threshold and reset share one unit, that of `gain * I`.

    `beta` is a number, or one for each neuron, and is trained with `learn_beta`, for each neuron by
    itself. 1 are neurons without a leak, integrate-and-fire. A `gain` of None is `1 - beta`,
    whatever that becomes. With an `adaptation` neurons have
    a state that rises with their spikes. With `refractory`, a number of timesteps or one for each
    neuron, they rest after a spike: for that long the membrane stays at `reset`, whatever comes in,
    and they do not fire; synaptic currents go on. With a `floor`, a number or one for each neuron,
    membranes that a timestep would charge to less are there: `u = max(beta u + gain I, floor)`;
    with a `ceiling` those that it would charge to more, before they are compared and reset by
    subtraction: `u = min(u, ceiling)`.
    `neurons` says how many there are; `of` makes as many of neurons that were described without,
    which layers do.

    Raises ValueError if `beta` is outside [0, 1], or 1 where it is learned or the gain is `1 -
    beta`, `gain` or `threshold` is not above 0, `reset` is
    not below `threshold` (the neuron would fire for ever), or a `floor` is not, if a `ceiling` is
    below it or would do nothing, `refractory` is no whole number of at least 1, or for what the
    machine has not: neurons that rest and are reset by subtraction, and more than one of
    adaptation, rest and limits.
    """

    beta: float | Tensor
    refractory: Tensor | None
    floor: Tensor | None
    ceiling: Tensor | None

    def __init__(
        self,
        beta: Each = 0.5,
        gain: float | None = 0.5,
        threshold: float = 1.0,
        reset: float | None = 0.0,
        *,
        learn_beta: bool = False,
        adaptation: Adaptation | None = None,
        refractory: Each | None = None,
        floor: Each | None = None,
        ceiling: Each | None = None,
        neurons: int | None = None,
    ) -> None:
        super().__init__()
        # Integrate-and-fire has nothing to learn, and a gain of its own.
        leaks = learn_beta or gain is None
        what = f"a timestep leaves a share of the membrane, 0 <= beta {'<' if leaks else '<='} 1"
        fits = torch.lt if leaks else torch.le
        betas = each_of("LIF: beta", beta, neurons, what, lambda each: (each >= 0) & fits(each, 1))
        if gain is not None and not (gain > 0 and math.isfinite(gain)):
            raise ValueError(f"LIF: gain is {gain}; it must be finite and above 0, or None")
        if not (threshold > 0 and math.isfinite(threshold)):
            raise ValueError(f"LIF: threshold is {threshold}; it must be finite and above 0")
        if reset is not None and not (math.isfinite(reset) and reset < threshold):
            raise ValueError(
                f"LIF: reset is {reset}; it must be finite and below the threshold {threshold}, "
                "or None to subtract the threshold"
            )
        self.given_gain, self.threshold, self.reset = gain, threshold, reset
        self.adaptation: Adaptation | None = None
        if adaptation is not None:
            self.adaptation = adaptation if neurons is None else adaptation.of(neurons)
        given = {"refractory": refractory, "floor": floor, "ceiling": ceiling}
        _check_kinds(reset, adaptation=adaptation, **given)
        for name, (what, holds) in _numbers(threshold).items():
            value = given[name]
            each = None if value is None else each_of(f"LIF: {name}", value, neurons, what, holds)
            self.register_buffer(name, each)
        if isinstance(beta, float | int) and not learn_beta:
            self.beta = float(beta)
        else:
            hold(self, "beta", betas, learned=learn_beta)

    @classmethod
    def from_tau(
        cls,
        tau: Each,
        decay_input: bool = True,
        threshold: float = 1.0,
        reset: float | None = 0.0,
        *,
        learn_tau: bool = False,
        **kinds: Unpack[Kinds],
    ) -> LIF:
        """LIF from a time constant in timesteps, or one for each neuron, as SpikingJelly writes it.

        `beta = 1 - 1/tau`; `gain = 1/tau` with `decay_input`, else 1. The membrane decays to 0
        also where `reset` is another value. Raises ValueError if `tau` is below 1.
        """
        what = "a time constant is at least 1 timestep"
        taus = each_of("LIF: tau", tau, None, what, lambda each: each >= 1)
        beta = 1 - 1 / (tau if isinstance(tau, float | int) else taus)
        gain = None if decay_input else 1.0
        return cls(beta, gain, threshold, reset, learn_beta=learn_tau, **kinds)

    def of(self, neurons: int) -> LIF:
        """The same for so many neurons."""
        return LIF(
            *(self.kept(), self.given_gain, self.threshold, self.reset),
            learn_beta=isinstance(self.beta, nn.Parameter),
            neurons=neurons,
            adaptation=self.adaptation,
            refractory=self.refractory,
            floor=self.floor,
            ceiling=self.ceiling,
        )

    def kept(self) -> float | Tensor:
        """What a timestep leaves of membranes; a learned one within its limits."""
        return within(self, self.beta, *LEARNED) if isinstance(self.beta, Tensor) else self.beta

    @property
    def limits(self) -> Limits:
        """What cuts off what membranes are charged to."""
        return Limits(self.floor, self.ceiling)

    @property
    def gain(self) -> float | Tensor:
        """By what a current charges membranes."""
        return self.dynamics().gain

    def dynamics(self, keep: Tensor | None = None) -> Dynamics:
        """The numbers of these neurons; a timestep leaves `keep` of their synaptic currents.

        It is [neurons], or [receptors, neurons] where each has several.
        """
        a, beta = self.adaptation, self.kept()
        gain = 1 - beta if self.given_gain is None else self.given_gain
        kind = self.threshold, self.reset, False, self.refractory, self.limits
        receptors = 1 if keep is None or keep.dim() < 2 else len(keep)
        own = Dynamics(*kind, receptors, beta, gain, None if keep is None else keep.flatten())
        if a is None:
            return own
        rho = a.leak.kept()
        numbers = (torch.as_tensor(each).detach() for each in (beta, gain, rho))
        return own._replace(raises=a.raises, rho=rho, jump=a.jump, coupling=a.coupled(*numbers))

    def rest(self, like: Tensor) -> NeuronState:
        """The state before the first timestep of neurons without a synaptic current: zeros.

        It has the shape and type of `like` [batch, neurons].
        """
        return self.dynamics().rest(like)

    def step(
        self, current: Tensor, state: NeuronState, keep: Tensor | None = None
    ) -> tuple[Tensor, NeuronState]:
        """One timestep: `current` [batch, neurons] and the state -> spikes and state, no gradient.

        Spikes are 0 or 1 in the dtype of `current`; train on whole sequences (`forward`), which
        says what `keep` is.
        """
        _, spikes, state = self.dynamics(keep).step(current, state)
        return spikes, state

    def forward(
        self,
        current: Tensor,
        membrane: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Whole sequence: `current` [batch, time, neurons] -> spikes of that shape.

        `membrane` [batch, neurons] is the state before the first timestep, 0 if not given. With
        `weight` [neurons, neurons] the last spikes, times it, are part of the current; with `keep`
        [neurons] what arrives is a synaptic current, of which a timestep leaves that share. With
        one of [receptors, neurons] each receptor has a current: what arrives is one receptor's
        behind the other's, [batch, time, receptors * neurons], and so are the rows of `weight`.
        """
        return self.dynamics(keep).sequence(current, weight, membrane)

    def replay(
        self,
        current: Tensor,
        charged: Tensor,
        spikes: Tensor,
        weight: Tensor | None = None,
        keep: Tensor | None = None,
        limits: Limits | None = None,
    ) -> Tensor:
        """`spikes` that another machine fired, with the gradient of these neurons for `current`.

        `charged` are that machine's membranes before reset, [batch, time, neurons] as spikes are.
        If they have limits, `limits` are that machine's; without, charges are not yet cut off.
        """
        own = self.dynamics(keep)
        if limits is None:
            charged = own.limits.cut(charged)
        else:
            both = zip(own.limits, limits, strict=True)
            found = Limits(*(None if mine is None else theirs for mine, theirs in both))
            own = own._replace(limits=found)
        return own.sequence(current, weight, found=(charged, spikes))

    def reads_currents(self, keep: Tensor | None = None) -> bool:
        """Whether the gradient of what another machine fired needs the currents themselves."""
        numbers = self.dynamics(keep).numbers
        return any(isinstance(one, Tensor) and one.requires_grad for one in numbers)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        reset = "subtract threshold" if self.reset is None else self.reset
        beta = torch.as_tensor(self.kept())
        leaks = f"{beta:.3g}" if beta.numel() == 1 else f"{beta.min():.3g} to {beta.max():.3g}"
        gain = "1 - beta" if self.given_gain is None else self.given_gain
        return f"beta={leaks}, gain={gain}, threshold={self.threshold}, reset={reset}"


def _numbers(threshold: float) -> dict[str, tuple[str, Callable[[Tensor], Tensor]]]:
    """What the numbers of a kind of neurons must be, in words and of tensors."""
    return {
        "refractory": ("neurons rest for whole timesteps, 1 or more", _whole),
        "floor": (
            f"membranes have a finite one below the threshold {threshold}",
            lambda each: each.isfinite() & (each < threshold),
        ),
        "ceiling": (
            f"membranes have a finite one, at the threshold {threshold} or above",
            lambda each: each.isfinite() & (each >= threshold),
        ),
    }


def _whole(steps: Tensor) -> Tensor:
    return (steps >= 1) & (steps == steps.round()) & steps.isfinite()


def _check_kinds(reset: float | None, **kinds: object) -> None:
    given = [name for name, value in kinds.items() if value is not None]
    if len(given) > 1 and given != ["floor", "ceiling"]:
        raise ValueError(
            f"LIF: {' and '.join(given)} are given; the machine's neurons have one, or both limits"
        )
    if given == ["refractory"] and reset is None:
        raise ValueError(
            "LIF: refractory is given and reset is None; neurons that rest are reset to a value"
        )
    if "ceiling" in given and reset is not None:
        raise ValueError(
            f"LIF: ceiling is given and reset is {reset}; to that a spike resets whatever is above "
            "the threshold: leave the ceiling out, or give reset=None"
        )
