"""Pooling: the rows of every product are spread over all banks that can do the work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.passes.base import Pass
from dmpc.passes.partition import active_inputs
from dmpc.passes.ranges import Real
from isa.sharing import PERIOD, STRIDE, row_table
from isa.target import Target, load_target


@dataclass(frozen=True)
class Pool(Pass):
    """Splits products so that the banks finish a group of neurons at the same time.

    All banks do `acc[lanes] += row[lanes] * value`; those without multipliers take events alone.
    `activity` holds quantiles of the number of events in a timestep, by name of the events. Does
    nothing for a target that dedicates its banks.
    """

    name: ClassVar[str] = "pool"
    target: Target = field(default_factory=lambda: load_target("paper"))
    activity: Mapping[str, Real] = field(default_factory=dict)

    def run(self, graph: Graph) -> Graph:
        """The graph with several `matvec` ops, each with a share of the rows, for each product."""
        if not self.target.pooled:
            return graph
        graph = graph.copy()
        products: dict[tuple[object, object], list[Op]] = {}
        for op in graph.ops:
            if op.kind == "matvec":
                products.setdefault((op.attrs["layer"], op.attrs.get("when")), []).append(op)
        for together in products.values():
            self._split(graph, together)
        graph.ops = graph.toposort()
        return graph

    def _split(self, graph: Graph, products: list[Op]) -> None:
        """Split the products that a layer's neurons wait for, so that all banks end together."""
        events = [p for p in products if graph.types[p.operands[0]].dtype == "event"]
        values = [p for p in products if p not in events]
        rows = sum(graph.types[p.operands[0]].shape[0] for p in values)
        active = sum((active_inputs(graph, p, self.activity) for p in events), np.zeros(1))
        able = [i for i, bank in enumerate(self.target.bank) if bank.multiplies]
        adders = [i for i in range(len(self.target.bank)) if i not in able]
        shares = _event_shares(active, rows, len(able), bool(adders))
        even = _even(PERIOD, len(able))
        parts: dict[str, list[str]] = {}
        for product in events:
            banks, wanted = ([*adders[:1], *able], shares) if adders else (able, shares[1:])
            parts[product.results[0]] = self._parts(graph, product, banks, wanted, 0)
        before = 0
        for product in values:
            parts[product.results[0]] = self._parts(graph, product, able, even, before)
            before += graph.types[product.operands[0]].shape[0]
        for op in graph.ops:
            op.operands = tuple(part for name in op.operands for part in parts.get(name, [name]))

    def _parts(
        self, graph: Graph, product: Op, banks: Sequence[int], shares: Sequence[int], before: int
    ) -> list[str]:
        """Replace a product by one for each bank with a share; the names of their sums.

        `before` elements of other vectors are thought to stand before this one, so that the phases
        of a group's values differ.
        """
        weight = graph.constants[product.operands[1]]
        neurons, inputs = weight.shape
        groups = -(-neurons // self.target.lanes)
        graph.ops.remove(product)
        type_ = graph.types.pop(product.results[0])
        weight_type = graph.types[product.operands[1]]
        names, first = [], -STRIDE * before
        for bank, share in zip(banks, shares, strict=True):
            if share == 0:
                continue
            held = row_table(inputs, groups, first % PERIOD, share) >= 0
            mask = np.repeat(held, self.target.lanes, axis=0)[:neurons]
            suffix = f"b{bank}"
            part = graph.add_constant(
                f"{product.operands[1]}.{suffix}",
                weight * mask,
                weight_type,
                graph.locs.get(product.operands[1], ()),
            )
            attrs = {**product.attrs, "bank": bank, "share": (first % PERIOD, share)}
            name = f"{product.results[0]}.{suffix}"
            made = replace(product, operands=(product.operands[0], part), attrs=attrs)
            graph.add(replace(made, results=(name,)), type_)
            names.append(name)
            first += share
        if not graph.users(product.operands[1]):
            del graph.constants[product.operands[1]], graph.types[product.operands[1]]
            graph.locs.pop(product.operands[1], None)
        return names


def _event_shares(active: Real, rows: int, multiplying: int, adder: bool) -> list[int]:
    """Sixteenths of the event rows for the adder bank and for each multiplying bank.

    Those with which the slowest bank, over the timesteps that `active` stands for, is fastest.
    """

    def slowest(share: int) -> float:
        rest = active * (PERIOD - share) / PERIOD
        return float(np.maximum(active * share / PERIOD, (rest + rows) / multiplying).mean())

    choices = range(PERIOD + 1) if adder else [0]
    best = min(choices, key=lambda share: (slowest(share), -share))
    return [best, *_even(PERIOD - best, multiplying)]


def _even(total: int, parts: int) -> list[int]:
    """`total` in `parts` whole numbers that differ by one at most."""
    return [(total + parts - 1 - i) // parts for i in range(parts)]
