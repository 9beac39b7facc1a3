"""What holds of graphs at level layers: which values their ops read, and from which layer.

A value is what the op that makes it gives. A state is what it becomes, a timestep earlier.
"""

from collections.abc import Iterator

from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import MAPS
from dmpc.ir.ops_layers import FIRING
from dmpc.ir.registry import op_def
from dmpc.ir.verify import describe, fact

INPUT, SPIKES, LATE, PAST = "the input", "spikes", "delayed events", "past spikes"
PRODUCT, DRIVE, SUM, CONSTANT = "a product", "a drive", "a sum", "a constant"
SLOW, PAST_SLOW = "slow states", "past slow states"
HELD, PAST_HELD = "held states", "past held states"
INTEGRATOR, PAST_INTEGRATOR = "a leaky integrator", "a past leaky integrator"

MADE = {
    "dense.y": PRODUCT, "conv.y": PRODUCT, "drive.y": DRIVE, "sum.y": SUM, "delay.late": LATE,
    "memory.m_next": SLOW, "hold.held_next": HELD, "li.u_next": INTEGRATOR,
    **{f"{kind}.spikes": SPIKES for kind in FIRING},
}  # fmt: skip
"""What an op's result is; of the others, its own states, nobody else reads anything."""
BEFORE = {SPIKES: PAST, SLOW: PAST_SLOW, HELD: PAST_HELD, INTEGRATOR: PAST_INTEGRATOR}
"""What a state is that becomes such a value; other values are not kept."""

EVENTS = (INPUT, SPIKES, LATE, PAST)
READ = {
    "dense.x": (*EVENTS, SLOW, PAST_SLOW, HELD, PAST_HELD, DRIVE), "conv.x": EVENTS,
    "drive.x": EVENTS, "drive.others": (DRIVE,), "memory.x": (DRIVE,),
    "hold.value": (SLOW, PAST_SLOW, DRIVE), "delay.events": EVENTS,
}  # fmt: skip
"""What an op may read as an operand, if that is no constant and no state of its own. Which currents
charge neurons is a rule of `dmpc.passes.layer_rules`: models have strange ones."""
ANSWERS = (PRODUCT, INTEGRATOR, SUM)
OWN = {"drive": ("others",), "memory": ("x",), "hold": ("value",)}
"""Operands that are of the same layer."""


def what_is(graph: Graph, name: str) -> str:
    """What a value is: one of the names above, or how it is told."""
    if name in graph.constants:
        return CONSTANT
    if name in graph.inputs:
        return INPUT
    op = graph.producer(name)
    if op is not None:
        made = f"{op.kind}.{op_def(op.kind).results[op.results.index(name)]}"
        return MADE.get(made, f"the {made} of {op.attrs['layer']}")
    state = graph.state(name)
    later = what_is(graph, state.next) if state and not graph.state(state.next) else "a state"
    return BEFORE.get(later, f"a state that becomes {later}")


@fact("ops of layers read what they can be charged or driven by", since="layers", until="layers")
def _reads(graph: Graph) -> Iterator[str]:
    for op in graph.ops:
        definition = op_def(op.kind)
        for slot, names in definition.bind(op.operands).items():
            if slot in definition.parameters:
                continue
            if f"{slot}_next" in definition.results:
                yield from _own(graph, op, slot, names[0])
                continue
            allowed = READ.get(f"{op.kind}.{slot}")
            if allowed is None:
                continue
            for name in names:
                found = what_is(graph, name)
                if found not in allowed:
                    wanted = " or ".join(allowed)
                    yield f"{describe(op)}: {slot} %{name} is {found}; it must be {wanted}"


def _own(graph: Graph, op: Op, slot: str, name: str) -> Iterator[str]:
    """The state that an op updates is one, and becomes what the op gives."""
    after = op.results[op_def(op.kind).results.index(f"{slot}_next")]
    state = graph.state(name)
    if state is None or state.next != after:
        yield f"{describe(op)}: {slot} %{name} must be a state that becomes %{after}"


@fact("the output is an answer of the readout", since="layers", until="layers")
def _output(graph: Graph) -> Iterator[str]:
    for name in graph.outputs:
        found, op = what_is(graph, name), graph.producer(name)
        if found not in ANSWERS:
            yield f"output %{name} is {found}; it must be {' or '.join(ANSWERS)}"
        elif op is not None and op.attrs["layer"] != "readout":
            yield f"output %{name} is of {op.attrs['layer']}, not of the layer readout"


@fact("a product charges one op, once", since="layers", until="layers")
def _products(graph: Graph) -> Iterator[str]:
    for op in graph.ops:
        if op.kind not in MAPS:
            continue
        name = op.results[0]
        readers = [user for user in graph.users(name) for read in user.operands if read == name]
        if len(readers) > 1:
            yield f"%{name} is read {len(readers)} times: {', '.join(map(describe, readers))}"


@fact(
    "a layer has neurons once, and drives and memories of its own", since="layers", until="layers"
)
def _layers(graph: Graph) -> Iterator[str]:
    neurons: dict[str, Op] = {}
    for op in graph.ops:
        layer = str(op.attrs["layer"])
        if op.kind in FIRING and layer == "readout":
            yield f"{describe(op)}: neurons that spike are of no layer readout"
        if op.kind in FIRING and neurons.setdefault(layer, op) is not op:
            yield f"{describe(op)}: {layer} has neurons already"
        bound = op_def(op.kind).bind(op.operands)
        for slot in OWN.get(op.kind, ()):
            for name in bound[slot]:
                state = graph.state(name)
                source = graph.producer(state.next if state else name)
                if source is not None and source.attrs["layer"] != layer:
                    of = source.attrs["layer"]
                    yield f"{describe(op)}: {slot} %{name} is of {of}, where the op is of {layer}"
