"""What ops of layers read: a graph in which anything else stands is refused where it stands."""

from dataclasses import replace

import pytest

from dmpc.errors import CompileError, VerifyError
from dmpc.ir.verify import verify
from dmpc.passes.layer_rules import check_layers
from tests.networks import Layer, Shape, network

SHAPE = Shape(
    4,
    (
        Layer(4, states=4, dilation=2, current="late", delays=2, hears=True),
        Layer(4, current="now", recurrent=True),
    ),
    classes=4,
    leaks=2,
)


def with_operand(result, at, operand):
    graph = network(SHAPE)
    for number, op in enumerate(graph.ops):
        if result in op.results:
            operands = list(op.operands)
            operands[at] = operand
            graph.ops[number] = replace(op, operands=tuple(operands))
    return graph


# result of the op, which operand, what it is given, what is said
READS = {
    "a constant": (
        "layer1.x", 0, "layer1.beta",
        "x %layer1.beta is a constant; it must be the input or spikes or delayed events or past",
    ),
    "a product of a product": ("layer2.fast", 0, "layer1.fast", "x %layer1.fast is a product"),
    "a hold of what is held": (
        "layer1.held.next", 1, "layer1.held", "is past held states; it must"
    ),
    "the membrane of another": (
        "layer2.spikes", 0, "layer1.u", "u %layer1.u must be a state that becomes %layer2.u.next"
    ),
    "no state": ("layer1.m.next", 0, "layer1.beta", "m %layer1.beta must be a state"),
}  # fmt: skip


@pytest.mark.parametrize("case", READS)
def test_an_operand_is_what_the_op_can_read(case):
    result, at, operand, said = READS[case]
    with pytest.raises(VerifyError) as caught:
        verify(with_operand(result, at, operand))
    assert said in str(caught.value)


def test_the_output_is_an_answer_of_the_readout():
    graph = network(SHAPE)
    graph.outputs = ["layer2.u.next"]
    with pytest.raises(VerifyError, match=r"output %layer2.u.next is the lif.u_next of layer2"):
        verify(graph)
    graph.outputs = ["layer2.fast"]
    with pytest.raises(VerifyError, match=r"output %layer2.fast is of layer2, not of the layer r"):
        verify(graph)


@pytest.mark.parametrize(
    ("result", "at", "operand"),
    [
        ("layer2.spikes", 1, "layer1.held.next"),
        ("layer2.spikes", 1, "layer1.i.next"),
        ("layer2.spikes", 1, "layer1.u.next"),
        ("layer2.spikes", 1, "layer1.beta"),
        ("layer2.i.next", 1, "layer2.i"),
        ("readout.v0.next", 1, "readout.v0"),
        ("readout.v0.next", 1, "readout.v1"),
    ],
)
def test_what_charges_is_a_product_or_a_current_of_its_own(result, at, operand):
    graph = with_operand(result, at, operand)
    verify(graph)
    with pytest.raises(CompileError) as caught:
        check_layers(graph)
    assert {error.rule.name for error in caught.value.every} == {"strange-current"}


def test_past_values_are_of_spikes_slow_states_and_integrators():
    graph = network(SHAPE)
    state = graph.state("layer2.before")
    state.next = "layer2.fast"
    graph.types[state.name] = graph.types["layer2.fast"]
    with pytest.raises(VerifyError, match="is a state that becomes a product"):
        verify(graph)


def test_a_layer_has_one_set_of_neurons():
    graph = network(SHAPE)
    for op in graph.ops:
        op.attrs["layer"] = op.attrs["layer"].replace("layer2", "layer1")
    with pytest.raises(VerifyError, match="layer1 has neurons already"):
        verify(graph)
    graph = network(SHAPE)
    for op in graph.ops:
        op.attrs["layer"] = op.attrs["layer"].replace("layer2", "readout")
    with pytest.raises(VerifyError, match="neurons that spike are of no layer readout"):
        verify(graph)


def test_a_product_charges_one_op_once():
    said = r"%layer2.recurrent is read 2 times: %layer2.i.next = li .*, %readout.v0.next = li"
    with pytest.raises(VerifyError, match=said):
        verify(with_operand("readout.v0.next", 1, "layer2.recurrent"))
