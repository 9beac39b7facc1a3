"""The same network as different programs: the same bits, and the cycles that were predicted."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dmpc import Options
from dmpc.backend.predict import predict
from dmpc.verification import verify
from isa.target import target_names
from runtime.program import Program
from tests.networks import compile_network, network, networks, samples

SWITCHES = ("fusion", "heterogeneous_stationarity", "count_readout", "overlap")

variants = st.builds(
    Options,
    target=st.sampled_from(target_names()),
    dependency_breaking=st.booleans(),
    **{switch: st.booleans() for switch in SWITCHES},
)


def compiled(shape, options, x):
    graded = {"input_range": (-1.0, 1.0)} if shape.graded else {}
    calibration = None if shape.graded else x
    made = replace(options, **graded)
    return compile_network(network(shape), calibration=calibration, options=made)


@settings(max_examples=80, deadline=None)
@given(networks(), variants)
def test_every_dataflow_computes_its_graph_in_the_predicted_cycles(shape, options):
    x = samples(shape)
    image = compiled(shape, options, x).image
    found = verify(network(shape), image, x, max_drop=100)
    assert not [(rung.name, rung.figures) for rung in found.rungs if not rung.ok]
    program = Program(image, "random")
    predicted = predict(image, program.encode(x)[0])
    assert predicted.tolist() == program.run(x).cycles.tolist()


@settings(max_examples=60, deadline=None)
@given(networks(), variants)
def test_dataflows_leave_every_bit_as_it_was(shape, options):
    """All but dependency breaking, which rounds P and nu instead of W_m."""
    x = samples(shape)
    plain = Options(dependency_breaking=options.dependency_breaking)
    images = [compiled(shape, chosen, x).image for chosen in (plain, options)]
    logits = [Program(image, "random").run(x).integers for image in images]
    assert np.array_equal(*logits)
