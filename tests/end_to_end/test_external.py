"""Networks beyond the chip: windows and groups of registers change no bit; cycles as predicted."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from benchmarks.random_networks import Layer, Shape
from dmpc import Options
from dmpc.backend.predict import predict
from dmpc.errors import CompileError
from dmpc.verification import verify
from isa.target import target_text
from runtime.program import Program
from tests.networks import compile_network, network, networks, samples

TIGHT = {
    ("events", "width"): 8, ("events", "count"): 40, ("values", "width"): 5,
    ("values", "count"): 40, ("bank", "rows"): 42, ("neuron", "rows"): 9, ("drive", "rows"): 27,
    ("update", "rows"): 28,
}  # fmt: skip
"""Sizes of a machine on which no network of a few neurons fits."""


def tight(name: str, **sizes: int) -> str:
    """The text of a shipped target with these sizes, those of some sections' rows as given."""
    small = TIGHT | {(section, "rows"): rows for section, rows in sizes.items()}
    lines, section = [], ""
    for line in target_text(name).splitlines():
        if line.startswith("["):
            section = re.sub(r"[\[\]]|#.*", "", line).strip()
        key = line.split("=")[0].strip()
        lines.append(f"{key} = {small[section, key]}" if (section, key) in small else line)
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module", params=["paper", "pooled"])
def machine(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("targets") / f"{request.param}.toml"
    path.write_text(tight(request.param))
    return str(path)


switches = st.builds(
    Options,
    **{
        switch: st.booleans()
        for switch in ("fusion", "heterogeneous_stationarity", "count_readout", "overlap")
    },
)


def compiled(shape, options, x):
    graded = {"input_range": (-1.0, 1.0)} if shape.graded else {}
    calibration = None if shape.graded else x
    made = replace(options, **graded)
    return compile_network(network(shape), calibration=calibration, options=made)


# Most networks of several kinds of state have no two pages of a group: they are passed over.
@settings(max_examples=16, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(shape=networks(), options=switches)
def test_what_does_not_fit_computes_the_same(machine, shape, options):
    x = samples(shape)
    try:
        image = compiled(shape, replace(options, target=machine), x).image
    except CompileError:  # not even two pages of one group
        reject()
    found = verify(network(shape), image, x, max_drop=100)
    assert not [(rung.name, rung.figures) for rung in found.rungs if not rung.ok]
    program = Program(image, "random")
    run = program.run(x)
    assert predict(image, program.encode(x)[0]).tolist() == run.cycles.tolist()
    roomy = Program(compiled(shape, options, x).image, "random").run(x)
    assert np.array_equal(run.integers, roomy.integers)


STATES = {
    "a current": Layer(20, current="now", recurrent=True),
    "a late current": Layer(20, current="late"),
    "receptors": Layer(20, current="now", other="late"),
    "a current and an input": Layer(20, current="late", straight=True, recurrent=True),
    "all that currents can be": Layer(20, current="now", other="now", straight=True),
    "limits": Layer(20, clamped="both", hard=False),
    "a current and limits": Layer(20, current="now", clamped="below"),
    "thresholds that adapt": Layer(20, adapts="threshold", hard=False),
    "currents that adapt": Layer(20, adapts="current", hard=False),
    "membranes that start anywhere": Layer(20, starts=True),
    "currents that start anywhere": Layer(20, current="late", starts=True),
}
NEAR = {
    **STATES,
    "receptors that start anywhere": Layer(20, current="now", other="late", starts=True),
}


@pytest.mark.parametrize("fusion", [True, False], ids=["fused", "split"])
@pytest.mark.parametrize("kind", NEAR)
def test_products_that_stream_charge_neurons_that_stay(kind, fusion, tmp_path):
    """Neurons are worked on in pieces, with all of their states, and with their limits."""
    path = tmp_path / "tight.toml"
    path.write_text(tight("pooled", neuron=80))
    layers = (replace(NEAR[kind], recurrent=True), Layer(9, states=3, current="late"))
    shape = Shape(6, layers, leaks=2, steps=6, seed=4)
    x = samples(shape)
    tiled, roomy = (
        compiled(shape, Options(target=target, fusion=fusion), x).image
        for target in (str(path), "pooled")
    )
    assert any(getattr(op, "window", None) is not None for op in tiled.code)
    found = verify(network(shape), tiled, x, max_drop=100)
    assert not [(rung.name, rung.figures) for rung in found.rungs if not rung.ok]
    one, other = (Program(image, "random").run(x) for image in (tiled, roomy))
    assert np.array_equal(one.integers, other.integers)


@pytest.mark.parametrize("fusion", [True, False], ids=["fused", "split"])
@pytest.mark.parametrize("kind", STATES)
def test_all_states_of_neurons_leave_the_chip(kind, fusion, tmp_path):
    """Beside plain neurons, whose pages are as large; what adapts stays, stage by stage."""
    path = tmp_path / "tight.toml"
    room = 10 if fusion or not STATES[kind].adapts else 15
    path.write_text(tight("paper", neuron=room, bank=4096))
    shape = Shape(6, (STATES[kind], Layer(23)), steps=6, seed=4)
    x = samples(shape)
    near, far = (
        compiled(shape, Options(target=target, fusion=fusion), x).image
        for target in ("paper", str(path))
    )
    assert any(op.mnemonic == "load.neurons" for op in far.code)
    found = verify(network(shape), far, x, max_drop=100)
    assert not [(rung.name, rung.figures) for rung in found.rungs if not rung.ok]
    run = Program(far, "random").run(x)
    assert predict(far, Program(far, "random").encode(x)[0]).tolist() == run.cycles.tolist()
    assert np.array_equal(run.integers, Program(near, "random").run(x).integers)
