"""The rolled graph: every stage of an unrolled one as a Scan over time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.build import captured
from dmpc.frontend.normalise.flow import ABSENT, JOINS, Flow, Kind, Operation, Value
from dmpc.frontend.normalise.proof import shape_of
from dmpc.frontend.normalise.scan_body import Loop, ScanWriter
from dmpc.frontend.normalise.template import NO_COUNTERPART, Place, Places, Ref, Source
from dmpc.frontend.onnx_file import Node, label
from dmpc.ir.graph import Array


class Emitter:
    """Writes the nodes of a rolled graph in an order in which they can be computed."""

    def __init__(self, flow: Flow, loops: dict[int, Loop], places: Places, opset: int) -> None:
        self.flow, self.loops, self.places, self.opset = flow, loops, places, opset
        self.nodes: list[NodeProto] = []
        self.stored: list[TensorProto] = []
        self.tensors: dict[int, str] = {}
        self.finals: dict[Source, str] = {}
        last = flow.steps - 1
        self.used = {
            value.name
            for value in flow.values
            if value.kind != Kind.STEP or (value.slice is None and value.step == last)
        }

    def graph(self, graph: GraphProto) -> GraphProto:
        """The rolled form of the graph that the flow was built from.

        Raises ImportFailure if a timestep computes something that no other does.
        """
        numbers = [self.flow.tensors[value.name] for value in graph.output]
        self._collect(numbers)
        for value, number in zip(graph.output, numbers, strict=True):
            name = self._tensor(number)
            if name != value.name:
                self._add("Identity", [name], value.name)
        inputs = [value for value in graph.input if value.name != self.flow.clock]
        return helper.make_graph(self.nodes, graph.name, inputs, graph.output, self.stored)

    def _collect(self, numbers: list[int]) -> None:
        """Note what is read of every loop from outside."""
        seen: set[object] = {ABSENT}
        stack = list(numbers)
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            value = self.flow.values[number]
            stage = value.stage
            if number in self.places:
                stage = self.places[number].stage
                self._read(self.places[number])
            elif value.producer is not None and value.producer.joins:
                self._stacked(stage, self._joined(value.producer), _axis(self.flow, value.producer))
            else:
                stack += self._operands(value)
                continue
            if ("loop", stage) not in seen:
                seen.add(("loop", stage))
                stack += self._outside(self.loops[stage])

    def _operands(self, value: Value) -> list[int]:
        if value.slice is not None:
            return [value.slice.source]
        if value.producer is None:
            return []
        if value.kind == Kind.STEP and value.step < self.flow.steps - 1:
            where = label(value.producer.node)
            raise ImportFailure.of(NO_COUNTERPART, where=where, step=self.flow.middle)
        return list(value.producer.operands)

    def _outside(self, loop: Loop) -> Iterator[int]:
        """What a loop reads from outside."""
        for ref in loop.template.refs.values():
            if ref.source == loop.counted:
                continue
            if ref.source.kind in ("fixed", "slice"):
                yield ref.source.number
            elif ref.source.kind == "lower":
                self._stacked(ref.source.extra, Ref(Source("own", ref.source.number)), 0)
                yield from self._outside(self.loops[ref.source.extra])
        yield from loop.kept.values()

    def _joined(self, operation: Operation) -> Ref:
        template = self.loops[self.flow.values[operation.results[0]].stage].template
        return template.refs[operation.of(template.step)]

    def _read(self, place: Place) -> None:
        """Note that a result of a loop is read at one timestep."""
        if not self._final(place):
            self._stacked(place.stage, Ref(Source("own", place.number)), 0)

    def _final(self, place: Place) -> bool:
        """Whether the loop hands the value on anyway, and it is the last."""
        handed = Ref(Source("own", place.number), 1) in self.loops[place.stage].states
        return handed and place.step == self.flow.steps - 1

    def _stacked(self, stage: int, ref: Ref, axis: int) -> str:
        """The tensor that holds a source at all timesteps."""
        stacked = self.loops[stage].stacked
        if (ref, axis) not in stacked:
            stacked[ref, axis] = self._fresh(f"{self.flow.values[ref.source.number].name}.all")
        return stacked[ref, axis]

    def _tensor(self, number: int) -> str:
        """The tensor of a value, with the nodes that it needs."""
        if number not in self.tensors:
            self.tensors[number] = self._write(self.flow.values[number])
        return self.tensors[number]

    def _write(self, value: Value) -> str:
        if value.number in self.flow.stored:
            self.stored.append(self.flow.stored[value.number])
        elif value.number in self.places:
            return self._at(self.places[value.number], value.name)
        elif value.slice is not None:
            source = self._tensor(value.slice.source)
            return self._gather(source, value.slice.step, value.slice.axis, value.name)
        elif value.producer is not None and value.producer.joins:
            self._join(value.producer, value)
        elif value.producer is not None:
            self._copy(value.producer)
        return value.name

    def _at(self, place: Place, name: str) -> str:
        self._loop(place.stage)
        if self._final(place):
            return self.finals[Source("own", place.number)]
        stacked = self._stacked(place.stage, Ref(Source("own", place.number)), 0)
        return self._gather(stacked, place.step, 0, name)

    def _gather(self, source: str, step: int, axis: int, name: str) -> str:
        place = self._constant(np.array(step), f"{name}.step")
        return self._add("Gather", [source, place], self._fresh(name), axis=axis)

    def _cut_out(self, source: str, axis: int, steps: range) -> str:
        ends = (steps.start, steps.stop, axis)
        places = [self._constant(np.array([end], np.int64), f"{source}.ends") for end in ends]
        return self._add("Slice", [source, *places], self._fresh(f"{source}.later"))

    def _join(self, operation: Operation, value: Value) -> None:
        """What a node makes of one value of every timestep, from their stack."""
        self._loop(value.stage)
        axis = _axis(self.flow, operation)
        stacked = self._stacked(value.stage, self._joined(operation), axis)
        name = label(operation.node)
        if operation.node.output[0] in self.flow.later:
            stacked = self._cut_out(stacked, axis, operation.timesteps)
        if operation.node.op_type == "Concat":
            assert value.shape is not None
            shape = self._constant(np.array(value.shape, np.int64), f"{value.name}.shape")
            self._add("Reshape", [stacked, shape], value.name, name=name)
            return
        reduce = JOINS[operation.node.op_type]
        if self.opset < 18 and reduce != "ReduceSum":
            self._add(reduce, [stacked], value.name, name=name, axes=[0], keepdims=0)
        else:
            axes = self._constant(np.array([0]), f"{value.name}.axes")
            self._add(reduce, [stacked, axes], value.name, name=name, keepdims=0)

    def _copy(self, operation: Operation) -> None:
        node = NodeProto()
        node.CopyFrom(operation.node)
        names = [self._tensor(o) if o != ABSENT else "" for o in operation.operands]
        explicit = len(node.input)
        for name, inside in zip(names[explicit:], captured(node, self.flow), strict=True):
            if name != inside:
                self._add("Identity", [name], inside)
        node.input[:] = names[:explicit]
        for output, number in zip(node.output, operation.results, strict=True):
            if output:
                self.tensors[number] = output
        self.nodes.append(node)

    def _loop(self, stage: int) -> None:
        """Write the Scan of a stage, once."""
        loop = self.loops[stage]
        if loop.written:
            return
        loop.written = True
        for number in self._outside(loop):
            self._tensor(number)
        sources, axes = [], []
        for source in loop.scanned:
            if source.kind == "slice":
                sources.append(self._tensor(source.number))
                axes.append(source.extra)
            else:
                self._loop(source.extra)
                sources.append(self._stacked(source.extra, Ref(Source("own", source.number)), 0))
                axes.append(0)
        scan = ScanWriter(loop, self.flow, self.tensors, self._fresh)
        starts = [self._start(loop, ref, scan.names[ref]) for ref in loop.states]
        finals = [self._fresh(f"{scan.names[ref]}.last") for ref in loop.states]
        for ref, name in zip(loop.states, finals, strict=True):
            if ref.delay == 1:
                self.finals[ref.source] = name
        if loop.counts:
            nought = np.zeros(shape_of(self.flow, loop.counted), np.float32)
            starts.insert(0, self._constant(nought, "timestep.initial"))
            finals.insert(0, self._fresh("timestep.last"))
        self._add(
            "Scan",
            [*starts, *sources],
            [*finals, *loop.stacked.values()],
            name=f"the loop over time {stage}",
            body=scan.body(),
            num_scan_inputs=len(sources),
            scan_input_axes=axes,
            # an attribute may not be an empty list
            **({"scan_output_axes": [axis for _, axis in loop.stacked]} if loop.stacked else {}),
        )

    def _start(self, loop: Loop, ref: Ref, name: str) -> str:
        """The tensor of a state before the first timestep."""
        before = (ref.source, -ref.delay)
        if before in loop.kept:
            return self._tensor(loop.kept[before])
        return self._constant(loop.initial[before], f"{name}.initial")

    def _constant(self, array: Array, name: str) -> str:
        name = self._fresh(name)
        self.stored.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def _add(
        self, kind: str, inputs: list[str], output: str | list[str], name: str = "", **more: Any
    ) -> str:
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(kind, inputs, outputs, name or outputs[0], **more))
        return outputs[0] if outputs else ""

    def _fresh(self, name: str) -> str:
        """A tensor name that is not in use."""
        found, number = name, 1
        while found in self.used:
            number += 1
            found = f"{name}.{number}"
        self.used.add(found)
        return found


def _axis(flow: Flow, operation: Operation) -> int:
    """The axis along which a node joins timesteps."""
    if operation.node.op_type != "Concat":
        return 0
    value = flow.values[operation.results[0]]
    if value.shape is None:
        raise ImportFailure("has a shape that is not known", where=label(operation.node))
    return Node(operation.node, 0).axis("axis", 0, len(value.shape))
