"""Everything that is to be said of a model at once: errors, warnings, notes; nothing is written."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from dmpc.backend.emit import emit
from dmpc.compiler import (
    AnyModel,
    Compiled,
    Options,
    as_trained,
    check_level,
    check_options,
    find_ranges,
    import_model,
    limit_spikes,
    prove_model,
    to_layers,
)
from dmpc.errors import CompileError, DmpcError, SampleError
from dmpc.findings import Finding, listening, tell
from dmpc.frontend import path_of
from dmpc.frontend.models import Model
from dmpc.ir.graph import Graph
from dmpc.ir.registry import Tensor
from dmpc.lowering import check_size, from_layers
from dmpc.passes.base import Observer
from dmpc.passes.lint import lint_bounds, lint_example, lint_recognised, lint_rounding
from dmpc.passes.quantize import Quantize
from dmpc.passes.ranges import Ranges
from dmpc.passes.recognise import Recognise
from dmpc.passes.static_ranges import static_ranges
from dmpc.rules import Severity
from isa.arithmetic import Int
from isa.target import parse_target, target_text

SCHEMA = 1
"""Version of the JSON that a report becomes."""


@dataclass(frozen=True)
class Report:
    """The findings about a model, errors first, each kind in the order in which it was found.

    `reached` is the last level that the model could be brought to: "" if it could not be read,
    "image" if it compiles.
    """

    model: str
    target: str
    reached: str
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """Number of findings of one severity."""
        return sum(found.severity == severity for found in self.findings)

    @property
    def ok(self) -> bool:
        """True if there is no error; the model then compiles."""
        return not self.count(Severity.ERROR)

    def to_json(self) -> dict[str, Any]:
        """The report as docs/rules.md describes it."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "target": self.target,
            "reached": self.reached,
            **{f"{severity}s": self.count(severity) for severity in Severity},
            "findings": [found.to_json() for found in self.findings],
        }


def check(
    model: AnyModel,
    *,
    calibration: Tensor | None = None,
    lengths: Int | None = None,
    options: Options | None = None,
) -> Report:
    """What is to be said of a model in any form that `compile` takes.

    `calibration` [samples, timesteps, inputs] is example input, with `lengths` [samples] where they
    differ: scales are then chosen from it,
    and what layers do on it is looked at. What the model gets wrong is a finding. Raises IsaError
    for a target that cannot be loaded, and SampleError for samples that do not fit the model.
    """
    options = options or Options()
    name = model.name if isinstance(model, Graph | Model) else path_of(model)
    way = _Way(options, calibration, lengths)
    with listening() as told:
        try:
            way.go(model, None)
            errors: tuple[Finding, ...] = ()
        except SampleError:
            raise
        except DmpcError as error:
            errors = error.findings
    every = (*errors, *told)
    found = [one if one.where.startswith(name) else one.inside(name) for one in every]
    found.sort(key=lambda one: list(Severity).index(one.severity))
    return Report(name, options.target, way.reached, tuple(found))


def compile_and_tell(
    model: AnyModel,
    *,
    calibration: Tensor | None,
    lengths: Int | None,
    options: Options,
    observe: Observer | None,
) -> Compiled:
    """`dmpc.compile`, which tells whoever listens all that `check` would find; raises as it."""
    return _Way(options, calibration, lengths).go(model, observe)


class _Way:
    """The way of a model to its image, and how far it came."""

    def __init__(self, options: Options, calibration: Tensor | None, lengths: Int | None) -> None:
        self.options, self.calibration, self.lengths = options, calibration, lengths
        self.text = target_text(options.target)
        self.target = parse_target(self.text, options.target)
        self.reached = ""
        self.layers = Graph("", "layers")

    def go(self, model: AnyModel, observe: Observer | None) -> Compiled:
        """Bring a model to its image; raises DmpcError."""

        def passed(name: str, graph: Graph) -> None:
            self._observe(name, graph)
            if observe:
                observe(name, graph)

        check_options(self.options)
        imported = import_model(model, self.options, self.calibration)
        graph = imported.graph
        self.reached = graph.level
        check_level(graph)
        layers = to_layers(graph, self.options, passed)
        if graph.level == "layers":
            _tell(lint_recognised(graph))
        limited = limit_spikes(layers, self.calibration, self.options, passed)
        check_size(limited, self.target, self.options)
        prove_model(imported, layers, self.calibration)
        del imported, graph  # as large as the layers, or larger, and of no more use
        proven, layers = layers, limited
        self.reached, self.layers = layers.level, layers
        self.options, trained = as_trained(self.options, model, self.target)
        ranges = find_ranges(layers, self.calibration, self.options, model, self.lengths)
        self._lint(ranges)
        scheduled = from_layers(layers, ranges, self.target, self.options, passed)
        image = emit(scheduled, self.text, proven)
        self.reached = "image"
        return Compiled(image, layers, scheduled, ranges, trained)

    def _lint(self, ranges: Ranges) -> None:
        """Look at the ranges that were seen, and at those that no input can leave."""
        if self.calibration is not None:
            _tell(lint_example(self.layers, ranges))
        given = ranges.bounds.get(self.layers.inputs[0])
        graded = given is not None and not ranges.events
        limits = (float(given.low.min()), float(given.high.max())) if given and graded else None
        try:
            _tell(lint_bounds(self.layers, static_ranges(self.layers, limits)))
        except CompileError as error:  # a calibration set makes up for it
            _tell(replace(found, severity=Severity.WARNING) for found in error.findings)

    def _observe(self, name: str, graph: Graph) -> None:
        self.reached = graph.level
        if name == Recognise.name:
            _tell(lint_recognised(graph))
        elif name == Quantize.name:
            _tell(lint_rounding(self.layers, graph))


def _tell(findings: Iterable[Finding]) -> None:
    for found in findings:
        tell(found)
