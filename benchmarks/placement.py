"""What the choice of banks is worth: cycles per timestep of four ways to choose them.

    python -m benchmarks.placement [--scale]

"first fit" puts each product into the first bank that can do its work and has room. "before" is the
rule that the search replaced: products of events move to path B's bank, or are split so that the
banks of each layer end together, and values stay where they are. "best" is the best of all
assignments of whole products, each timed: a proof, for networks small enough. Banks are chosen on
training samples, all cycles are of others. `--scale` times the search for thousands of products.
"""

import time
from dataclasses import dataclass
from itertools import product as every
from pathlib import Path
from random import Random

import click
import numpy as np

import dmpc
from benchmarks.random_networks import Layer, Shape, network, samples
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from dmpc.compiler import AnyModel
from dmpc.ir.graph import Graph
from dmpc.passes.bank_search import LEVELS, candidates
from dmpc.passes.distribute import Distribute, distributed
from dmpc.passes.loads import Assignment, Problem, Product
from dmpc.passes.partition import DENSITY
from dmpc.passes.ranges import Ranges
from dmpc.passes.stopwatch import Stopwatch
from isa.limits import PERIOD
from isa.target import Target, load_target
from runtime.samples import load_samples

EXAMPLES = Path(__file__).parents[1] / "examples"
REAL = {
    "spoken digits": "spoken_digits/model.onnx",
    "spoken digits, 256": "spoken_digits/model_256.onnx",
    "FSNN": "families/fsnn.onnx",
    "RSNN": "families/rsnn.onnx",
    "DSNN": "families/dsnn.onnx",
}
MOST = 600
"""Assignments that are timed to prove the best."""


@dataclass(frozen=True)
class Case:
    """A network up to the choice of banks, and samples that it has not been chosen on."""

    name: str
    graph: Graph
    ranges: Ranges
    unseen: np.ndarray


def fused(name: str, model: AnyModel, calibration: np.ndarray, unseen: np.ndarray) -> Case:
    """A network before its products have banks."""
    seen: dict[str, Graph] = {}
    options = dmpc.Options(balance=False, target="edge")
    compiled = dmpc.compile(
        model,
        calibration=calibration,
        options=options,
        observe=seen.__setitem__,
    )
    return Case(name, seen["fuse"], compiled.ranges, unseen)


def cases() -> list[Case]:
    """Networks of the examples, and random ones."""
    train, test = (
        load_samples(EXAMPLES / "spoken_digits" / f"{n}.npz").x for n in ("train", "test")
    )
    found = [fused(name, EXAMPLES / path, train, test[::60]) for name, path in REAL.items()]
    return [*found, *(random_case(seed) for seed in range(10))]


def random_case(seed: int) -> Case:
    """A random network of one to three layers."""
    random = Random(seed)
    layers = tuple(
        Layer(
            neurons=random.randint(16, 160),
            states=random.choice((0, 4, 8, 16)) if number < 2 else 0,
            recurrent=random.random() < 0.3,
        )
        for number in range(random.randint(1, 3))
    )
    density = random.choice((0.03, 0.1, 0.3))
    shape = Shape(random.randint(20, 150), layers, 10, density=density, samples=8, steps=60)
    x, unseen = (samples(shape, seed=1000 * n + seed) for n in (1, 2))
    return fused(f"random {seed}", network(shape), x, unseen)


# -- other ways to choose -------------------------------------------------------------------------


def first_fit(problem: Problem) -> Assignment:
    """Every product in the first bank that can do its work and has room."""
    free = problem.capacity.copy()
    chosen = []
    for one in problem.products:
        rows = one.groups * one.inputs
        bank = next((b for b in one.banks if free[b] >= rows), one.own)
        free[bank] -= rows
        chosen.append(one.whole(bank, problem.banks))
    return tuple(chosen)


def before(problem: Problem) -> Assignment:
    """What was chosen until now."""
    return _shared(problem) if problem.target.pooled else _moved(problem)


def _moved(problem: Problem) -> Assignment:
    """Products of events in path B's bank while that makes the busiest bank less busy."""
    chosen = dict(zip(problem.products, problem.dedicated(), strict=True))
    steady = [one for one in problem.products if not one.once]
    load = [sum(one.mean for one in steady if one.own == b) for b in range(problem.banks)]
    bank = problem.target.bank_for("memory_b")
    spare = int(problem.capacity[bank])
    for one in sorted((o for o in steady if o.events), key=lambda o: -o.mean):
        rows = one.groups * one.inputs
        if load[bank] + one.mean < max(load) and rows <= spare // 2:
            chosen[one] = one.whole(bank, problem.banks)
            load[one.own] -= one.mean
            load[bank] += one.mean
            spare -= rows
    return tuple(chosen.values())


def _shared(problem: Problem) -> Assignment:
    """Shares with which the banks of each layer end together; what is odd goes to the first."""

    def even(total: int, banks: tuple[int, ...]) -> dict[int, int]:
        return {b: (total + len(banks) - 1 - n) // len(banks) for n, b in enumerate(banks)}

    able = tuple(b for b, bank in enumerate(problem.target.bank) if bank.multiplies)
    chosen = []
    for one in problem.products:
        together = [o for o in problem.products if o.consumer == one.consumer]
        values = sum(o.mean for o in together if not o.events)
        active = sum((np.array(o.rows) for o in together if o.events), np.zeros(LEVELS))

        def slowest(part: int, active: np.ndarray = active, values: float = values) -> float:
            rest = (active * (PERIOD - part) / PERIOD + values) / len(able)
            return float(np.maximum(active * part / PERIOD, rest).mean())

        part = min(range(PERIOD + 1), key=lambda n: (slowest(n), -n)) if one.events else 0
        shares = {**even(PERIOD - part, able), **({0: part} if part else {})}
        chosen.append(tuple(shares.get(b, 0) for b in range(problem.banks)))
    return tuple(chosen)


# -- the table ------------------------------------------------------------------------------------


def measure(case: Case, target: Target) -> list[float | None]:
    """Cycles of first fit, before, the search and the best of all; None where there are none."""
    step = Distribute(target, case.ranges.activity, case.ranges.examples)
    problem = step.problem(case.graph)
    watch = Stopwatch(case.graph, target, case.unseen, DENSITY)

    def cycles(assignment: Assignment) -> float | None:
        fits = not problem.missing(assignment)
        return watch.cycles(distributed(case.graph, problem, assignment)) if fits else None

    found = [
        cycles(first_fit(problem)),
        cycles(before(problem)),
        watch.cycles(step.run(case.graph)),
    ]
    wholes = [[p.whole(b, problem.banks) for b in p.banks] for p in problem.products]
    few = not target.pooled and np.prod([len(one) for one in wholes]) <= MOST
    proven = [c for one in every(*wholes) if (c := cycles(one)) is not None] if few else []
    return [*found, min(proven, default=None)]


def scale() -> None:
    """Seconds of the search alone, for thousands of products."""
    made = table("the search, by number of products", "products", "paper, s", "pooled, s")
    for count in (100, 1000, 3334):
        row = [f"{count:,}"]
        for name in ("paper", "pooled"):
            problem = many(count, load_target(name))
            start = time.process_time()
            candidates(problem, 0.25, 1)
            row.append(f"{time.process_time() - start:.1f}")
        made.add_row(*row)
    Output().print(made)


def many(count: int, target: Target) -> Problem:
    """Products at random, a layer for every three, and banks with room for them."""
    random = Random(1)
    products = []
    for number in range(count):
        events = number % 3 == 0
        inputs, groups = random.randint(8, 64), random.randint(1, 16)
        rows = tuple(groups * inputs * (0.04 * n if events else 1.0) for n in range(LEVELS))
        able, own = ((0, 1, 2), 0) if events else ((1, 2), number % 3)
        layer = f"layer{number // 3}"
        products.append(Product(f"p{number}", layer, rows, inputs, groups, able, own, events))
    banks = tuple(bank.model_copy(update={"rows": 1 << 30}) for bank in target.bank)
    return Problem(tuple(products), target.model_copy(update={"bank": banks}))


@click.command()
@click.option("--scale", "scaled", is_flag=True, help="Time the search for many products instead.")
def main(scaled: bool) -> None:
    """Compare ways to choose banks."""
    if scaled:
        scale()
        return
    made = table(
        "cycles per timestep, by how banks are chosen",
        "network", "target", "first fit", "before", "search", "best", "over best", "under before",
    )  # fmt: skip
    for case in cases():
        for name in ("paper", "pooled"):
            first, old, new, best = measure(case, load_target(name))
            assert new is not None
            cells = ["no room" if c is None else f"{c:.1f}" for c in (first, old, new)]
            proof = [f"{best:.1f}", f"{100 * (new / best - 1):.1f} %"] if best else ["", ""]
            won = f"{100 * (1 - new / old):.1f} %" if old else ""
            made.add_row(case.name, name, *cells, *proof, won)
    Output().print(made)


if __name__ == "__main__":
    main()
