"""What the layers of a network must keep to before any number is chosen for them."""

from collections.abc import Iterator

import numpy as np

from dmpc.errors import CompileError, raise_all
from dmpc.ir.excerpt import excerpt
from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.ops_convolution import MAPS
from dmpc.ir.ops_layers import FIRING, NEURONS, integrator
from dmpc.ir.registry import op_def
from dmpc.rules import Rule, Stage, rule

INITIAL_STATE = rule(
    "initial-state",
    Stage.LAYERS,
    "{what} of {layer} start from {start}, not from zero",
    why="""Before each sample the machine clears slow states and past spikes. Membranes, synaptic
    currents, what neurons adapt by and leaky readouts may start from any numbers, which lie beside
    their parameters. A model that ran before it was exported, and was not reset, carries the states
    of its last sample with it: its logits are then off, often without a change of the
    prediction.""",
    nearest="reset the model's states before exporting it",
)
LEAK_RANGE = rule(
    "leak-range",
    Stage.LAYERS,
    "{count} of {neurons} neurons of {layer} keep {kept:g} of their membrane a timestep; the "
    "machine keeps 0 .. 1 of it",
    why="""A leak above 1 makes a membrane explode, one below 0 makes it oscillate; the neuron unit
    multiplies by a fraction. Training that does not bound the leak, or its time constant, may leave
    the range.""",
    nearest="clamp the leak to 0 .. 1 in training, as exp(-1 / tau) or a sigmoid does",
)
STRANGE_CURRENT = rule(
    "strange-current",
    Stage.LAYERS,
    "current {current} of {layer} is neither a dense product nor a current of these neurons alone",
    why="""A neuron adds up products of weights with events, slow states and scalar drives, and one
    bias; and synaptic currents of its own, each of which adds up such products.""",
    nearest="the machine integrates weighted events, memory states and scalar drives",
)
GRADED_DELAY = rule(
    "graded-delay",
    Stage.LAYERS,
    "the input of {layer} is delayed, but holds values other than 0 and 1",
    why="""Delays hold events, one bit each, while they wait; values have 16.""",
    nearest="binarise the input, or delay the spikes of the layer behind it",
)
GRADED_COMPARISON = rule(
    "graded-comparison",
    Stage.LAYERS,
    "'{node}' compares or rounds the input, which holds values other than 0 and 1",
    why="""Of events, 0 and 1, any function of one input is a weight and a bias. Of other values it
    is a decision in front of the network, which no unit of the machine takes.""",
    nearest="compare or round the data before it reaches the network",
)
MANY_PRODUCTS = rule(
    "many-products",
    Stage.MACHINE,
    "{layer} adds up {products} products, {number} of them in bank {bank}, which takes {queue} at "
    "a time",
    why="""What a group of neurons adds up in a bank is one burst, which waits whole in the queue
    before it: a product for each layer that is read, and one for each time at which an input
    arrives. Banks that are full of weights send products to others.""",
    nearest="fewer delays of synapses, or a target with wider banks",
)
STATES = {
    "li": "currents",
    **dict.fromkeys(FIRING, "membranes"),
    "memory": "memory states",
    "hold": "held states",
}


def check_layers(graph: Graph) -> None:
    """Check a graph at level layers; raises CompileError with all that is wrong."""
    raise_all(error for op in graph.ops for error in _errors(graph, op))


def _errors(graph: Graph, op: Op) -> Iterator[CompileError]:
    for name in op.operands:
        state = graph.state(name)
        if state is None or not _starts(graph, state) or _keeper(graph, name) is not op:
            continue
        event = graph.types[name].dtype == "event"
        if event or op.kind not in NEURONS:
            what = "past spikes" if event else STATES.get(op.kind, "states")
            fields = {"what": what, "layer": op.attrs["layer"], "start": f"%{state.init}"}
            yield layer_error(INITIAL_STATE, graph, op, **fields)
    if op.kind in NEURONS:
        yield from _neuron_errors(graph, op)
    elif op.kind == "sum":
        yield from _sum_errors(graph, op)


def _keeper(graph: Graph, state: str) -> Op:
    """The op whose own a state is, or the first that reads it."""
    users = graph.users(state)
    return next((op for op in users if op.kind in STATES and op.operands[0] == state), users[0])


def _starts(graph: Graph, state: State) -> bool:
    return state.init is not None and bool(graph.constants[state.init].any())


def _neuron_errors(graph: Graph, op: Op) -> Iterator[CompileError]:
    bound, layer = op_def(op.kind).bind(op.operands), op.attrs["layer"]
    states = [name for name in bound["currents"] if _may_follow(graph, op, name)]
    for name in bound["currents"]:
        if op.kind in FIRING or not states:
            taken = name in states or is_product(graph, name)
        else:
            taken = states == [name] or _weightless(graph, name)
        if not taken:
            yield layer_error(STRANGE_CURRENT, graph, op, current=f"%{name}", layer=layer)
    beta = graph.constants[bound["beta"][0]]
    for rho in (graph.constants[name] for name in bound.get("rho", ())):
        beta = np.concatenate([beta, rho])
    wrong = beta[(beta < 0) | (beta > 1)]
    if wrong.size:
        yield layer_error(
            LEAK_RANGE, graph, op, layer=layer, kept=wrong[0], count=wrong.size, neurons=beta.size
        )


def _sum_errors(graph: Graph, op: Op) -> Iterator[CompileError]:
    """A sum is the output, of dense products."""
    strange = [name for name in op.operands if not is_product(graph, name)]
    for name in strange if op.results[0] in graph.outputs else op.results:
        layer = op.attrs["layer"]
        yield layer_error(STRANGE_CURRENT, graph, op, current=f"%{name}", layer=layer)


def _may_follow(graph: Graph, op: Op, name: str) -> bool:
    """True for a current that charges neurons, and no others; and for logits that others follow."""
    source = integrator(graph, name)
    if source is None or source is op:
        return False
    if op.kind not in FIRING:
        return op.attrs["layer"] == "readout" and name == source.results[0]
    if source.attrs["layer"] == "readout":
        return False
    both = (source.results[0], source.operands[0])
    return all(user in (op, source) for one in both for user in graph.users(one))


def _weightless(graph: Graph, name: str) -> bool:
    """True for a product that is a constant."""
    producer = graph.producer(name)
    weights = graph.constants.get(producer.operands[1]) if producer else None
    return weights is not None and not weights.any()


def is_product(graph: Graph, name: str) -> bool:
    """True for the result of a linear map."""
    producer = graph.producer(name)
    return producer is not None and producer.kind in MAPS


def layer_error(rule: Rule, graph: Graph, op: Op, **fields: object) -> CompileError:
    """The error of an op at level layers, in the user's node names."""
    return CompileError.of(
        rule,
        where=", ".join(op.loc) or graph.name,
        nodes=op.loc,
        piece=excerpt(graph, op.results[0], known=spikes_of(graph)),
        **fields,
    )


def spikes_of(graph: Graph) -> set[str]:
    """The spikes of all layers."""
    return {op.results[0] for op in graph.ops if op.kind in FIRING}
