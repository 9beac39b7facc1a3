"""Widths: the target's own, what a user may choose, and what is refused."""

import re
from dataclasses import asdict, replace

import numpy as np
import pytest

from dmpc import Options
from dmpc import compile as compile_network
from dmpc.errors import CompileError
from dmpc.passes.quantization.widths import (
    WidthPlan,
    Widths,
    chosen_widths,
    read_widths,
    width_plan,
    widths_text,
)
from dmpc.verification import verify
from isa.target import load_target, parse_target, target_text
from tests.networks import Layer, Shape, network, samples

TARGET = load_target("paper")
SHAPE = Shape(inputs=6, layers=(Layer(neurons=5, states=4), Layer(neurons=5)), samples=4)


def test_the_widest_are_the_targets():
    assert asdict(Widths.of(TARGET)) == {
        "weights": 8, "slow": 10, "drive": 12, "update": 16,
        "values": 16, "membrane": 16, "leak": 8, "sums": 26,
    }  # fmt: skip


def test_where_rows_are_spread_every_bank_must_hold_them():
    text = re.sub(r'(?s)(name = "memory_b".*?weight_bits = )10', r"\g<1>6", target_text("pooled"))
    pooled = Widths.of(parse_target(text, "pooled"))
    assert (pooled.weights, pooled.slow) == (6, 6)
    dedicated = Widths.of(parse_target(text.replace("pooled = true", "pooled = false"), "x"))
    assert (dedicated.weights, dedicated.slow) == (8, 6)


def test_choices_for_all_and_for_one_layer():
    plan = width_plan(TARGET, 6, {"default": {"drive": 9}, "layer2": {"weights": 4}})
    own = Widths.of(TARGET)
    assert plan["layer1"] == replace(own, weights=6, drive=9)
    assert plan["layer2"] == replace(own, weights=4, drive=9)


@pytest.mark.parametrize(
    ("weight_bits", "chosen", "message"),
    [
        (9, {}, "widths: weights of 9 bits; this target holds 2 .. 8 (choose a target"),
        (1, {}, "widths: weights of 1 bits; this target holds 2 .. 8"),
        (None, {"layer1": {"slow": 11}}, "widths of layer1: slow of 11 bits; this target holds 2"),
        (None, {"default": {"slwo": 8}}, "widths of default: no width 'slwo' to choose (did you"),
        (None, {"layer1": {"membrane": 8}}, "widths of layer1: no width 'membrane' to choose"),
    ],
)
def test_what_the_target_cannot_hold_is_refused(weight_bits, chosen, message):
    with pytest.raises(CompileError) as caught:
        width_plan(TARGET, weight_bits, chosen)
    assert message in str(caught.value)


def test_a_layer_that_does_not_exist_is_refused():
    options = Options(widths={"layer7": {"weights": 4}})
    with pytest.raises(CompileError, match="widths are given for layer 'layer7', which does not"):
        compile_network(network(SHAPE), options=options)


def test_chosen_widths_are_the_widths_of_the_integers():
    options = Options(weight_bits=6, widths={"layer1": {"slow": 7, "drive": 5, "update": 12}})
    made = compile_network(network(SHAPE), calibration=samples(SHAPE), options=options)
    bits = {name: made.graph.types[name].bits for name in made.graph.constants}
    assert bits["layer1.P"] == 7
    assert (bits["layer1.wx"], bits["layer1.A"], bits["layer2.fast.weight"]) == (5, 12, 6)
    for name, array in made.graph.constants.items():
        if array.dtype.kind == "i":
            assert np.abs(array.astype(np.int64)).max(initial=0) < 2 ** bits[name], name


def test_what_was_chosen_comes_back_from_its_file(tmp_path):
    chosen = {"default": {"weights": 6}, "layer1": {"weights": 8, "slow": 7}, "readout": {}}
    plan = width_plan(TARGET, None, chosen)
    path = tmp_path / "widths.toml"
    path.write_text(widths_text(chosen_widths(plan, TARGET)))
    again = width_plan(TARGET, None, read_widths(str(path)))
    assert [again[n] for n in ("layer1", "layer2", "readout")] == [
        plan[n] for n in ("layer1", "layer2", "readout")
    ]
    assert chosen_widths(WidthPlan(Widths.of(TARGET)), TARGET) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights = 8", "'weights' stands outside a layer's table"),
        ("[layer1]\nweights = true", "layer1.weights is True, not a number of bits"),
        ("[layer1]\nweights = 8.0", "layer1.weights is 8.0, not a number of bits"),
        ("[layer1", "not TOML: "),
        (f"[layer1]\nweight = {'9' * 5000}", "not TOML: "),
        (None, "cannot read: No such file"),
    ],
)
def test_a_file_that_is_none(tmp_path, text, message):
    path = tmp_path / "widths.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CompileError, match=re.escape(str(path))) as caught:
        read_widths(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize("pooled", ["true", "false"])
def test_weights_stay_out_of_banks_that_are_too_narrow_for_them(tmp_path, pooled):
    """Wide events and a narrow slow path: nothing that needs 8 bits lies in rows of 6."""
    text = target_text("paper").replace("pooled = false", f"pooled = {pooled}")
    path = tmp_path / "narrow.toml"
    path.write_text(re.sub(r"weight_bits = 10", "weight_bits = 6", text))
    shape = replace(SHAPE, inputs=40, layers=(Layer(24, states=4), Layer(24)), density=0.5)
    options = Options(target=str(path))
    made = compile_network(network(shape), calibration=samples(shape), options=options)
    banks = {bank.name: bank.weight_bits for bank in parse_target(path.read_text(), "x").bank}
    placed = {n: p.memory for n, p in made.graph.placement.items() if p.memory in banks}
    assert {"memory_a", "spike"} <= set(placed.values())
    for name, memory in placed.items():
        assert made.graph.types[name].bits <= banks[memory], name
    found = verify(network(shape), made.image, samples(shape), max_drop=100, options=options)
    assert [rung.reason for rung in found.rungs if not rung.ok] == []
