"""NIR's neurons in timesteps: their differential equations, integrated as libraries do it.

With u the membrane above its rest, and I the sum of a node's inputs:

    LIF   tau dv/dt = v_leak - v + r I      u = beta u + gain r I,   u = v - v_leak
    IF        dv/dt = r I                   u = u + dt r I,          u = v - v_reset
    CubaLIF   tau_syn di/dt = -i + w_in I   i = alpha i + taken w_in I, and LIF with i for I
    Threshold                               u = I, kept by no neuron

              beta           gain
    euler     1 - dt/tau     dt/tau
    exponential, exact, rockpool: beta = exp(-dt/tau), and dt/tau, 1 - beta, (dt/tau) / beta
              of rockpool's synapses, whose w_in is 1, alpha: i = alpha (i + I)

A neuron starts at rest, as in Norse and SpikingJelly; counted from there, threshold and reset
become `v_threshold - rest` and `v_reset - rest`, and a leak potential needs no current.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.nir_format.network import Node
from dmpc.ir.graph import Array

Reset = Literal["value", "subtract", "late"]
Integration = Literal["euler", "exponential", "exact", "rockpool"]
ROUNDING = 1e-5  # relative, of time constants stored as float32
LARGEST = float(np.finfo(np.float32).max)
SHORTEST = 1e-3  # timesteps: what decays faster is gone


@dataclass(frozen=True)
class Timing:
    """What NIR leaves open: `dt` in seconds, and what a spike does.

    `spike_at`: neurons spike at their threshold as well as above it, as SpikingJelly's do.
    `reset`: value, the membrane becomes v_reset, as NIR says; subtract, it loses v_threshold; late,
    it loses v_threshold after the next timestep's leak, as snnTorch's default.
    `integration`: euler, forward Euler; exponential, a leak of exp(-dt/tau) and inputs as in Euler;
    exact, the equation's own solution for an input that is constant during a timestep; rockpool, as
    exponential, with r as Rockpool writes it, which is smaller by the leak.
    """

    dt: float = 1e-4
    reset: Reset = "value"
    spike_at: bool = False
    integration: Integration = "euler"

    def check(self) -> None:
        """Raises ImportFailure for what is no timestep."""
        if not (self.dt > 0 and math.isfinite(self.dt)):
            raise ImportFailure(
                f"the timestep is {self.dt:g} s; it must be above zero",
                hint="--dt is the timestep that the network was trained with, in the file's unit",
            )


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
    if node.kind == "Threshold":
        none = np.zeros(size)
        return Neuron(none, none + 1, node.vector("threshold", size), none, subtract=False)
    parameter = {name: node.vector(name, size) for name in node.parameters}
    if node.kind == "IF":
        beta, gain, rest = np.ones(size), timing.dt * parameter["r"], parameter["v_reset"]
    else:
        tau = "tau_mem" if node.kind == "CubaLIF" else "tau"
        beta, gain = response(node, tau, size, timing)
        gain, rest = gain * parameter["r"], parameter["v_leak"]
    if node.kind == "CubaLIF":
        gain = gain if current(node, size, timing) else gain * parameter["w_in"]
    if not np.all(np.abs(gain) <= LARGEST):
        raise node.error(f"what it takes of its input in {timing.dt:g} s is beyond all numbers")
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


def response(node: Node, parameter: str, size: int, timing: Timing) -> tuple[Array, Array]:
    """What a timestep leaves of a potential whose time constant is `parameter`, and what it takes
    of its input; [size] each.

    Raises ImportFailure where forward Euler overshoots because tau is shorter than dt.
    """
    tau, dt = node.vector(parameter, size), timing.dt
    if np.any(tau <= 0):
        raise node.error(f"{parameter} is {tau.min():g} s; a time constant is above zero")
    step: Array = dt / tau
    if timing.integration != "euler":
        kept = np.exp(-step)
        taken = {"exponential": step, "exact": -np.expm1(-step), "rockpool": step / kept}
        return kept, taken[timing.integration]
    if np.any(step > 1 + ROUNDING):
        raise node.error(
            f"{parameter} is {tau.min():g} s, shorter than a timestep of {dt:g} s, where forward "
            "Euler overshoots",
            f"give the timestep that the network was trained with, at most --dt {tau.min():g}",
        )
    step = np.minimum(step, 1.0)
    return 1 - step, step


def current(node: Node, size: int, timing: Timing) -> tuple[Array, Array] | None:
    """What a node's synaptic currents keep of themselves in a timestep, and what they take of their
    input; [size] each. None where nothing is kept and all is taken.
    """
    tau, dt = node.vector("tau_syn", size), timing.dt
    if np.any(tau < 0):
        raise node.error(f"tau_syn is {tau.min():g} s; a time constant is not below zero")
    lasting = tau > (ROUNDING if timing.integration == "euler" else SHORTEST) * dt
    if not lasting.any():
        return None
    brief = replace(node, parameters={**node.parameters, "tau_syn": np.where(lasting, tau, dt)})
    kept, taken = response(brief, "tau_syn", size, timing)
    if timing.integration == "rockpool":  # its inputs decay with the current that they come to
        taken = kept
    kept, taken = np.where(lasting, kept, 0.0), np.where(lasting, taken, 1.0)
    if (kept <= ROUNDING).all() and (np.abs(taken - 1) <= ROUNDING).all():
        return None
    return kept, taken * node.vector("w_in", size)
