"""The choice of scales: how real numbers become the machine's integers.

Every neuron has a membrane step of its own. Thresholds are per neuron, so that costs the machine
nothing, and each row of weights uses its full width. The slow path's products are moved right by a
power of two per neuron before they meet the membrane.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmpc.analysis.interval import Interval
from dmpc.passes.ranges import Real
from isa.arithmetic import Int

MAX_SHIFT = 31
MIN_SHIFT = -32
MOST_FRACTION = 12  # fractional bits of a membrane below the step of its weights


def largest(bits: int) -> int:
    """The largest number of a symmetric two's complement width."""
    return (1 << (bits - 1)) - 1


@dataclass(frozen=True)
class NeuronScale:
    """Membrane steps: `step` [N] real value of one; weights of events are `2**fraction` of them."""

    step: Real
    fraction: int
    threshold: Real

    @property
    def weight_step(self) -> Real:
        """Real value of one step of an event weight, [N]."""
        step: Real = self.step * 2.0**self.fraction
        return step


def neuron_scale(
    weights: Sequence[Real],
    charge: Interval,
    threshold: Real,
    others: Sequence[Real] = (),
    *,
    margin: float,
    weight_bits: int,
    membrane_bits: int,
) -> NeuronScale:
    """Steps that hold the membrane's range and let event weights [N, inputs] use their width.

    `others` are further parameters [N] in membrane steps: bias, reset. The step divides a positive
    threshold, which therefore is exact; one step of room is left above it for strict comparison.
    """
    reach = np.maximum(charge.magnitude * margin, np.abs(threshold))
    reach = np.maximum.reduce([reach, *(np.abs(other) for other in others)])
    least = np.maximum(reach, np.finfo(np.float32).tiny) / max(largest(membrane_bits) - 1, 1)
    most = np.zeros_like(threshold)
    for weight in weights:
        most = np.maximum(most, np.abs(weight).max(axis=1, initial=0))
    wanted = most / largest(weight_bits)
    fraction = 0
    if (wanted > 0).any():
        spare = np.log2(wanted[wanted > 0] / least[wanted > 0])
        fraction = int(np.clip(np.floor(np.quantile(spare, 0.1)), 0, MOST_FRACTION))
    step = np.maximum(wanted / 2.0**fraction, least)
    steps = np.floor(threshold / step)
    exact = steps >= 1
    step = np.where(exact, threshold / np.where(exact, steps, 1), step)
    # A threshold above zero stays there, however coarse the step: neurons at rest do not spike.
    coarse = np.where(threshold > 0, 1, np.round(threshold / step))
    return NeuronScale(step, fraction, np.where(exact, steps, coarse))


def beyond(
    weights: Sequence[Real],
    scale: NeuronScale,
    charge: Interval,
    kept: tuple[Real, Real],
    *,
    weight_bits: int,
    membrane_bits: int,
) -> Real:
    """How far [N], of what the width holds, membranes may go with event weights that are rounded.

    `charge` is how far the real weights take them, `kept` the leak factors, real and rounded. The
    leak itself rounds by half a step in each timestep.
    """
    real = np.concatenate([weight.reshape(len(scale.step), -1) for weight in weights], axis=1)
    step = scale.weight_step[:, None]
    made = np.clip(np.rint(real / step), -largest(weight_bits), largest(weight_bits)) * step
    grown = np.ones(len(real))
    for sign in (1, -1):
        exact, whole = (np.maximum(sign * one, 0).sum(axis=1) for one in (real, made))
        grown = np.maximum(grown, np.divide(whole, exact, out=grown.copy(), where=exact > 0))
    lost, left = (np.where(one < 1, 1 - one, 1) for one in kept)
    with np.errstate(over="ignore"):  # beside subnormal weights: beyond all numbers
        reach = charge.magnitude * grown * np.maximum(lost / left, 1) + 0.5 * scale.step / left
        return np.asarray(reach / (scale.step * largest(membrane_bits)))


FINE = 16  # steps of a threshold from which on a step can be made to divide it


def charged_scale(
    current: NeuronScale,
    charge: Interval,
    threshold: Real,
    reset: Real,
    *,
    margin: float,
    membrane_bits: int,
) -> tuple[NeuronScale, NeuronScale, Int]:
    """Steps of currents, of the membranes that they charge, and right shifts [N] of the former.

    A membrane's step is a power of two of its current's, the finest that holds its range; where it
    can divide the threshold both grow to make it do so, by a sixteenth at most.
    """
    reach = np.maximum.reduce([charge.magnitude * margin, np.abs(threshold), np.abs(reset)])
    least = np.maximum(reach, np.finfo(np.float32).tiny) / max(largest(membrane_bits) - 1, 1)
    shift = np.clip(np.ceil(np.log2(least / current.step)), MIN_SHIFT, MAX_SHIFT)
    step = current.step * 2.0**shift
    steps = np.floor(threshold / step)
    exact = steps >= FINE
    step = np.where(exact, threshold / np.where(exact, steps, 1), step)
    coarse = np.where(threshold > 0, np.maximum(np.round(threshold / step), 1), threshold / step)
    neuron = NeuronScale(step, 0, np.where(exact, steps, np.round(coarse)))
    whole = shift.astype(np.int64)
    return NeuronScale(step * 2.0**-shift, current.fraction, current.threshold), neuron, whole


def beside_scale(alone: NeuronScale, neuron: NeuronScale) -> tuple[NeuronScale, Int]:
    """Steps of a current that membranes take in beside others, and right shifts [N] to theirs.

    The finest that is not finer than what it needs `alone`.
    """
    shift = np.clip(np.floor(np.log2(neuron.step / alone.step)), MIN_SHIFT, MAX_SHIFT)
    made = NeuronScale(neuron.step * 2.0**-shift, alone.fraction, alone.threshold)
    return made, shift.astype(np.int64)


@dataclass(frozen=True)
class ValueScale:
    """Products of values: one step of a sum is `neuron step * 2**-shift`, `shift` [N]."""

    shift: Int
    step: Real


def value_scale(
    neuron: NeuronScale,
    columns: Sequence[tuple[Real, float]],
    total: Interval,
    *,
    margin: float,
    weight_bits: int,
    sum_bits: int,
) -> ValueScale:
    """Shifts that let value weights use their width and keep the total within the accumulator.

    `columns` are weights [N, n] with the step of the value that they multiply.
    """
    need = np.zeros_like(neuron.step)
    for weight, step in columns:
        need = np.maximum(need, np.abs(weight).max(axis=1, initial=0) * step)
    need = need / largest(weight_bits)
    need = np.maximum(need, total.magnitude * margin / largest(sum_bits))
    used = need > 0
    with np.errstate(over="ignore"):  # beside subnormal weights: the greatest shift
        shift = np.floor(np.log2(neuron.step / np.where(used, need, neuron.step)))
    shift = np.clip(np.where(used, shift, 0), MIN_SHIFT, MAX_SHIFT).astype(np.int64)
    return ValueScale(shift, neuron.step * 2.0 ** -shift.astype(np.float64))


def power_of_two_multiple(unit: float, wanted: float) -> tuple[float, int]:
    """The largest `unit * 2**shift` that is at most `wanted`, and that shift."""
    shift = int(np.clip(np.floor(np.log2(wanted / unit)), MIN_SHIFT, MAX_SHIFT))
    return unit * 2.0**shift, shift


def balanced_step(
    reference: Real, weight: Real, *, most: float, bits: int, least_bits: int
) -> float:
    """Step of a value such that its weights [N, n] are about as large as `reference` [N].

    Products of one sum share their step, so a value whose weights came out much smaller than the
    others' would lose its precision. Between `least_bits` and `bits` bits for the value's range
    0 .. `most`.
    """
    finest, coarsest = most / largest(bits), most / largest(least_bits)
    size = np.abs(weight).max(axis=1, initial=0)
    both = (size > 0) & (reference > 0)
    wanted = float(np.quantile(reference[both] / size[both], 0.1)) if both.any() else finest
    return float(np.clip(wanted, finest, coarsest))


def rounded(
    real: Real, step: Real | float, bits: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """`real / step`, rounded to nearest (ties to even) and clipped to a symmetric width."""
    limit = largest(bits)
    return np.clip(np.rint(real / step), -limit, limit).astype(np.int64)
