"""What is shared while a model is imported, and the loop over a graph's nodes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from onnx import GraphProto, NodeProto

from dmpc.errors import ErrorList, ImportFailure
from dmpc.frontend.boundary import Poisoned, boundary, shown
from dmpc.frontend.builder import Builder
from dmpc.frontend.excerpt import excerpt
from dmpc.frontend.nearest import CURVES, nearest
from dmpc.frontend.onnx_file import RANDOM, Node, evaluate, initializers, label
from dmpc.frontend.operator_rules import BENT_ANSWER, BENT_CHARGE, RANDOM_NUMBERS
from dmpc.frontend.responses import Systems
from dmpc.frontend.tensors import Known, Tensor, Traced
from dmpc.ir.graph import Loc
from dmpc.ir.wires import Wires
from dmpc.rules import Stage, rule

COMPARED = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
Handler = Callable[["Context", Node, "Arguments"], list[Tensor]]

UNKNOWN_OPERATOR = rule(
    "unknown-operator",
    Stage.IMPORT,
    "operator {op} is not supported",
    why="""A network is made of linear maps, rectifiers, comparisons with a threshold, choices
    between two values, and operators that only move elements. Others have no place on the machine,
    unless they work on constants alone.""",
    nearest="{nearest}",
)
COMPUTED = rule(
    "computed-parameter",
    Stage.IMPORT,
    "{op} takes its {what} from a computed value",
    why="""What decides on shapes, axes, weights and limits is the same in every timestep of every
    sample: it is part of the program, not of the data.""",
    nearest="a constant is needed",
)
SHAPES = ("Shape", "Size")  # what they give does not depend on what they read
NO_VALUE = rule(
    "no-value",
    Stage.IMPORT,
    "{op} reads '{name}', which nothing defines",
    why="""What the body of a loop reads from outside is the same in every timestep. The sequence
    comes into the body slice by slice, through the loop's own inputs.""",
    nearest="the body of a loop may read constants from outside, not values of the sequence",
)


@dataclass(frozen=True)
class Arguments:
    """The inputs of a node; an optional input that is left out is None."""

    node: Node
    tensors: list[Tensor | None]
    outer: Mapping[str, Tensor]

    def __getitem__(self, number: int) -> Tensor:
        """A tensor that the node needs."""
        tensor = self.get(number)
        if tensor is None:
            raise ImportFailure(f"{self.node.op} lacks input {number}", where=self.node.name)
        return tensor

    def get(self, number: int) -> Tensor | None:
        """A tensor, or None if the node does without it."""
        return self.tensors[number] if number < len(self.tensors) else None

    def constant(self, number: int, what: str) -> Known:
        """A tensor that the node needs, and that must be a constant."""
        known = self.known(number, what)
        assert known is not None, f"the checker lets no {self.node.op} without {what} pass"
        return known

    def known(self, number: int, what: str) -> Known | None:
        """A tensor that must be a constant, or None if it is left out."""
        tensor = self.get(number)
        if tensor is not None and not isinstance(tensor, Known):
            where = self.node.name
            raise ImportFailure.of(COMPUTED, where=where, op=self.node.op, what=what)
        return tensor


@dataclass
class Context:
    """An import in progress.

    A node that cannot be imported is entered in `errors`, and the import goes on, so that one run
    finds all of them. The node's outputs are `poisoned`: whatever reads them is passed over without
    a word, unless its operator is unknown as well, and poisons its own outputs. A name maps to
    False if it may stand for a constant, as what is made of shapes does.
    """

    opset: int
    builder: Builder
    operators: Mapping[str, Handler]
    keep_initial: bool
    scanned: bool = False  # true after the first Scan
    of_sequence: bool = False  # then all inputs of the graph but the first are states
    finals: set[str] = field(default_factory=set)  # outputs of Scans that are final states
    systems: Systems = field(default_factory=Systems)  # slow states found in impulse responses
    errors: ErrorList = field(default_factory=ErrorList)
    poisoned: dict[str, bool] = field(default_factory=dict)
    within: tuple[GraphProto, Sequence[str]] = GraphProto(), ()  # gone through, with its states

    def run_model(self, graph: GraphProto, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `run`, for the whole model; raises ImportFailure with every error found."""
        try:
            tensors = self.run(graph, inputs)
        except Poisoned:
            tensors = {}
        self.errors.check()
        return tensors

    def run(
        self, graph: GraphProto, outer: Mapping[str, Tensor], carried: Sequence[str] = ()
    ) -> dict[str, Tensor]:
        """Go through a graph's nodes; returns every tensor visible at its end, by name.

        `outer` holds the graph's inputs and what is visible from outside, `carried` names outputs
        that are states. Raises Poisoned if a node that an output depends on could not be imported.
        """
        around, self.within = self.within, (graph, carried)
        try:
            return self._run(graph, outer)
        finally:
            self.within = around

    def _run(self, graph: GraphProto, outer: Mapping[str, Tensor]) -> dict[str, Tensor]:
        tensors = dict(outer)
        for name, array in initializers(graph).items():
            tensors.setdefault(name, Known(array, name))
        for proto in graph.node:
            try:
                results = self._node(Node(proto, self.opset), tensors)
            except Poisoned:
                computed = proto.op_type not in SHAPES and self._computes(proto, tensors)
                self.poisoned.update(dict.fromkeys(proto.output, computed))
                continue
            except ImportFailure as error:
                self.errors.add(at_node(error, graph, proto))
                self.poisoned.update(dict.fromkeys(proto.output, True))
                continue
            tensors.update(
                (name, result) for name, result in zip(proto.output, results, strict=False) if name
            )
        if any(self._is_poisoned(value.name, tensors) for value in graph.output):
            raise Poisoned
        return tensors

    def _is_poisoned(self, name: str, tensors: Mapping[str, Tensor]) -> bool:
        return bool(name) and name in self.poisoned and name not in tensors

    def _computes(self, node: NodeProto, tensors: Mapping[str, Tensor]) -> bool:
        """True for a node that reads something that is no constant for sure."""
        return any(
            not isinstance(tensors[name], Known) if name in tensors else self.poisoned.get(name)
            for name in node.input
        )

    def _node(self, node: Node, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        inputs: list[Tensor | None] = []
        if any(self._is_poisoned(name, tensors) for name in node.proto.input):
            if node.op not in self.operators and self._computes(node.proto, tensors):
                raise unsupported(node, self.operators)
            raise Poisoned
        for name in node.proto.input:
            if name and name not in tensors:
                raise ImportFailure.of(NO_VALUE, where=node.name, op=node.op, name=name)
            inputs.append(tensors[name] if name else None)
        if node.foreign:
            raise unsupported(node, self.operators)
        known = [tensor for tensor in inputs if isinstance(tensor, Known)]
        if len(known) == len([t for t in inputs if t is not None]) and not _has_body(node):
            arrays = [t.array if isinstance(t, Known) else None for t in inputs]
            name = next((tensor.name for tensor in known if tensor.name), "")
            return [Known(array, name) for array in evaluate(node, arrays)]
        if node.op not in self.operators:
            raise self.refused(node, inputs)
        with boundary(node.name, shown(node.proto, [t.shape if t else None for t in inputs])):
            return self.operators[node.op](self, node, Arguments(node, inputs, tensors))

    def refused(self, node: Node, inputs: Iterable[Tensor | None]) -> ImportFailure:
        """The error for an operator that the machine has not, on some tensors: where it bends what
        is made of states, what is wrong is the neuron, or the readout."""
        graph = self.builder.graph
        wires, states = graph.wires(), {*graph.inputs[1:], *(state.name for state in graph.states)}
        read = {one.value for one in inputs if isinstance(one, Traced)}
        above = read.union(*map(wires.above, read))
        bends = node.op in CURVES and not node.foreign
        if not bends or not self.of_sequence or states.isdisjoint(above):
            return unsupported(node, self.operators)
        charges = _charges(*self.within, node.proto.output)
        rule = BENT_CHARGE if charges else BENT_ANSWER
        return ImportFailure.of(rule, where=node.name, op=node.op)


def _charges(graph: GraphProto, carried: Iterable[str], names: Iterable[str]) -> bool:
    """Whether a comparison or a loop of a graph, or a state that is `carried`, hears of values."""
    wires = Wires[str]()
    ends = {*carried}
    for node in graph.node:
        ends.update(node.output if node.op_type in (*COMPARED, "Scan") else ())
        for name, result in product(node.input, node.output):
            wires.wire(name, result)
    return not ends.isdisjoint({*names}.union(*(wires.below(name) for name in names)))


def at_node(error: ImportFailure, graph: GraphProto, node: NodeProto) -> ImportFailure:
    """An error that names the node and shows the piece of the graph around it, if it did not."""
    for one in error.every:
        one.where = one.where or label(node)
        one.nodes = one.nodes or (one.where,)
        one.piece = one.piece if one.piece.steps else excerpt(graph, node)
    return error


def _has_body(node: Node) -> bool:
    return any(attribute.HasField("g") for attribute in node.proto.attribute)


def unsupported(node: Node, operators: Mapping[str, Handler]) -> ImportFailure:
    """The error for an operator that the frontend does not know, with the nearest that it does;
    of one that draws random numbers, that it does."""
    if node.op in RANDOM:
        return ImportFailure.of(RANDOM_NUMBERS, where=node.name, op=node.op)
    near = nearest(node.op, operators)
    return ImportFailure.of(UNKNOWN_OPERATOR, where=node.name, op=node.op, nearest=near)


def loc_of(node: Node) -> Loc:
    """Provenance of what a node becomes."""
    return (node.name,)
