"""Bursts of banks that neurons wait for: no more of them than the bank's queue holds."""

from collections import Counter

from dmpc.backend.places import bank_of
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph
from dmpc.ir.ops_convolution import PRODUCTS
from dmpc.passes.layer_rules import MANY_PRODUCTS
from isa.target import Target


def crowded(graph: Graph, target: Target) -> CompileError | None:
    """What to say where neurons add up more products in a bank than its queue holds."""
    made = {op.results[0]: op for op in graph.ops if op.kind in PRODUCTS}
    for op in graph.ops:
        summed = [made[name] for name in op.operands if name in made]
        most = Counter(bank_of(product, target) for product in summed).most_common(1)
        if most and most[0][1] > target.sequencer.queue:
            bank, number = most[0]
            return CompileError.of(
                MANY_PRODUCTS,
                where=", ".join(summed[-1].loc) or graph.name,
                layer=op.attrs["layer"],
                products=len(summed),
                number=number,
                bank=target.bank[bank].name,
                queue=target.sequencer.queue,
            )
    return None
