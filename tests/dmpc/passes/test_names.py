"""What a value is called says nothing: any may be called like what the compiler makes later."""

from dataclasses import replace

import numpy as np
import pytest

import dmpc
from dmpc.backend.onnx_writer import to_onnx
from dmpc.errors import CompileError
from runtime.program import Program
from tests.networks import Layer, Shape, network, samples

SHAPES = {
    "pooled": Shape(
        4,
        (
            Layer(4, states=4, dilation=2, current="late", delays=2, hears=True),
            Layer(4, current="now", recurrent=True),
        ),
        classes=4,
        leaks=2,
    ),
    "paper": Shape(4, (Layer(5, states=3), Layer(4, adapts="threshold")), classes=3),
}


def renamed(graph, old, new):
    graph = graph.copy()
    called = {name: name for name in graph.types} | {old: new}
    graph.ops = [
        replace(
            op,
            operands=tuple(called[name] for name in op.operands),
            results=tuple(called[name] for name in op.results),
        )
        for op in graph.ops
    ]
    for state in graph.states:
        state.name, state.next = called[state.name], called[state.next]
        state.init = called.get(state.init)
    for table in (graph.types, graph.constants, graph.locs):
        if old in table:
            table[new] = table.pop(old)
    graph.inputs = [called[name] for name in graph.inputs]
    graph.outputs = [called[name] for name in graph.outputs]
    return graph


@pytest.mark.parametrize("target", SHAPES)
def test_a_value_may_bear_a_name_that_a_pass_gives(target):
    graph, x = network(SHAPES[target]), samples(SHAPES[target])
    options, later = dmpc.Options(target=target), set()

    def observe(_, passed):
        later.update(passed.types)

    def run(network):
        model = dmpc.compile(network, calibration=x, options=options, observe=observe)
        return Program(model.image, "network").run(x)

    wanted, mine = run(graph), list(graph.types)
    given = sorted(later - set(mine))
    assert {"layer1.u.charged", "layer2.bias", "readout.shift"} <= set(given)
    for number, name in enumerate(given):
        found = run(renamed(graph, mine[7 * number % len(mine)], name))
        assert np.array_equal(found.integers, wanted.integers), name


def test_a_threshold_called_like_the_bias_of_the_readout_keeps_its_number():
    graph, x = network(SHAPES["paper"]), samples(SHAPES["paper"])
    graph = renamed(graph, "readout.bias", "readout.offset")
    other = renamed(graph, "layer1.threshold", "readout.bias")
    one, two = (dmpc.compile(form, calibration=x).image for form in (graph, other))
    assert np.array_equal(Program(one, "one").run(x).integers, Program(two, "two").run(x).integers)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("layer1.threshold", "timestep"),
        ("layer1.threshold", "layer1.spikes.fired"),
        ("layer2.u", "logits"),
        ("layer1.u", "layer2.u_size"),
        ("layer1.threshold", "layer1.u_0"),
        ("layer1.threshold", "number.1"),
    ],
)
def test_a_value_called_like_one_of_the_files_own_is_told_to_be(old, new):
    graph = renamed(network(SHAPES["pooled"]), old, new)
    with pytest.raises(CompileError, match=f"a value is called '%{new}', as is one of the file's"):
        to_onnx(graph)
