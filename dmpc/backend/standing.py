"""How values of level layers stand in lines and columns: a convolution's position by position."""

from dmpc.ir.graph import Array, Graph
from dmpc.ir.ops_convolution import Convolution

Shape = tuple[int, ...]
KEEPING = ("li", "lif", "delay")
"""Ops whose result stands as what they read does."""


def standing(graph: Graph) -> dict[str, Shape]:
    """The channels, lines and columns of values that stand position by position."""
    found: dict[str, Shape] = {}
    states = {state.next: state.name for state in graph.states}
    for _ in range(2):  # once more for what loops bring
        for op in graph.ops:
            name, shapes = op.results[0], [found[one] for one in op.operands if one in found]
            if op.kind == "conv":
                made = Convolution.of(op.attrs, graph.constants[op.operands[1]].shape)
                found[name] = (made.outputs, *made.positions)
            elif op.kind in KEEPING and shapes:
                found[name] = shapes[0]
            if name in found and name in states:
                found[states[name]] = found[name]
    return found


def in_planes(array: Array, shape: Shape) -> Array:
    """Elements of such a value, of its first axis, in planes [channels, lines, columns, ..]."""
    channels, lines, columns = shape
    return array.reshape(lines, columns, channels, *array.shape[1:]).swapaxes(1, 2).swapaxes(0, 1)
