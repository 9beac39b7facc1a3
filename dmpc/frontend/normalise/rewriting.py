"""Replacing and renaming nodes of a graph in place."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from onnx import GraphProto, NodeProto

from dmpc.frontend.boundary import at


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g


def replace_nodes(
    graph: GraphProto, replace: Callable[[NodeProto], Iterable[NodeProto] | None]
) -> bool:
    """Replace each node by others, where `replace` does not return None; tells if any was."""
    nodes: list[NodeProto] = []
    changed = False
    for node in graph.node:
        with at(node):
            new = replace(node)
            changed |= new is not None
            nodes += [node] if new is None else new
    if changed:
        kept = GraphProto(node=nodes)
        del graph.node[:]
        graph.node.MergeFrom(kept.node)
    return changed


def rename(node: NodeProto, new: Mapping[str, str]) -> None:
    """Rename the tensors that a node and its bodies read and write."""
    for names in (node.input, node.output):
        names[:] = [new.get(name, name) for name in names]
    for body in subgraphs(node):
        for inner in body.node:
            rename(inner, new)
        for value in body.output:
            value.name = new.get(value.name, value.name)
