"""Lowering: the instructions of a placed graph, each with where it comes from."""

from collections.abc import Iterator

from dmpc.backend.lower_ops import Lowering
from dmpc.backend.pieces import Lowered, stage_of
from dmpc.errors import CompileError, raise_all
from dmpc.ir.graph import Graph, Op
from dmpc.ir.wires import Ring, Wires
from dmpc.rules import Stage, rule
from isa.errors import IsaError
from isa.format import encode
from isa.instructions import Halt, Loop
from isa.target import Target

TOO_LARGE = rule(
    "too-large",
    Stage.MACHINE,
    "{layer}: {reason}",
    why="""Rows, sizes and shifts are fields of an instruction, each with a number of bits; see
    isa.md.""",
    nearest="the layer is larger than an instruction can say",
)


def lower(graph: Graph, target: Target) -> list[Lowered]:
    """The program: a loop over samples around a loop over timesteps.

    Raises CompileError where an operand does not fit its instruction.
    """
    lowering = Lowering(graph, target)
    order = execution_order(graph)
    moves = [op for op in order if op.kind == "move"]
    rest = [op for op in order if op.kind != "move" and op.attrs.get("when") != "end"]
    end = [op for op in order if op.attrs.get("when") == "end"]
    # The input first: it comes while layers still work on the timestep before.
    step = [*lowering.inputs(), *(item for op in (*moves, *rest) for item in lowering.op(op))]
    drain = max(item.instruction.stage for item in step)
    steps = Lowered(Loop(counter="steps", drain=drain, length=len(step)), "timestep")
    answer = [item for op in end for item in lowering.op(op)]
    body = [*lowering.clears(), steps, *step, *answer, *lowering.emit()]
    program = [
        Lowered(Loop(counter="samples", length=len(body)), "main"),
        *body,
        Lowered(Halt(), "end"),
    ]
    _check(program)
    return program


def _check(program: list[Lowered]) -> None:
    """Raises CompileError for the first operand of each layer that does not fit."""
    errors: dict[str, CompileError] = {}
    for item in program:
        layer, nodes = item.provenance.layer, tuple(item.provenance.nodes)
        try:
            encode(item.instruction)
        except IsaError as error:
            where = ", ".join(nodes)
            found = CompileError.of(TOO_LARGE, where=where, nodes=nodes, layer=layer, reason=error)
            errors.setdefault(layer, found)
    raise_all(errors.values())


def execution_order(graph: Graph) -> list[Op]:
    """The ops but for products, in an order that keeps states and copies in place.

    A state's register or rows hold its old value until the op that replaces it, so whatever reads
    the old value comes first; and a copy for a later stage is made before the original changes.
    Products run with the op that consumes their sums.
    """
    at = {name: i for i, op in enumerate(graph.ops) for name in op.results}
    writer = {state.name: at[state.next] for state in graph.states}
    ops = [i for i, op in enumerate(graph.ops) if op.kind != "matvec"]
    order = Wires(ops)
    for i in ops:
        for name in _reads(graph, graph.ops[i]):
            if name in at and graph.ops[i].kind == "move":
                order.wire(i, at[name])
            elif name in at:
                order.wire(at[name], i)
            elif name in writer and writer[name] != i:
                order.wire(i, writer[name])
    rank = {i: (stage_of(graph.ops[i]), i) for i in ops}
    try:
        return [graph.ops[i] for i in order.ordered(rank.__getitem__)]
    except Ring as found:
        ring = [graph.ops[i] for i in found.nodes]
        raise CompileError(
            "a state is read both before and after its update by ops that depend on each other: "
            + ", ".join(f"%{op.results[0]}" for op in ring),
            where=graph.name,
        ) from None


def _reads(graph: Graph, op: Op) -> Iterator[str]:
    """Vectors that an op reads, directly or through its products."""
    for name in op.operands:
        producer = graph.producer(name)
        if producer is not None and producer.kind == "matvec":
            yield producer.operands[0]
        else:
            yield name
