"""Convolutions of sums of spikes, as sums of convolutions: residual networks add up before them."""

from collections.abc import Iterator

from dmpc.ir.graph import Graph, Op


def with_addends(graph: Graph) -> Graph:
    """The graph in which each convolution of a sum of spikes is one of each of them, added up."""
    sums = {op.results[0]: list(_addends(graph, op)) for op in graph.ops if op.kind == "conv"}
    sums = {name: parts for name, parts in sums.items() if _are_spikes(graph, parts)}
    if not sums:
        return graph
    found, graph = graph, graph.copy()
    graph.ops = []
    for op in found.ops:
        addends, total = sums.get(op.results[0], []), ""
        for number, (value, moves) in enumerate(addends):
            for move in moves:
                value = _again(graph, move, (value,))
            constants = op.operands[1:] if not number else op.operands[1:2]  # one bias
            part = _again(graph, op, (value, *constants))
            if number == len(addends) - 1:
                graph.ops.append(Op("add", (total, part), op.results, {}, op.loc))
            else:
                add = Op("add", (total, part), op.results, {}, op.loc)
                total = _again(graph, add, (total, part)) if total else part
        if not addends:
            graph.ops.append(op)
    return graph


def _again(graph: Graph, op: Op, operands: tuple[str, ...]) -> str:
    """An op once more, of other operands."""
    name = graph.fresh(f"{op.results[0]}.addend")
    graph.add(Op(op.kind, operands, (name,), op.attrs, op.loc), graph.types[op.results[0]])
    return name


def _addends(graph: Graph, op: Op) -> Iterator[tuple[str, list[Op]]]:
    """What is added up before a convolution, each with the moves behind it, in order."""
    left: list[tuple[str, list[Op]]] = [(op.operands[0], [])]
    while left:
        value, moves = left.pop()
        made = graph.producer(value)
        if made is not None and made.kind == "take":
            left.append((made.operands[0], [made, *moves]))
        elif made is not None and made.kind == "add" and _alike(graph, made):
            left += [(name, moves) for name in reversed(made.operands)]
        else:
            yield value, moves


def _are_spikes(graph: Graph, addends: list[tuple[str, list[Op]]]) -> bool:
    """Whether addends are several, and each of them spikes."""
    makers = [graph.producer(value) for value, _ in addends]
    return len(makers) > 1 and all(one is not None and one.kind == "cast" for one in makers)


def _alike(graph: Graph, op: Op) -> bool:
    """Whether a sum is one of computed values of one size."""
    sizes = {graph.types[name].size for name in op.operands}
    return len(sizes) == 1 and graph.constants.keys().isdisjoint(op.operands)
