"""Layers that are worked on piece by piece, in windows, look like whole ones wherever one looks."""

import re

import numpy as np
import pytest

from dmpc import Options
from dmpc import compile as compile_network
from dmpc.report.signals import signals
from isa.target import target_text
from runtime import Program
from runtime.debug_values import look
from runtime.debugger import Debugger
from runtime.places import left
from runtime.readmemh import vector_files
from runtime.recording import record
from tests.networks import Layer, Shape, network, samples

SHAPE = Shape(inputs=5, layers=(Layer(neurons=12), Layer(neurons=7)), density=0.9, steps=8)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """On a machine that holds half of the first layer's neurons."""
    path = tmp_path_factory.mktemp("target") / "small.toml"
    text = re.sub(r"(?m)^(\[neuron\].*\nrows = )512", r"\g<1>4", target_text("paper"))
    path.write_text(text)
    options = Options(target=str(path))
    return Program(compile_network(network(SHAPE), options=options).image, "net.elf")


@pytest.fixture(scope="module")
def sample(program):
    return program.encode(samples(SHAPE))[0][0]


@pytest.fixture(scope="module")
def spikes(program, sample):
    """Of the first layer, [timesteps, neurons]."""
    pieces = [i for i in left(program) if i.name == "layer1.spikes"]
    assert [program.image.code[i.place[0]].offset for i in pieces] != [0]
    seen = program.engine.run(sample[None], watched=[pieces[-1].place]).seen
    return seen[pieces[-1].place][0]


def test_vectors_and_signals_are_as_long_as_the_layer(program, sample, spikes):
    files = vector_files(program, {0: sample})
    (item,) = [w for w in files.words if w.name == "layer1.spikes"]
    lines = [int(line.split()[0], 16) for line in files.texts[item.file].splitlines()]
    assert item.elements == spikes.shape[1] == 12
    assert lines == [sum(int(b) << n for n, b in enumerate(row)) for row in spikes]
    membranes = [w for w in files.words if w.name == "layer1.u"]
    assert [w.elements for w in membranes] == [12]
    recording = record(program, sample, watched=left(program))
    made = signals([(0, recording)], program.image)
    assert [s.bits for s in made.signals if s.name == "layer1_spikes"] == [12]


def test_a_spike_is_told_once(program, sample, spikes):
    neuron = int(spikes[:, :4].sum(0).argmax())
    debugger = Debugger(program, sample)
    debugger.break_at("spike", "layer1", str(neuron))
    told = []
    while (stop := debugger.go()).reason == "breakpoint":
        told.append(int(stop.text.split()[-1]))
    assert told == np.flatnonzero(spikes[:, neuron]).tolist()
    assert told
    assert look(debugger, "layer1.spikes")[0].integers.tolist() == spikes[-1].tolist()
    assert len(look(debugger, "layer1.u")[0].integers) == 12
