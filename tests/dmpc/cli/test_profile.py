"""`dmpc profile`: what it prints fits 80 columns, what it writes is what the run did."""

import json

from isa.image import read_image


def test_it_says_what_bounds_each_layer_and_shows_every_instruction(dmpc, shared):
    said = dmpc.ok("profile", shared.image, "--input", shared.data)
    lines = said.splitlines()
    assert max(map(len, lines)) <= 80
    at = lines.index("what bounds each layer")
    assert lines[at + 2].startswith("  layer1: ")
    for pc, op in enumerate(read_image(shared.image).code):
        assert f"{pc:5}  {op.mnemonic}" in said
    assert "layer1.fast < /fast" in said


def test_its_totals_are_those_of_run(dmpc, shared):
    arguments = ("--input", shared.data, "--json", "-")
    found = json.loads(dmpc.ok("profile", shared.image, *arguments))
    totals = json.loads(dmpc.ok("run", shared.image, *arguments))["totals"]
    assert found["cycles"] == totals["cycles"]
    assert found["total"]["accesses"] == totals["memories"]
    for unit, of in totals["units"].items():
        assert {key: found["units"][unit][key] for key in of} == of
        lines = [line for line in found["instructions"] if line["unit"] == unit]
        assert sum(line["busy"] for line in lines) == of["busy"]


def test_it_takes_the_first_samples(dmpc, shared):
    arguments = ("--input", shared.data, "--limit", 2, "--json", "-")
    assert json.loads(dmpc.ok("profile", shared.image, *arguments))["samples"] == 2


def test_what_it_cannot_read_is_one_line(dmpc, shared, tmp_path):
    assert "none.elf" in dmpc.fails("profile", tmp_path / "none.elf", "--input", shared.data)
    assert "no array 'x'" not in dmpc.fails("profile", shared.data, "--input", shared.data)
