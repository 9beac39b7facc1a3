"""Operator fusion: the stages of a neuron's timestep happen in registers."""

from dataclasses import dataclass
from typing import ClassVar

from dmpc.ir.chains import STAGES, Chain, chains_of
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_neurons import PARAMETERS, step_name
from dmpc.ir.registry import COMMON_ATTRS, op_def
from dmpc.passes.base import Pass
from isa.neurons import MODELS, Model


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
        chains = {chain[-1].results[-1]: chain for chain in chains_of(graph)}
        alone = [chain for chain in chains.values() if not _reads_states(chain)]
        charged = [chain for chain in chains.values() if _reads_states(chain)]
        for chain in [*charged, *alone] if self.enabled else ():
            if chain[-1] not in graph.ops:
                continue  # a current, fused with the neurons that it charges
            cell = [*_sources(graph, chain, chains), chain]
            for states in (cell, [chain]):
                model = _model_of(states)
                if model:
                    _replace(graph, model, states)
                    break
        graph.ops = graph.toposort()
        return graph


def _reads_states(chain: Chain) -> bool:
    return any(op.kind == "integrate_state" for op in chain)


def _sources(graph: Graph, chain: Chain, chains: dict[str, Chain]) -> list[Chain]:
    """The chains of the states that a chain integrates and nothing else reads."""
    found = []
    for op in chain:
        if op.kind == "integrate_state":
            name = op.operands[1]
            old = graph.state(name)
            source = chains.get(old.next if old else name)
            if source and _readers(graph, source) == [op]:
                found.append(source)
    return found


def _readers(graph: Graph, chain: Chain) -> list[Op]:
    """The ops that read a state, before or after a chain changes it, beside the chain itself."""
    both = (chain[0].operands[0], chain[-1].results[-1])
    return [user for name in both for user in graph.users(name) if user is not chain[0]]


def _model_of(cell: list[Chain]) -> Model | None:
    """The model whose states go through the stages of these chains; None: there is none."""
    for model in MODELS:
        if len(model.states) != len(cell):
            continue
        names = dict(zip((state.name for state in model.states), cell, strict=True))
        for state, chain in names.items():
            given = next(one for one in model.states if one.name == state)
            wanted = [stage for stage in given.stages if stage != "integrate.events"]
            stages = [STAGES[op.kind] for op in chain if op.kind != "integrate_events"]
            if stages != wanted:
                break
            read = [op.operands[1] for op in chain if op.kind == "integrate_state"]
            if given.source:
                source = names[given.source]
                if read != [source[0].operands[0] if given.late else source[-1].results[-1]]:
                    break
        else:
            return model
    return None


def _replace(graph: Graph, model: Model, cell: list[Chain]) -> None:
    """Put one op in the place of the last of all those of a cell."""
    every = [op for chain in cell for op in chain]
    ends = [chain[-1] for chain in cell]
    at = max(map(graph.ops.index, every))
    graph.ops[at] = fused(model, cell)
    for op in every:
        if op in graph.ops:
            graph.ops.remove(op)
        if op not in ends:
            for name in op.results:
                del graph.types[name]


def fused(model: Model, cell: list[Chain]) -> Op:
    """The one op of a model that does what chains of ops do."""
    first = {op.kind: op for op in cell[0]}
    last = cell[-1][-1]
    events = first.get("integrate_events")
    event_sums = events.operands[1:] if events else ()
    values = first["integrate_values"]
    parameters = [
        name
        for chain in cell
        for op in chain
        for slot in PARAMETERS[STAGES[op.kind]]
        for name in op_def(op.kind).bind(op.operands)[slot]
    ]
    spikes = last.results[:-1]
    return Op(
        step_name(model),
        (
            cell[0][0].operands[0],
            *event_sums,
            *values.operands[1:-2],
            *(chain[0].operands[0] for chain in cell[1:]),
            *parameters,
        ),
        (*spikes, *(chain[-1].results[-1] for chain in cell)),
        {
            **{name: last.attrs[name] for name in COMMON_ATTRS if name in last.attrs},
            "layer": last.attrs["layer"],
            "events": len(event_sums),
            "event_shift": events.attrs["shift"] if events else 0,
            "fraction": first["leak"].attrs["fraction"],
            "sum_bits": values.attrs["sum_bits"],
            "bits": last.attrs["bits"],
            **({"reset_mode": last.attrs["reset_mode"]} if model.fires else {}),
        },
        last.loc,
    )
