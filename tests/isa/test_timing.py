"""Timing: what must hold for any program, burst by burst or cycle by cycle."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmpc.compiler import Options
from isa.engines import engine
from tests.isa.machine import LANES, program, run
from tests.isa.test_simulator import IMAGE, X
from tests.networks import Layer, Shape, compile_network, network, networks, samples

TWO = Shape(
    inputs=9,
    layers=(Layer(neurons=13, states=5, flavour="positive"), Layer(neurons=6, states=2)),
    classes=3,
    steps=12,
    samples=4,
    seed=11,
)


def image_of(shape):
    options = Options(input_range=(-1.0, 1.0) if shape.graded else None)
    return compile_network(network(shape), options=options).image


def encoded(shape):
    x = samples(shape)
    return x.astype(np.int64) if not shape.graded else np.rint(x * 1000).astype(np.int64)


def ports_hold(image, found):
    """No memory serves more rows than it has port cycles; no unit works longer than there is."""
    cycles = int(found.cycles.sum())
    for (memory, direction), rows in found.counts.accesses.items():
        assert rows <= cycles, f"{memory} {direction}"
    for name in ("neuron", "readout"):  # one port for reads and writes
        assert sum(found.counts.accesses[name, d] for d in ("reads", "writes")) <= cycles
    for unit, busy in found.counts.busy.items():
        assert busy <= cycles, unit
        waited = sum(n for (u, _), n in found.counts.stalls.items() if u == unit)
        assert busy + waited <= cycles, unit
    assert all(n >= 0 for n in found.counts.stalls.values())
    lanes = {m.name: m.lanes for m in image.target.memories.values()}
    for unit, operations in found.counts.operations.items():
        assert operations <= found.counts.busy[unit] * max(lanes.get(unit, 1), LANES), unit


@settings(max_examples=25, deadline=None)
@given(networks())
def test_ports_and_units_do_at_most_their_work_in_a_cycle(shape):
    image = image_of(shape)
    for sample in encoded(shape):
        ports_hold(image, run(image, sample[None]))


@settings(max_examples=15, deadline=None)
@given(networks(), st.randoms(use_true_random=False))
def test_cycles_of_a_sample_depend_on_nothing_else(shape, random):
    image, x = image_of(shape), encoded(shape)
    order = list(range(len(x)))
    random.shuffle(order)
    together = run(image, x[order])
    for place, number in enumerate(order):
        alone = run(image, x[number][None], batch=1)
        assert alone.cycles[0] == together.cycles[place]
        assert alone.logits[0].tolist() == together.logits[place].tolist()


@pytest.mark.parametrize("density", [0.0, 0.3])
def test_more_input_events_never_make_a_single_layer_faster(density):
    """With one layer whose neurons never fire, only the input's events differ."""
    shape = Shape(inputs=12, layers=(Layer(neurons=9, states=4, bias=False),), seed=2)
    graph = network(shape)
    graph.constants["layer1.threshold"][:] = 1e6
    image = compile_network(graph).image
    random = np.random.default_rng(0)
    x = (random.random((1, 6, 12)) < density).astype(np.int64)
    before = 0
    for number in range(12):
        cycles = int(run(image, x).cycles[0])
        assert cycles >= before
        before = cycles
        x[:, :, number] = 1


def test_a_timestep_without_events_takes_less_than_one_with_every_input_active():
    image = image_of(TWO)
    silent = np.zeros((1, 20, 9), np.int64)
    full = silent + 1
    quiet, busy = run(image, silent), run(image, full)
    assert quiet.counts.accesses["drive", "reads"] < busy.counts.accesses["drive", "reads"]
    assert quiet.cycles[0] < busy.cycles[0]
    ports_hold(image, quiet)
    ports_hold(image, busy)


def test_silent_timesteps_cost_the_same_each():
    """Further silent timesteps add the same cycles, in a rhythm of three at most."""
    image = image_of(Shape(inputs=6, layers=(Layer(neurons=8, states=3, bias=False),), seed=1))
    lengths = [int(run(image, np.zeros((1, n, 6))).cycles[0]) for n in range(20, 40)]
    added = np.diff(lengths)
    assert any((added[period:] == added[:-period]).all() for period in (1, 2, 3))
    assert (added > 0).all()


def test_cycles_grow_with_every_timestep():
    image = image_of(TWO)
    x = encoded(TWO)[1]
    cycles = [int(run(image, x[None, :n]).cycles[0]) for n in range(1, 13)]
    assert (np.diff(cycles) > 0).all()


def test_instructions_are_issued_in_order_one_a_cycle():
    image = image_of(TWO)
    spans = engine(image).trace(encoded(TWO)[0]).spans
    issued = [span.issued for span in spans]
    assert len(set(issued)) == len(issued)


def test_a_unit_works_on_one_instruction_at_a_time():
    """Spans of one unit follow each other, but for instructions joined to one burst."""
    image = image_of(TWO)
    joined = {pc for pc, op in enumerate(image.code) if getattr(op, "join", False)}
    by_unit = {}
    for span in engine(image).trace(encoded(TWO)[0]).spans:
        if span.pc not in joined:
            by_unit.setdefault(span.unit, []).append((span.start, span.end))
    assert {"event", "memory_a", "memory_b", "neuron", "update", "drive"} <= set(by_unit)
    for unit, spans in by_unit.items():
        spans.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(spans)), unit


def test_an_empty_sample_program_takes_a_few_cycles():
    assert run(program(), [[[0]]]).cycles[0] <= 4


def test_counts_add_up_over_samples():
    whole = run(IMAGE, X).counts
    parts = [run(IMAGE, sample[None]).counts for sample in X]
    for name in ("busy", "stalls", "accesses", "operations"):
        total = sum((getattr(part, name) for part in parts), type(getattr(whole, name))())
        assert total == +getattr(whole, name)
    assert whole.cycles == sum(part.cycles for part in parts)
