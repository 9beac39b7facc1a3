"""Profiles: every cycle, row and picojoule of a run belongs to an instruction, a layer, an op."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dmpc import compile as compile_network
from isa.engines import ENGINES
from runtime import Program
from runtime.bounds import bounds
from runtime.profile import Line, Spent
from tests.networks import Layer, Shape, network, samples

DEEP = Shape(
    inputs=9,
    layers=(
        Layer(neurons=9, states=3),
        Layer(neurons=13, states=0, recurrent=True),
        Layer(neurons=5, states=2, delays=4),
    ),
    samples=3,
    steps=8,
    density=0.5,
    seed=3,
)
IMAGE = compile_network(network(DEEP)).image
X = samples(DEEP)


def profiled(engine="fast", image=IMAGE, x=X):
    program = Program(image, "deep.elf", engine)
    result = program.run(x)
    return program.profile(result), result


def test_totals_are_those_of_the_run():
    found, result = profiled()
    told = result.to_json()["totals"]
    assert {unit: spent.busy for unit, spent in found.units.items()} == {
        unit: of["busy"] for unit, of in told["units"].items()
    }
    for unit, of in told["units"].items():
        assert found.units[unit].stalls == of["stalls"], unit
        assert found.units[unit].operations == of["operations"], unit
    assert found.spent.accesses == told["memories"]
    energy = told["energy_pj"]
    assert found.spent.energy + found.idle == pytest.approx(energy["total"])
    by_layer = {name: spent.energy for name, spent in found.layers.items() if spent.energy}
    assert by_layer == pytest.approx(energy["by_layer"])
    assert (found.cycles, found.timesteps, found.samples) == (told["cycles"], 24, 3)


def test_every_total_shares_out_the_same_cycles():
    found, _ = profiled()
    for parts in (found.layers, found.ops, found.units):
        assert sum(spent.busy for spent in parts.values()) == found.spent.busy
        assert sum(spent.rows for spent in parts.values()) == found.spent.rows
        stalls = sum((Counter(spent.stalls) for spent in parts.values()), Counter())
        assert stalls == Counter(found.spent.stalls)


def test_engines_profile_alike():
    first, *others = (profiled(engine)[0].to_json() for engine in ENGINES)
    assert others == [first, first]


def test_instructions_name_layer_op_and_the_users_nodes():
    found, _ = profiled()
    lifs = [line for line in found.lines if line.text.startswith("lif ")]
    assert [line.layer for line in lifs] == ["layer1", "layer2", "layer3"]
    assert [line.op for line in lifs] == [f"{line.layer}.spikes" for line in lifs]
    products = {line.op for line in found.lines if line.text.startswith("acc.")}
    assert {"layer1.fast", "layer1.slow", "layer2.recurrent"} <= products
    assert {line.layer for line in found.lines if line.unit == "control"} == {"control"}


def test_samples_of_any_length_are_profiled():
    short = [X[0], X[1][:3]]
    found, result = profiled(x=short)
    assert found.timesteps == 11
    assert found.cycles == result.cycles.sum()


def line(layer, unit, op, busy, path="", **stalls):
    return Line(0, "", unit, layer, path, op, (), Spent(busy, stalls))


def told(*lines, cycles=100):
    return {bound.layer: bound for bound in bounds(lines, cycles, ["b"])}


def test_the_busiest_shared_unit_bounds_a_layer():
    found = told(
        line("one", "a", "one.slow", 50),
        line("one", "b", "one.fast", 28),
        line("two", "b", "two.slow", 64),
    )
    assert found["one"].text == (
        "bank b, 92 % busy, 28 % for this layer; its rows: 70 % two.slow, 30 % one.fast"
    )
    assert found["two"].unit == "b"


def test_of_units_that_are_busy_alike_the_one_with_most_work_for_the_layer_bounds_it():
    lines = (line("one", "b", "p", 40), line("two", "b", "q", 45), line("one", "a", "r", 84))
    assert told(*lines)["one"].text == "the a unit, 84 % busy; its cycles: 100 % r"


def test_what_a_layer_hardly_uses_does_not_bound_it():
    found = told(line("one", "a", "p", 90), line("out", "a", "q", 1), line("out", "r", "n", 5))
    assert found["out"].unit == "r"


def test_what_comes_in_is_bound_by_nothing():
    assert told(line("input", "event", "x", 90, "input"), line("windows", "l", "", 9, "load")) == {}


def test_a_unit_that_waits_says_for_what():
    found = told(line("one", "neuron", "s", 20, sums=60, port=2))
    assert found["one"].text == (
        "the neuron unit, 20 % busy; its cycles: 100 % s; it waits for sums of the banks, 60 %"
    )


def test_words_for_every_layer_of_a_real_run():
    found, _ = profiled()
    assert [bound.layer for bound in found.bounds] == ["layer1", "layer2", "layer3", "readout"]
    for bound in found.bounds:
        assert 0 < bound.own <= bound.busy <= 1
        assert sum(bound.work.values()) == pytest.approx(1)


def test_no_events_no_rows():
    quiet = np.zeros_like(X)
    found, _ = profiled(x=quiet)
    fast = found.ops["layer1.fast"]
    assert fast.rows == 0
    assert fast.busy > 0  # an empty group takes its one cycle
    assert replace(fast, busy=0, stalls={}) == Spent()
