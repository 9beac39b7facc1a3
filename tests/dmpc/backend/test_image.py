"""Lowering and emission: what an image of a network holds."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from dmpc.backend.emit import embedded_graph
from dmpc.backend.tables import product_rows
from dmpc.compiler import Options
from dmpc.errors import CompileError
from dmpc.ir.printer import to_text
from isa.disassembler import assembly
from isa.image import Image, image_bytes
from isa.interface import interface, provenance
from isa.layout import Layout
from isa.target import target_text
from tests.isa.machine import program
from tests.networks import Layer, Shape, compile_network, network, networks

SHAPE = Shape(
    inputs=6, layers=(Layer(neurons=9, states=3), Layer(neurons=5, states=2, hard=False)), seed=5
)
ROOT = Path(__file__).parents[3]
IMAGE = compile_network(network(SHAPE)).image


def options(shape):
    return Options(input_range=(-1.0, 1.0) if shape.graded else None)


@settings(max_examples=25, deadline=None)
@given(networks())
def test_an_image_carries_its_graph_and_its_listing(shape):
    made = compile_network(network(shape), options=options(shape))
    carried = embedded_graph(made.image)
    assert to_text(carried) == to_text(made.graph)
    assert carried.listing == [assembly(op) for op in made.image.code]


def test_an_image_without_a_graph_says_where_it_comes_from():
    with pytest.raises(CompileError, match="the image carries no graph"):
        embedded_graph(program())


def test_every_instruction_of_a_layer_names_the_users_nodes():
    nodes = {}
    for where in provenance(IMAGE):
        nodes.setdefault(where.layer, set()).update(where.nodes)
    assert nodes["input"] == {"input"}
    for number in (1, 2):
        found = {f"/layer{number}/{part}" for part in ("fast", "slow", "drive", "memory", "lif")}
        assert nodes[f"layer{number}"] == found
    assert nodes["readout"] == {"/out"}


def test_symbols_name_the_layers_and_cover_the_code():
    named = [s for s in IMAGE.symbols if s.section == ".text"]
    assert sum(s.size for s in named) == len(IMAGE.code)
    assert {"layer1.step", "layer2.step", "readout.emit"} & {s.name for s in named}
    data = {s.name for s in IMAGE.symbols if s.section.startswith(".mem.")}
    assert data >= {"layer1.fast.weight", "layer1.P", "layer2.nu", "readout.weight", "layer1.A"}


def test_the_interface_is_that_of_the_network():
    described = interface(IMAGE)
    assert (described.input.kind, described.input.size) == ("events", 6)
    assert (described.output.size, described.output.average) == (3, True)
    graded = compile_network(network(SHAPE), options=Options(input_range=(-2.0, 2.0))).image
    source = interface(graded).input
    assert source.kind == "values"
    assert source.scale * ((1 << (source.bits - 1)) - 1) >= 2.0


def test_rows_of_a_matrix_lie_group_by_group():
    matrix = np.arange(10).reshape(5, 2)
    rows = [[0, 2], [1, 3], [4, 6], [5, 7], [8, 0], [9, 0]]
    assert product_rows(matrix, 2, Layout(inputs=2, groups=3)).tolist() == rows


@settings(max_examples=25, deadline=None)
@given(networks())
def test_the_image_is_a_function_of_the_graph(shape):
    made = compile_network(network(shape), options=options(shape))
    copy = Image(
        made.image.target_text, made.image.code, dict(reversed(made.image.memories.items())),
        made.image.symbols[::-1], dict(reversed(made.image.notes.items())),
    )  # fmt: skip
    assert image_bytes(copy) == image_bytes(made.image)


DIGEST = """
import hashlib
from dmpc import compile
from isa.image import image_bytes
from tests.dmpc.backend.test_image import SHAPE
from tests.networks import network, samples
made = compile(network(SHAPE), calibration=samples(SHAPE))
print(hashlib.sha256(image_bytes(made.image)).hexdigest())
"""


def test_hash_seeds_do_not_show_in_the_bytes():
    digests = set()
    for seed in ("0", "1", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, cwd=ROOT,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(run.stdout)
    assert len(digests) == 1


def test_a_layer_that_no_instruction_can_name_is_an_error_of_its_node():
    """A period has sixteen bits."""
    slow = Shape(inputs=1, layers=(Layer(neurons=2, states=1, dilation=70000),))
    with pytest.raises(CompileError) as caught:
        compile_network(network(slow))
    assert str(caught.value) == (
        "/layer1/hold: layer1: hold.value: every: 70000 is not a whole number from 0 to 65535 "
        "(the layer is larger than an instruction can say)"
    )


def test_a_target_that_nests_one_loop_runs_no_networks(tmp_path):
    path = tmp_path / "one.toml"
    path.write_text(target_text("paper").replace("loops = 4 ", "loops = 1 "))
    wanted = r"programs nest 2 loops; target paper has 1 \(sequencer.loops = 2, or more\)"
    with pytest.raises(CompileError, match=wanted):
        compile_network(network(SHAPE), options=Options(target=str(path)))
