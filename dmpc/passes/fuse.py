"""Operator fusion: leak, integration, threshold and reset of a neuron happen in registers."""

from dataclasses import dataclass
from typing import ClassVar

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op
from dmpc.ir.registry import COMMON_ATTRS
from dmpc.passes.base import Pass

STAGES = ("leak", "integrate_events", "integrate_values", "fire")


@dataclass(frozen=True)
class Fuse(Pass):
    """Joins the neuron ops of a layer into one `lif_step`: one read and write of each membrane.

    Sun et al. 2026, "operator fusion". The fused op saturates where the separate ops do, so every
    bit stays as it was. Not `enabled`, each op reads and writes the membranes for itself.
    """

    name: ClassVar[str] = "fuse"
    enabled: bool = True

    def run(self, graph: Graph) -> Graph:
        """The graph without `leak`, `integrate_*` and `fire`."""
        graph = graph.copy()
        graph.level = "fused"
        if not self.enabled:
            return graph
        for fire in [op for op in graph.ops if op.kind == "fire"]:
            chain = chain_of(graph, fire)
            at = graph.ops.index(fire)
            graph.ops[at] = fused(chain)
            for op in chain[:-1]:
                graph.ops.remove(op)
                for name in op.results:
                    del graph.types[name]
        return graph


def chain_of(graph: Graph, fire: Op) -> list[Op]:
    """The ops from the leak to `fire`, each the only user of the one before."""
    chain = [fire]
    while chain[0].kind != "leak":
        membrane = chain[0].operands[0]
        producer = graph.producer(membrane)
        stage = STAGES.index(chain[0].kind)
        if producer is None or producer.kind not in STAGES[:stage]:
            raise CompileError(
                f"%{membrane} does not come from a leak and integration of the same neurons",
                where=", ".join(fire.loc) or graph.name,
            )
        if len(graph.users(membrane)) != 1:
            raise CompileError(
                f"%{membrane} is read by more than one op, so it cannot stay in a register",
                where=", ".join(fire.loc) or graph.name,
            )
        chain.insert(0, producer)
    return chain


def fused(chain: list[Op]) -> Op:
    """The one op that does what a chain of them, from a leak to its fire, does."""
    by_kind = {op.kind: op for op in chain}
    leak, values, fire = by_kind["leak"], by_kind["integrate_values"], by_kind["fire"]
    events = by_kind.get("integrate_events")
    event_sums = events.operands[1:] if events else ()
    return Op(
        "lif_step",
        (
            leak.operands[0],
            *event_sums,
            *values.operands[1:-2],
            leak.operands[1],
            *values.operands[-2:],
            *fire.operands[1:],
        ),
        fire.results,
        {
            **{name: fire.attrs[name] for name in COMMON_ATTRS if name in fire.attrs},
            "layer": fire.attrs["layer"],
            "events": len(event_sums),
            "event_shift": events.attrs["shift"] if events else 0,
            "fraction": leak.attrs["fraction"],
            "sum_bits": values.attrs["sum_bits"],
            "bits": fire.attrs["bits"],
            "reset_mode": fire.attrs["reset_mode"],
        },
        fire.loc,
    )
