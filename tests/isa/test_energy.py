"""Prices follow from widths and sizes, so that a changed target stays true."""

from math import sqrt

import pytest

from isa.energy import cycle_price, energy, operation_price, row_price
from isa.engines.counts import Counts
from isa.errors import IsaError
from isa.target import Target, load_target, parse_target, target_names
from tests.isa.programs import PAPER

CACTI = {8: 0.0189, 32: 0.0381, 128: 0.0809}
"""Picojoules a bit read, by kilobytes: CACTI 7, 22 nm, low-power cells."""


def changed(*edits: tuple[str, str]) -> Target:
    text = PAPER
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return parse_target(text, "my.toml")


def row(target: Target, name: str, direction: str = "reads") -> float:
    return row_price(target, target.memories[name], direction)


@pytest.mark.parametrize("kilobytes", CACTI)
@pytest.mark.parametrize("name", target_names())
def test_the_law_meets_what_it_was_calibrated_with(name, kilobytes):
    target = load_target(name)
    memory = target.memories["spike"].model_copy(update={"lanes": 8, "rows": 128 * kilobytes})
    assert row_price(target, memory, "reads") / 64 == pytest.approx(CACTI[kilobytes], rel=0.05)


def test_a_row_costs_its_bits_and_a_bit_the_root_of_its_memory():
    paper = load_target("paper")
    assert row(paper, "spike") == pytest.approx(32 * 0.0194 * 4)  # 32 bits of 128 KB
    taller = changed(("rows = 32768", "rows = 65536"))
    assert row(taller, "spike") == pytest.approx(sqrt(2) * row(paper, "spike"))
    wider = changed(("\nlanes = 4 ", "\nlanes = 8 "))
    same_bytes = changed(("\nlanes = 4 ", "\nlanes = 8 "), ("rows = 32768", "rows = 16384"))
    assert row(wider, "spike") == pytest.approx(2 * sqrt(2) * row(paper, "spike"))
    assert row(same_bytes, "spike") == pytest.approx(2 * row(paper, "spike"))
    assert row(paper, "ring", "writes") == row(paper, "ring")


def test_a_bit_of_a_tiny_memory_costs_no_less():
    paper = load_target("paper")
    tiny = paper.memories["readout"].model_copy(update={"rows": 2})
    small = tiny.model_copy(update={"rows": 32})  # 512 bytes
    assert row_price(paper, tiny, "reads") == row_price(paper, small, "reads")
    assert row_price(paper, tiny, "reads") == pytest.approx(128 * 0.0194 / 4)


def test_an_operation_costs_its_one_bit_adders():
    paper, unit = load_target("paper"), 0.0012
    for place, adders in {
        ("spike", "add"): 34,
        ("event", "move"): 34,
        ("memory_a", "multiply_add"): 10 * 16 + 34,
        ("drive", "multiply_add"): 12 * 16 + 34,
        ("update", "multiply_add"): 16 * 16 + 34,
        ("readout", "multiply_add"): 8 * 32 + 34,
        ("neuron", "neuron"): 8 * 16 + 4 * 34,
    }.items():
        assert operation_price(paper, *place) == pytest.approx(unit * adders)
    narrow = changed(("weight_bits = 10", "weight_bits = 5"))
    assert operation_price(narrow, "memory_b", "multiply_add") == pytest.approx(unit * (80 + 34))


def test_a_cycle_costs_its_lanes():
    """So twice the lanes, half the cycles, are no gift."""
    paper, wide = load_target("paper"), changed(("\nlanes = 4 ", "\nlanes = 8 "))
    assert cycle_price(paper) == pytest.approx(0.027 * 37)
    assert cycle_price(wide) == pytest.approx(0.027 * (37 + 20))


def test_what_was_measured_goes_before_the_law():
    target = parse_target(f"{PAPER}\n[energy.read]\nneuron = 7.5\n", "my.toml")
    paper = load_target("paper")
    assert row(target, "neuron") == 7.5
    assert row(target, "neuron", "writes") == row(paper, "neuron")
    counts = Counts(cycles=10)
    counts.accesses_at[3, "neuron", "reads"] = 4
    counts.operations_at[3, "spike", "add"] = 100
    found = energy(counts, target)
    assert found.by_memory() == {"neuron": 30.0}
    assert found.by_instruction() == {3: pytest.approx(30 + 100 * 0.0012 * 34)}
    assert found.total == pytest.approx(30 + 100 * 0.0012 * 34 + 10 * 0.027 * 37)


def test_the_order_in_which_an_engine_counts_changes_no_digit():
    places = [(pc, "neuron", way) for pc in range(40) for way in ("reads", "writes")]
    totals = set()
    for order in (places, places[::-1]):
        counts = Counts()
        counts.accesses_at.update({place: 3 + place[0] ** 9 for place in order})
        totals.add(energy(counts, load_target("paper")).total)
    assert len(totals) == 1


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("[energy.read]\nspik = 1.0", "energy.read.spik names no memory; there are axon, drive, "),
        ("[energy.write]\naxon = 1.0", "energy.write.axon is never written; there are drive, "),
        ("[energy.read]\nspike = -1.0", "energy.read.spike: Input should be greater than or equal"),
        ("[energy.operation]\nadd = 0.1", "energy.operation: no such key; see isa/targets/paper"),
    ],
)
def test_a_measured_figure_names_a_memory(table, expected):
    with pytest.raises(IsaError) as caught:
        parse_target(f"{PAPER}\n{table}\n", "my.toml")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_target_of_typed_prices_is_told_what_is_missing():
    old = PAPER.replace("\nbit = 0.0194", "\nsram = 0.0194")
    with pytest.raises(IsaError, match=r"^my: energy\.bit: Field required; energy\.sram: no such"):
        parse_target(old, "my")
