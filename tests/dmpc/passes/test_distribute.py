"""Distribution: every assignment computes the same, has room, and the best of all is found."""

from dataclasses import replace
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmpc.backend.predict import predict
from dmpc.compiler import Options
from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.ir.verify import verify
from dmpc.lowering import NOTE, from_layers
from dmpc.passes.bank_search import LEVELS, candidates
from dmpc.passes.distribute import Distribute, distributed
from dmpc.passes.loads import Problem, Product
from dmpc.passes.place import PlaceInMemory
from dmpc.passes.stopwatch import Stopwatch
from isa.limits import PERIOD
from isa.target import load_target, target_text
from runtime.program import Program
from tests.networks import (
    Layer,
    Shape,
    compile_network,
    network,
    networks,
    samples,
)

PAPER, POOLED = load_target("paper"), load_target("pooled")
SLOW = Shape(
    inputs=30,
    layers=(Layer(neurons=20, states=5), Layer(neurons=12, states=3, recurrent=True)),
    samples=4,
    steps=12,
    seed=5,
)


def fused(shape, **chosen):
    """A network up to the pass, with the ranges that it was made from."""
    seen = {}
    x = samples(shape)
    graded = {"input_range": (-1.0, 1.0)} if shape.graded else {}
    options = Options(balance=False, **graded, **chosen)
    compiled = compile_network(
        network(shape),
        calibration=None if shape.graded else x,
        options=options,
        observe=seen.__setitem__,
    )
    return seen["fuse"], compiled.ranges


def with_rows(target, **rows):
    """A target whose banks have other numbers of rows."""
    banks = tuple(
        bank.model_copy(update={"rows": rows.get(bank.name, bank.rows)}) for bank in target.bank
    )
    return target.model_copy(update={"bank": banks})


def any_assignment(problem, random):
    """Shares at random, whole ones if the target pools nothing."""

    def shares(able):
        cut = sorted(random.randint(0, PERIOD) for _ in able[1:])
        parts = [b - a for a, b in zip([0, *cut], [*cut, PERIOD], strict=True)]
        if not problem.target.pooled:
            chosen = random.choice(able)
            parts = [PERIOD * (bank == chosen) for bank in able]
        return tuple(dict(zip(able, parts, strict=True)).get(b, 0) for b in range(problem.banks))

    return tuple(shares(product.banks) for product in problem.products)


@settings(max_examples=15, deadline=None)
@given(networks(), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_no_assignment_changes_a_bit(shape, pooled, fusion, random):
    graph, ranges = fused(shape, fusion=fusion)
    target = POOLED if pooled else PAPER
    problem = Distribute(target, ranges.activity).problem(graph)
    made = distributed(graph, problem, any_assignment(problem, random))
    verify(made)
    x = np.random.default_rng(0).integers(0, 2, (2, 5, shape.inputs))
    kept = [name for op in graph.ops if op.kind != "matvec" for name in op.results]
    before, after = (interpret(one, x, trace=kept) for one in (graph, made))
    assert (before.logits == after.logits).all()
    assert all((before.traces[name] == after.traces[name]).all() for name in kept)
    assert before.saturations == after.saturations


@pytest.mark.parametrize("target", [PAPER, POOLED])
def test_shares_hold_every_weight_once(target):
    graph, ranges = fused(SLOW)
    problem = Distribute(target, ranges.activity).problem(graph)
    made = distributed(graph, problem, any_assignment(problem, Random(3)))
    for op in (op for op in graph.ops if op.kind == "matvec"):
        name, weight = op.results[0], op.operands[1]
        parts = [o for o in made.ops if o.kind == "matvec" and o.results[0].startswith(name)]
        total = sum(made.constants[part.operands[1]].astype(int) for part in parts)
        assert (total == graph.constants[weight]).all()


def exact(watch, graph, problem, assignment):
    return watch.cycles(distributed(graph, problem, assignment))


SHAPES = [
    Shape(
        inputs=40, layers=(Layer(neurons=24, states=12), Layer(neurons=30)), density=0.15, seed=1
    ),
    Shape(inputs=12, layers=(Layer(neurons=16, states=9, recurrent=True),), density=0.5, seed=2),
    Shape(inputs=9, layers=(Layer(neurons=18, states=4),), graded=True, seed=4),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_found_is_within_one_percent_of_the_best_of_all(shape):
    shape = replace(shape, samples=4, steps=12)
    graph, ranges = fused(shape)
    step = Distribute(PAPER, ranges.activity, ranges.examples)
    problem = step.problem(graph)
    watch = Stopwatch(graph, PAPER, ranges.examples, 0.05)
    every = product(*([p.whole(b, problem.banks) for b in p.banks] for p in problem.products))
    best = min(exact(watch, graph, problem, one) for one in every)
    assert watch.cycles(step.run(graph)) <= 1.01 * best


@pytest.mark.parametrize("target", [PAPER, POOLED])
def test_the_stopwatch_shows_what_the_prediction_does(target):
    x = samples(SLOW)
    compiled = compile_network(network(SLOW), calibration=x, options=Options(target=target.name))
    seen = {}
    from_layers(compiled.layers, compiled.ranges, target, Options(balance=False), seen.__setitem__)
    watch = Stopwatch(seen["fuse"], target, compiled.ranges.examples, 0.05)
    made = Distribute(target, compiled.ranges.activity, compiled.ranges.examples).run(seen["fuse"])
    program = Program(compiled.image, "net")
    encoded = program.encode(compiled.ranges.examples)[0]
    assert watch.cycles(made) == predict(compiled.image, encoded).mean() / SLOW.steps


def test_the_stopwatch_times_what_does_not_fit_where_it_will_be(tmp_path):
    """What leaves the chip is chosen by how active a layer is, in a trial as in the end."""
    path = tmp_path / "small.toml"
    path.write_text(target_text("pooled").replace("= 8192", "= 400").replace("= 32768", "= 400"))
    layers = (Layer(neurons=64, states=6), Layer(neurons=64))
    shape = Shape(inputs=60, layers=layers, density=0.02, samples=3, steps=12, seed=3)
    target, seen = load_target(str(path)), {}
    options = Options(target=str(path))
    compiled = compile_network(network(shape), calibration=samples(shape), options=options)
    assert "external.spike" in compiled.image.memories
    options = Options(target=str(path), balance=False)
    from_layers(compiled.layers, compiled.ranges, target, options, seen.__setitem__)
    ranges = compiled.ranges
    watch = Stopwatch(seen["fuse"], target, ranges.examples, 0.05, ranges.activity)
    made = Distribute(target, ranges.activity, ranges.examples).run(seen["fuse"])
    encoded = Program(compiled.image, "net").encode(ranges.examples)[0]
    assert watch.cycles(made) == predict(compiled.image, encoded).mean() / shape.steps


@pytest.mark.parametrize("target", ["paper", "pooled"])
def test_a_choice_is_never_slower_than_dedicated_banks(target):
    x = samples(SLOW)

    def cycles(balance):
        options = Options(target=target, balance=balance)
        image = compile_network(network(SLOW), calibration=x, options=options).image
        return Program(image, "net").run(x).cycles.mean()

    assert cycles(balance=True) < cycles(balance=False)


def spent(objective):
    x = samples(SLOW)
    options = Options(optimise=objective)
    image = compile_network(network(SLOW), calibration=x, options=options).image
    return Program(image, "net").run(x)


def test_energy_may_be_what_is_least():
    frugal, fast = spent("energy"), spent("cycles")
    assert frugal.energy.total < fast.energy.total
    assert frugal.cycles.mean() > fast.cycles.mean()


def test_a_network_that_is_never_active_has_banks():
    """Whatever moves, no load changes."""
    shape = Shape(inputs=1, layers=(Layer(neurons=1, bias=False),) * 3, density=0.0, steps=8)
    options = Options(target="pooled", count_readout=False)
    x = np.zeros((1, 8, 1))
    assert compile_network(network(shape), calibration=x, options=options).image


def test_an_objective_that_nobody_knows():
    with pytest.raises(CompileError, match=r"unknown objective 'area' \(one of cycles, energy\)"):
        compile_network(network(SLOW), options=Options(optimise="area"))


# -- room -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [PAPER, POOLED])
def test_what_one_bank_cannot_hold_goes_to_another(target):
    """Whichever bank is small, and wherever the fewest cycles would be."""
    graph, ranges = fused(SLOW)
    for small, rows in (("spike", 60), ("memory_a", 20), ("memory_b", 6)):
        scarce = with_rows(target, **{small: rows})
        step = Distribute(scarce, ranges.activity, ranges.examples)
        problem = step.problem(graph)
        assert problem.missing(problem.dedicated())
        for waiting in (0.25, None):
            assert not problem.missing(candidates(problem, waiting, 1)[0])
        PlaceInMemory(scarce).run(replace(step, exact=False).run(graph))


def test_counts_that_have_no_room_are_not_kept():
    shape = replace(SLOW, layers=(Layer(neurons=10, states=2),) * 3)
    few = PAPER.model_copy(update={"values": PAPER.values.model_copy(update={"count": 4})})
    seen = {}
    compiled = compile_network(network(shape))
    made = from_layers(compiled.layers, compiled.ranges, few, Options(), seen.__setitem__)
    assert made.attrs[NOTE] == (
        "the readout is a product in every timestep, as %layer3.x of 1 elements takes 1 values "
        "registers of 256; 0 of 4 are free on target paper, and the network needs 5 at once"
    )
    assert NOTE not in compiled.graph.attrs
    assert "count-readout" not in seen, "what is shown is what was done"
    fewer = PAPER.model_copy(update={"values": PAPER.values.model_copy(update={"count": 3})})
    with pytest.raises(CompileError, match=r"takes 1 values .*; 0 of 3 .* needs 5 at once"):
        from_layers(compiled.layers, compiled.ranges, fewer, Options())


# -- scale ----------------------------------------------------------------------------------------


def many(count, target):
    random = Random(1)
    products = []
    for number in range(count):
        events = random.random() < 0.8
        inputs, groups = random.randint(8, 64), random.randint(1, 16)
        rows = tuple(groups * inputs * (0.02 * n if events else 1.0) for n in range(1, LEVELS + 1))
        able = (0, 1, 2) if events else (1, 2)
        own = 0 if events else random.choice((1, 2))
        consumer = f"layer{number // 3}"
        products.append(Product(f"p{number}", consumer, rows, inputs, groups, able, own, events))
    roomy = with_rows(target, **dict.fromkeys(("spike", "memory_a", "memory_b"), 1 << 30))
    return Problem(tuple(products), roomy)


@pytest.mark.parametrize("target", [PAPER, POOLED])
def test_many_products_are_balanced_the_same_way_every_time(target):
    problem = many(60, target)
    found = candidates(problem, 0.02, 3)
    assert found == candidates(problem, 0.02, 3)
    assert len(set(found)) == 3
    loads = sum(
        np.array(shares) * one.mean / PERIOD
        for one, shares in zip(problem.products, found[0], strict=True)
    )
    dense = sum(one.mean for one in problem.products if not one.events)
    assert loads.max() <= 1.02 * max(loads.mean(), dense / 2)
