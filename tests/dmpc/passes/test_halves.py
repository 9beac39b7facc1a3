"""Convolutions in two parts: the same sums, in two banks at once."""

import numpy as np
import pytest

import dmpc
from benchmarks.convolution import Front, built
from benchmarks.random_networks import Layer
from dmpc import Options
from dmpc.ir.ops_convolution import Convolution
from dmpc.passes.halves import halved, halves_of
from dmpc.verification import verify
from runtime.program import Program

DRAW = np.random.default_rng(0)
CUT = {
    "channels": Convolution((6, 7), 4, (6, 4), 8, (3, 3), (1, 2), (1, 1)),
    "channels that are apart": Convolution((9, 9), 2, (5, 5), 4, (3, 3), (2, 2), (2, 2), (2, 2)),
    "taps of planes": Convolution((6, 7), 4, (6, 7), 8, (3, 3), (1, 1), (1, 1), planar=True),
    "taps of sums": Convolution((8, 8), 4, (4, 4), 4, (3, 3), padding=(1, 1), pool=(2, 2)),
    "taps from left to right": Convolution((5, 8), 3, (3, 9), 4, (3, 4), padding=(0, 2)),
}
WHOLE = {
    "nothing to begin later from": Convolution((6, 6), 4, (4, 4), 8, (3, 3)),
    "parts": Convolution((6, 6), 4, (6, 6), 8, (3, 3), padding=(1, 1), parts=2),
    "strides beyond a kernel's fields": Convolution(
        (1, 80), 2, (1, 4), 4, (1, 2), (1, 20), (0, 1), dilation=(1, 15)
    ),
}


def weight_of(made: Convolution) -> np.ndarray:
    return DRAW.integers(-9, 9, (made.outputs, *made.taps, made.channels // made.parts))


@pytest.mark.parametrize("name", CUT)
def test_sums_of_both_are_those_of_the_whole(name):
    made, x = CUT[name], DRAW.integers(0, 2, (3, CUT[name].inputs))
    weight = weight_of(made)
    found = halves_of(made, weight)
    assert sum(half.seen for half, _ in found) == made.seen
    sums = [half.apply(x, rows) for half, rows in found]
    np.testing.assert_array_equal(sums[0] + sums[1], made.apply(x, weight))
    assert all(rows.any() for _, rows in found)


@pytest.mark.parametrize("name", WHOLE)
def test_what_cannot_be_cut_stays_whole(name):
    assert halves_of(WHOLE[name], weight_of(WHOLE[name])) == []


def test_two_banks_of_a_pool_share_a_convolution():
    graph = built((12, 12, 2), (Front(16, 5, 2, 2),), (Layer(16),), 4)
    x = np.random.default_rng(0).random((2, 20, 288)) < 0.1
    options = Options(target="pooled")
    compiled = dmpc.compile(graph, calibration=x, options=options)
    parts = [op for op in compiled.graph.ops if op.kind == "convolve"]
    assert [op.results[0] for op in parts] == ["front1.fast.first", "front1.fast.second"]
    assert len({op.attrs.get("bank") for op in parts}) == 2
    assert verify(graph, compiled.image, x, options=options, max_drop=100).ok
    alone = dmpc.compile(graph, calibration=x, options=Options(target="pooled", balance=False))
    cycles = [Program(one.image, "image").run(x).cycles.sum() for one in (compiled, alone)]
    assert cycles[0] < 0.8 * cycles[1]
    own = dmpc.compile(graph, calibration=x)  # on `paper` each lies in one bank
    assert sum(op.kind == "convolve" for op in own.graph.ops) == 1


def test_parts_are_one_again_where_they_are_to_be_whole():
    graph = built((12, 12, 2), (Front(16, 5, 2, 2),), (Layer(16),), 4)
    fused = dmpc.compile(graph, options=Options(balance=False)).graph
    split = halved(fused)
    assert split.parts == {"front1.fast": ("front1.fast.first", "front1.fast.second")}
    again = halved(fused, split.parts).graph
    assert [op.results for op in again.ops] == [op.results for op in fused.ops]
