"""Random networks through the whole compiler: the simulator computes the integer graph, exactly.

The same network as different programs has the same bits, and the cycles that were predicted.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmpc import Options
from dmpc.backend.emit import embedded_graph
from dmpc.backend.predict import predict
from dmpc.ir.interpret import interpret
from dmpc.verification import verify
from isa.image import image_bytes
from isa.target import target_names
from runtime.program import Program
from tests.networks import Layer, Shape, compile_network, network, networks, samples


def compiled(shape, *, calibration=None, **chosen):
    options = Options(input_range=(-1.0, 1.0) if shape.graded else None, **chosen)
    return compile_network(network(shape), calibration=calibration, options=options)


def quieter(shape):
    """A calibration set that shows less than the samples will: something saturates later."""
    x = samples(shape).astype(np.float64)
    return x * 0.3 if shape.graded else x * (np.random.default_rng(0).random(x.shape) < 0.5)


choices = st.fixed_dictionaries(
    {
        "target": st.sampled_from(target_names()),
        "dependency_breaking": st.booleans(),
        "fusion": st.booleans(),
        "heterogeneous_stationarity": st.booleans(),
        "count_readout": st.booleans(),
        "overlap": st.booleans(),
    }
)


def failures(found):
    return [(rung.name, rung.reason, rung.figures) for rung in found.rungs if not rung.ok]


@settings(max_examples=90, deadline=None)
@given(networks(), choices, st.sampled_from(("static", "seen", "quieter")))
def test_every_bit_and_cycle(shape, chosen, scales):
    """Spikes, membranes, memory states and logits of every timestep; cycles alone, together and as
    predicted; what saturates, as the integer graph counts it."""
    x = samples(shape)
    calibration = {"static": None, "seen": x, "quieter": quieter(shape)}[scales]
    if shape.graded and calibration is not None:
        calibration[0, 0, 0] = 0.25  # so that it is seen to be graded
    made = compiled(shape, calibration=calibration, **chosen)
    found = verify(network(shape), made.image, x, max_drop=100)
    assert not failures(found)
    watched = found.rungs[2].figures["different"]
    assert found.rungs[2].figures["elements"] > 0
    for number in range(1, len(shape.layers) + 1):
        wanted = {f"layer{number}.{part}" for part in ("spikes", "u.next", "m.next")}
        assert wanted & set(made.graph.types) <= set(watched)
    program = Program(made.image, "random")
    run, (inputs, clipped) = program.run(x), program.encode(x)
    assert predict(made.image, inputs).tolist() == run.cycles.tolist()
    saturated = dict(interpret(made.graph, inputs).saturations)
    if clipped:
        saturated["input"] = clipped
    assert dict(run.saturations) == saturated


@settings(max_examples=25, deadline=None)
@given(networks(), choices)
def test_dataflows_leave_every_bit_as_it_was(shape, chosen):
    """All but dependency breaking, which rounds P and nu instead of W_m."""
    x = samples(shape)
    calibration = None if shape.graded else x
    plain = {"dependency_breaking": chosen["dependency_breaking"]}
    images = [compiled(shape, calibration=calibration, **one).image for one in (plain, chosen)]
    assert np.array_equal(*(Program(image, "random").run(x).integers for image in images))


@settings(max_examples=20, deadline=None)
@given(networks())
def test_a_second_compilation_gives_the_same_bytes(shape):
    assert image_bytes(compiled(shape).image) == image_bytes(compiled(shape).image)


@pytest.mark.parametrize("current", ["now", "late"])
def test_a_current_hears_its_own_neurons_beside_their_input(current):
    """Taken in late it is older than the spikes that feed it: no two instructions can part that."""
    layer = Layer(9, recurrent=True, current=current, straight=True)
    shape = Shape(5, (layer, Layer(4)), samples=4, steps=12, seed=3, density=0.4)
    x = samples(shape)
    found = verify(network(shape), compiled(shape, calibration=x).image, x, max_drop=100)
    assert not failures(found)


WIDE = [
    Shape(
        inputs=40,
        layers=tuple(
            Layer(neurons=30, states=d, hard=hard, strict=strict, flavour="normal")
            for _ in range(2)
        ),
        classes=8,
        readout=readout,
        graded=graded,
        density=0.15,
        samples=20,
        steps=30,
        seed=seed,
    )
    for seed, (d, hard, strict, readout, graded) in enumerate(
        [
            (8, True, False, "mean", False),
            (8, False, False, "sum", False),
            (0, True, True, "last", False),
            (5, False, True, "max", False),
            (6, True, False, "mean", True),
            (12, True, False, "mean", True),
        ]
    )
]


@pytest.mark.parametrize("shape", WIDE, ids=lambda s: f"{s.seed}-{s.readout}")
@pytest.mark.parametrize("broken", [True, False], ids=["broken", "unbroken"])
def test_the_integer_network_stays_near_the_float_network(shape, broken):
    """The first layer's spikes nearly all agree; rates of all layers do, and so do logits."""
    x = samples(shape)
    made = compiled(shape, dependency_breaking=broken, calibration=x)
    inputs, _ = Program(made.image, "random").encode(x)
    names = ["layer1.spikes", "layer2.spikes"]
    floats = interpret(made.layers, x.astype(np.float64), trace=names)
    integers = interpret(embedded_graph(made.image), inputs, trace=names)
    first = floats.traces[names[0]] != integers.traces[names[0]]
    assert floats.traces[names[0]].mean() > 0.02
    assert first.mean() < 0.03
    for name in names:
        assert floats.traces[name].mean() == pytest.approx(integers.traces[name].mean(), rel=0.05)
    scale = made.graph.types[made.graph.outputs[0]].scale
    steps = shape.steps if shape.readout == "mean" else 1
    logits = integers.logits * scale / steps
    if shape.readout in ("mean", "sum"):
        correlation = np.corrcoef(logits.ravel(), floats.logits.ravel())[0, 1]
        assert correlation > 0.98
