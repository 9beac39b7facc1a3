"""NIR's neurons in timesteps: forward Euler of their differential equations.

With u the membrane above its rest, and I the sum of a node's inputs:

    LIF   tau dv/dt = v_leak - v + r I      u += dt/tau (r I - u),   u = v - v_leak
    IF        dv/dt = r I                   u += dt r I,             u = v - v_reset

so the leak is `beta = 1 - dt/tau` and the gain `dt/tau r`, or `dt r`. A neuron starts at rest, as
in Norse and SpikingJelly; counted from there, threshold and reset become `v_threshold - rest` and
`v_reset - rest`, and a leak potential needs no current.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.nir_format.network import Node
from dmpc.ir.graph import Array

Reset = Literal["value", "subtract", "late"]
ROUNDING = 1e-5  # relative, of time constants stored as float32


@dataclass(frozen=True)
class Timing:
    """What NIR leaves open: `dt` in seconds, and what a spike does.

    `spike_at`: neurons spike at their threshold as well as above it, as SpikingJelly's do.
    `reset`: value, the membrane becomes v_reset, as NIR says; subtract, it loses v_threshold; late,
    it loses v_threshold after the next timestep's leak, as snnTorch's default.
    """

    dt: float = 1e-4
    reset: Reset = "value"
    spike_at: bool = False

    def __post_init__(self) -> None:
        if not (self.dt > 0 and math.isfinite(self.dt)):
            raise ImportFailure(f"the timestep is {self.dt} s; it must be above zero")


@dataclass(frozen=True)
class Neuron:
    """`charge = beta u + gain I`, a spike where it is above `threshold`; all vectors [n].

    The membrane then becomes `reset`, or with `subtract` loses it.
    """

    beta: Array
    gain: Array
    threshold: Array
    reset: Array
    subtract: bool


def neuron(node: Node, size: int, timing: Timing) -> Neuron:
    """A node of neurons in timesteps. Raises ImportFailure where the machine has no such neuron."""
    parameter = {name: node.vector(name, size) for name in node.parameters}
    if node.kind == "IF":
        beta, gain, rest = np.ones(size), timing.dt * parameter["r"], parameter["v_reset"]
    else:
        step = leak_step(node, "tau_mem" if node.kind == "CubaLIF" else "tau", size, timing.dt)
        beta, gain, rest = 1 - step, step * parameter["r"], parameter["v_leak"]
    if node.kind == "CubaLIF":
        _check_synapse(node, size, timing.dt)
        gain = gain * parameter["w_in"]
    threshold = parameter["v_threshold"] - rest
    if timing.reset == "value":
        return Neuron(beta, gain, threshold, parameter["v_reset"] - rest, subtract=False)
    amount = parameter["v_threshold"]
    if timing.reset == "late":
        if not beta.all():
            raise node.error(
                "neurons keep nothing of their membrane, so there is nothing from which a late "
                "reset could be subtracted",
                "tau must be longer than dt",
            )
        amount = amount / beta
    return Neuron(beta, gain, threshold, amount, subtract=True)


def leak_step(node: Node, parameter: str, size: int, dt: float) -> Array:
    """`dt / tau` per neuron, 0 < .. <= 1. Raises ImportFailure where tau is shorter than dt."""
    tau = node.vector(parameter, size)
    if np.any(tau <= 0):
        raise node.error(f"{parameter} is {tau.min():g} s; a time constant is above zero")
    step: Array = dt / tau
    if np.any(step > 1 + ROUNDING):
        raise node.error(
            f"{parameter} is {tau.min():g} s, shorter than a timestep of {dt:g} s, where forward "
            "Euler overshoots",
            f"give the timestep that the network was trained with, at most --dt {tau.min():g}",
        )
    return np.minimum(step, 1.0)


def _check_synapse(node: Node, size: int, dt: float) -> None:
    """The synaptic current must be gone after its timestep: the machine keeps none per neuron."""
    tau = node.vector("tau_syn", size)
    if np.any(np.abs(tau) > ROUNDING * dt) and np.any(np.abs(dt / tau - 1) > ROUNDING):
        raise node.error(
            f"keeps a synaptic current for every neuron (tau_syn {tau.max():g} s); the machine "
            "keeps one membrane for every neuron and one slow state for a layer",
            f"train with LIF neurons, or with tau_syn equal to a timestep, {dt:g} s",
        )
