"""Everything that a report shows, computed once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmpc.backend.emit import GRAPH_NOTE, embedded_graph
from dmpc.errors import DmpcError
from dmpc.ir.graph import Graph
from dmpc.precision.losses import Loss
from isa.interface import Numbers
from runtime.looks import Look, confusion, looks
from runtime.maps import Stretch, memory_map
from runtime.profile import Profile
from runtime.program import Program, Result
from runtime.roofline import Point, roofline
from runtime.samples import Samples
from runtime.timestep import Timestep, timestep_of, whole

CHOSEN = 3
"""Samples that are looked into, if nobody chooses any."""
NEURONS = 4
"""Neurons of a layer whose membranes are shown, if nobody chooses any: those that spike most."""


LATEST = 100
"""The latest timestep whose schedule is shown, if nobody chooses one: all before it is traced."""


@dataclass(frozen=True)
class Choice:
    """Which samples to look into, which neurons' membranes, and which timestep of the first."""

    samples: tuple[int, ...] = ()
    neurons: tuple[int, ...] = ()
    timestep: int | None = None


@dataclass(frozen=True)
class Report:
    """What a report shows. `graph` is the image's, if it carries one; `losses` if a model came."""

    program: Program
    result: Result
    profile: Profile
    graph: Graph | None
    timestep: Timestep
    traced: int
    memory: list[Stretch]
    roofline: list[Point]
    looks: list[Look]
    neurons: tuple[int, ...]
    confusion: NDArray[np.int64] | None
    losses: tuple[Loss, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data: what the page shows, but for what happens inside samples."""
        step = self.timestep
        matrix = None if self.confusion is None else self.confusion.tolist()
        return {
            "accuracy": self.result.accuracy,
            "profile": self.profile.to_json(),
            "timestep": {
                "sample": self.traced,
                "number": step.number,
                "first": step.first,
                "last": step.last,
                "spans": [asdict(span) for span in step.spans],
            },
            "memory": [asdict(stretch) for stretch in self.memory],
            "roofline": [{**asdict(point), "roof": point.roof} for point in self.roofline],
            "samples": [look.sample for look in self.looks],
            "confusion": matrix,
            "losses": [
                {**asdict(loss.source), **{k: v for k, v in vars(loss).items() if k != "source"}}
                for loss in self.losses
            ],
        }

    def _repr_html_(self) -> str:
        """In a notebook: the small form of the page."""
        return f"{self.result._repr_html_()}{self.profile._repr_html_()}"

    def scale(self, name: str) -> Any:
        """What a step of a graph's value is worth: a number, one for each element, or None."""
        kind = self.graph.types.get(name) if self.graph else None
        scale = kind.scale if kind else None
        if isinstance(scale, str):
            assert self.graph is not None
            return self.graph.constants[scale]
        return scale

    def shown_neurons(self, spikes: NDArray[np.bool_]) -> list[int]:
        """Neurons of a layer whose membranes are shown, given the spikes of a sample."""
        if self.neurons:
            return [n for n in self.neurons if n < spikes.shape[1]]
        return sorted(np.argsort(-spikes.sum(0), kind="stable")[:NEURONS].tolist())


def collect(
    program: Program,
    samples: Samples,
    result: Result,
    choice: Choice | None = None,
    losses: Sequence[Loss] = (),
) -> Report:
    """The report of a run of samples; DmpcError if what was chosen is not there."""
    choice = choice or Choice()
    count = len(result.predictions)
    numbers = choice.samples or tuple(range(min(CHOSEN, count)))
    for number in numbers:
        if number >= count:
            raise DmpcError(f"there is no sample {number}; the last is {count - 1}")
    given = [samples.x[n, : _length(samples, n)] for n in numbers]
    found = program.profile(result)
    seen = looks(program, given, numbers)
    _check_neurons(choice.neurons, seen)
    graph = embedded_graph(program.image) if GRAPH_NOTE in program.image.notes else None
    labels, answers = result.labels, result.predictions
    return Report(
        program=program,
        result=result,
        profile=found,
        graph=graph,
        timestep=_timestep(program, given[0], choice.timestep),
        traced=numbers[0],
        memory=memory_map(program.image),
        roofline=roofline(found, program.image.target),
        looks=[_fitted(look, graph) for look in seen],
        neurons=choice.neurons,
        confusion=None if labels is None else confusion(labels, answers, program.classes),
        losses=tuple(losses),
    )


def _timestep(program: Program, sample: Numbers, wanted: int | None) -> Timestep:
    """A timestep of a sample, traced no further than what runs beside it."""
    shown = program.interface.input.shown(sample[None])
    steps = shown.shape[1]
    number = min(steps // 2, LATEST) if wanted is None else wanted
    beside = 2 * (1 + max(op.stage for op in program.image.code))
    trace = program.trace(shown[:, : number + beside])
    if steps == 1 and not number:
        return whole(trace)
    return timestep_of(trace, program.image.code, min(steps, number + beside), number)


def _check_neurons(neurons: tuple[int, ...], seen: Sequence[Look]) -> None:
    """Refuse neurons that no layer has."""
    most = max((spikes.shape[1] for look in seen for spikes in look.spikes.values()), default=0)
    for number in neurons:
        if number >= most:
            raise DmpcError(f"there is no neuron {number}; the largest layer has {most}")


def _length(samples: Samples, number: int) -> int:
    return samples.x.shape[1] if samples.lengths is None else int(samples.lengths[number])


def _fitted(look: Look, graph: Graph | None) -> Look:
    """A look without the lanes beyond a layer's last neuron, which only a graph tells."""
    if graph is None:
        return look
    size = {name: kind.shape[0] for name, kind in graph.types.items() if kind.shape}
    return replace(
        look,
        spikes={name: series[:, : size.get(name)] for name, series in look.spikes.items()},
        membranes={name: series[:, : size.get(name)] for name, series in look.membranes.items()},
    )
