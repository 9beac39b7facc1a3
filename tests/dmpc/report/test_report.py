"""What a report computes and holds, without a browser."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dmpc import Options
from dmpc import compile as compile_network
from dmpc.errors import DmpcError
from dmpc.report import tables
from dmpc.report.collect import Choice, collect
from dmpc.report.network import drawing
from dmpc.report.page import page
from dmpc.report.registers import registers
from dmpc.report.tables import raster
from isa.assembler import assemble
from isa.reference import EXAMPLE
from runtime import Program, Samples
from runtime.looks import confusion, looks
from runtime.maps import memory_map
from runtime.roofline import roofline
from runtime.timestep import timestep_of
from tests.dmpc.report.conftest import DEEP
from tests.networks import network, samples


def data_of(text):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1]
    )


def test_a_page_is_whole_and_needs_nothing(reported):
    text = reported.path.read_text("utf-8")
    inside = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!#)', inside)
    assert "url(" not in inside
    assert "@import" not in inside
    assert page(reported.report) == text
    assert text.count("Redistribution and use in source and binary forms") == 3  # with its licenses
    for title in (
        "What bounds each layer",
        "Schedule",
        "Memory maps",
        "Roofline",
        "Inside samples",
    ):
        assert f"<h2>{title}</h2>" in text


def test_a_thousand_samples_are_less_than_three_megabytes(reported):
    x = np.concatenate([samples(DEEP)] * 200)
    result = reported.program.run(x, np.arange(1000) % 3)
    text = page(collect(reported.program, Samples(x, result.labels), result))
    assert len(text.encode()) < 3e6


def test_names_of_users_are_shown_and_not_obeyed(reported):
    odd = "</script><script>alert(1)</script>\x1b[2J"
    profile = replace(reported.report.profile, name=odd)
    text = page(replace(reported.report, profile=profile))
    assert "alert(1)</script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u001b[2J" in text


def test_looks_are_what_the_device_did(reported):
    program, x = reported.program, samples(DEEP)
    look = reported.report.looks[1]
    assert look.sample == 3
    seen = program.run(x[3:4], watched=program.spikes.values()).seen
    for name, place in program.spikes.items():
        spikes = look.spikes[name]
        assert spikes.tolist() == seen[place][0][:, : spikes.shape[1]].astype(bool).tolist()
    assert [s.shape for s in look.membranes.values()] == [(12, 17), (12, 13), (12, 9)]
    assert sorted(s.shape[1] for s in look.states.values()) == [2, 3]
    for moment, logits in zip(look.moments.tolist(), look.logits, strict=True):
        assert logits.tolist() == program.run(x[3:4, :moment]).logits[0].tolist()
    drawn = sum(len(part["t"]) for part in raster(look))
    assert drawn == look.inputs.sum() + sum(s.sum() for s in look.spikes.values())


def test_an_engine_without_streams_tells_the_logits_of_the_end(reported):
    program = Program(reported.program.image, "deep.elf", "reference")
    (look,) = looks(program, [samples(DEEP)[0]], [0])
    assert look.moments.tolist() == [12]
    assert look.logits.tolist() == reported.result.logits[:1].tolist()


def test_a_timestep_has_each_of_its_instructions_once(reported):
    program = reported.program
    trace = program.trace(samples(DEEP)[:1])
    step = timestep_of(trace, program.image.code, DEEP.steps, 5)
    pcs = [span.pc for span in step.spans]
    assert pcs == sorted(set(pcs))
    assert {"acc.events", "lif", "delay.events"} <= {program.image.code[p].mnemonic for p in pcs}
    for unit in {item.unit for item in step.intervals}:
        ends = [(i.since, i.until) for i in step.intervals if i.unit == unit]
        assert all(a[1] <= b[0] for a, b in pairwise(ends))
        inside = {c for i in trace.intervals if i.unit == unit for c in range(i.since, i.until)}
        drawn = {c for since, until in ends for c in range(since, until)}
        assert drawn == inside & set(range(step.first, step.last))


def test_points_lie_under_their_roofs(reported):
    points = roofline(reported.report.profile, reported.program.image.target)
    assert {point.layer for point in points} >= {"layer1", "layer2", "layer3"}
    for point in points:
        assert 0 < point.reached <= point.working <= point.roof + 1e-9


def test_the_memory_map_holds_every_loaded_row(reported):
    image = reported.program.image
    for memory, rows in image.memories.items():
        held = {
            r
            for s in memory_map(image)
            if s.memory == memory
            for r in range(s.first, s.first + s.rows)
        }
        assert set(range(len(rows))) <= held


def test_the_confusion_matrix_counts_answers():
    found = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_ops_stand_right_of_what_they_need(reported):
    drawn = drawing(reported.report.graph, reported.program.image.target)
    at = {node.name: node.column for node in drawn.nodes}
    assert all(at[a] < at[b] for a, b in drawn.edges)
    assert drawn.carried  # states, recurrence
    assert {"spike", "neuron", "readout"} <= {node.path for node in drawn.nodes}


def test_samples_that_are_not_there(reported):
    given = Samples(samples(DEEP), None)
    result = reported.program.run(given.x)
    with pytest.raises(DmpcError, match="there is no sample 5; the last is 4"):
        collect(reported.program, given, result, Choice(samples=(5,)))
    assert "carry no labels" in page(collect(reported.program, given, result))


def test_notebooks_show_the_small_forms(reported):
    for value in (reported.result, reported.report.profile, reported.report):
        assert value._repr_html_().count("<table>") >= 1
    assert "layer2" in reported.report._repr_html_()
    busy = data_of(reported.path.read_text("utf-8"))["sets"]["units"][0]
    assert busy["part"].count("busy") == len(reported.report.profile.units)


def test_registers_are_never_held_twice_at_a_time(reported):
    order, stays = registers(reported.report.graph)
    assert len(order) == len(set(order))
    held = {}
    for stay in stays:
        assert 0 <= stay.since < stay.until <= len(order)
        for op in range(stay.since + 1, stay.until):
            assert held.setdefault((stay.register, op), stay.value) == stay.value
    late = next(stay for stay in stays if stay.value == "layer3.late")
    assert late.since == order.index("layer3.late")


def test_a_sample_of_one_timestep_is_shown_whole(reported):
    x = samples(DEEP)[:2, :1]
    given = Samples(x, None)
    report = collect(reported.program, given, reported.program.run(x))
    assert (report.timestep.first, report.timestep.last) == (0, report.result.cycles[0])
    assert "Timestep 0 of sample 0" in page(report)


def test_neurons_in_several_instructions_have_membranes_and_spikes():
    image = compile_network(network(DEEP), options=Options(fusion=False)).image
    program, given = Program(image, "unfused.elf"), Samples(samples(DEEP)[:1], None)
    report = collect(program, given, program.run(given.x))
    assert len(report.looks[0].membranes) == len(report.looks[0].spikes) == 3
    assert "<h3>Membranes</h3>" in page(report)


def test_a_program_written_by_hand_has_a_report():
    program = Program(assemble(EXAMPLE, "hand.s"), "hand.s")
    given = Samples(samples(DEEP)[:3, :, :4], None)
    report = collect(program, given, program.run(given.x))
    assert list(report.looks[0].spikes) == ["pc 7"]
    assert {bound.layer for bound in report.profile.bounds} == {"step", "after"}
    text = page(report)
    assert "<h2>Network</h2>" not in text
    assert "<h2>Schedule</h2>" in text


def test_what_is_too_much_to_draw_is_left_out(reported, monkeypatch):
    look = reported.report.looks[0]
    whole = sum(len(part["t"]) for part in raster(look))
    monkeypatch.setattr(tables, "MOST_SPIKES", whole // 2)
    drawn = raster(look)
    assert 0 < sum(len(part["t"]) for part in drawn) <= whole // 2
    last = max(max(part["t"], default=0) for part in drawn)
    counted = look.inputs[: last + 2].sum() + sum(s[: last + 2].sum() for s in look.spikes.values())
    assert counted > whole // 2  # not one timestep less than there is room for
    monkeypatch.setattr(tables, "MOST_LOGITS", 1)
    classes = {part["class"]: part["role"] for part in tables.logits(reported.report, look)}
    assert set(classes.values()) <= {"prediction", "label"}
    monkeypatch.setattr(tables, "MOST_DRAWN", 3)
    assert "too much happens to draw every wait" in page(reported.report)
    (part,) = tables.timeline(reported.report)
    assert len(part["pc"]) == len(reported.report.timestep.spans)


def test_a_timestep_is_traced_no_further_than_what_runs_beside_it(reported):
    program = reported.program
    whole = timestep_of(program.trace(samples(DEEP)[:1]), program.image.code, DEEP.steps, 3)
    x = Samples(samples(DEEP), None)
    report = collect(program, x, reported.result, Choice(timestep=3))
    assert report.timestep == whole
