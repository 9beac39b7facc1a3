"""Differences: what changed, from what, to what, by how much; nothing between equals."""

from dataclasses import replace

import numpy as np

from dmpc import Options
from dmpc import compile as compile_network
from isa.target import load_target
from runtime import Program
from runtime.changes import Change, by_section, changed, flat, of_images, of_runs, of_targets
from tests.networks import Layer, Shape, network, samples

SHAPE = Shape(inputs=6, layers=(Layer(neurons=9, states=3),), samples=4, steps=6, seed=2)
IMAGE = compile_network(network(SHAPE)).image


def texts(changes):
    return {(one.section, one.what): (one.before, one.after, one.by) for one in changes}


def test_equals_differ_in_nothing():
    assert list(of_images(IMAGE, IMAGE)) == []
    assert list(of_targets(load_target("paper"), load_target("paper"))) == []
    told = Program(IMAGE, "a").run(samples(SHAPE)).to_json()
    assert list(of_runs(told, told)) == []


def test_numbers_say_by_how_much():
    assert Change("", "a", 200, 150).by == "-50 (-25.0 %)"
    assert Change("", "a", 0, 3).by == "+3"
    assert Change("", "a", False, True).by == ""
    assert Change("", "a", None, 3).by == ""


def test_keys_that_came_and_went():
    found = list(changed("s", {"a": 1, "b": None}, {"b": None, "c": None}))
    assert [(one.what, one.before, one.after) for one in found] == [
        ("a", 1, None),
        ("c", None, None),
    ]


def test_nested_data_have_names_with_dots():
    value = {"bank": [{"name": "spike", "rows": 4}, {"name": "b", "rows": 5}], "list": [7, [8]]}
    assert flat(value) == {
        "bank.spike.name": "spike", "bank.spike.rows": 4, "bank.b.name": "b", "bank.b.rows": 5,
        "list.0": 7, "list.1.0": 8,
    }  # fmt: skip


def test_targets_differ_by_key():
    found = texts(of_targets(load_target("paper"), load_target("edge")))
    assert found["target", "lanes"] == (4, 32, "+28 (+700.0 %)")
    assert found["target", "bank.spike.rows"][1] == load_target("edge").bank[0].rows


def test_an_instruction_that_came_does_not_change_the_others():
    first = next(pc for pc, op in enumerate(IMAGE.code) if op.mnemonic == "acc.events")
    code = (*IMAGE.code[:first], IMAGE.code[first], *IMAGE.code[first:])
    notes = {k: v for k, v in IMAGE.notes.items() if k != ".dmpc.debug"}
    before, after = replace(IMAGE, notes=notes), replace(IMAGE, notes=notes, code=code)
    found = [one for one in of_images(before, after) if one.section.startswith("code")]
    assert [(one.before, one.after is not None) for one in found] == [(None, True)]


def test_images_differ_by_layer_instruction_and_symbol():
    other = compile_network(network(SHAPE), options=Options(weight_bits=4)).image
    sections = by_section(list(of_images(IMAGE, other)))
    assert "target" not in sections
    changed_rows = {one.what: one for one in sections["memory spike"]}
    told = changed_rows["layer1.fast.weight (contents)"].after
    assert "elements differ, by" in told
    memories = dict(IMAGE.memories)
    memories["drive"] = memories["drive"].copy()
    memories["drive"][2] += 3
    (one,) = of_images(IMAGE, replace(IMAGE, memories=memories))
    assert (one.section, one.what) == ("memory drive", "layer1.wx (contents)")
    assert one.after == "1 of 6 elements differ, by 3 at most"


def test_runs_differ_in_totals_and_answers():
    program, x = Program(IMAGE, "a"), samples(SHAPE)
    one, other = (program.run(part).to_json() for part in (x, np.zeros_like(x)))
    found = texts(of_runs(one, other))
    assert found["totals", "totals.cycles"][0] == one["totals"]["cycles"]
    assert found["samples", "samples with other cycles"][1] == 4
    shorter = texts(of_runs(one, program.run(x[:2]).to_json()))
    assert shorter["samples", "samples"][:2] == (4, 2)
