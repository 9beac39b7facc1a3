"""Values that timesteps hold, `if t % 3 == 0: held = memory`, with the hold written out.

In an unrolled graph nothing is left of the condition: timesteps 3, 4 and 5 all read what timestep 3
made. What differs is how old a value is that is read in a certain place; where that goes round with
the timesteps, each gets a hold there, which a clock sets: an input more of the graph, [timesteps],
that the rolled graph replaces by a state that counts.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.build import captured
from dmpc.frontend.normalise.evaluate import Evaluator
from dmpc.frontend.normalise.flow import ABSENT, Flow, Kind, Operation, Value
from dmpc.frontend.normalise.order import read_again
from dmpc.frontend.normalise.shapes import Shape
from dmpc.frontend.normalise.template import Held, Places, coloured, described, told_apart
from dmpc.ir.graph import Array
from dmpc.ir.wires import Ring, Wires

MOST = 100  # operations of a timestep that may be the one that reads what is held


@dataclass(frozen=True)
class Hold:
    """What the `readers`, one in each timestep but for some first ones, read at a `position`: a
    value of the last timestep that was due, or one so much older. Due is `first`, and `every` so
    many from there on."""

    readers: Mapping[int, Operation]
    position: int
    every: int
    older: int
    first: int

    def at(self, step: int) -> int | None:
        """The value that is read from a timestep on, if it is due and one is."""
        due = step % self.every == self.first
        return self._read(range(step, step + self.every)) if due else None

    def start(self) -> int | None:
        """The value that is read in the first timesteps, if one is."""
        return self._read(range(max(self.first, 1)))

    def _read(self, steps: range) -> int | None:
        readers = (self.readers[step] for step in steps if step in self.readers)
        return next((one.operands[self.position] for one in readers), None)


def with_holds(
    graph: GraphProto,
    known: Evaluator,
    stage: int,
    operations: Sequence[Operation],
    places: Places,
    small: dict[str, Array],
) -> tuple[GraphProto, str] | None:
    """The graph with a stage's holds written out, and its clock; None if it has none.

    Types of what is new are entered in the flow's, and where it cuts the clock in `small`, the
    small integers.
    """
    flow = known.flow
    if not read_again(flow, operations):
        return None
    found, held = list[Hold](), set[tuple[int, int]]()
    while (hold := _next(flow, stage, operations, places, held)) is not None:
        found.append(hold)
        held |= {(one.number, hold.position) for one in hold.readers.values()}
    middle = [one for one in operations if flow.values[one.results[0]].step == flow.middle]
    try:
        colours = told_apart(flow, stage, operations, places, middle, held)
        writer = _Writer(graph, known, colours, small)
        written = bool(found) and all(map(writer.write, found))
        return (writer.sorted(), writer.clock) if written else None
    except (ImportFailure, Ring):  # of twins; of what is held and follows from what reads it
        return None


def _next(
    flow: Flow, stage: int, operations: Sequence[Operation], places: Places, held: Held
) -> Hold | None:
    """The first place in which the middle timestep reads otherwise than the one behind it, as far
    as none of those that are held tells."""
    colours, middle = coloured(flow, stage, operations, places, {}, held), flow.middle
    step = {one.number: flow.values[one.results[0]].step for one in operations}
    behind = {colours[one.number] for one in operations if step[one.number] == middle + 1}
    unlike = {
        one.results[0]: one
        for one in operations
        if step[one.number] == middle and colours[one.number] not in behind
    }

    def others(one: Operation, position: int) -> list[object]:
        """What an operation is but for an operand."""
        rest = (at for at in range(len(one.operands)) if at != position)
        known = (flow, stage, step[one.number])
        read = [described(*known, one.operands[at], places, colours, {}) for at in rest]
        return [one.key, len(one.operands), *read]

    for one in islice(unlike.values(), MOST):
        explicit = one.operands[: len(one.node.input)]
        strange = [position for position, operand in enumerate(explicit) if operand in unlike]
        for position in strange or range(len(explicit)):
            if explicit[position] == ABSENT or (one.number, position) in held:
                continue
            wanted = others(one, position)
            readers = {
                step[other.number]: other
                for other in operations
                if other.key == one.key and others(other, position) == wanted
            }
            hold = _fitting(flow, stage, readers, position)
            if hold is not None:
                return hold
    return None


def _fitting(
    flow: Flow, stage: int, readers: Mapping[int, Operation], position: int
) -> Hold | None:
    """The hold that makes what is read as old as it is."""
    ages = dict[int, int]()
    for step, reader in readers.items():
        value = flow.values[reader.operands[position]]
        if value.kind == Kind.STEP and value.stage == stage and value.slice is None:
            ages[step] = step - value.step
    older = min(ages.values(), default=0)
    every = max(ages.values(), default=0) - older + 1
    first = next((step % every for step, age in ages.items() if age == older), 0)
    fits = all(age == older + (step - first) % every for step, age in ages.items())
    enough = len(ages) >= max(2 * every, flow.steps - every)
    return Hold(readers, position, every, older, first) if fits and enough and every > 1 else None


class _Writer:
    """Writes holds into a graph."""

    def __init__(
        self,
        graph: GraphProto,
        known: Evaluator,
        colours: Mapping[int, int],
        small: dict[str, Array],
    ) -> None:
        self.graph, self.known, self.colours, self.small = GraphProto(), known, colours, small
        self.flow = flow = known.flow
        self.graph.CopyFrom(graph)
        self.names = {number: name for name, number in reversed(flow.tensors.items())}
        self.used, self.numbers = {*flow.tensors}, Counter[str]()
        self.twins: dict[tuple[int, int], Operation] = {}
        for operation in flow.operations:
            if operation.number in colours:
                step = flow.values[operation.results[0]].step
                self.twins[colours[operation.number], step] = operation
        self.nodes: dict[int, list[NodeProto]] = defaultdict(list)  # by what they compute
        for node in self.graph.node:
            self.nodes[flow.tensors.get(next(iter(node.output), ""), ABSENT)].append(node)
        self.copies: dict[tuple[int, int], str] = {}
        self.clock, self.middle = flow.clock, flow.middle
        self.time: Shape = ()

    def write(self, hold: Hold) -> bool:
        """Let the readers of a hold read it; False if what it holds is not to be found."""
        some = self.flow.values[hold.readers[self.middle].operands[hold.position]]
        if not some.shape or not self._tells(some.shape):
            return False
        start = hold.start()
        if start is not None and self.flow.values[start].kind == Kind.STATIC:
            before = self.names[start]
        else:
            dtype = helper.tensor_dtype_to_np_dtype(some.dtype)
            rest = np.broadcast_to(self._at_rest(some.number), some.shape).astype(dtype)
            before = self._constant(f"{some.name}.held", rest)
        period = self._constant(f"{some.name}.period", np.array(hold.every, np.float32))
        wanted = self._constant(f"{some.name}.wanted", np.array(hold.first, np.float32))
        for step in range(self.flow.steps):
            read = hold.at(step)
            later = step - some.step - hold.older
            now = self._at(some.number, later) if read is None else self.names[read]
            if now is None and step >= self.middle:
                return False
            if now is not None:  # first timesteps are simpler: what they hold they hold on to
                before = self._chosen(some, step, period, wanted, now, before)
            reader = hold.readers.get(step)
            for node in self.nodes[reader.results[0]] if reader is not None else ():
                node.input[hold.position] = before
        return True

    def _chosen(
        self, some: Value, step: int, period: str, wanted: str, now: str, before: str
    ) -> str:
        """What is held in a timestep: what is now, if it is due, or what was before."""
        at = self._constant(f"{some.name}.at", np.array(step))
        clock = self._add("Gather", [self.clock, at], f"{some.name}.timestep", axis=0)
        phase = self._add("Mod", [clock, period], f"{some.name}.phase", fmod=1)
        due = self._add("Equal", [phase, wanted], f"{some.name}.due")
        self.flow.types.dtypes[due] = TensorProto.BOOL
        held = self._add("Where", [due, now, before], f"{some.name}.held")
        if some.shape is not None:
            self.flow.types.shapes[held] = some.shape
        self.flow.types.dtypes[held] = some.dtype
        return held

    def _at_rest(self, number: int) -> Array:
        """What is made of a state of zeros."""
        value, made = self.flow.values[number], self.flow.values[number].producer
        read = set() if made is None else {*made.operands} - {ABSENT}
        moving = [operand for operand in read if self.flow.values[operand].kind == Kind.STEP]
        if made is None or len(moving) != 1 or value.slice is not None:
            return np.zeros(value.shape or ())
        given = {one: self.known.static(one) for one in read - {*moving}}
        return self.known.run(made, {**given, moving[0]: self._at_rest(moving[0])})[number]

    def _tells(self, shape: Shape) -> bool:
        """Whether the clock tells the time to values of a shape: one number for each sample."""
        types = self.flow.types
        if not self.clock:
            batch = shape[:1] if len(shape) > 1 else ()
            self.clock = self._entered("timesteps", TensorProto.FLOAT)
            types.shapes[self.clock] = self.flow.steps, *batch, *(1 for _ in shape[len(batch) :])
            clock = helper.make_tensor_value_info(
                self.clock, TensorProto.FLOAT, types.shapes[self.clock]
            )
            self.graph.input.append(clock)
        self.time = types.shapes[self.clock][1:]
        return len(shape) == len(self.time)

    def _twin(self, number: int, later: int) -> str | None:
        """The tensor of what a value is so many timesteps later, if there is one."""
        value, made = self.flow.values[number], self.flow.values[number].producer
        if value.kind == Kind.STATIC or not later:
            return self.names.get(number)
        if (cut := value.slice) is not None:
            there = self.flow.known.get(("slice", cut.source, cut.axis, cut.step + later))
            return self.names.get(there[0]) if there else None
        if made is None or made.number not in self.colours:
            return None
        twin = self.twins.get((self.colours[made.number], value.step + later))
        return self.names.get(twin.results[made.results.index(number)]) if twin else None

    def _at(self, number: int, later: int) -> str | None:
        """The same, computed if nobody did: of the last timesteps, what nothing reads is not there.

        Before the middle one it is computed of nothing older, which goes back to the start.
        """
        found = self._twin(number, later) or self.copies.get((number, later))
        value, made = self.flow.values[number], self.flow.values[number].producer
        if found or made is None or ABSENT in (*made.operands, *made.results[1:]):
            return found
        since = value.step if value.step + later < self.middle else 0
        read = [
            (self._twin if self.flow.values[one].step < since else self._at)(one, later)
            for one in made.operands
        ]
        if None in read or len(read) > len(made.node.input) or len(made.results) > 1:
            return None
        node = NodeProto()
        node.CopyFrom(made.node)
        node.input[:] = [name for name in read if name]
        node.output[:] = [self._entered(value.name, value.dtype)]
        if value.shape is not None:
            self.flow.types.shapes[node.output[0]] = value.shape
        self.graph.node.append(node)
        return self.copies.setdefault((number, later), node.output[0])

    def _constant(self, name: str, array: Array) -> str:
        stored = numpy_helper.from_array(array, self._entered(name, TensorProto.FLOAT))
        self.graph.initializer.append(stored)
        self.small |= {stored.name: array} if array.dtype.kind == "i" else {}
        return stored.name

    def _add(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        output = self._entered(name, TensorProto.FLOAT)
        self.graph.node.append(helper.make_node(kind, inputs, [output], output, **attributes))
        self.flow.types.shapes[output] = self.time
        return output

    def _entered(self, name: str, dtype: int) -> str:
        """A tensor's name like that, which nothing bears."""
        found = name
        while found in self.used:
            self.numbers[name] += 1
            found = f"{name}.{self.numbers[name]}"
        self.used.add(found)
        self.flow.types.dtypes[found] = dtype
        return found

    def sorted(self) -> GraphProto:
        """The graph with its nodes in an order in which they can be computed."""
        nodes = list(self.graph.node)
        makers = {name: number for number, node in enumerate(nodes) for name in node.output}
        wires = Wires(range(len(nodes)))
        for number, node in enumerate(nodes):
            for name in (*node.input, *captured(node, self.flow)):
                if name in makers:
                    wires.wire(makers[name], number)
        ordered = GraphProto(node=[nodes[number] for number in wires.ordered(int)])
        del self.graph.node[:]
        self.graph.node.MergeFrom(ordered.node)
        return self.graph
