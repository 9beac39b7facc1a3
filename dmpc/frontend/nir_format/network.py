"""A NIR file as plain nodes and edges, nested graphs flattened."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmpc.errors import ErrorList, ImportFailure
from dmpc.findings import NO_PIECE
from dmpc.frontend.nir_format.contents import contents, numbers, text
from dmpc.frontend.nir_format.rules import NIR_VALUE, NODE_KIND, PORT_COUNT, UNFED_NODE
from dmpc.ir.graph import Array
from dmpc.ir.registry import did_you_mean
from dmpc.rules import Rule

if TYPE_CHECKING:
    import nir

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Input": (),
    "Output": (),
    "Affine": ("weight", "bias"),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "Flatten": (),
    "Conv1d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "Conv2d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "SumPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "Delay": ("delay",),
    "IF": ("r", "v_threshold", "v_reset"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    "Threshold": ("threshold",),
    "LI": ("tau", "r", "v_leak"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    "I": ("r",),
}
"""Known kinds of nodes and the parameters of each."""

IN_SPACE = ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d")
"""Kinds whose size follows from what feeds them."""
SAME = {"same": -1.0, "valid": 0.0}
"""Words for padding: -1 stands for as many positions as places."""

PORT = "Port"  # where a nested graph begins or ends
DEFAULTS = {"v_reset": 0.0, "w_in": 1.0}
"""Parameters that a file may leave out, as the `nir` package fills them in."""

MOST_INPUTS = 1 << 24  # elements of a declared shape
LARGEST = float(np.finfo(np.float32).max)  # parameter
LONGEST_SHOWN = 60  # characters of what was found in a place
DEEPEST = 32  # graphs in graphs


@dataclass(frozen=True)
class Node:
    """A node: `name` is its path through nested graphs, `size` its declared number of elements.

    `parameters` are float64 arrays; `size` is None where the parameters alone do not tell. `shape`
    is what it declares: that of a port or of its parameters, of a convolution what it reads.
    """

    name: str
    kind: str
    parameters: Mapping[str, Array]
    size: int | None
    shape: tuple[int, ...] = ()

    def error(self, message: str, hint: str = "") -> ImportFailure:
        """An error about this node."""
        where = f"node '{self.name}' ({self.kind})"
        return ImportFailure(message, where=where, hint=hint, nodes=(self.name,))

    def failure(self, rule: Rule, **fields: object) -> ImportFailure:
        """The error of a rule that this node breaks."""
        where = f"node '{self.name}' ({self.kind})"
        return ImportFailure.of(rule, where=where, nodes=(self.name,), piece=NO_PIECE, **fields)

    def vector(self, parameter: str, size: int) -> Array:
        """A parameter as a vector [size]; one element stands for as many as needed.

        Raises ImportFailure if the numbers of elements differ.
        """
        value = self.parameters[parameter].reshape(-1)
        if value.size not in (1, size):
            raise self.error(f"{parameter} has {value.size} elements, expected 1 or {size}")
        return np.broadcast_to(value, size)

    def weight(self, size: int) -> Array:
        """The matrix of a product that is fed `size` elements; raises ImportFailure otherwise."""
        weight = self.parameters["weight"]
        if weight.shape[1] != size:
            raise self.error(
                f"weight {list(weight.shape)} takes {weight.shape[1]} elements, but is fed {size}",
                "NIR's weights are [outputs, inputs]; are all of this file transposed, as old "
                "versions of Spyx write them?"
                if weight.shape[0] == size
                else "",
            )
        return weight


@dataclass
class Net:
    """Nodes by name, and for each node those that feed it, in the order of the edges."""

    nodes: dict[str, Node] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)

    def inputs(self) -> list[Node]:
        """The network's Input nodes. Raises ImportFailure if there are none."""
        found = self._of_kind("Input")
        if not found:
            raise ImportFailure.of(PORT_COUNT, count=0, kind="Input")
        return found

    def outputs(self) -> list[Node]:
        """The network's Output nodes. Raises ImportFailure if there are none."""
        found = self._of_kind("Output")
        if not found:
            raise ImportFailure.of(PORT_COUNT, count=0, kind="Output")
        return found

    def _of_kind(self, kind: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.kind == kind]

    def fed(self, node: Node) -> list[str]:
        """The names of the nodes that feed a node. Raises ImportFailure if there are none."""
        if not self.sources[node.name]:
            raise node.failure(UNFED_NODE)
        return self.sources[node.name]


def read(source: "str | os.PathLike[str] | nir.NIRGraph") -> Net:
    """The network of a NIR file, or of a graph in memory.

    Raises ImportFailure for what is no HDF5 file, no NIR graph, or holds nodes that are unknown,
    incomplete or not finite.
    """
    net = Net()
    errors = ErrorList()
    _add(net, contents(source), (), errors)
    errors.check()
    return net


def _add(net: Net, graph: Mapping[str, Any], path: tuple[str, ...], errors: ErrorList) -> None:
    """Add the nodes and edges of a graph, `path` the names of the graphs that it lies in.

    Nodes that cannot be read are entered in `errors`, each for itself.
    """
    where = f"node '{'.'.join(path)}'" if path else ""
    prefix = "".join(f"{name}." for name in path)
    nodes, edges = graph.get("nodes"), graph.get("edges")
    if _kind(graph) != "NIRGraph" or not isinstance(nodes, Mapping) or edges is None:
        raise ImportFailure("this is no NIR graph: nodes and edges are expected", where=where)
    if len(path) > DEEPEST:
        raise ImportFailure(f"graphs lie in each other {len(path)} deep", where=where)
    inner = {name for name, node in nodes.items() if _kind(node) == "NIRGraph"}
    for name, node in nodes.items():
        if prefix + name in net.sources:
            raise ImportFailure(f"two nodes are called '{prefix}{name}'", where=where)
        if name in inner:
            _add(net, node, (*path, name), errors)
        else:
            net.sources[prefix + name] = []
            with errors.gather():
                net.nodes[prefix + name] = _node(prefix + name, node, nested=bool(path))
    for source, target in _edges(edges, where):
        ends = []
        for end, port in ((source, "Output"), (target, "Input")):
            if end not in nodes:
                raise ImportFailure(
                    f"edge '{source}' -> '{target}' names no node '{end}'",
                    where=where,
                    hint=did_you_mean(end, nodes),
                )
            name = prefix + end
            ends.append(_port(nodes[end], name, port) if end in inner else name)
        if ends[0] in net.sources[ends[1]]:
            raise ImportFailure(f"edge '{source}' -> '{target}' is there twice", where=where)
        net.sources[ends[1]].append(ends[0])


def _edges(edges: Any, where: str) -> list[tuple[str, str]]:
    """Pairs of names; a graph without edges may have them in any empty form."""
    scalar = isinstance(edges, np.ndarray) and edges.ndim == 0
    if scalar or isinstance(edges, str | bytes | Mapping) or not isinstance(edges, Iterable):
        raise _odd_edges(edges, where)
    return [_edge(edge, where) for edge in edges]


def _edge(edge: Any, where: str) -> tuple[str, str]:
    pair = isinstance(edge, list | tuple | np.ndarray) and np.shape(edge)[:1] == (2,)
    source, target = (text(end) for end in edge) if pair else (None, None)
    if source is None or target is None:
        raise _odd_edges(edge, where)
    return source, target


def _odd_edges(found: Any, where: str) -> ImportFailure:
    shown = " ".join(ascii(found).split())[:LONGEST_SHOWN]
    return ImportFailure.of(NIR_VALUE, where=where, problem=f"an edge is no pair of names: {shown}")


def _port(graph: Mapping[str, Any], name: str, kind: str) -> str:
    """The one Input or Output of a nested graph."""
    found = [inner for inner, node in graph["nodes"].items() if _kind(node) == kind]
    if len(found) != 1:
        raise ImportFailure(
            f"the nested graph has {len(found)} {kind} nodes, expected one", where=f"node '{name}'"
        )
    return f"{name}.{found[0]}"


def _kind(node: Any) -> str:
    return str(text(node.get("type")) if isinstance(node, Mapping) else None)


def _node(name: str, given: Mapping[str, Any], *, nested: bool) -> Node:
    kind = _kind(given)
    if kind not in PARAMETERS:
        known = did_you_mean(kind, PARAMETERS)
        where, what = f"node '{name}'", f"unknown kind of node '{kind}'"
        raise ImportFailure.of(NODE_KIND, where=where, nodes=(name,), what=what, nearest=known)
    bare = Node(name, PORT if nested and kind in ("Input", "Output") else kind, {}, None)
    parameters = {key: _parameter(bare, key, given) for key in PARAMETERS[kind]}
    made = replace(bare, parameters=parameters, size=_size(bare, parameters, given))
    return replace(made, shape=_shape(made, given))


def _parameter(node: Node, key: str, given: Mapping[str, Any]) -> Array:
    value = given.get(key, DEFAULTS.get(key))
    if value is None:
        raise node.error(f"has no {key}")
    try:
        array = numbers(SAME.get(text(value) or "", value) if key == "padding" else value)
    except ValueError as error:
        raise node.failure(NIR_VALUE, problem=f"{key} {error}") from None
    bad = array[~(np.abs(array) <= LARGEST)]
    if bad.size:
        raise node.error(
            f"{key} holds {bad.flat[0]} ({bad.size} of {array.size} elements are not finite)",
            "did training diverge?",
        )
    return array


def _size(node: Node, parameters: Mapping[str, Array], given: Mapping[str, Any]) -> int | None:
    """Number of elements that a node puts out, as far as the node itself says."""
    if node.kind in ("Input", "Output", PORT):
        return _declared(node, given.get("shape"))
    if node.kind in IN_SPACE:
        return None
    if "weight" in parameters:
        if parameters["weight"].ndim != 2:
            raise node.error(f"weight has shape {list(parameters['weight'].shape)}, not two axes")
        return int(parameters["weight"].shape[0])
    most = max((value.size for value in parameters.values()), default=1)
    return most if most > 1 else None


def _shape(node: Node, given: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape that a node declares; none where it declares none, or none that is whole."""
    if node.kind not in ("Input", "Output", PORT, *IN_SPACE):
        return max((value.shape for value in node.parameters.values()), key=math.prod, default=())
    try:
        sizes = numbers(given.get("input_shape" if node.kind in IN_SPACE else "shape"))
    except ValueError:
        return ()
    whole = np.all(np.abs(sizes) <= MOST_INPUTS) and np.all(sizes == np.rint(sizes))
    return tuple(sizes.reshape(-1).astype(int).tolist()) if whole else ()


def _declared(node: Node, shape: Any) -> int:
    """The number of elements of a shape."""
    if shape is None:
        raise node.error("has no shape")
    try:
        sizes = numbers(shape)
    except ValueError as error:
        raise node.failure(NIR_VALUE, problem=f"shape {error}") from None
    whole = np.all(np.isfinite(sizes)) and np.all(sizes == np.rint(sizes)) and np.all(sizes >= 1)
    product = math.prod(sizes.reshape(-1).tolist())
    if sizes.ndim > 1 or not whole or product > MOST_INPUTS:
        shown = " ".join(str(sizes.tolist()).split())[:LONGEST_SHOWN]
        problem = f"shape {shown} is none of 1 to {MOST_INPUTS} elements"
        raise node.failure(NIR_VALUE, problem=problem)
    return int(product)
