"""If with a condition that is known: the branch that is taken, in its place."""

from collections.abc import Iterator, Mapping

from onnx import GraphProto, NodeProto, helper

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.rewriting import rename, replace_nodes, subgraphs
from dmpc.frontend.normalise.shapes import constants
from dmpc.frontend.onnx_file import Node, label
from dmpc.ir.graph import Array
from dmpc.rules import Stage, rule

BRANCH_COUNT = rule(
    "branch-signature",
    Stage.IMPORT,
    "If and the branch that is taken differ in their numbers of outputs",
    why="The branch that is taken stands in the place of the If, and gives its outputs in order.",
    nearest="export the branch again",
)


def inline_branches(graph: GraphProto, outside: Mapping[str, Array]) -> bool:
    """Replace every If whose condition is known, in a graph and its subgraphs; tells if any was.

    `outside` holds small constants that are visible from outside.
    """
    known = {**outside, **constants(graph)}
    used = set(_names(graph))
    inside = [inline_branches(body, known) for node in graph.node for body in subgraphs(node)]
    return replace_nodes(graph, lambda node: _taken(graph, node, known, used)) or any(inside)


def _taken(
    graph: GraphProto, node: NodeProto, known: Mapping[str, Array], used: set[str]
) -> list[NodeProto] | None:
    """The nodes of the branch, its tensors renamed where their names are taken outside."""
    condition = known.get(node.input[0]) if node.op_type == "If" else None
    if condition is None:
        return None
    branch = Node(node, 0).subgraph("then_branch" if condition.all() else "else_branch")
    new = {name: f"{node.output[0]}/{name}" for name in _names(branch) if name in used}
    used.update(new.get(name, name) for name in _names(branch))
    for tensor in branch.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
        graph.initializer.add().CopyFrom(tensor)
    nodes = list(branch.node)
    for inner in nodes:
        rename(inner, new)
    if len(node.output) != len(branch.output):
        raise ImportFailure.of(BRANCH_COUNT, where=label(node))
    for output, result in zip(node.output, branch.output, strict=True):
        name = new.get(result.name, result.name)
        nodes.append(helper.make_node("Identity", [name], [output], output))
    return nodes


def _names(graph: GraphProto) -> Iterator[str]:
    """Every tensor that a graph itself defines."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output if name)
