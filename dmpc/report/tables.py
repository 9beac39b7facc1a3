"""Data of a report as columns: small in a file, and what a chart's rows are made of again.

A part is a dictionary of columns; a column is a list, or a value that all rows of the part share.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dmpc.report.collect import Report
from runtime.looks import Look

Part = dict[str, Any]

MOST_DRAWN = 4000
"""Intervals of a timestep that a timeline draws; beyond that it draws instructions alone."""
MOST_NEURONS = 256
"""Neurons of a layer in a raster, the first ones."""
MOST_SPIKES = 30_000
"""Spikes of a sample in a raster: those of its first timesteps."""
MOST_STATES = 8
MOST_LOGITS = 24
"""Classes whose logits are drawn beside prediction and label: those that end highest."""
MOST_STEPS = 1000
"""Timesteps of a sample that are drawn."""


def columns(rows: Iterable[dict[str, Any]]) -> Part:
    """Rows that have the same keys, as columns."""
    listed = list(rows)
    return {key: [row[key] for row in listed] for key in listed[0]} if listed else {}


def is_coarse(report: Report) -> bool:
    """Whether so much happens in the timestep that its instructions alone are drawn."""
    return len(report.timestep.intervals) > MOST_DRAWN


def timeline(report: Report) -> list[Part]:
    """What units did in a timestep, by unit, cycle and instruction."""
    step = report.timestep
    if is_coarse(report):
        drawn = [(s.unit, "busy", s.start, s.end, s.pc) for s in step.spans]
    else:
        drawn = [(i.unit, i.doing, i.since, i.until, i.pc) for i in step.intervals]
    rows = [
        {
            "unit": unit, "doing": doing, "since": since - step.first,
            "until": until - step.first, "pc": pc,
        }
        for unit, doing, since, until, pc in drawn
    ]  # fmt: skip
    return [columns(rows)] if rows else []


def instructions(report: Report) -> list[dict[str, Any]]:
    """What a timeline says of each instruction, by program counter."""
    return [
        {
            "text": line.text,
            "mnemonic": line.text.partition(" ")[0],
            "layer": line.layer,
            "op": line.op,
            "nodes": ", ".join(line.nodes),
        }
        for line in report.profile.lines
    ]


def raster(look: Look) -> list[Part]:
    """A sample's spikes, layer by layer, the input first."""
    named = {"input": look.inputs} if look.inputs.size else {}
    named |= {name.removesuffix(".spikes"): spikes for name, spikes in look.spikes.items()}
    named = {name: spikes[:MOST_STEPS, :MOST_NEURONS] for name, spikes in named.items()}
    fired = sum(np.cumsum(spikes.sum(1)) for spikes in named.values())
    few = int(np.searchsorted(fired, MOST_SPIKES, side="right"))
    parts = []
    for layer, spikes in named.items():
        steps, neurons = np.nonzero(spikes[:few])
        parts.append({"layer": layer, "t": steps.tolist(), "n": neurons.tolist()})
    return parts


def states(report: Report, look: Look) -> list[Part]:
    """A sample's slow states in the model's real numbers."""
    parts = []
    for name, series in look.states.items():
        layer = name.partition(".")[0]
        scale = report.scale(name)
        parts += _series(layer, series[:, :MOST_STATES], range(MOST_STATES), scale, "state")
    return parts


def membranes(report: Report, look: Look) -> list[Part]:
    """Membranes of chosen neurons in the model's real numbers."""
    parts = []
    for (name, series), spikes in zip(look.membranes.items(), look.spikes.values(), strict=True):
        times = spikes.reshape(len(spikes), -1, series.shape[1])  # that a neuron may spike
        chosen = report.shown_neurons(np.asarray(times.any(axis=1)))
        scale = report.scale(name)
        each = scale[chosen] if isinstance(scale, np.ndarray) else scale
        parts += _series(name.partition(".")[0], series[:, chosen], chosen, each, "neuron")
    return parts


def _series(layer: str, series: Any, names: Sequence[int], scale: Any, what: str) -> list[Part]:
    real = series[:MOST_STEPS] * (1.0 if scale is None else scale)
    return [
        {"layer": layer, what: str(name), "t": list(range(len(real))), "value": rounded(column)}
        for name, column in zip(names, real.T, strict=False)
    ]


def rounded(values: Any) -> list[float]:
    """Numbers with as many digits as a picture can show."""
    return [float(f"{value:.4g}") for value in np.asarray(values, np.float64).tolist()]


def logits(report: Report, look: Look) -> list[Part]:
    """A sample's logits over time."""
    prediction = int(report.result.predictions[look.sample])
    label = None if report.result.labels is None else int(report.result.labels[look.sample])
    parts = []
    highest = {*np.argsort(-look.logits[-1], kind="stable")[:MOST_LOGITS].tolist()}
    for number, column in enumerate(look.logits.T):
        if number not in highest | {prediction, label}:
            continue
        role = "prediction" if number == prediction else "label" if number == label else "other"
        parts.append(
            {
                "class": str(number),
                "role": role,
                "t": look.moments.tolist(),
                "value": rounded(column),
            }
        )
    return parts
