"""What happens inside a network on chosen samples: spikes, states, membranes, logits over time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isa.engines import Streaming
from isa.engines.counts import Place
from isa.interface import Numbers, left_by
from runtime.program import Integers, Program

ANSWERS = 200
"""Moments at most at which a sample's logits are asked for: each is an end of its own."""


@dataclass(frozen=True)
class Look:
    """One sample from inside, timestep by timestep, in the machine's integers.

    `inputs` bool [timesteps, inputs], or empty if they are graded; `spikes` bool, `states` and
    `membranes` int64 [timesteps, elements], each by the name of the graph's value. Membranes are as
    the timestep left them, after a reset. `logits` [moments, classes] are those after `moments`
    timesteps, as the device would give them then.
    """

    sample: int
    inputs: NDArray[np.bool_]
    spikes: dict[str, NDArray[np.bool_]]
    states: dict[str, Integers]
    membranes: dict[str, Integers]
    moments: Integers
    logits: NDArray[np.float64]


def looks(program: Program, samples: Sequence[Numbers], numbers: Sequence[int]) -> list[Look]:
    """Look at `samples` [timesteps, inputs] each, which are called by `numbers`."""
    kinds = {
        "spikes": _places(program, "neuron", "dest"),
        "membranes": _places(program, "neuron", "row", beside="dest"),
        "states": _places(program, "update", "state"),
    }
    watched = [place for parts in kinds.values() for _, place in parts]
    found = []
    for number, sample in zip(numbers, samples, strict=True):
        seen = program.run([sample], watched=watched).seen
        vectors = {kind: _vectors(parts, seen) for kind, parts in kinds.items()}
        moments, logits = _logits(program, sample)
        shown = program.interface.input.shown(sample[None])[0]
        inputs = shown.astype(np.bool_) if program.takes_events else np.zeros((0, 0), np.bool_)
        spikes = {name: series.astype(np.bool_) for name, series in vectors["spikes"].items()}
        found.append(
            Look(number, inputs, spikes, vectors["states"], vectors["membranes"], moments, logits)
        )
    return found


def _places(program: Program, unit: str, operand: str, beside: str = "") -> list[tuple[str, Place]]:
    """Where instructions of a unit leave values of the graph, or parts of them, in order.

    With `beside` those alone that leave something there as well. What has no name is called by its
    program counter, unless the instruction leaves something else that has one: it is not final.
    """
    image = program.image
    return [
        (source.values.get(operand, f"pc {pc}"), (pc, operand))
        for pc, (op, source) in enumerate(zip(image.code, program.provenance, strict=True))
        if op.work(image.target).unit == unit and {operand, beside or operand} <= {*left_by(op)}
        if operand in source.values or not source.values
    ]


def _vectors(parts: list[tuple[str, Place]], seen: dict[Place, Integers]) -> dict[str, Integers]:
    """Series [timesteps, elements] by name; of what was worked on in pieces, side by side."""
    found: dict[str, Integers] = {}
    for name, place in parts:
        whole, _, piece = name.rstrip("]").partition("[")
        series = seen[place][0]
        if not piece:
            found[whole] = series
            continue
        start, _, end = piece.partition(":")
        series = series[:, : int(end) - int(start)]
        found[whole] = np.concatenate([found[whole], series], axis=1) if int(start) else series
    return found


def _logits(program: Program, sample: Numbers) -> tuple[Integers, NDArray[np.float64]]:
    """Logits after so many timesteps, at moments of even distance and at the end."""
    shown = program.interface.input.shown(sample[None])[0]
    steps = len(shown)
    ends = np.unique(np.linspace(1, steps, min(steps, ANSWERS)).astype(np.int64))
    if not isinstance(program.engine, Streaming):
        result = program.run([sample])
        return np.array([steps]), result.logits
    told, at = [], 0
    with program.stream() as stream:
        for end in ends.tolist():
            told.append(stream.feed(shown[at:end]).logits)
            at = end
    return ends, np.array(told)


def confusion(labels: Integers, predictions: Integers, classes: int) -> Integers:
    """How many samples of each label [classes] got each prediction [classes]."""
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (labels, predictions), 1)
    return found
