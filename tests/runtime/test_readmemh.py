"""Memories and test vectors, read by Verilog's rules, hold what is in the image and the run."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.format import decode
from isa.image import Image, Symbol
from isa.target import target_text
from runtime.readmemh import MODULE, hexadecimal, memory_files, vector_files
from tests.three_layers import inputs, three_layers

PROGRAM = three_layers()
IMAGE = PROGRAM.image


def read(text, elements, bits):
    """Rows [rows, elements] of a file: comments left out, words of digits, lowest element first."""
    words = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.S).split()
    assert all(re.fullmatch(r"[0-9a-f]+", word) for word in words)
    assert {len(word) for word in words} <= {-(-elements * bits // 4)}
    rows = [[int(w, 16) >> (bits * n) & ((1 << bits) - 1) for n in range(elements)] for w in words]
    return np.array([[e - (e >> (bits - 1) << bits) for e in row] for row in rows], object)


@given(st.integers(2, 64), st.integers(1, 5), st.data())
def test_rows_are_twos_complement_with_the_first_element_lowest(bits, elements, data):
    one = st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    rows = data.draw(st.lists(st.lists(one, min_size=elements, max_size=elements), min_size=1))
    text = "\n".join(hexadecimal(np.array(rows, np.int64), bits))
    assert read(text, elements, bits).tolist() == rows


def test_memories_and_the_program_are_the_images():
    files = memory_files(IMAGE)
    by_name = {item.name: item for item in files.words}
    assert by_name.keys() - {"program"} == {n for n, table in IMAGE.memories.items() if len(table)}
    code = by_name["program"]
    words = [int(line.split()[0], 16) for line in _lines(files.texts[code.file])]
    assert tuple(map(decode, words)) == IMAGE.code
    assert (code.words, code.width, code.depth) == (len(IMAGE.code), 128, 4096)
    for name, table in IMAGE.memories.items():
        if len(table):
            item, memory = by_name[name], IMAGE.target.memories[name]
            found = read(files.texts[item.file], item.elements, item.bits)
            assert found.tolist() == table.tolist()
            assert (item.depth, item.width) == (memory.rows, memory.row_bits)
    assert "// layer3.wx, from 6 on\n" in files.texts["drive.hex"]


def _lines(text):
    return [line for line in text.splitlines() if not line.startswith("//")]


def test_external_memories_have_files_of_their_own():
    target = target_text("edge")
    row = np.arange(32, dtype=np.int8)[None]
    image = Image(target, IMAGE.code[:1], {"external.memory_a": row})
    (item,) = [w for w in memory_files(image).words if w.name == "external.memory_a"]
    assert (item.file, item.words, item.depth) == ("external.memory_a.hex", 1, 1)
    assert f"mem_external_memory_a [0:{0}]" in memory_files(image).texts[MODULE]


def test_vectors_are_what_a_run_leaves_in_each_timestep():
    files = vector_files(PROGRAM, {0: inputs(0), 2: inputs(2)})
    by_name = {item.name: item for item in files.words if item.file.startswith("sample_2_")}
    assert len(by_name) * 2 == len(files.words)
    tables = {
        name: read(files.texts[item.file], item.elements, item.bits + (item.bits == 1))
        if item.bits > 1
        else bits(files.texts[item.file], item.elements)
        for name, item in by_name.items()
    }
    assert tables["input"].tolist() == inputs(2).tolist()
    places = {
        name.removesuffix(".next"): (pc, operand)
        for pc, source in enumerate(PROGRAM.provenance)
        for operand, name in source.values.items()
        if source.layer not in ("input", "readout") and name.removesuffix(".next") in tables
    }
    seen = PROGRAM.engine.run(inputs(2)[None], watched=places.values()).seen
    assert {"layer1.spikes", "layer1.u", "layer1.m", "layer2.spikes", "layer3.m"} <= places.keys()
    for name, place in places.items():
        every = by_name[name].every
        assert tables[name].tolist() == seen[place][0].tolist()[::every], name
    for step in range(len(inputs(2))):
        run = PROGRAM.engine.run(inputs(2)[None, : step + 1])
        assert tables["logits"][step].tolist() == PROGRAM.integers(run.logits)[0].tolist()


def bits(text, elements):
    words = [int(line.split()[0], 16) for line in _lines(text)]
    return np.array([[word >> n & 1 for n in range(elements)] for word in words])


def test_some_timesteps_alone():
    files = vector_files(PROGRAM, {1: inputs(1)}, range(2, 5))
    (item,) = [w for w in files.words if w.name == "layer1.spikes"]
    assert item.words == 3
    notes = [line.split("// ")[1] for line in files.texts[item.file].splitlines()]
    assert notes == ["timestep 2", "timestep 3", "timestep 4"]


def test_names_that_files_cannot_have():
    symbols = (Symbol("a\u2192b", ".text", 0, 1),)
    image = Image(target_text("paper"), IMAGE.code[:1], symbols=symbols)
    assert "a\u2192b" in memory_files(image).texts["program.hex"]


@pytest.mark.skipif(not shutil.which("iverilog"), reason="Icarus Verilog is not installed")
def test_icarus_verilog_reads_them(tmp_path):
    files = memory_files(IMAGE)
    for name, text in files.texts.items():
        (tmp_path / name).write_text(text)
    shown = "".join(
        f'    for (i = 0; i < {w.words}; i = i + 1) $display("%h", m.mem_{w.name}[i]);\n'
        for w in files.words
    )
    head = "module bench;\n  memories m();\n  integer i;\n  initial begin #1\n"
    (tmp_path / "bench.v").write_text(f"{head}{shown}  end\nendmodule\n")
    for command in (["iverilog", "-o", "bench", MODULE, "bench.v"], ["vvp", "-n", "bench"]):
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert not run.stderr
    told = run.stdout.split()
    assert told == [line.split()[0] for w in files.words for line in _lines(files.texts[w.file])]
