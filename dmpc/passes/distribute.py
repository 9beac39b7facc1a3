"""Distribution: every product gets a bank, or shares of banks, so that a timestep is shortest."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from dmpc.backend.places import bank_of, layout_of
from dmpc.errors import CompileError
from dmpc.ir.chains import fires
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import PRODUCTS
from dmpc.ir.ops_neurons import MODEL_OF
from dmpc.ir.registry import Tensor
from dmpc.passes.bank_model import BankModel, descend, different
from dmpc.passes.bank_search import LEVELS, WIDEST, candidates
from dmpc.passes.base import Pass
from dmpc.passes.bursts import crowded
from dmpc.passes.halves import Halves, halved
from dmpc.passes.loads import Assignment, Problem, Product, Shares
from dmpc.passes.partition import DENSITY, active_inputs
from dmpc.passes.ranges import Real
from dmpc.passes.stopwatch import STEPS, Stopwatch, events_of
from isa.errors import IsaError
from isa.layout import Layout
from isa.limits import PERIOD, STRIDE
from isa.target import Target, load_target

WAITING = (0.02, 0.25, 1.0)
"""How much of what consumers wait for their slowest bank is thought to show in a timestep: little
where layers overlap, all of it where nothing does. Exact cycles decide."""
NOTE = "banks"
"""The attribute of a graph that tells a user what the choice of banks is worth."""
LEAST_TOLD = 0.1
"""Per cent below which that is not worth a line."""
MOST, TIMED = 3, 8
"""Assignments of lowest load for each of these; and how many are timed in all."""
LEAST_STEPS, LEAST_ROWS = 10, 200
"""Timesteps of a calibration set, or else rows that a timestep of a network reads, without which
there is nothing worth timing."""
UNTIMED = 32
"""Partial assignments that a search keeps where nothing is timed."""
USUAL = 100
"""Timesteps of a sample, if none is known."""
ISSUES = 1 << 17
"""Instructions that are timed, which bounds the time: of a very large network no program is."""


@dataclass(frozen=True)
class Distribute(Pass):
    """Assigns products to banks: one search over all of them, under the banks' rows.

    All banks do `acc[lanes] += row[lanes] * value`; those without multipliers take events alone. On
    a target that pools its banks, a product may be split into shares, a convolution into two parts
    (`halves`); otherwise each lies in one bank. The assignments that load the busiest bank least
    are found first (`bank_search`), then what a model of the banks likes better near them
    (`bank_model`); the best of those are timed exactly, on `samples` or on events of the usual
    density.

    `activity` holds quantiles of the number of events in a timestep, by name of the events.
    `objective` is cycles or energy. `dedicated`, each product stays in its pathway's own bank, as
    in the published design. Not `exact`, nothing is timed.
    """

    name: ClassVar[str] = "distribute"
    target: Target = field(default_factory=lambda: load_target("paper"))
    activity: Mapping[str, Real] = field(default_factory=dict)
    samples: Tensor | None = None
    objective: str = "cycles"
    dedicated: bool = False
    exact: bool = True

    def run(self, graph: Graph) -> Graph:
        """The graph with `bank` on every product that left its own, and a matvec for each share.

        Raises CompileError where neurons add up more products than queues of banks hold.
        """
        found = self._chosen(graph)
        if error := crowded(found, self.target):
            raise error
        return found

    def _chosen(self, graph: Graph) -> Graph:
        if self.dedicated:
            return graph
        whole = _Ways.of(graph, Halves(graph, {}), self)
        split = halved(graph) if self.target.pooled else whole.split
        if not split.parts:
            return self._assigned(whole)[0]
        (best, cost), (other, less) = (
            self._assigned(one, alone=False) for one in (whole, _Ways.of(graph, split, self))
        )
        return other if less < cost and not crowded(other, self.target) else best

    def _assigned(self, ways: "_Ways", *, alone: bool = True) -> tuple[Graph, float]:
        """The best of all ways that are tried, and its cost; infinite where nothing is timed.

        Where there is one way, and it stands `alone`, there is nothing to time.
        """
        graph, problem = ways.split.graph, ways.problem
        most = min(TIMED, ISSUES // (STEPS * len(graph.ops)))
        timed = self.exact and most >= 2 and self._tells(problem)
        waits, widest = (WAITING, WIDEST) if timed else (WAITING[:1], UNTIMED)
        found = [one for wait in waits for one in candidates(problem, wait, MOST, widest)]
        fitting = [one for one in dict.fromkeys(found) if not problem.missing(one)]
        if not fitting:
            fitting = sorted((*found, *candidates(problem, None, 1)), key=problem.missing)[:1]
        if not timed:
            return ways.made(fitting[0]), np.inf
        own = problem.dedicated()
        if not problem.missing(own):
            fitting = [own, *(one for one in fitting if one != own)]
        return self._fastest(ways, fitting, most, alone=alone)

    def _tells(self, problem: Problem) -> bool:
        """Whether timing says more than loads do: of enough timesteps, or of enough work."""
        if self.samples is not None:
            return len(self.samples[0]) >= LEAST_STEPS
        read: float = sum(product.mean for product in problem.products)
        return read >= LEAST_ROWS

    def _fastest(
        self, ways: "_Ways", found: list[Assignment], most: int, *, alone: bool
    ) -> tuple[Graph, float]:
        """The best of some assignments, and of those around them, by exact cycles.

        The first if none can be timed.
        """
        graph, problem = ways.split.graph, ways.problem
        watch = Stopwatch(graph, self.target, self.samples, DENSITY, self.activity)
        model = self._model(graph, problem, watch)
        near = descend(model, found)
        own = [one for one in found[:1] if one == problem.dedicated()]
        found = list(dict.fromkeys([*own, *different(problem, near, most)]))
        made = [ways.made(one) for one in found]
        costs = [np.inf] * len(found)
        for number, one in enumerate(() if alone and len(found) == 1 else found):
            try:
                cycles = watch.cycles(made[number])
            except (CompileError, IsaError):
                continue
            costs[number] = problem.cost(one, cycles)
        best = made[int(np.argmin(costs))]
        saved = 100 * (1 - min(costs) / costs[0]) if np.isfinite(costs[0]) else 0.0
        if found[0] == problem.dedicated() and saved >= LEAST_TOLD:
            what = "fewest cycles" if self.objective == "cycles" else "least energy"
            best.attrs[NOTE] = (
                f"banks: the {what} of {len(found)} choices that were timed, "
                f"{saved:.1f} % below each pathway in a bank of its own"
            )
        return best, min(costs)

    def _model(self, graph: Graph, problem: Problem, watch: Stopwatch) -> BankModel:
        rows: dict[str, Real] = {}
        sources: dict[str, list[tuple[bool, str]]] = {p.consumer: [] for p in problem.products}
        layers = {op.attrs["layer"]: op.results[0] for op in graph.ops if op.results[0] in sources}
        ops = {op.results[0]: op for op in graph.ops if op.kind in PRODUCTS}
        for product in problem.products:
            op = ops[product.name]
            each = layout_of(graph, op, self.target).reads / product.inputs
            rows[product.name] = np.asarray(watch.active(op) * each, np.float64)
            maker = graph.producer(events_of(graph, op.operands[0]))
            if product.events and maker is not None and fires(maker):
                late = op.operands[0] != maker.results[0]
                sources[product.consumer].append((late, layers[maker.attrs["layer"]]))
        return BankModel(problem, rows, sources)

    def problem(self, graph: Graph) -> Problem:
        """The products of a fused graph."""
        steps = USUAL if self.samples is None else self.samples.shape[1]
        consumers = {name: op.results[0] for op in graph.ops for name in op.operands}
        products = []
        for op in (op for op in graph.ops if op.kind in PRODUCTS):
            layout = layout_of(graph, op, self.target)
            inputs, groups = layout.inputs, layout.groups
            events = graph.types[op.operands[0]].dtype == "event"
            active = np.full(LEVELS, inputs)
            if events and op.attrs.get("stationary") != "output":
                active = levels(active_inputs(graph, op, self.activity))
            once = op.attrs.get("when") == "end"
            bits = graph.types[op.operands[1]].bits
            able = tuple(
                number
                for number, bank in enumerate(self.target.bank)
                if (events or bank.multiplies) and bits <= bank.weight_bits
            )
            own = bank_of(op, self.target)
            products.append(
                Product(
                    op.results[0], consumers[op.results[0]],
                    tuple((layout.reads / inputs * active / (steps if once else 1)).tolist()),
                    inputs, groups, able or (own,), own, events, once,
                    layout.rows if layout.kernel else None,
                )
            )  # fmt: skip
        return Problem(tuple(products), self.target, self.objective == "energy")


@dataclass(frozen=True)
class _Ways:
    """A graph's products, with convolutions in two parts where banks are pooled."""

    whole: Graph
    split: Halves
    problem: Problem  # of the parts
    uncut: Problem

    @classmethod
    def of(cls, graph: Graph, split: Halves, distribute: Distribute) -> "_Ways":
        """What a pass has to assign."""
        uncut = distribute.problem(graph)
        problem = distribute.problem(split.graph) if split.parts else uncut
        return cls(graph, split, problem, uncut)

    def made(self, assignment: Assignment) -> Graph:
        """The graph with products where they belong; parts that meet in a bank are one again."""
        names = (product.name for product in self.problem.products)
        shares = dict(zip(names, assignment, strict=True))
        meet = {n: shares[a] for n, (a, b) in self.split.parts.items() if shares[a] == shares[b]}
        if not self.split.parts:
            return distributed(self.whole, self.problem, assignment)
        graph = halved(self.whole, meet).graph
        known = {
            product.name: product for product in (*self.uncut.products, *self.problem.products)
        }
        kept = [op.results[0] for op in graph.ops if op.kind in PRODUCTS]
        problem = replace(self.problem, products=tuple(known[name] for name in kept))
        return distributed(graph, problem, tuple((shares | meet)[name] for name in kept))


def levels(quantiles: Real) -> Real:
    """Quantiles, however many, as means of `LEVELS` parts of them."""
    even = np.repeat(quantiles, LEVELS).reshape(LEVELS, -1)
    return np.asarray(even.mean(1))


def distributed(graph: Graph, problem: Problem, assignment: Assignment) -> Graph:
    """A graph whose products are where an assignment says."""
    graph = graph.copy()
    parts: dict[str, list[str]] = {}
    ops: list[Op] = []
    given = {p.name: (p, shares) for p, shares in zip(problem.products, assignment, strict=True)}
    before: dict[str, int] = {}
    for op in graph.ops:
        if op.kind not in PRODUCTS:
            ops.append(op)
            continue
        product, shares = given[op.results[0]]
        first = 0
        if graph.types[op.operands[0]].dtype != "event":
            # Elements of other vectors are thought to stand before this one's, so that the phases
            # of a group's values differ.
            first = -STRIDE * before.get(product.consumer, 0)
            before[product.consumer] = before.get(product.consumer, 0) + product.inputs
        made = _parts(graph, op, product, shares, first, problem.target.lanes)
        parts[op.results[0]] = [part.results[0] for part in made]
        ops += made
    graph.ops = ops
    for op in graph.ops:
        split = sum(len(parts.get(name, ())) - 1 for name in op.operands[1 : 1 + _event_sums(op)])
        if op.kind in MODEL_OF:
            op.attrs["events"] = _event_sums(op) + split
        op.operands = tuple(part for name in op.operands for part in parts.get(name, [name]))
    for name in parts.keys() - {name for made in parts.values() for name in made}:
        del graph.types[name]
    return graph


def _event_sums(op: Op) -> int:
    number = op.attrs.get("events", 0)
    assert isinstance(number, int)
    return number


def _parts(
    graph: Graph, op: Op, product: Product, shares: Shares, first: int, lanes: int
) -> list[Op]:
    """A product as one op for each bank with a share."""
    if shares[product.own] == PERIOD:
        return [op]
    if PERIOD in shares:
        op.attrs["bank"] = shares.index(PERIOD)
        return [op]
    weight, made = op.operands[1], []
    value, weight_type = graph.constants[weight], graph.types[weight]
    sums = graph.types[op.results[0]]
    for bank, share in enumerate(shares):
        if share == 0:
            continue
        held = Layout(product.inputs, product.groups, first % PERIOD, share).table() >= 0
        mask = np.repeat(held, lanes, axis=0)[: len(value)]
        part = graph.add_constant(
            graph.fresh(f"{weight}.b{bank}"), value * mask, weight_type, graph.locs.get(weight, ())
        )
        attrs = {**op.attrs, "bank": bank, "share": (first % PERIOD, share)}
        name = graph.fresh(f"{op.results[0]}.b{bank}")
        made.append(replace(op, operands=(op.operands[0], part), results=(name,), attrs=attrs))
        graph.types[name] = sums
        first += share
    del graph.constants[weight], graph.types[weight]
    graph.locs.pop(weight, None)
    return made
