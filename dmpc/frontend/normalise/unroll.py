"""Loop written out, iteration after iteration, as if it had been unrolled to begin with.

That a Loop's iterations are alike, which sequences they read and write, and what they hand on, is
then found where unrolled graphs are rolled up, for all of them in the same way.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.rewriting import rename, replace_nodes
from dmpc.frontend.normalise.shapes import constants
from dmpc.frontend.onnx_file import Node, label
from dmpc.ir.graph import Array
from dmpc.rules import Stage, rule

MOST_NODES = 2_000_000  # a Loop written out

LOOP_LENGTH = rule(
    "loop-length",
    Stage.IMPORT,
    "the number of iterations of this Loop is {problem}",
    why="""A Loop is taken for the loop over time, whose length is that of the sequence: it is
    counted ahead, and its condition is always true.""",
    nearest="a loop over all timesteps of the input, without a condition that is computed",
)
LOOP_COUNT = rule(
    "loop-counts",
    Stage.IMPORT,
    "Loop and its body differ in their numbers of inputs and outputs",
    why="""The body takes the iteration, the condition and what is handed on, and gives the
    condition, what is handed on and a piece of each sequence.""",
    nearest="export the loop again",
)


def unroll_loops(graph: GraphProto, known: Mapping[str, Array]) -> bool:
    """Write out the Loops of a graph whose number of iterations is known; tells if there are any.

    Others may depend on the shape of what those leave. `known` holds the small constants in the
    graph. Raises ImportFailure if there are Loops, but no number of iterations is among them.
    """
    loops = [node for node in graph.node if node.op_type == "Loop"]
    counted = any(node.input[0] in known for node in loops)
    return bool(loops) and replace_nodes(graph, lambda node: _unrolled(graph, node, known, counted))


def _unrolled(
    graph: GraphProto, node: NodeProto, known: Mapping[str, Array], counted: bool
) -> Iterator[NodeProto] | None:
    if node.op_type != "Loop" or (counted and node.input[0] not in known):
        return None
    body = Node(node, 0).subgraph("body")
    handed = len(node.input) - 2  # what an iteration hands on
    fits = len(body.input) == handed + 2 and len(body.output) > handed >= 0
    if not fits or len(node.output) != len(body.output) - 1 or not any(node.output):
        raise ImportFailure.of(LOOP_COUNT, where=label(node))
    iterations = _iterations(node, body, {**known, **constants(body)})
    used = {name for other in graph.node for name in other.output}
    used |= {tensor.name for tensor in graph.initializer}
    _rename_shared(node, body, used)
    graph.initializer.extend(body.initializer)
    return _iterate(node, body, iterations)


def _rename_shared(node: NodeProto, body: GraphProto, used: set[str]) -> None:
    """Rename what bears the name of a tensor outside, as the bodies of other Loops may."""
    names = [name for inner in body.node for name in inner.output if name]
    names += [tensor.name for tensor in body.initializer]
    after = next(name for name in node.output if name)
    new = {name: f"{after}/{name}" for name in names if {name, f"{name}#0"} & used}
    for tensor in body.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    for inner in body.node:
        rename(inner, new)
    for value in body.output:
        value.name = new.get(value.name, value.name)


def _iterations(node: NodeProto, body: GraphProto, known: Mapping[str, Array]) -> int:
    count, go_on, *_ = node.input
    if count not in known:
        raise _unknown(node, "computed from the input" if count else "not given")
    after = _source(body, body.output[0].name)
    conditions = [name for name in (go_on, after) if name not in ("", body.input[1].name)]
    if any(name not in known for name in conditions):
        raise _unknown(node, "decided by a condition that is computed")
    if not all(known[name].all() for name in conditions):
        raise _unknown(node, "cut short by its condition")
    iterations = int(known[count].reshape(-1)[0])
    if iterations < 1 or iterations * len(body.node) > MOST_NODES:
        raise _unknown(node, f"{iterations}")
    return iterations


def _source(body: GraphProto, name: str) -> str:
    """What a tensor is a copy of."""
    copied = {inner.output[0]: inner for inner in body.node if inner.op_type == "Identity"}
    while name in copied:
        name = copied[name].input[0]
    return name


def _unknown(node: NodeProto, problem: str) -> ImportFailure:
    return ImportFailure.of(LOOP_LENGTH, where=label(node), problem=problem)


def _iterate(node: NodeProto, body: GraphProto, iterations: int) -> Iterator[NodeProto]:
    """The nodes of all iterations, with tensors named after them, and what follows the last."""
    number, condition, *carried = (value.name for value in body.input)
    results = [value.name for value in body.output][1:]
    alike = [inner for inner in body.node if inner.op_type == "Constant"]
    nodes = [inner for inner in body.node if inner.op_type != "Constant"]
    own = {name for inner in nodes for name in inner.output if name}
    held = list(node.input[2:])
    collected: list[list[str]] = [[] for _ in results[len(held) :]]
    yield from alike
    for iteration in range(iterations):
        new = {name: f"{name}#{iteration}" for name in (*own, number, condition)}
        new |= dict(zip(carried, held, strict=True))
        yield _constant(new[number], np.array(iteration))
        yield _constant(new[condition], np.array(True))
        for inner in nodes:
            copy = NodeProto()
            copy.CopyFrom(inner)
            rename(copy, new)
            copy.name = f"{label(inner)}#{iteration}" if iteration else label(inner)
            yield copy
        after = [new.get(name, name) for name in results]
        held = after[: len(held)]
        for values, value in zip(collected, after[len(held) :], strict=True):
            values.append(value)
    yield from _ends(node, held, collected)


def _ends(node: NodeProto, held: list[str], collected: list[list[str]]) -> Iterator[NodeProto]:
    """The Loop's outputs: final values, and the values of all iterations stacked."""
    for output, final in zip(node.output, held, strict=False):
        if output:
            yield helper.make_node("Identity", [final], [output], output)
    for output, values in zip(node.output[len(held) :], collected, strict=True):
        if not output:
            continue
        yield _constant(f"{output}#axis", np.array([0]))
        parts = [f"{output}#{iteration}" for iteration in range(len(values))]
        for part, value in zip(parts, values, strict=True):
            yield helper.make_node("Unsqueeze", [value, f"{output}#axis"], [part], part)
        yield helper.make_node("Concat", parts, [output], output, axis=0)


def _constant(name: str, array: Array) -> NodeProto:
    return helper.make_node("Constant", [], [name], name, value=numpy_helper.from_array(array))
