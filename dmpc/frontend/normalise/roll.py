"""Graphs that are unrolled over time, rolled up: each loop becomes a Scan."""

import numpy as np
from onnx import ModelProto, helper

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.build import build
from dmpc.frontend.normalise.emit import Emitter
from dmpc.frontend.normalise.evaluate import Evaluator
from dmpc.frontend.normalise.flow import Flow, Kind, Operation
from dmpc.frontend.normalise.later import later_lists
from dmpc.frontend.normalise.match import Match, Matcher
from dmpc.frontend.normalise.order import needed
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
    cuts = find_cuts(model.graph, opset, types.shapes, known)
    if cuts is None:
        return model
    flow = build(model.graph, opset, types, known, cuts)
    if later := later_lists(flow):
        flow = build(model.graph, opset, types, known, cuts, later)
    operations = needed(flow, [flow.tensors[value.name] for value in model.graph.output])
    if not proved and not any(one.joins for one in operations):
        # A network that lags computes nothing from the last timesteps of its input.
        reached = [flow.values[one.results[0]].step for one in operations]
        flow.steps = 1 + max(reached, default=flow.steps - 1)
    evaluator = Evaluator(flow, opset)
    loops: dict[int, Loop] = {}
    places: Places = {}
    for stage, (steps, joins) in _stages(flow, operations).items():
        template = find_template(flow, stage, steps, joins, places)
        match = Matcher(flow, template, places, evaluator).run()
        loops[stage] = _loop(flow, template, match, evaluator)
        if proved:
            _prove(loops[stage], match, places, evaluator)
        places |= match.places
    rolled = ModelProto()
    rolled.CopyFrom(model)
    rolled.graph.CopyFrom(Emitter(flow, loops, places, opset).graph(model.graph))
    return rolled


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
    loop = Loop(template, {}, {}, match.first)
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
