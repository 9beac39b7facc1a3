"""A rolled stage, and the body of its Scan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from onnx import GraphProto, NodeProto, ValueInfoProto, helper

from dmpc.frontend.normalise.flow import ABSENT, Flow, Operation
from dmpc.frontend.normalise.match import Before
from dmpc.frontend.normalise.proof import shape_of
from dmpc.frontend.normalise.template import Ref, Source, Template
from dmpc.ir.graph import Array


@dataclass
class Loop:
    """A rolled stage.

    `initial` holds the values of its states before the first timestep, `kept` those that the model
    itself holds, by number. `first` is what each result of the template is when it first is, and
    gives it its name. `clock` is the value that holds the numbers of the timesteps, if there is
    one: a state counts them. `stacked` collects what is read of the loop from outside: a source,
    the axis along which its timesteps are stacked, the tensor.
    """

    template: Template
    initial: dict[Before, Array]
    kept: dict[Before, int]
    first: dict[int, int]
    clock: int = ABSENT
    stacked: dict[tuple[Ref, int], str] = field(default_factory=dict)
    written: bool = False

    @property
    def states(self) -> list[Ref]:
        """What the timesteps hand on: sources with a delay of 1, 2, ... timesteps."""
        longest: dict[Source, int] = {}
        for ref in self.template.refs.values():
            if ref.delay > 0:
                longest[ref.source] = max(ref.delay, longest.get(ref.source, 0))
        return [Ref(source, d + 1) for source, delay in longest.items() for d in range(delay)]

    @property
    def scanned(self) -> list[Source]:
        """What the timesteps read of whole values."""
        sources = (ref.source for ref in self.template.refs.values())
        found = dict.fromkeys(s for s in sources if s.kind in ("slice", "lower"))
        return [source for source in found if source != self.counted]

    @property
    def counted(self) -> Source:
        """The clock, as the timesteps read it."""
        return Source("slice", self.clock)

    @property
    def counts(self) -> bool:
        """Whether the timesteps read the clock."""
        return any(ref.source == self.counted for ref in self.template.refs.values())


class ScanWriter:
    """Writes the body of a loop's Scan; `names` holds the tensor of everything that it reads."""

    def __init__(
        self, loop: Loop, flow: Flow, outside: Mapping[int, str], fresh: Callable[[str], str]
    ) -> None:
        self.loop, self.flow, self.fresh = loop, flow, fresh
        self.names: dict[Ref, str] = {}
        self.taken: set[str] = set()
        for source in (*loop.scanned, *([loop.counted] if loop.counts else [])):
            self.names[Ref(source)] = fresh(f"{flow.values[source.number].name}.now")
        for operation in loop.template.operations:
            for result in operation.results:
                if result == ABSENT:
                    continue
                name = flow.values[loop.first.get(result, result)].name
                self.names[Ref(Source("own", result))] = fresh(name.removesuffix("#0"))
        for ref in loop.states:
            suffix = ".before" if ref.delay == 1 else f".before{ref.delay}"
            self.names[ref] = fresh(self.names[Ref(ref.source)] + suffix)
        for ref in loop.template.refs.values():
            if ref.source.kind == "fixed":
                self.names[ref] = outside[ref.source.number]

    def body(self) -> GraphProto:
        """States and scanned values in, next states and values to stack out; a counter is the first
        of the states."""
        nodes = [self._node(operation) for operation in self.loop.template.operations]
        inputs = [self._info(ref, self.names[ref]) for ref in self.loop.states]
        inputs += [self._info(Ref(source), self.names[Ref(source)]) for source in self.loop.scanned]
        outputs = []
        if self.loop.counts:
            count = self.names[Ref(self.loop.counted)]
            one, after = (self.fresh(f"{count}.{part}") for part in ("one", "next"))
            nodes.append(helper.make_node("Constant", [], [one], one, value_float=1.0))
            nodes.append(helper.make_node("Add", [count, one], [after], after))
            inputs.insert(0, self._info(Ref(self.loop.counted), count))
            outputs.append(self._info(Ref(self.loop.counted), after))
        nexts = [Ref(ref.source, ref.delay - 1) for ref in self.loop.states]
        for ref in (*nexts, *(ref for ref, _ in self.loop.stacked)):
            output = self.fresh(f"{self.names[ref]}.out")
            nodes.append(helper.make_node("Identity", [self.names[ref]], [output], output))
            outputs.append(self._info(ref, output))
        return helper.make_graph(nodes, "timestep", inputs, outputs)

    def _node(self, operation: Operation) -> NodeProto:
        node = NodeProto()
        node.CopyFrom(operation.node)
        refs = self.loop.template.refs
        node.input[:] = [self.names[refs[o]] if o != ABSENT else "" for o in operation.operands]
        node.output[:] = [
            "" if r == ABSENT else self.names[Ref(Source("own", r))] for r in operation.results
        ]
        result = operation.results[0]
        first = self.flow.values[self.loop.first.get(result, result)].producer
        if first is not None and first.node.name not in self.taken:
            # two operations may have been one in the first timestep
            node.name = first.node.name
        self.taken.add(node.name)
        return node

    def _info(self, ref: Ref, name: str) -> ValueInfoProto:
        dtype = self.flow.values[ref.source.number].dtype
        return helper.make_tensor_value_info(name, dtype, shape_of(self.flow, ref.source))
