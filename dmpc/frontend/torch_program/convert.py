"""A `torch.export` program as an ONNX model: constants folded, dead code left out, names kept."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from onnx import ModelProto, helper

from dmpc.errors import ErrorList, ImportFailure
from dmpc.frontend.context import UNKNOWN_OPERATOR
from dmpc.frontend.nearest import nearest
from dmpc.frontend.operator_rules import RANDOM_NUMBERS
from dmpc.frontend.torch_program import (
    draws,
    elementwise,
    indexing,
    linear_maps,
    masks,
    movement,
    neurons,
    placed,
    products,
    spectral,
)
from dmpc.frontend.torch_program.emitter import (
    OPSET,
    Call,
    Chosen,
    Constant,
    Emitter,
    Handler,
    Place,
    Value,
    element_type,
    flat,
)
from dmpc.frontend.torch_program.nodes import (
    excerpt,
    kind_of,
    module_of,
    name_of,
    named_arguments,
    place,
    value_like,
)
from dmpc.frontend.torch_program.rearranged import emit, rearranged
from dmpc.frontend.torch_program.results import answer_of
from dmpc.frontend.torch_program.rules import (
    COMPLEX_RESULT,
    CONSTANT_RESULT,
    FORM,
    INNER_FUNCTION,
    MANY_ARGUMENTS,
)
from dmpc.frontend.torch_program.writes import rename_writes, writes_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram

HANDLERS: Mapping[str, Handler] = {
    **elementwise.HANDLERS,
    **indexing.HANDLERS,
    **linear_maps.HANDLERS,
    **masks.HANDLERS,
    **movement.HANDLERS,
    **neurons.HANDLERS,
    **placed.HANDLERS,
    **products.HANDLERS,
    **spectral.HANDLERS,
}
# What takes the shape alone of its first argument: evaluated, whatever that holds.
SHAPED = (
    "empty_like", "full_like", "new_empty", "new_full", "new_ones", "new_zeros", "ones_like",
    "zero", "zeros_like",
)  # fmt: skip
# What takes the shape or type alone of its second.
FITTED = ("expand_as", "reshape_as", "type_as", "view_as")
USED = frozenset({0})  # of operations with one result


def to_onnx(program: ExportedProgram, name: str, answer: Any = None) -> ModelProto:
    """The ONNX model of a program with one input; the output is the one, or the node `answer`.

    Node names are the user's modules and the program's names for calls (`layer1.lif.mul_3`).
    Initialisers bear the names of parameters and buffers. Raises ImportFailure that names the
    user's module where an operation is not supported.
    """
    program = functional_form(program)
    conversion = _Conversion(program)
    output = conversion.run(answer or answer_of(program, None).node)
    source = conversion.input
    assert source is not None  # the output depends on it
    graph = helper.make_graph(
        conversion.emitter.nodes,
        name,
        [helper.make_tensor_value_info(source.name, element_type(source.dtype), source.shape)],
        [helper.make_tensor_value_info(output.name, element_type(output.dtype), output.shape)],
        list(conversion.emitter.weights.values()),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, producer_name="dmpc")


def functional_form(program: ExportedProgram) -> ExportedProgram:
    """The program without operations that write into their operands, but for simple ones, and with
    recurrent layers of torch's as the timesteps that they compute."""
    program = _unrolled(program)
    _straighten(program.graph)
    rename_writes(program.graph)
    if writes_of(list(program.graph.nodes)) is not None:
        return program
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        functional: ExportedProgram = program.run_decompositions({})
    _read_back(functional.graph)
    return functional


def _read_back(graph: Any) -> None:
    """Let what reads one place of a tensor read what was last written there, `x[k] = s`."""
    import torch

    aten = torch.ops.aten
    for node in graph.nodes:
        if node.target is not aten.select.int:
            continue
        source, *place = node.args
        while source.target is aten.select_scatter.default and source.args[2] == place[0]:
            base, written, _, at = source.args
            if at == place[1]:
                node.replace_all_uses_with(written)
                break
            if min(at, place[1]) < 0:  # which of them are the same depends on the size
                break
            source = base
        node.args = (source, *place)


def _unrolled(program: ExportedProgram) -> ExportedProgram:
    """A program with the loops over time of `nn.RNN` written out, as of LeakyParallel."""
    import torch
    from torch._decomp import get_decompositions

    layers = [torch.ops.aten.rnn_relu.input, torch.ops.aten.rnn_tanh.input]
    if not any(node.target in layers for node in program.graph.nodes):
        return program
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unrolled: ExportedProgram = program.run_decompositions(get_decompositions(layers))
    return unrolled


def _straighten(graph: Any) -> None:
    """Let nodes of a graph stand for what they are by another name: a first power, a dropout that
    drops nothing, which returns the very tensor, and the size of a number with its sign, as torch
    writes the sums of `lp_pool2d` with a norm of 1."""
    import torch

    aten = torch.ops.aten
    for node in graph.nodes:
        given = node.args
        idle = kind_of(node) in elementwise.DROPOUT and not named_arguments(node)["train"]
        if idle or (node.target is aten.pow.Tensor_Scalar and given[1] == 1):
            node.replace_all_uses_with(given[0])
        elif node.target is aten.mul.Tensor and all(
            isinstance(one, torch.fx.Node) for one in given
        ):
            sign, size = given
            whole = size.args[0] if size.target is aten.relu.default else size
            targets = [getattr(one, "target", None) for one in (sign, whole)]
            if targets == [aten.sign.default, aten.abs.default] and sign.args == whole.args:
                node.replace_all_uses_with(sign.args[0])


class _Conversion:
    """The walk through a program's nodes."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.nodes = list(program.graph.nodes)
        self.writes = writes_of(self.nodes) or {}
        inputs = program.graph_signature.user_inputs
        self.whole = {} if self.writes else rearranged(self.nodes, inputs, _needed)
        self.emitter = Emitter()
        self.env: dict[Any, Any] = {}
        self.input: Value | None = None
        self.errors = ErrorList()
        self.told: dict[tuple[str, str | None, str], ImportFailure] = {}
        self.lost: set[Any] = set()  # nodes that could not be converted, or depend on one

    def run(self, output: Any) -> Value:
        """Convert every node that the output depends on; returns what it became."""
        live = self._reached(output)
        for node in self.nodes:
            if node in live:
                self._gather(node, live)
        # What draws random numbers does not run at all, whatever else it would need.
        self.errors.errors.sort(key=lambda error: error.rule is not RANDOM_NUMBERS)
        self.errors.check()
        result = self.env[output]
        if not isinstance(result, Value):
            raise ImportFailure.of(CONSTANT_RESULT)
        self.emitter.use(result)
        if result.dtype.is_complex:
            raise ImportFailure.of(COMPLEX_RESULT, where=place(output))
        return result

    def _gather(self, node: Any, live: set[Any]) -> None:
        """Convert a node, or enter what is wrong with it and go on.

        What depends on a node that is lost is lost as well, and nothing is said of it but that its
        operation is unknown.
        """
        try:
            if self.lost.isdisjoint(self._read(node)):
                self._convert(node, live)
                return
            if node.op == "call_function" and kind_of(node) not in (*HANDLERS, *SHAPED, ""):
                if draws.is_random(node):
                    raise ImportFailure.of(RANDOM_NUMBERS, where=place(node), op=kind_of(node))
                raise unsupported(kind_of(node), node)
        except ImportFailure as error:
            error.nodes = error.nodes or (name_of(node),)
            error.piece = error.piece if error.piece.steps else excerpt(node)
            self._tell(node, error)
        self.lost |= {node, self.writes.get(node, node)}

    def _tell(self, node: Any, error: ImportFailure) -> None:
        """Enter an error, unless a line of the user's has made it before, in another timestep."""
        key = (module_of(node), node.meta.get("stack_trace"), error.message)
        first = self.told.setdefault(key, error)
        if key[1] is None or first is error:
            self.errors.add(error)
        else:
            first.nodes += error.nodes

    def _convert(self, node: Any, live: set[Any]) -> None:
        if node.op == "placeholder":
            self.env[node] = self._placeholder(node)
        elif node in self.writes:
            self._write(node)
        elif node in self.whole:
            self.env[node] = emit(self.emitter, self.whole[node], node, self.env, name_of(node))
        elif node.op == "call_function":
            self.env[node] = self._call(node, live)

    def _placeholder(self, node: Any) -> Value | Constant:
        import torch

        signature = self.program.graph_signature
        stored = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        if node.name in stored:
            name = stored[node.name]
            found = self.program.state_dict.get(name, self.program.constants.get(name))
            assert isinstance(found, torch.Tensor)
            return Constant(found.detach(), name)
        if not isinstance(node.meta["val"], torch.Tensor):
            what = "a generator of random numbers, or another object, as an operand"
            near = "encode the input as spikes before it reaches the network"
            raise ImportFailure.of(FORM, where=node.name, what=what, nearest=near)
        if self.input is not None:
            raise ImportFailure.of(MANY_ARGUMENTS, first=self.input.name, second=node.name)
        self.input = value_like(node.name, node.meta["val"])
        return self.input

    def _call(self, node: Any, live: set[Any]) -> Any:
        import torch

        if any(other.op == "get_attr" for other in node.all_input_nodes):
            raise ImportFailure.of(INNER_FUNCTION, where=place(node))
        if node.target is operator.getitem:
            return self.env[node.args[0]][node.args[1]]
        if not isinstance(node.target, torch._ops.OpOverload):
            raise ImportFailure.of(
                FORM,
                where=place(node),
                what=f"{node.target}",
                nearest="an operation of torch itself",
            )
        arguments = {key: self._found(value) for key, value in named_arguments(node).items()}
        kind = kind_of(node)
        drawn = draws.drawn(node, kind, arguments)
        if drawn is not None and any(_values(arguments.values())):
            raise drawn
        if kind not in masks.INDEXING and any(
            isinstance(part, Place) for part in flat(arguments.values())
        ):
            what = f"{kind} of the places where a mask is true"
            raise ImportFailure.of(FORM, where=place(node), what=what, nearest="the mask itself")
        read = list(arguments.values())
        if kind in SHAPED or not any(_values(read[:1] if kind in FITTED else read)):
            return self._folded(node, arguments, drawn)
        places = masks.places(self.emitter, kind, arguments)
        if places is not None:
            return places
        if kind not in HANDLERS:
            raise unsupported(kind, node)
        used = {
            user.args[1] for user in node.users if user.target is operator.getitem and user in live
        }
        name = name_of(node)
        by_mask = masks.chosen(self.emitter, kind, name, arguments)
        if by_mask is not None:
            return by_mask
        if kind != "index_put" and any(
            isinstance(part, Chosen) for part in flat(arguments.values())
        ):
            what = f"{kind} of elements that a mask chooses"
            raise ImportFailure.of(FORM, where=place(node), what=what, nearest="torch.where")
        shapes = node.meta["val"]
        several = isinstance(shapes, list | tuple)
        results = tuple(value_like(name, each) for each in (shapes if several else [shapes]))
        call = Call(kind, name, arguments, results, frozenset(used) or USED)
        try:
            made = HANDLERS[kind](self.emitter, call)
        except ImportFailure as error:
            error.where = place(node)
            raise
        if isinstance(made, Value):
            return made
        if several:
            return [Value(each, r.shape, r.dtype) for each, r in zip(made, results, strict=True)]
        assert isinstance(made, str)
        return Value(made, results[0].shape, results[0].dtype)

    def _write(self, node: Any) -> None:
        """`y[:, t] = x`: from here on y is another tensor."""
        place, whole = node.args[0], self.writes[node]
        slot, target = value_like(f"{name_of(node)}.place", place.meta["val"]), self.env[whole]
        source = self._found(node.args[1])
        arguments = {"self": slot, "src": source}
        name = HANDLERS["copy"](self.emitter, Call("copy", slot.name, arguments, (slot,), USED))
        assert isinstance(name, str)
        arguments = {**named_arguments(place), "self": target, "src": replace(slot, name=name)}
        result = value_like(name_of(node), whole.meta["val"])
        call = Call("select_scatter", result.name, arguments, (result,), USED)
        self.env[whole] = HANDLERS["select_scatter"](self.emitter, call)

    def _reached(self, output: Any) -> set[Any]:
        """The nodes that an output depends on."""
        written: dict[Any, list[Any]] = {}
        for node, whole in self.writes.items():
            written.setdefault(whole, []).append(node)
        seen, left = {output}, [output]
        while left:
            node = left.pop()
            needed = [*self._read(node), *written.get(node, ())]
            fresh = [each for each in needed if each not in seen]
            seen.update(fresh)
            left.extend(fresh)
        return seen

    def _read(self, node: Any) -> list[Any]:
        return self.whole[node].roots if node in self.whole else _needed(node)

    def _found(self, argument: Any) -> Any:
        """An argument with nodes replaced by what they became."""
        if isinstance(argument, list | tuple):
            return [self._found(part) for part in argument]
        if not _is_node(argument):
            return argument
        dead = argument not in self.env  # it lends its shape
        return value_like(argument.name, argument.meta["val"]) if dead else self.env[argument]

    def _folded(self, node: Any, arguments: Mapping[str, Any], drawn: ImportFailure | None) -> Any:
        """What an operation makes of constants, computed by torch itself."""
        import torch

        constants = [part for part in flat(arguments.values()) if isinstance(part, Constant)]
        base = next((part.name for part in constants), "")
        name = f"{base}.{node.name}" if base else node.name
        with torch.no_grad():
            result = node.target(**{key: _plain(value) for key, value in arguments.items()})
        if isinstance(result, list | tuple):
            parts = [f"{name}.{number}" for number in range(len(result))]
            return [Constant(part, each, drawn) for part, each in zip(result, parts, strict=True)]
        return Constant(result, name, drawn) if isinstance(result, torch.Tensor) else result


def _plain(value: Any) -> Any:
    """An argument of an operation that torch is to run; of computed tensors the shape counts."""
    import torch

    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, Constant):
        return value.tensor
    return torch.empty(value.shape, dtype=value.dtype) if isinstance(value, Value) else value


def _needed(node: Any) -> list[Any]:
    """The nodes whose elements a node reads."""
    if kind_of(node) in (*SHAPED, "copy", "copy_"):
        return list(filter(_is_node, flat((*node.args[1:], *node.kwargs.values()))))
    if kind_of(node) in FITTED:
        return [node.args[0]]
    return list(node.all_input_nodes)


def _values(values: Iterable[Any]) -> Iterable[bool]:
    return (isinstance(value, Value) for value in flat(values))


def _is_node(argument: Any) -> bool:
    import torch

    return isinstance(argument, torch.fx.Node)


def unsupported(kind: str, node: Any) -> ImportFailure:
    """The error for an operation that is not in the table, with the nearest that is."""
    near = nearest(kind, HANDLERS)
    return ImportFailure.of(UNKNOWN_OPERATOR, where=place(node), op=kind, nearest=near)
