"""Chains: the stages of neurons, state by state, in a graph of the integer levels.

Before `fuse` each stage is an op; after it, one op does all stages of a model's states. Both are
read here as the same thing, so that an analysis or a placement need not know which it has.
"""

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_neurons import MODEL_OF, PARAMETERS, SPIKED, ending, needed, taken_by
from dmpc.ir.registry import op_def
from isa.neurons import FIRING, Read

STAGES = {stage.replace(".", "_"): stage for stage in PARAMETERS}
"""The stage of neurons that each op is."""

NEURONS = (*MODEL_OF, *STAGES)
"""Ops on the rows of neurons."""

Chain = list[Op]
"""The stages of one state, from its leak on if it has one, each the only user of the one before."""


def fires(op: Op) -> bool:
    """Whether an op makes spikes of membranes."""
    return STAGES.get(op.kind) in FIRING or (op.kind in MODEL_OF and MODEL_OF[op.kind].fires)


def takes_spikes(op: Op) -> bool:
    """Whether an op is a stage behind its neurons' spikes."""
    return STAGES.get(op.kind) in SPIKED


def chains_of(graph: Graph) -> list[Chain]:
    """The stages of every state of neurons, in the order in which they end."""
    inner = {op.operands[0] for op in graph.ops if op.kind in STAGES}
    ends = [op for op in graph.ops if op.kind in STAGES and op.results[-1] not in inner]
    return [chain_of(graph, end) for end in ends]


def chain_of(graph: Graph, end: Op) -> Chain:
    """The ops from the first of a state's stages to the last."""
    chain = [end]
    while not begins(graph, chain[0]):
        membrane = chain[0].operands[0]
        producer = graph.producer(membrane)
        if producer is None or producer.kind not in STAGES or fires(producer):
            raise CompileError(
                f"%{membrane} does not come from a state and stages of the same neurons",
                where=", ".join(end.loc) or graph.name,
            )
        if len(graph.users(membrane)) != 1:
            raise CompileError(
                f"%{membrane} is read by more than one op, so it cannot stay in a register",
                where=", ".join(end.loc) or graph.name,
            )
        chain.insert(0, producer)
    return chain


def begins(graph: Graph, op: Op) -> bool:
    """Whether an op is the first stage of a state."""
    return op.kind in STAGES and graph.state(op.operands[0]) is not None


def ends_of(chain: Chain) -> tuple[str, str]:
    """A state before and after its stages."""
    return chain[0].operands[0], chain[-1].results[-1]


def stages_of(op: Op) -> list[Chain]:
    """The chains of ops that a fused op does the work of; values between them have made names."""
    model = MODEL_OF[op.kind]
    bound = op_def(op.kind).bind(op.operands)
    split = op.attrs["events"]
    assert isinstance(split, int)
    names = [state.name for state in model.changed]
    after = dict(zip(names, op.results[-len(names) :], strict=True))

    def read(of: Read) -> str:
        return bound[of.state][0] if of.late or of.state not in after else after[of.state]

    found = []
    for state in model.changed:
        (value,), chain = bound[state.name], Chain()
        for stage in state.stages:
            kind = stage.replace(".", "_")
            own = [bound[n + ending(of)][0] for of, ns in needed(state, stage).items() for n in ns]
            taken = taken_by(state, stage, bound["sums"], split, read)
            if stage == "integrate.events" and not taken:
                continue
            taken = [op.results[0]] if stage in SPIKED else taken
            last = stage == state.stages[-1]
            made = after[state.name] if last else f"{after[state.name]}.{kind}"
            results = (*op.results[:1], made) if stage in FIRING else (made,)
            attrs = {"shift": op.attrs["event_shift"], **op.attrs}
            chain.append(Op(kind, (value, *taken, *own), results, attrs, op.loc))
            value = made
        found.append(chain)
    return found
