"""What an import's errors follow from: looked for once it has failed, and said first.

A weight that is not a number makes timesteps differ, dropout in training mode and operators that
nobody knows have no shapes: what is noticed first is far behind the mistake, and differs between
the forms of a file. This looks at the file itself.
"""

from collections.abc import Callable, Iterator

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from dmpc.errors import DmpcError, ErrorList, ImportFailure
from dmpc.frontend.context import at_node, unsupported
from dmpc.frontend.model_rules import STALE_STATE
from dmpc.frontend.normalise.proof import FIRST_TIMESTEPS
from dmpc.frontend.normalise.template import NO_COUNTERPART
from dmpc.frontend.onnx_file import DOMAINS, Node, drawn, graphs, initializers, label, live
from dmpc.frontend.operator_rules import NOT_FINITE
from dmpc.frontend.operators import OPERATORS
from dmpc.ir.graph import Array, Graph
from dmpc.passes.recognise import Recognise
from dmpc.passes.recognition.neuron_rules import LEAKY_READOUT

LIMITED = ("Clip", "Max", "Min", "Where")
"""Operators for which infinity is a usual number."""
CONSEQUENCES = frozenset(
    (
        "dead-output", "first-timesteps", "mixed-times", "no-counterpart", "no-time",
        "size-dependent", "twins", "unlike-constants", "unlike-timesteps", "computed-start",
    )
)  # fmt: skip
"""Rules that a model may break because of something else; so is what has no rule."""


def first_causes(
    error: ImportFailure, model: ModelProto, opset: int, lenient: Callable[[bool], Graph]
) -> ImportFailure:
    """An import's error, or what it follows from, with the errors that do not follow from it.

    `lenient` imports the model without asking what it starts from; unless its argument is true,
    without asking either whether its first timesteps are as the others, and whether it reads the
    last.
    """
    found = ErrorList()
    for cause in _causes(model, opset):
        found.add(cause)
    if not found and error.rule in (FIRST_TIMESTEPS, STALE_STATE):
        return _of_every_timestep(lambda: lenient(error.rule is STALE_STATE)) or error
    if not found and error.rule is NO_COUNTERPART:
        return _of_a_lag(lambda: lenient(False)) or error
    others = [one for one in error.every if one.rule and one.rule.name not in CONSEQUENCES]
    if not found:
        return error
    for one in others:
        one.others = ()
        found.add(one)
    try:
        found.check()
    except ImportFailure as first:
        return first
    return error


def _of_every_timestep(lenient: Callable[[], Graph]) -> ImportFailure | None:
    """What is wrong with each timestep, which comes before what is wrong with the first."""
    try:
        Recognise().run(lenient())
    except ImportFailure as found:
        return found
    except DmpcError as found:
        same = [_as_failure(one) for one in found.every]
        same[0].others = tuple(same[1:])
        return same[0]
    return None


def _of_a_lag(lenient: Callable[[], Graph]) -> ImportFailure | None:
    """What is wrong with each timestep of a network that lags behind its input.

    Its answer was cut off with the last timesteps: what seems wrong with that is not.
    """
    every = _of_every_timestep(lenient)
    found = [one for one in every.every if one.rule is not LEAKY_READOUT] if every else []
    if not found:
        return None
    first = _as_failure(found[0])
    first.others = tuple(found[1:])
    return first


def _as_failure(error: DmpcError) -> ImportFailure:
    return ImportFailure(
        error.message,
        where=error.where,
        hint=error.hint,
        rule=error.rule,
        nodes=error.nodes,
        piece=error.piece,
    )


def _causes(model: ModelProto, opset: int) -> Iterator[ImportFailure]:
    """Each kind of thing that no file should hold, once, where it first stands."""
    told: set[str] = set()
    for graph in graphs(model.graph):
        stored = _stored(graph)
        for node in _live(graph, model.graph):
            for error in _of(node, opset, stored):
                key = f"{node.op_type}{error.message}"
                if key not in told:
                    told.add(key)
                    yield at_node(error, graph, node)


def _of(node: NodeProto, opset: int, stored: dict[str, Array]) -> Iterator[ImportFailure]:
    if node.domain not in DOMAINS:
        yield unsupported(Node(node, opset), OPERATORS)
    if (error := drawn(Node(node, opset), [stored.get(name) for name in node.input])) is not None:
        yield error
    for name in node.input:
        array = stored.get(name)
        if array is None or array.dtype.kind != "f":
            continue
        fine = ~np.isnan(array) if node.op_type in LIMITED else np.isfinite(array)
        if not fine.all():
            yield ImportFailure.of(
                NOT_FINITE,
                where=label(node),
                weight=name,
                value=array[~fine].flat[0],
                bad=np.count_nonzero(~fine),
                size=array.size,
            )


def _stored(graph: GraphProto) -> dict[str, Array]:
    """Weights and constants of a graph by name."""
    found = initializers(graph)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = numpy_helper.to_array(attribute.t)
    return found


def _live(graph: GraphProto, whole: GraphProto) -> list[NodeProto]:
    """The nodes on which a graph's outputs depend; all nodes of a graph inside another."""
    return list(graph.node) if graph is not whole else live(graph)
