"""What placement and emission must agree on: which constants share rows, which bank holds what."""

from collections.abc import Sequence

from dmpc.errors import CompileError
from dmpc.ir.chains import NEURONS, STAGES, Chain, chains_of, ends_of, stages_of
from dmpc.ir.graph import Attr, Graph, Op
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.ops_neurons import MODEL_OF, OTHERS
from dmpc.ir.registry import op_def
from isa.kernel import Axis, Kernel
from isa.layout import Layout
from isa.limits import PERIOD
from isa.neurons import STAGES as MACHINE
from isa.parameters import ALIASES
from isa.target import EXTERNAL, Target

REGISTERS = ("events", "values")
PARAMETERS = ("threshold", "bias", "reset", "beta", "shift", *ALIASES)
"""What an element of the parameter memory packs, by the names of operands."""
NO_STATE = ("", "")
START = "start"
"""What a record holds that a state is added before the first timestep."""


Block = tuple[tuple[str, str], dict[str, str]]
"""A state before and after its stages, with the constants of its record; of limits no state."""


def records_of(graph: Graph, op: Op) -> list[dict[str, str]]:
    """The constants of an op that lie in the parameter memory, by what they are.

    A record for each state of its neurons, and one of limits behind them; ops that are stages of
    one state share its records, and ops of one cell all of theirs.
    """
    if op.kind not in NEURONS:
        return [_record(graph, [op])]
    return [record for _, record in _blocks(graph, op)]


def layer_blocks(graph: Graph, layer: Attr) -> list[Block]:
    """All that neurons of a layer keep, in an order in which each op's lies side by side."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    starts: dict[str, str] = {}
    for op in graph.ops:
        if op.attrs.get("layer") == layer and op.kind in NEURONS:
            starts |= starts_of(graph, op)
            for state, record in _blocks(graph, op):
                found.setdefault(state, record)
    states = sorted(found.items(), key=lambda block: block[0] == NO_STATE)
    return [*states, *((NO_STATE, {START: init}) for init in starts.values())]


def _blocks(graph: Graph, op: Op) -> list[Block]:
    """What lies side by side with what an op on neurons changes."""
    if op.kind in MODEL_OF:
        chains = [chain for one in cell_of(graph, op) for chain in stages_of(one)]
        readers = [stage for chain in chains for stage in chain]
        limits = [one for one in readers if _of_limits(one)]
    else:
        every, readers = chains_of(graph), []
        chain = next(chain for chain in every if any(one is op for one in chain))
        raised = {one.operands[1] for one in chain if "shift_source" in op_def(one.kind).operands}
        chains = [chain, *(other for other in every if other[0].operands[0] in raised)]
        limits = [one for one in chain if _of_limits(one)]
    parts = [[one for one in chain if not _of_limits(one)] for chain in chains]
    found = [
        (ends_of(chain), _record(graph, part, readers))
        for chain, part in zip(chains, parts, strict=True)
    ]
    return [*found, *([(NO_STATE, _record(graph, limits))] if limits else [])]


def _of_limits(op: Op) -> bool:
    """Whether a stage reads the record of limits, and not its state's."""
    return bool(MACHINE[STAGES[op.kind]].limits)


def cell_of(graph: Graph, op: Op) -> list[Op]:
    """Ops whose states lie side by side, in that order: before one that reads what others keep,
    those that do."""
    if MODEL_OF[op.kind].fires:
        reader = op
    else:
        own = [name for state in states_of(op) for name in state]
        users = (user for name in own for user in graph.users(name))
        reader = next((user for user in users if set(_read(user)) & {*own}), op)
    names = _read(reader)
    return [*(one for one in graph.ops if one is not reader and _keeps(one, names)), reader]


def _record(graph: Graph, chain: Chain, readers: Sequence[Op] = ()) -> dict[str, str]:
    """The constants of a state, by its stages, and by what stages of others take with it."""
    bound = [op_def(op.kind).bind(op.operands) for op in chain]
    ends = ends_of(chain)
    users = (user for name in ends for user in graph.users(name) if user.kind in STAGES)
    for reader in (*readers, *users):
        given = op_def(reader.kind).bind(reader.operands)
        if given.get("source", ("",))[0] in ends:
            bound.append({one: given.get(f"{one}_source", ()) for one in OTHERS})
    found = {slot: one[slot][0] for one in bound for slot in PARAMETERS if one.get(slot)}
    return {slot: found[slot] for slot in PARAMETERS if found.get(slot) in graph.constants}


def states_of(op: Op) -> list[tuple[str, str]]:
    """The states that an op on neurons changes: the name of each before and after."""
    if op.kind not in MODEL_OF:
        return [(op.operands[0], op.results[-1])]
    bound, states = op_def(op.kind).bind(op.operands), MODEL_OF[op.kind].changed
    after = op.results[-len(states) :]
    return [(bound[state.name][0], new) for state, new in zip(states, after, strict=True)]


def side_by_side(graph: Graph, op: Op) -> list[tuple[str, str]]:
    """The states that lie side by side, those of an op on neurons among them, in their order."""
    cell = cell_of(graph, op) if op.kind in MODEL_OF else [op]
    return [state for one in cell for state in states_of(one)]


def _read(op: Op) -> list[str]:
    """The states that an op of a model reads and others keep."""
    if op.kind not in MODEL_OF:
        return []
    bound, states = op_def(op.kind).bind(op.operands), MODEL_OF[op.kind].states
    return [bound[state.name][0] for state in states if not state.stages]


def _keeps(op: Op, names: list[str]) -> bool:
    """Whether an op of a model changes a state of some name."""
    return op.kind in MODEL_OF and any(name in names for state in states_of(op) for name in state)


def starts_of(graph: Graph, op: Op) -> dict[str, str]:
    """The states of an op on neurons or logits that do not start from zero, with what they start
    from; a maximum starts from the least number by itself."""
    if op.attrs.get("mode") == "max":
        return {}
    states = (graph.state(name) for name, _ in states_of(op))
    return {state.name: state.init for state in states if state and state.init}


def bank_of(op: Op, target: Target) -> int:
    """The bank in which a product's weights lie."""
    bank = op.attrs.get("bank")
    return bank if isinstance(bank, int) else target.bank_for(str(op.attrs["path"]))


def share_of(op: Op) -> tuple[int, int]:
    """First phase and sixteenths of a product's rows in its bank; all of them without a share."""
    share = op.attrs.get("share", (0, PERIOD))
    assert isinstance(share, tuple)
    first, size = share
    assert isinstance(first, int)
    assert isinstance(size, int)
    return first, size


def layout_of(graph: Graph, op: Op, target: Target) -> Layout:
    """Which rows a product has in its bank."""
    if op.kind == "convolve":
        made = Convolution.of(op.attrs, graph.types[op.operands[1]].shape)
        if made.outputs // made.parts % target.lanes:
            raise CompileError(
                f"{made.outputs} outputs of a convolution in {made.parts} parts fill no whole rows "
                f"of {target.lanes} lanes",
                where=", ".join(op.loc) or graph.name,
                hint="compile the model for this target from its file, which fills them up",
            )
        groups = made.places * made.outputs // target.lanes
        return Layout(made.inputs, groups, kernel=kernel_of(made, target.lanes))
    neurons, inputs = graph.types[op.operands[1]].shape
    return Layout(inputs, -(-neurons // target.lanes), *share_of(op))


def kernel_of(made: Convolution, lanes: int) -> Kernel:
    """A convolution as a bank takes it; outputs of a part, or all of them, fill whole rows."""
    y, x = (
        Axis(*one)
        for one in zip(
            made.size, made.taps, made.stride, made.padding, made.dilation, made.pool, strict=True
        )
    )
    blocks, parts = made.outputs // lanes, made.parts
    return Kernel(y, x, made.channels, made.positions[1], blocks, parts, made.planar)


def section_of(target: Target, memory: str, row: int) -> tuple[str, int]:
    """The part of an image that holds a row of a memory, and which row is that part's first."""
    limit = target.memories[memory].rows
    return (memory, 0) if row < limit else (EXTERNAL + memory, limit)
