"""Operator fusion: the stages of a neuron's timestep happen in registers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from dmpc.ir.chains import STAGES, Chain, chains_of, ends_of, fires
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_neurons import ending, needed, slots, step_name
from dmpc.ir.registry import COMMON_ATTRS, op_def
from dmpc.passes.base import Pass
from isa.neurons import MODELS, READING, Model, State

EVENTS = "integrate.events"
READERS = {stage.replace(".", "_") for stage in READING}
"""Ops that take another state, which is their second operand."""
FIRE_ATTRS = ("reset_mode", "times", "endless")
"""Attributes of firing that neurons which spike keep."""


@dataclass(frozen=True)
class Fuse(Pass):
    """Joins the neuron ops of a layer into one: one read and write of each state.

    Sun et al. 2026, "operator fusion". Which stages of which states an instruction does together is
    what models of `isa.neurons` say. The fused op saturates where the separate ops do, so every bit
    stays as it was. Not `enabled`, each op reads and writes the membranes for itself.
    """

    name: ClassVar[str] = "fuse"
    enabled: bool = True

    def run(self, graph: Graph) -> Graph:
        """The graph with one op for the stages of neurons whose model the machine has."""
        graph = graph.copy()
        graph.level = "fused"
        chains = chains_of(graph)
        for chain in sorted(chains, key=lambda one: not _reads(one)) if self.enabled else ():
            if chain[-1] not in graph.ops:
                continue  # fused with the neurons that it charges
            cell = _cell(graph, chain, chains)
            known = {name for one in cell for name in ends_of(one)}
            for part in _parts(cell):
                found = _model_of(part, known)
                if found and not _wait_for_each_other(graph, part, cell):
                    _replace(graph, *found)
                    break
        graph.ops = graph.toposort()
        return graph


def _reads(chain: Chain) -> list[Op]:
    """The ops of a chain that take another state."""
    return [op for op in chain if op.kind in READERS]


def _cell(graph: Graph, chain: Chain, chains: list[Chain]) -> list[Chain]:
    """A chain with those of the states that it takes and nothing else reads, and so on."""
    cell = [chain]
    for one in cell:
        for op in _reads(one):
            taken = next((other for other in chains if op.operands[1] in ends_of(other)), None)
            if taken is not None and taken not in cell and _readers(graph, taken) == [op]:
                cell.append(taken)
    return cell


def _parts(cell: list[Chain]) -> Iterator[list[Chain]]:
    """A cell, and what is left of it where states are kept by others, the most of it first."""
    first, *others = cell
    for size in range(len(others), -1, -1):
        yield from ([first, *some] for some in combinations(others, size))


def _wait_for_each_other(graph: Graph, part: list[Chain], cell: list[Chain]) -> bool:
    """Whether neurons take a current late, so before it is kept, that hears of their last spikes,
    so is kept before they fire: then no instruction can do the one as a whole, and leave the other
    to another."""
    every = [op for chain in part for op in chain]
    late = {op.operands[1] for op in every if op.kind in READERS}
    spikes = {op.results[0] for op in every if fires(op)}
    past = {state.name for state in graph.states if state.next in spikes}
    kept = [chain for chain in cell if chain not in part and ends_of(chain)[0] in late]
    taken = (name for chain in kept for op in chain for name in op.operands[1:])
    products = (graph.producer(name) for name in taken)
    return any(op.operands[0] in past for op in products if op is not None)


def _readers(graph: Graph, chain: Chain) -> list[Op]:
    """The ops that read a state, before or after a chain changes it, beside the chain itself."""
    users = (user for name in ends_of(chain) for user in graph.users(name))
    return [user for user in users if user is not chain[0]]


def _model_of(cell: list[Chain], known: set[str]) -> tuple[Model, list[Chain]] | None:
    """The model whose states go through the stages of these chains, which it puts in its order.

    What these read of others must be `known`.
    """
    by_stages = {tuple(_stages(chain)): chain for chain in cell}
    for model in MODELS:
        wanted = [tuple(s for s in state.stages if s != EVENTS) for state in model.changed]
        if len(cell) != len(wanted) or by_stages.keys() != {*wanted}:
            continue
        found = [by_stages[stages] for stages in wanted]
        ends = {
            state.name: ends_of(chain) for state, chain in zip(model.changed, found, strict=True)
        }
        if all(_takes(*pair, ends, known) for pair in zip(model.changed, found, strict=True)):
            return model, found
    return None


def _stages(chain: Chain) -> list[str]:
    """Stages of a chain; events are integrated where there are any."""
    return [STAGES[op.kind] for op in chain if STAGES[op.kind] != EVENTS]


def _takes(state: State, chain: Chain, ends: dict[str, tuple[str, str]], known: set[str]) -> bool:
    """Whether a chain takes the other states as a model's state does; what others keep, anyhow."""
    reads = ((op.operands[1], state.reads[STAGES[op.kind]]) for op in _reads(chain))
    return all(
        name in known and (read.state not in ends or name == ends[read.state][not read.late])
        for name, read in reads
    )


def _replace(graph: Graph, model: Model, cell: list[Chain]) -> None:
    """Put one op in the place of the last of all those of a cell."""
    every = [op for chain in cell for op in chain]
    ends = [chain[-1] for chain in cell]
    at = max(map(graph.ops.index, every))
    firing = [op for op in every if fires(op)]
    graph.ops[at] = fused(model, cell)
    for op in every:
        if op in graph.ops:
            graph.ops.remove(op)
        if op not in ends and op not in firing:
            for name in op.results:
                del graph.types[name]


def fused(model: Model, cell: list[Chain]) -> Op:
    """The one op of a model that does what chains of ops do."""
    first = {op.kind: op for op in cell[0]}
    events, values = first.get("integrate_events"), first["integrate_values"]
    event_sums = events.operands[1:] if events else ()
    parameters: dict[str, str] = {}
    before = {s.name: chain[0].operands[0] for s, chain in zip(model.changed, cell, strict=True)}
    for state, chain in zip(model.changed, cell, strict=True):
        for op in chain:
            if STAGES[op.kind] in state.reads:
                before.setdefault(state.reads[STAGES[op.kind]].state, op.operands[1])
            for of, names in needed(state, STAGES[op.kind]).items():
                bound = op_def(op.kind).bind(op.operands)
                given = {name: bound.get(f"{name}_source") or bound[name] for name in names}
                parameters |= {name + ending(of): one for name, (one,) in given.items()}
    (last,) = [op for chain in cell for op in chain if fires(op)] or [cell[-1][-1]]
    return Op(
        step_name(model),
        (
            before[model.states[0].name],
            *event_sums,
            *values.operands[1:-2],
            *(before[state.name] for state in model.states[1:]),
            *(parameters[name] for names in slots(model).values() for name in names),
        ),
        (*last.results[:-1], *(chain[-1].results[-1] for chain in cell)),
        {
            **{name: last.attrs[name] for name in COMMON_ATTRS if name in last.attrs},
            "layer": last.attrs["layer"],
            "events": len(event_sums),
            "event_shift": events.attrs["shift"] if events else 0,
            "fraction": first["leak"].attrs["fraction"],
            "sum_bits": values.attrs["sum_bits"],
            "bits": last.attrs["bits"],
            **{name: last.attrs[name] for name in FIRE_ATTRS if name in last.attrs},
        },
        last.loc,
    )
