"""Graphs that are unrolled over time, rolled up: each loop becomes a Scan."""

from dataclasses import dataclass, field

import numpy as np
from onnx import GraphProto, ModelProto, helper

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.build import build
from dmpc.frontend.normalise.emit import Emitter
from dmpc.frontend.normalise.evaluate import Evaluator
from dmpc.frontend.normalise.flow import ABSENT, Flow, Kind, Operation
from dmpc.frontend.normalise.holds import with_holds
from dmpc.frontend.normalise.later import later_lists
from dmpc.frontend.normalise.match import Match, Matcher
from dmpc.frontend.normalise.order import needed, read_again
from dmpc.frontend.normalise.proof import FIRST_TIMESTEPS, prove, shape_of
from dmpc.frontend.normalise.scan_body import Loop
from dmpc.frontend.normalise.shapes import Types
from dmpc.frontend.normalise.slices import find_cuts
from dmpc.frontend.normalise.starts import solve_starts
from dmpc.frontend.normalise.template import Places, Ref, Template, find_template
from dmpc.ir.graph import Array


def roll(
    model: ModelProto, opset: int, types: Types, known: dict[str, Array], *, proved: bool
) -> ModelProto:
    """The model with its unrolled loops over time as Scans; itself if it has none.

    `types` and `known` hold the types of its tensors and the small constants among them. Raises
    ImportFailure, naming the node, where a timestep differs from the others.
    """
    graph, clock = model.graph, ""
    written: set[int] = set()  # stages whose holds are written out
    wrong: ImportFailure | None = None  # where a stage's holds are looked for once more
    while (
        found := _flow(graph, opset, types, known, clock, held=bool(wrong), proved=proved)
    ) is not None:
        rolling = _Rolling(*found, Evaluator(found[0], opset), proved)
        try:
            rolling.run()
        except ImportFailure as error:
            held = None if rolling.stage in written else rolling.with_holds(graph, known)
            if held is not None:
                written.add(rolling.stage)
                (graph, clock), wrong = held, None
            elif wrong is not None or not read_again(rolling.flow, rolling.operations):
                raise wrong or error from None
            else:
                wrong = error
            continue
        rolled = ModelProto()
        rolled.CopyFrom(model)
        emitter = Emitter(rolling.flow, rolling.loops, rolling.places, opset)
        rolled.graph.CopyFrom(emitter.graph(graph))
        return rolled
    return model


def _flow(
    graph: GraphProto,
    opset: int,
    types: Types,
    known: dict[str, Array],
    clock: str,
    *,
    held: bool,
    proved: bool,
) -> tuple[Flow, list[Operation]] | None:
    """The flow of a graph, and what of it is needed; None if it cuts nothing up."""
    cuts = find_cuts(graph, opset, types.shapes, known)
    if cuts is None:
        return None
    flow = build(graph, opset, types, known, cuts, clock=clock)
    if later := later_lists(flow):
        flow = build(graph, opset, types, known, cuts, later, clock)
    outputs = [flow.tensors[value.name] for value in graph.output]
    operations = needed(flow, outputs, held=held)
    if not proved and not any(one.joins for one in operations):
        # A network that lags computes nothing from the last timesteps of its input.
        reached = [flow.values[one.results[0]].step for one in operations]
        flow.steps = 1 + max(reached, default=flow.steps - 1)
    return flow, operations


@dataclass
class _Rolling:
    """The stages of a flow as loops, one after the other; `stage` is the one at work."""

    flow: Flow
    operations: list[Operation]
    evaluator: Evaluator
    proved: bool
    loops: dict[int, Loop] = field(default_factory=dict)
    places: Places = field(default_factory=dict)
    stage: int = 0

    def run(self) -> None:
        """Raises ImportFailure where a timestep is not like the others."""
        for stage, (steps, joins) in _stages(self.flow, self.operations).items():
            self.stage = stage
            template = find_template(self.flow, self.stage, steps, joins, self.places)
            match = Matcher(self.flow, template, self.places, self.evaluator).run()
            self.loops[self.stage] = _loop(self.flow, template, match, self.evaluator)
            if self.proved:
                _prove(self.loops[self.stage], match, self.places, self.evaluator)
            self.places |= match.places

    def with_holds(
        self, graph: GraphProto, known: dict[str, Array]
    ) -> tuple[GraphProto, str] | None:
        """The graph with the holds of the stage at work written out, and its clock; None if it has
        none."""
        stages = _stages(self.flow, self.operations)
        if self.stage not in stages:
            return None
        steps, _ = stages[self.stage]
        return with_holds(graph, self.evaluator, self.stage, steps, self.places, known)


def _prove(loop: Loop, match: Match, places: Places, evaluator: Evaluator) -> None:
    """Show the first timesteps, from other initial values if not from those that are seen."""
    given = loop.template, match.unread
    try:
        prove(*given, loop.initial, places, evaluator)
    except ImportFailure as error:
        if error.rule is not FIRST_TIMESTEPS:
            raise
        unknown = [before for before in loop.initial if before not in match.initial]
        solved = solve_starts(*given, loop.initial, unknown, places, evaluator)
        try:
            prove(*given, loop.initial | solved, places, evaluator)
        except ImportFailure:
            raise error from None
        loop.initial.update(solved)
        for before in solved:
            loop.kept.pop(before, None)


def _stages(
    flow: Flow, operations: list[Operation]
) -> dict[int, tuple[list[Operation], list[Operation]]]:
    """The operations on timesteps and the joins of every stage that is a loop."""
    steps: dict[int, list[Operation]] = {}
    joins: dict[int, list[Operation]] = {}
    reached, middle = set(), flow.middle
    for operation in operations:
        value = flow.values[operation.results[0]]
        if operation.joins:
            joins.setdefault(value.stage, []).append(operation)
        elif value.kind == Kind.STEP:
            steps.setdefault(value.stage, []).append(operation)
            reached |= {value.stage} if value.step == middle else set()
    loops = sorted(reached | joins.keys())
    return {stage: (steps.get(stage, []), joins.get(stage, [])) for stage in loops}


def _loop(flow: Flow, template: Template, match: Match, evaluator: Evaluator) -> Loop:
    """A stage with the initial values of its states."""
    loop = Loop(template, {}, {}, match.first, flow.tensors.get(flow.clock, ABSENT))
    for ref in loop.states:
        before = (ref.source, -ref.delay)
        found = match.initial.get(before, match.guesses.get(before))
        array = np.zeros(()) if found is None else evaluator.static(found)
        loop.initial[before] = _stretched(flow, ref, array)
        if found is not None and flow.values[found].shape == loop.initial[before].shape:
            loop.kept[before] = found
    return loop


def _stretched(flow: Flow, ref: Ref, array: Array) -> Array:
    """An initial value in the shape and type of its state."""
    value, shape = flow.values[ref.source.number], shape_of(flow, ref.source)
    dtype = helper.tensor_dtype_to_np_dtype(value.dtype)
    try:
        return np.broadcast_to(array, shape).astype(dtype)
    except ValueError:
        raise ImportFailure(
            f"starts from values of shape {list(array.shape)}, but is {list(shape)} from then on",
            where=value.name,
        ) from None
