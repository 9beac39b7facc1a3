"""Placement: everything has its own rows, and what does not fit says so in the user's words."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from dmpc.compiler import Options, to_layers
from dmpc.errors import CompileError
from dmpc.lowering import check_size
from isa.target import load_target, target_text
from tests.networks import Layer, Shape, compile_network, network, networks

SLOW = Shape(inputs=6, layers=(Layer(neurons=9, states=3), Layer(neurons=5, states=2)), seed=5)


@settings(max_examples=40, deadline=None)
@given(networks())
def test_places_do_not_overlap_and_stay_within_their_memory(shape):
    options = Options(input_range=(-1.0, 1.0) if shape.graded else None)
    graph = compile_network(network(shape), options=options).graph
    memories = load_target("paper").memories
    by_memory = {}
    longest = {}  # scalars of a vector of drives lie where it begins
    for place in graph.placement.values():
        first = place.memory, place.row
        longest[first] = max(longest.get(first, place), place, key=lambda one: one.rows)
    for place in longest.values():
        by_memory.setdefault(place.memory, []).append((place.row, place.row + place.rows))
    for memory, ranges in by_memory.items():
        ranges.sort()
        assert ranges[0][0] == 0
        assert all(a[1] <= b[0] for a, b in pairwise(ranges)), memory
        if memory in memories:
            assert ranges[-1][1] <= memories[memory].rows


PAPER = target_text("paper")
ALONE = PAPER[: PAPER.index("[external]")] + PAPER[PAPER.index("[energy]") :]
"""The paper's target without external memory."""


def shrunk(tmp_path, section, key, old, new):
    """The paper's target, without external memory and with one figure changed, as a file."""
    head, found, tail = ALONE.partition(section)
    assert found
    line = next(line for line in tail.splitlines() if line.startswith(f"{key} = {old}"))
    text = head + found + tail.replace(line, f"{key} = {new}", 1)
    path = tmp_path / "small.toml"
    path.write_text(text)
    return str(path)


CASES = {
    "spike memory": (
        '[[bank]]\nname = "spike"', "rows", 32768, 20,
        "/layer2.fast.weight: %layer2.fast.weight needs 18 rows of the spike memory; 2 of 20 are",
    ),
    "memory path": (
        'name = "memory_a"', "rows", 8192, 8,
        "/layer1.slow.weight: %layer1.P needs 9 rows of the memory_a memory; 8 of 8 are free",
    ),
    "drive": (
        "[drive]", "rows", 4096, 8,
        "/layer2.wx: %layer2.wx needs 9 rows of the drive memory; 2 of 8 are free",
    ),
    "update": (
        "[update]", "rows", 2048, 6,
        "/layer2.A: %layer2.A needs 3 rows of the update memory; 2 of 6 are free",
    ),
    "neuron": (
        "[neuron]", "rows", 512, 4, "%layer2.u needs 2 rows of the neuron memory; 1 of 4 are free",
    ),
    "event width": (
        "[events]", "width", 1024, 1,
        "%layer1.spikes of 9 elements takes 12 events registers of 1; 8 of 16 are free",
    ),
    "value registers": (
        "[values]", "count", 16, 2,
        "%layer2.x of 1 elements takes 1 values registers of 256; 0 of 2 are free",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_named(case, tmp_path):
    section, key, old, new, message = CASES[case]
    # Dedicated banks, so that nothing makes room elsewhere.
    options = Options(target=shrunk(tmp_path, section, key, old, new), balance=False)
    with pytest.raises(CompileError) as caught:
        compile_network(network(SLOW), options=options)
    assert message in str(caught.value)
    assert caught.value.hint
    assert str(caught.value).startswith("/layer"), "it begins with the user's own node"


def test_a_delay_that_the_ring_does_not_hold():
    shape = Shape(inputs=70, layers=(Layer(neurons=3, delays=600),), seed=1)
    with pytest.raises(CompileError) as caught:
        compile_network(network(shape))
    reach = network(shape).types["layer1.late.waiting"].shape[0] - 1
    assert str(caught.value) == (
        f"/layer1/late: %layer1.late.waiting: delays of layer1 reach {reach} timesteps; the events "
        f"of 70 axons that wait so long need {2 * (reach + 1)} rows of the ring memory, 1024 of "
        "1024 are free on target paper (delays of at most 511 timesteps fit; or a target with more "
        "rows in [delay]; no target that ships holds this network)"
    )


WIDE_LAYER = Layer(neurons=200, states=90, legendre=False)
WIDE = Shape(inputs=4, layers=(WIDE_LAYER,) * 3)


def never(*_args, **_kwargs):
    raise AssertionError("computed although the network cannot fit")


def test_what_cannot_fit_is_refused_before_it_is_run(monkeypatch, tmp_path):
    for late in ("dmpc.compiler.prove", "dmpc.compiler.calibrate"):
        monkeypatch.setattr(late, never)
    x = np.zeros((2, 4, 4))
    path = tmp_path / "alone.toml"
    path.write_text(ALONE)
    with pytest.raises(CompileError) as caught:
        compile_network(network(WIDE), calibration=x, options=Options(target=str(path)))
    said = str(caught.value)
    assert "%layer3.P needs 4500 rows of the memory_a memory; 3692 of 8192 are free" in said
    assert "the network needs 9000 in all" in said
    assert said.endswith("target with a larger memory; target 'paper' holds this network)")


def test_edge_holds_a_network_of_spoken_commands():
    layer = Layer(neurons=512, states=16)
    commands = Shape(inputs=700, layers=(layer, layer), classes=35)
    check_size(network(commands), load_target("edge"), Options())


def test_a_target_that_is_said_to_hold_a_network_does():
    assert compile_network(network(WIDE), options=Options(target="pooled")).image


def test_events_that_fit_another_bank_are_no_early_refusal(tmp_path):
    """Whatever bank is full, others have room for its products."""
    shape = Shape(inputs=40, layers=(Layer(neurons=12), Layer(neurons=12)), classes=3, seed=1)
    layers = to_layers(network(shape), Options())
    target = load_target(shrunk(tmp_path, 'name = "spike"', "rows", 32768, 100))
    check_size(layers, target, Options())
    full = load_target(shrunk(tmp_path, 'name = "memory_a"', "rows", 8192, 2))
    check_size(layers, full, Options())


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_graded_input_cannot_be_delayed(calibrated):
    shape = Shape(inputs=2, layers=(Layer(neurons=3, delays=3),), seed=1)
    graded = {"calibration": np.full((1, 4, 2), 0.5)} if calibrated else {}
    options = Options(input_range=None if calibrated else (-1.0, 1.0))
    with pytest.raises(CompileError) as caught:
        compile_network(network(shape), options=options, **graded)
    assert str(caught.value) == (
        "/layer1/late: the input of layer1 is delayed, but holds values other than 0 and 1 "
        "(binarise the input, or delay the spikes of the layer behind it)"
    )


def test_layers_of_thousands_of_neurons_have_room_outside_the_chip():
    """Where all banks are short, no choice among them may stand in the way."""
    large = Shape(inputs=700, layers=(Layer(neurons=2048),) * 4, classes=20)
    check_size(network(large), load_target("paper"), Options())
