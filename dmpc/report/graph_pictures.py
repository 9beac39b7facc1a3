"""A graph at any level as a picture: text for Graphviz, or SVG."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dmpc.errors import DmpcError
from dmpc.ir.graph import Graph, Op

MOST_DRAWN = 400
"""Nodes of an SVG; what has more is for Graphviz."""


@dataclass(frozen=True)
class Node:
    """An op, by its first result, or an input or output: what is written in it, and its layer."""

    name: str
    lines: tuple[str, ...]
    layer: str


@dataclass(frozen=True)
class Picture:
    """Nodes, and edges by name; `late` ones carry a state to the next timestep."""

    nodes: list[Node]
    edges: list[tuple[str, str]]
    late: list[tuple[str, str]]


def picture(graph: Graph) -> Picture:
    """What is drawn of a graph: ops with the constants that they hold, and the values between."""
    made = {name: op.results[0] for op in graph.ops for name in op.results}
    made |= {name: name for name in graph.inputs}
    carried = {state.name: made[state.next] for state in graph.states if state.next in made}
    nodes = [Node(name, (name, str(graph.types[name])), "") for name in graph.inputs]
    edges: list[tuple[str, str]] = []
    late: list[tuple[str, str]] = []
    for op in graph.ops:
        name = op.results[0]
        nodes.append(Node(name, tuple(_lines(graph, op)), str(op.attrs.get("layer", ""))))
        for operand in dict.fromkeys(op.operands):
            if operand in made:
                edges.append((made[operand], name))
            elif operand in carried:
                late.append((carried[operand], name))
    for output in graph.outputs:
        nodes.append(Node(f"{output}!", ("output",), ""))
        edges.append((made.get(output, output), f"{output}!"))
    return Picture(nodes, list(dict.fromkeys(edges)), list(dict.fromkeys(late)))


def _lines(graph: Graph, op: Op) -> Iterator[str]:
    yield f"{op.kind}: {op.results[0]}"
    yield ", ".join(str(graph.types[name]).partition(" ")[0] for name in op.results)
    held = [name for name in op.operands if name in graph.constants]
    if held:
        yield ", ".join(
            f"{name.rpartition('.')[2]} {list(graph.types[name].shape)}" for name in held[:3]
        ) + (" .." if len(held) > 3 else "")
    if op.attrs.get("path"):
        yield f"path {op.attrs['path']}"


def dot_text(graph: Graph) -> str:
    """The graph in Graphviz's language: layers are boxes around their ops, states dashed edges."""
    drawn = picture(graph)
    lines = [f"digraph {_quoted(graph.name)} {{", "  rankdir=LR;"]
    lines += ['  node [shape=box, style=rounded, fontname="sans-serif", fontsize=10];']
    layers = dict.fromkeys(node.layer for node in drawn.nodes)
    for number, layer in enumerate(layers):
        indent = "  "
        if layer:
            lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(layer)};"]
            indent = "    "
        for node in drawn.nodes:
            if node.layer == layer:
                lines.append(f"{indent}{_quoted(node.name)} [label={_quoted(*node.lines)}];")
        lines += ["  }"] if layer else []
    for kind, edges in (("", drawn.edges), (" [style=dashed, constraint=false]", drawn.late)):
        lines += [f"  {_quoted(a)} -> {_quoted(b)}{kind};" for a, b in edges]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(*lines: str) -> str:
    """A string of Graphviz's, of several lines."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines)
    return '"' + "\\n".join(escaped) + '"'


# -- SVG ------------------------------------------------------------------------------------------

WIDE, HIGH = 2.5, 0.95
"""Inches from a column to the next, and from a row to the next."""


def svg_text(graph: Graph) -> str:
    """The graph as SVG, from inputs on the left to outputs on the right.

    Raises DmpcError if it is too large to be read, or matplotlib is not installed.
    """
    drawn = picture(graph)
    if len(drawn.nodes) > MOST_DRAWN:
        raise DmpcError(
            f"a picture of {len(drawn.nodes)} nodes cannot be read",
            where=graph.name,
            hint="--dot is for Graphviz, or look at a later level",
        )
    try:
        import matplotlib
    except ImportError:
        raise DmpcError("SVG needs matplotlib", hint="pip install matplotlib, or --dot") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    at = _places(drawn)
    columns = max(x for x, _ in at.values()) + 1
    rows = max(y for _, y in at.values()) + 1
    settings: dict[Any, Any] = {"svg.hashsalt": "dmpc", "svg.fonttype": "none", "font.size": 8}
    with matplotlib.rc_context(settings):
        figure = pyplot.figure(figsize=(columns * WIDE, rows * HIGH), dpi=72)  # as SVG has
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-0.5, columns - 0.5)
        axes.set_ylim(rows - 0.4, -0.6)
        _draw(axes, drawn, at)
        made = io.StringIO()
        figure.savefig(made, format="svg", metadata={"Date": None, "Title": graph.name})
        pyplot.close(figure)
    return made.getvalue()


COLOURS = ("#dbe7fb", "#fbe6cf", "#d5efe6", "#f0dcef", "#f3eec6", "#d9eff8")


def _draw(axes: Any, drawn: Picture, at: dict[str, tuple[int, float]]) -> None:
    layers = list(dict.fromkeys(node.layer for node in drawn.nodes if node.layer))
    boxes = {}
    for node in drawn.nodes:
        colour = COLOURS[layers.index(node.layer) % len(COLOURS)] if node.layer else "#eceff3"
        box = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "#6b7686"}
        text = "\n".join(line if len(line) <= 30 else f"{line[:28]}.." for line in node.lines)
        made = axes.text(
            *at[node.name], text, ha="center", va="center", fontsize=6.5, bbox=box, zorder=3
        )
        boxes[node.name] = made.get_bbox_patch()
    axes.figure.canvas.draw()  # only then is it known how large boxes are
    for edges, style in ((drawn.edges, "-"), (drawn.late, "--")):
        for a, b in edges:
            far = at[b][0] - at[a][0] != 1
            arrow = {
                "arrowstyle": "->", "linestyle": style, "color": "#6b7686", "shrinkA": 0,
                "shrinkB": 1, "patchA": boxes[a], "patchB": boxes[b],
                "connectionstyle": f"arc3,rad={0.12 if far else 0}",
            }  # fmt: skip
            axes.annotate("", at[b], at[a], arrowprops=arrow, zorder=1)


def _places(drawn: Picture) -> dict[str, tuple[int, float]]:
    """Column and row of each node: right of all that it needs, near their middle."""
    before: dict[str, list[str]] = {node.name: [] for node in drawn.nodes}
    for a, b in drawn.edges:
        before[b].append(a)
    column: dict[str, int] = {}
    for node in drawn.nodes:  # in an order in which what is needed comes first
        column[node.name] = 1 + max((column[a] for a in before[node.name]), default=-1)
    for node in drawn.nodes:  # what reads a state alone stands beside its reader
        readers = [column[b] for a, b in drawn.edges if a == node.name]
        if readers and not before[node.name] and node.layer:
            column[node.name] = max(min(readers) - 1, 0)
    row: dict[str, float] = {}
    for number in range(max(column.values()) + 1):
        members = [node.name for node in drawn.nodes if column[node.name] == number]
        middle = {
            name: sum(row[a] for a in before[name]) / len(before[name]) if before[name] else 0.0
            for name in members
        }
        least = 0.0
        for name in sorted(members, key=lambda one: middle[one]):
            row[name] = max(least, round(middle[name]))
            least = row[name] + 1
    return {name: (column[name], row[name]) for name in column}
