"""Lowering: the instructions of a placed graph, each with where it comes from."""

from dmpc.backend.lower_ops import Lowering
from dmpc.backend.order import execution_order
from dmpc.backend.pieces import Lowered
from dmpc.errors import CompileError, raise_all
from dmpc.ir.graph import Graph
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

NESTED = 2  # loops: timesteps in samples


def lower(graph: Graph, target: Target) -> list[Lowered]:
    """The program: a loop over samples around a loop over timesteps.

    Raises CompileError where an operand does not fit its instruction, and if the target cannot nest
    these loops.
    """
    if target.sequencer.loops < NESTED:
        message = f"programs nest {NESTED} loops; target {target.name} has {target.sequencer.loops}"
        raise CompileError(message, where=graph.name, hint=f"sequencer.loops = {NESTED}, or more")
    lowering = Lowering(graph, target)
    order = execution_order(graph)
    end = [op for op in order if op is not None and op.attrs.get("when") == "end"]
    timestep = order[: len(order) - len(end)]
    step = [
        item for op in timestep for item in (lowering.inputs() if op is None else lowering.op(op))
    ]
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
