"""Networks and data at the edge: a clear error, or a sound result on every rung of the ladder."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dmpc
from dmpc.analysis.bounds import prove
from dmpc.analysis.coarse import coarse_thresholds
from dmpc.backend.emit import embedded_graph
from dmpc.errors import DmpcError
from dmpc.ir.interpret import interpret
from dmpc.legendre import legendre_system, zero_order_hold
from dmpc.verification import verify
from isa.target import target_names
from runtime.errors import RuntimeFailure
from runtime.program import Program
from tests.networks import Layer, Shape, network, networks, samples

PLAIN = Shape(inputs=5, layers=(Layer(neurons=6, states=3), Layer(neurons=4, states=2)), seed=3)


def constants(part):
    """Names of the first layer's constants that end in a word, in a network of `tests.networks`."""
    return lambda graph: [n for n in graph.constants if n.startswith("layer1") and n.endswith(part)]


def filled(part, value):
    """An edit: constants of the first layer that hold one number."""

    def edit(graph):
        for name in constants(part)(graph):
            graph.constants[name] = np.full_like(graph.constants[name], value)

    return edit


def scaled(part, factor):
    """An edit: constants of the first layer times a factor."""

    def edit(graph):
        for name in constants(part)(graph):
            graph.constants[name] = graph.constants[name] * factor

    return edit


def uneven(graph):
    """Weights from 1e-30 to 1e30 in one matrix."""
    for name in constants("weight")(graph):
        weight = graph.constants[name]
        graph.constants[name] = weight * 10.0 ** np.linspace(-30, 30, weight.size).reshape(
            weight.shape
        )


def both(*edits):
    def edit(graph):
        for one in edits:
            one(graph)

    return edit


def all_layers(factor):
    def edit(graph):
        for name, value in graph.constants.items():
            graph.constants[name] = value * factor

    return edit


EDITS = {
    "constant weights": filled("weight", 0.25),
    "zero weights": filled("weight", 0.0),
    "zero weights and biases": both(filled("weight", 0.0), filled("bias", 0.0)),
    "zero drive": both(filled("wx", 0.0), filled("bx", 0.0)),
    "negative drive": both(filled("wx", -1.0), filled("bx", 0.0)),
    "huge weights": scaled("weight", 1e30),
    "tiny weights": scaled("weight", 1e-30),
    "subnormal weights": scaled("weight", 5e-324 * 2**20),
    "weights from 1e-30 to 1e30": uneven,
    "huge drive": scaled("wx", 1e30),
    "tiny drive": scaled("wx", 1e-30),
    "huge bias": scaled("bias", 1e30),
    "huge drive bias": scaled("bx", 1e30),
    "huge memory input": scaled("B", 1e30),
    "tiny memory input": scaled("B", 1e-30),
    "no memory input": filled("B", 0.0),
    "memory that forgets at once": filled("A", 0.0),
    "threshold 0": filled("threshold", 0.0),
    "negative threshold": filled("threshold", -1.0),
    "threshold never reached": filled("threshold", 1e6),
    "threshold far beyond float32": filled("threshold", 1e38),
    "tiny threshold": filled("threshold", 1e-30),
    "beta 0": filled("beta", 0.0),
    "beta 1": filled("beta", 1.0),
    "beta just below 1": filled("beta", 1 - 1e-9),
    "reset above threshold": filled("reset", 5.0),
    "huge reset": filled("reset", -1e30),
    "everything huge": all_layers(1e12),
    "everything tiny": all_layers(1e-12),
}

SHAPES = {
    "plain": PLAIN,
    "graded": Shape(inputs=5, layers=PLAIN.layers, graded=True, seed=4),
    "subtract": Shape(inputs=5, layers=(Layer(neurons=6, states=3, hard=False),), seed=5),
    "no memory": Shape(inputs=5, layers=(Layer(neurons=6),), readout="last", seed=6),
}


def outcome(graph, x, calibration, **chosen):
    """The error of one line that a network gives, or its image, every rung of which holds."""
    options = dmpc.Options(input_range=(-1.0, 1.0) if x.min() < 0 else None, **chosen)
    try:
        made = dmpc.compile(graph, calibration=calibration, options=options)
    except DmpcError as error:
        return str(error)  # of one line: the callers check it
    assert_sound(graph, made, x)
    return made


def assert_sound(graph, made, x):
    """The simulator computes the integer graph, and no value leaves its proved bound."""
    found = verify(graph, made.image, x, max_drop=100)
    assert not [(r.name, r.reason) for r in found.rungs if not r.ok]
    inner = embedded_graph(made.image)
    proofs = prove(inner).proofs
    inputs, _ = Program(made.image, "here").encode(x)
    for cause, count in interpret(inner, inputs).saturations.items():
        safe = proofs[cause].safe_steps
        assert not count or (safe is not None and x.shape[1] > safe), cause
    result = Program(made.image, "here").run(x)
    assert np.isfinite(result.logits).all()


@pytest.mark.parametrize(
    ("name", "scales"),  # scales are found by the values' kind, whatever the reset
    [
        ("plain", "static"),
        ("plain", "calibrated"),
        ("graded", "static"),
        ("subtract", "calibrated"),
    ],
)
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_extreme_networks(edit, name, scales):
    shape = SHAPES[name]
    graph = network(shape)
    edit(graph)
    x = samples(shape)
    found = outcome(graph, x, x if scales == "calibrated" else None)
    assert refused(edit, scales) == isinstance(found, str), found
    assert not isinstance(found, str) or "\n" not in found


def refused(edit, scales):
    """Whether an error is right: a leak beyond 1, or no leak and nothing that bounds membranes."""
    if edit is EDITS["everything huge"]:
        return True
    return edit is EDITS["beta 1"] and scales == "static"


RARE = 0.12  # of the spikes, in samples of few timesteps with few spikes
EXACT = (
    "constant weights", "zero weights", "zero drive", "negative drive", "tiny weights",
    "subnormal weights", "tiny drive", "huge bias", "tiny memory input", "no memory input",
    "memory that forgets at once", "threshold 0", "negative threshold", "threshold never reached",
    "threshold far beyond float32", "tiny threshold", "beta 0", "beta 1", "beta just below 1",
    "reset above threshold",
)  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_spikes_stay_near_the_float_network_where_16_bits_can_hold_it(name):
    shape = PLAIN
    graph = network(shape)
    EDITS[name](graph)
    x = samples(replace(shape, samples=8, steps=20))
    made = dmpc.compile(graph, calibration=x)
    rung = verify(graph, made.image, x, max_drop=100).rungs[1]
    assert max(rung.figures["spike_mismatch"].values()) < RARE


@pytest.mark.parametrize("name", ["huge reset", "beta just below 1"])
def test_thresholds_below_a_step_of_their_membranes_are_pointed_out(name):
    graph = network(PLAIN)
    EDITS[name](graph)
    made = dmpc.compile(graph)
    assert coarse_thresholds(made.layers, made.graph)["layer1"] == 6
    assert not coarse_thresholds(*plain())
    x = samples(PLAIN)
    inputs, _ = Program(made.image, "here").encode(x)
    trace = interpret(made.graph, np.zeros_like(inputs), trace=["layer1.spikes"])
    quiet = interpret(made.layers, np.zeros(x.shape), trace=["layer1.spikes"])
    silent = ~quiet.traces["layer1.spikes"].any(axis=(0, 1))
    assert not trace.traces["layer1.spikes"].any(axis=(0, 1))[silent].any()


def plain():
    made = dmpc.compile(network(PLAIN), calibration=samples(PLAIN))
    return made.layers, made.graph


SMALL = {
    "one of everything": Shape(inputs=1, layers=(Layer(1, states=1),), classes=1, seed=1),
    "one class": Shape(inputs=3, layers=(Layer(4, states=2),), classes=1, seed=2),
    "one input": Shape(inputs=1, layers=(Layer(5, states=4), Layer(1)), seed=3),
    "one neuron": Shape(inputs=4, layers=(Layer(1, states=3), Layer(1, states=3)), seed=4),
    "one state": Shape(inputs=4, layers=(Layer(5, states=1),), seed=5),
    "one timestep": Shape(inputs=4, layers=(Layer(5, states=3),), steps=1, seed=6),
    "one sample": Shape(inputs=4, layers=(Layer(5, states=3),), samples=1, seed=7),
    "one sample of one timestep": Shape(inputs=2, layers=(Layer(3),), samples=1, steps=1, seed=8),
    "dilation longer than a sample": Shape(
        inputs=3, layers=(Layer(4, states=2, dilation=9),), steps=4, seed=9
    ),
}


@pytest.mark.parametrize("shape", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("scales", ["static", "calibrated"])
def test_the_smallest_networks_and_samples(shape, scales):
    x = samples(shape)
    assert not isinstance(outcome(network(shape), x, x if scales == "calibrated" else None), str)


def test_a_window_shorter_than_its_states():
    shape = Shape(inputs=3, layers=(Layer(4, states=6),), seed=1)
    graph = network(shape)
    a, b = zero_order_hold(*legendre_system(6, 2.0))
    graph.constants["layer1.A"], graph.constants["layer1.B"] = a, b
    x = samples(shape)
    for calibration in (None, x):
        assert not isinstance(outcome(graph, x, calibration), str)


DATA = {
    "silence": np.zeros((3, 6, 5)),
    "everything on": np.ones((3, 6, 5)),
    "one event": np.eye(1, 90).reshape(3, 6, 5),
    "constant 0.5": np.full((3, 6, 5), 0.5),
    "tiny values": np.full((3, 6, 5), 1e-30),
    "subnormal values": np.full((3, 6, 5), 5e-324),
    "huge values": np.full((3, 6, 5), 1e30),
    "from 1e-30 to 1e30": 10.0 ** np.linspace(-30, 30, 90).reshape(3, 6, 5),
    "one value": np.full((1, 1, 5), 2.0),
    "large integers": np.full((2, 3, 5), 255, np.uint8),
}


@pytest.mark.parametrize("calibration", DATA.values(), ids=DATA)
def test_calibration_sets_that_show_little_or_too_much(calibration):
    """Sound on the set itself and, where the kind of input allows it, on other samples."""
    graph = network(PLAIN)
    made = dmpc.compile(graph, calibration=calibration)
    assert_sound(graph, made, calibration.astype(np.float64))
    assert_sound(graph, made, samples(PLAIN))


def test_a_layer_that_never_fires_leaves_the_layers_after_it_silent():
    graph = network(PLAIN)
    EDITS["threshold never reached"](graph)
    x = samples(PLAIN)
    made = dmpc.compile(graph, calibration=x)
    inputs, _ = Program(made.image, "here").encode(x)
    traces = interpret(made.graph, inputs, trace=["layer1.spikes"]).traces
    assert not traces["layer1.spikes"].any()
    assert prove(made.graph).values["layer1.spikes"].high.max() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(value):
    x = samples(PLAIN).astype(np.float64)
    x[0, 0, 0] = value
    with pytest.raises(DmpcError, match="the calibration set holds NaN or infinite numbers"):
        dmpc.compile(network(PLAIN), calibration=x)
    program = Program(dmpc.compile(network(PLAIN)).image, "here")
    with pytest.raises(RuntimeFailure, match=r"x\[0, 0, 0\] is"):
        program.run(x)
    graph = network(PLAIN)
    graph.constants["layer1.fast.weight"][0, 0] = value
    with pytest.raises(DmpcError, match=r"layer1.fast.weight.* not finite"):
        dmpc.compile(graph)


extremes = st.sampled_from([0.0, 1e-30, 1e-12, 1e-3, 1.0, 1e3, 1e12, 1e30, -1.0, -1e30])


@settings(max_examples=20, deadline=None)
@given(
    networks(),
    st.dictionaries(st.sampled_from(("weight", "wx", "bias", "B", "threshold")), extremes),
    st.booleans(),
)
def test_any_extreme_network_is_sound_or_refused(shape, factors, calibrated):
    graph = network(shape)
    for part, factor in factors.items():
        scaled(part, factor)(graph)
    x = samples(shape)
    found = outcome(graph, x, x if calibrated else None)
    assert not isinstance(found, str) or "\n" not in found


@settings(max_examples=15, deadline=None)
@given(networks(), st.floats(0.0, 1.0), st.booleans(), st.sampled_from(target_names()))
def test_pruned_weights_stay_zero(shape, kept, calibrated, target):
    """In the integer graph and in the memories of the image: a zero costs nothing but its row.

    Layers that spike several times are filled up, and their readers with them.
    """
    shape = replace(shape, layers=tuple(replace(one, times=1) for one in shape.layers))
    graph = network(shape)
    random = np.random.default_rng(shape.seed)
    zero = {}
    for name, weight in graph.constants.items():
        if name.endswith(("fast.weight", "wx", "readout.weight")):
            pruned = random.random(weight.shape) >= kept
            graph.constants[name] = np.where(pruned, 0.0, weight)
            zero[name] = graph.constants[name] == 0
    options = dmpc.Options(input_range=(-1.0, 1.0) if shape.graded else None, target=target)
    x = samples(shape) if calibrated else None
    made = dmpc.compile(graph, calibration=x, options=options)
    for name, where in zero.items():
        parts = [n for n in made.graph.constants if n == name or n.startswith(f"{name}.b")]
        if not parts:  # what is zero altogether, or behind a layer that is, may be left out
            x = samples(shape).astype(np.float64)
            wanted = interpret(graph, x).logits
            np.testing.assert_allclose(interpret(made.layers, x).logits, wanted, rtol=1e-9)
            continue
        assert not sum(np.abs(made.graph.constants[n].astype(int)) for n in parts)[where].any()
        for part in parts:
            place = made.graph.placement[part]
            rows = made.image.memories[place.memory][place.row : place.row + place.rows]
            assert np.count_nonzero(rows) == np.count_nonzero(made.graph.constants[part])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("weight", [9e99, 1.67e308])
@pytest.mark.parametrize("name", ["layer2.recurrent.weight", "layer1.fast.weight"])
def test_a_weight_near_the_end_of_numbers(name, weight):
    """Ranges, and what of a membrane's width they need, stay numbers, or it is refused."""
    graph = network(Shape(4, (Layer(5), Layer(4, recurrent=True)), seed=3))
    graph.constants[name] = graph.constants[name].copy()
    graph.constants[name].flat[0] = weight
    if weight > 1e100:
        with pytest.raises(DmpcError, match=r"1 of .* elements are beyond 1e\+100"):
            dmpc.compile(graph)
    else:
        assert dmpc.compile(graph).image
