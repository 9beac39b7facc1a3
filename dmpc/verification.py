"""The ladder of oracles: each rung runs one form of a network against the next.

The model run by its own library (float32) ~ float graph (float64) ~ integer graph = fast
engine = reference engine. The first two are compared by tolerance and statistics, the others by
every bit.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from dmpc.backend.emit import embedded_graph
from dmpc.backend.origin import difference, origin, origin_of
from dmpc.compiler import AnyModel, Options, import_model, to_layers
from dmpc.errors import DmpcError
from dmpc.ir.endless import spiking_as
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import Result, interpret, since_in
from dmpc.ir.ops_layers import FIRING
from dmpc.ir.registry import Tensor
from isa.engines.counts import Place
from isa.image import Image
from isa.interface import provenance
from runtime.lengths import pieces_of
from runtime.program import Program
from runtime.samples import check_labels

CHUNK = 128  # samples whose traces are held at once
LOGIT_TOLERANCE = 1e-3  # of the largest logit, float32 against float64
MOST_FLIPPED = 0.02  # share of samples in which a spike may flip between float32 and float64
FEW = 8  # samples that the reference engine runs, too
CHANCE = 0.7
"""Of the spikes of a layer alone that would differ by chance. Weights of 2 bits give a quarter to a
half of it on the examples, 8 bits less than a hundredth, a layer of another training all of it."""
FEW_SPIKES = 50  # that differ say nothing


@dataclass
class Rung:
    """One comparison: what against what, its figures, whether it holds."""

    name: str
    ok: bool = True
    figures: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Verification:
    """The rungs in order, and whether all of them hold."""

    rungs: list[Rung]

    @property
    def ok(self) -> bool:
        """True if every rung holds."""
        return all(rung.ok for rung in self.rungs)

    def to_json(self) -> dict[str, Any]:
        """Plain data: one entry per rung with its figures and `ok`."""
        return {"ok": self.ok, "rungs": [asdict(rung) for rung in self.rungs]}


def verify(
    model: AnyModel,
    image: Image,
    x: Tensor,
    y: Tensor | None = None,
    *,
    lengths: Tensor | None = None,
    options: Options | None = None,
    max_drop: float = 1.0,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Climb the ladder on samples `x` [samples, timesteps, inputs] with labels `y`.

    With `lengths` [samples], what lies behind a sample's length is no part of it.
    `max_drop` is how many points of accuracy the integer graph may lose against the float graph,
    or of agreement with its predictions where there are no labels. Each layer alone must also spike
    as in the float graph (CHANCE); with a `max_drop` of 100 neither is asked for. Raises DmpcError,
    RuntimeFailure or IsaError if something cannot be run at all, or if the image was made from
    another network.
    """
    options = options or Options()
    every = [x.shape[1]] * len(x) if lengths is None else lengths.tolist()
    pieces = list(pieces_of(every, CHUNK))
    order = [number for piece in pieces for number in piece]
    climb = _Climb(model, image, x, None if y is None else y[order], options)
    for piece in pieces:
        climb.chunk(x[piece, : every[piece[0]]], first=piece is pieces[0])
        if progress:
            progress(len(piece))
    return Verification(climb.rungs(max_drop))


def check_origin(graph: Graph, image: Image, options: Options, where: str) -> None:
    """Raise DmpcError if an image says that it was made from other numbers than a model holds.

    It may have been compiled with or without breaking dependencies, which is one network.
    """
    made_from = origin_of(image)
    if made_from is None:
        return
    found = [
        difference(
            origin(
                to_layers(
                    graph,
                    replace(options, dependency_breaking=broken),
                    lanes=image.target.lanes,
                )
            ),
            made_from,
        )
        for broken in (options.dependency_breaking, not options.dependency_breaking)
    ]
    if all(found):
        raise DmpcError(
            f"this image was not made from this model: {found[0]}", where=where,
            hint="compile the model again, or give the one that the image was made from",
        )  # fmt: skip


@dataclass
class _Tally:
    """Differences of one value between two forms of the network, summed over samples."""

    elements: int = 0
    different: int = 0
    active: int = 0
    chance: float = 0.0

    def add(self, one: Tensor, other: Tensor) -> None:
        self.elements += one.size
        self.different += int(np.count_nonzero(one != other))
        self.active += int(np.count_nonzero(one))

    def add_spikes(self, one: Tensor, other: Tensor) -> None:
        """Also what would differ if trains [samples, timesteps, n] knew of their rates alone."""
        self.add(one, other)
        a, b = (series.astype(np.float64).mean(axis=(0, 1)) for series in (one, other))
        self.chance += float((a * (1 - b) + b * (1 - a)).sum()) * len(one) * one.shape[1]

    @property
    def strange(self) -> bool:
        """True if spikes follow the others hardly better than chance."""
        return self.different > max(CHANCE * self.chance, FEW_SPIKES)


class _Climb:
    """Runs all forms of the network chunk by chunk and gathers what the rungs report."""

    def __init__(
        self,
        model: AnyModel,
        image: Image,
        x: Tensor,
        y: Tensor | None,
        options: Options,
    ) -> None:
        imported = import_model(model, options, x)
        self.integer = embedded_graph(image)
        layers = to_layers(imported.graph, options, lanes=image.target.lanes)
        self.layers = spiking_as(layers, self.integer)
        self.program = Program(image, self.integer.name)
        self.reference = imported.reference
        self.name, self.y, self.few = imported.name, y, 0
        if y is not None:
            check_labels(y, len(x), self.program.classes)
        self.spikes = [name for name in _spikes(self.layers) if name in self.integer.types]
        self.watched = _watched(image)
        self.logits: dict[str, list[Tensor]] = {"reference": [], "float": [], "integer": []}
        self.spike_tally = {name: _Tally() for name in self.spikes}
        self.alone_tally = {name: _Tally() for name in self.spikes}
        values = [_part(name)[0] for name in self.watched]
        self.bit_tally = {name: _Tally() for name in (*values, "logits")}
        self.engine_tally = _Tally()
        self.check_same_network()
        check_origin(imported.graph, image, options, imported.name)

    def check_same_network(self) -> None:
        """The image must be of this model: same input, same layers, and an answer of as many
        timesteps."""
        ours = [
            self.layers.types[name].shape for name in (*self.layers.inputs, *self.layers.outputs)
        ]
        theirs = [
            self.integer.types[name].shape for name in (*self.integer.inputs, *self.integer.outputs)
        ]
        ours.append((since_in(self.layers),))
        theirs.append((since_in(self.integer),))
        if ours != theirs or set(self.spikes) != set(_spikes(self.layers)):
            raise DmpcError(
                "the image was compiled from another network",
                where=self.name,
                hint="compile the model again",
            )

    def chunk(self, x: Tensor, *, first: bool) -> None:
        """Run some samples of one length on every rung."""
        floats = interpret(self.layers, x.astype(np.float64), trace=self.spikes)
        self.logits["float"].append(floats.logits)
        if self.reference:
            self.logits["reference"].append(self.reference.logits(x))
        encoded, _ = self.program.encode(x)
        watched = {_part(name)[0] for name in self.watched}
        integers = interpret(self.integer, encoded, trace=[*self.spikes, *sorted(watched)])
        self.logits["integer"].append(integers.logits)
        alone = interpret(self.integer, encoded, trace=self.spikes, fed=floats.traces)
        for name in self.spikes:
            self.spike_tally[name].add(floats.traces[name], integers.traces[name])
            self.alone_tally[name].add_spikes(floats.traces[name], alone.traces[name])
        self._simulate(x, integers, first=first)

    def _simulate(self, x: Tensor, integers: Result, *, first: bool) -> None:
        """The simulator on one chunk, every watched value of every timestep compared."""
        run = self.program.run(x, batch=CHUNK, watched=self.watched.values())
        for name, place in self.watched.items():
            value, part = _part(name)
            expected = integers.traces[value][:, :, part].astype(np.int64)
            trace = run.seen[place][:, :, : expected.shape[2]]
            steps = trace.shape[1]  # one, for what is computed at the end of a sample
            self.bit_tally[value].add(expected[:, -steps:], trace)
        self.bit_tally["logits"].add(integers.logits, run.integers)
        if first:
            self.few = len(x[:FEW])
            few = self.program.run(x[:FEW])
            again = Program(self.program.image, self.name, "reference").run(x[:FEW])
            self.engine_tally.add(run.cycles[:FEW], again.cycles)
            self.engine_tally.add(run.integers[:FEW], again.integers)
            self.engine_tally.different += few.counts != again.counts

    # -- what was found ---------------------------------------------------------------------------

    def rungs(self, max_drop: float) -> list[Rung]:
        """The ladder from top to bottom."""
        found = [self._float_rung(), self._integer_rung(max_drop)]
        found.append(self._bit_rung())
        tally = self.engine_tally
        figures = {"samples": self.few, "different": tally.different}
        name = "fast engine = reference engine, logits, cycles and counts"
        found.append(_exact(Rung(name, tally.different == 0, figures)))
        return [rung for rung in found if rung]

    def _float_rung(self) -> Rung:
        if not self.reference:
            reason = "the model is a graph of this compiler: it has no other form to run"
            return Rung("model ~ float graph", reason=reason)
        rung = Rung(f"{self.reference.name} ~ float graph")
        own, floats = (np.concatenate(self.logits[key]) for key in ("reference", "float"))
        error = np.abs(own - floats).max(axis=1) / max(float(np.abs(floats).max()), 1e-12)
        flipped = float(np.mean(error > LOGIT_TOLERANCE))
        rung.ok = flipped <= MOST_FLIPPED
        rung.figures = {
            "samples": len(own),
            "median_logit_error": float(np.median(error)),
            "largest_logit_error": float(error.max()),
            "samples_beyond_tolerance": flipped,
            "prediction_agreement": float(np.mean(own.argmax(1) == floats.argmax(1))),
        }
        if not rung.ok:
            rung.reason = (
                f"logits differ by more than {LOGIT_TOLERANCE:g} of their size in "
                f"{100 * flipped:.1f} % of samples: the graph is not the model"
            )
        return rung

    def _integer_rung(self, max_drop: float) -> Rung:
        floats, integers = (np.concatenate(self.logits[key]) for key in ("float", "integer"))
        one, other = floats.argmax(1), integers.argmax(1)
        figures: dict[str, Any] = {
            "samples": len(one),
            "prediction_agreement": float(np.mean(one == other)),
            "spike_mismatch": _shares(self.spike_tally),
            "layer_alone_mismatch": _shares(self.alone_tally),
        }
        lost = 100 * (1 - figures["prediction_agreement"])
        what = "agreement of predictions"
        if self.y is not None:
            figures["float_accuracy"] = float(np.mean(one == self.y))
            figures["integer_accuracy"] = float(np.mean(other == self.y))
            lost = 100 * (figures["float_accuracy"] - figures["integer_accuracy"])
            what = "accuracy"
        rung = Rung("float graph ~ integer graph", lost <= max_drop + 1e-9, figures)
        if not rung.ok:
            rung.reason = f"{what} drops by {lost:.2f} points, {max_drop:g} are allowed"
        strange = [name for name, tally in self.alone_tally.items() if tally.strange]
        if strange and max_drop < 100:
            rung.ok, tally = False, self.alone_tally[strange[0]]
            share = 100 * tally.different / tally.chance
            reason = (
                f"%{strange[0]} is not the model's: {share:.0f} % as many spikes differ as by "
                f"chance, {100 * CHANCE:.0f} % are allowed"
            )
            rung.reason = f"{rung.reason}; {reason}" if rung.reason else reason
        return rung

    def _bit_rung(self) -> Rung:
        rung = Rung("integer graph = simulator, every bit")
        rung.figures = {
            "elements": sum(tally.elements for tally in self.bit_tally.values()),
            "different": {name: tally.different for name, tally in self.bit_tally.items()},
        }
        rung.ok = not any(rung.figures["different"].values())
        return _exact(rung)


def _shares(tallies: dict[str, _Tally]) -> dict[str, float]:
    """Different spikes per spike of the float network, by name."""
    return {name: tally.different / max(tally.active, 1) for name, tally in tallies.items()}


def _exact(rung: Rung) -> Rung:
    if not rung.ok:
        rung.reason = "bits differ: the image does not compute its graph"
    return rung


def _spikes(graph: Graph) -> list[str]:
    return [op.results[0] for op in graph.ops if op.kind in FIRING]


def _watched(image: Image) -> dict[str, Place]:
    """Where instructions leave values of the graph, the network's input aside."""
    return {
        name: (pc, operand)
        for pc, item in enumerate(provenance(image))
        if item.layer != "input"
        for operand, name in sorted(item.values.items())
    }


def _part(name: str) -> tuple[str, slice]:
    """The value of the graph, and which of its elements, that a name of provenance means."""
    value, _, part = name.rstrip("]").partition("[")
    start, _, end = part.partition(":")
    return value, slice(int(start), int(end)) if part else slice(None)


SHARES = ("agreement", "accuracy", "mismatch", "beyond_tolerance")


def figures(rung: Rung) -> Iterator[tuple[str, str]]:
    """The figures of a rung as pairs of text, shares in per cent."""
    for key, value in rung.figures.items():
        if isinstance(value, dict):
            if not any(value.values()):
                yield key.replace("_", " "), "none"
            for name, number in value.items():
                if number:
                    yield f"{key.replace('_', ' ')} %{name}", _shown(key, number)
        else:
            yield key.replace("_", " "), _shown(key, value)


def _shown(key: str, number: float) -> str:
    if key.endswith(SHARES):
        return f"{100 * number:.2f} %"
    return f"{number:,}" if isinstance(number, int) else f"{number:.2g}"
