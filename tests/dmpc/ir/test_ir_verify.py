"""The verifier names every problem, at the op and the user's own node."""

import numpy as np
import pytest

from dmpc.errors import CompileError, VerifyError
from dmpc.ir.graph import Op, Place
from dmpc.ir.parser import parse
from dmpc.ir.types import TensorType, f32
from dmpc.ir.verify import problems, verify
from tests.networks import Layer, Shape, network

TEXT = """dmpir 1
graph "g" level layers {
  attr readout = "mean"
  input %x : f32[2]
  state %u : f32[3] = zeros next %u.next loc("membrane")
  const %w : f32[3, 2] loc("fc.weight")
  const %beta : f32[3]
  const %one : f32[3]
  %fast = dense(%x, %w) {layer = "layer1"} : f32[3] loc("fc")
  %s, %u.next = lif(%u, %fast, %beta, %one, %one)
    {layer = "layer1", reset_mode = "subtract", strict = false} : event[3], f32[3] loc("ge")
  %y = dense(%s, %o) {layer = "readout"} : f32[1] loc("out")
  const %o : f32[1, 3]
  output %y
}
data {
  %w = f64 [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
  %beta = f64 [0.5, 0.5, 0.5]
  %one = f64 [1.0, 1.0, 1.0]
  %o = f64 [1.0, 1.0, 1.0]
}
"""


@pytest.fixture
def graph():
    return parse(TEXT)


def test_a_sound_graph_has_no_problems(graph):
    verify(graph)


def edit_level(graph):
    graph.level = "model"


def edit_attr(graph):
    graph.ops[0].attrs["layr"] = graph.ops[0].attrs.pop("layer")


def edit_choice(graph):
    graph.ops[1].attrs["reset_mode"] = "soft"


def edit_order(graph):
    graph.ops.reverse()


def edit_type(graph):
    graph.types["fast"] = f32(4)


def edit_nan(graph):
    graph.constants["w"] = graph.constants["w"].copy()
    graph.constants["w"][1, 0] = np.nan


def edit_shape(graph):
    graph.constants["w"] = np.zeros((2, 3))


def edit_state(graph):
    graph.types["u"] = f32(4)


def edit_twice(graph):
    graph.ops.append(Op("dense", ("x", "w"), ("fast",), {"layer": "layer1"}, ("fc2",)))


def edit_parameter(graph):
    graph.ops[1].operands = ("u", "fast", "beta", "one", "u")


def edit_count(graph):
    graph.ops[0].operands = ("x",)


def edit_output(graph):
    graph.outputs = ["z"]


def edit_since(graph):
    graph.attrs["since"] = 0


def edit_largest(graph):
    graph.attrs |= {"since": 2, "readout": "max"}


def edit_readout(graph):
    graph.attrs["readout"] = "median"


def edit_place(graph):
    graph.placement["w"] = Place("spike_weights", 0, 1)


def edit_listing(graph):
    graph.listing = ["halt"]


def edit_stored(graph):
    graph.constants["one"] = np.ones(3, np.int64)


def edit_stray(graph):
    graph.types["ghost"] = f32(1)


def edit_name(graph):
    graph.add_constant("a b", np.ones(1), f32(1))


def edit_loc(graph):
    graph.locs["fast"] = ("fc",)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_level, "%fast = dense (from fc): the op belongs to level layers, not model"),
        (edit_attr, "%fast = dense (from fc): unknown attribute 'layr' (did you mean layer?)"),
        (edit_attr, "%fast = dense (from fc): attribute 'layer' is missing (name of the layer"),
        (edit_choice, "attribute 'reset_mode' must be one of 'hard', 'subtract', not 'soft'"),
        (edit_order, "%y = dense (from out): %s is not defined before it is used"),
        (edit_type, "%fast has type f32[4], but the op gives f32[3]"),
        (edit_nan, "constant %w (from fc.weight) holds nan at [1, 0]; 1 of 6 elements are not"),
        (edit_shape, "constant %w (from fc.weight) has shape [2, 3] but type f32[3, 2]"),
        (edit_state, "state %u (from membrane) has type f32[4], but its next value has f32[3]"),
        (edit_twice, "%fast = dense (from fc2): %fast is defined twice"),
        (edit_parameter, "reset must be a constant, but %u is computed"),
        (edit_count, "takes (x, weight, bias?), but 1 operands are given"),
        (edit_output, "output %z is not defined"),
        (edit_readout, "graph attribute 'readout' is 'median', expected one of mean, sum, last"),
        (edit_since, "graph attribute 'since' is 0, expected a number of timesteps"),
        (edit_largest, "'since' is there without a readout that is a mean or a sum"),
        (edit_place, "have places from level placed on, and not before"),
        (edit_listing, "the listing is filled at level scheduled, and not before"),
        (edit_stored, "constant %one is stored as int64 but has type f32[3]"),
        (edit_stray, "%ghost has a type but is never defined"),
        (edit_name, "the name 'a b' cannot be written"),
        (edit_loc, "%fast has an entry in locs, but is neither an input nor a constant"),
    ],
)
def test_problems_name_the_op_and_the_users_node(graph, edit, message):
    edit(graph)
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    assert message in str(caught.value)
    assert str(caught.value).startswith("graph 'g' at level ")
    assert "\n" not in str(caught.value)


HOLD = """dmpir 1
graph "held" level layers {
  attr readout = "mean"
  input %x : f32[2]
  const %w : f32[2]
  const %p : f32[1, 1]
  state %h : f32[1] = zeros next %hn
  %d = drive(%x, %w) {layer = "layer1"} : f32[1]
  %hn = hold(%h, %d) {layer = "layer1", period = 3} : f32[1] loc("hold")
  %y = dense(%hn, %p) {layer = "readout"} : f32[1]
  output %y
}
data {
  %w = f64 [1.0, 2.0]
  %p = f64 [1.0]
}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("period = 3", "period = 0", "%hn = hold (from hold): period must be at least 1, not 0"),
        ("%h : f32[1]", "%h : f32[2]", "held f32[2] and value f32[1] must be alike"),
    ],
)
def test_a_hold_copies_something_like_itself_at_times(old, new, message):
    verify(parse(HOLD))
    with pytest.raises(VerifyError) as caught:
        verify(parse(HOLD.replace(old, new)))
    assert message in str(caught.value)


@pytest.mark.parametrize(("delays", "rows"), [([2, 2], 2), ([0, 3], 3)])
def test_delays_lie_within_their_ring(delays, rows):
    graph = network(Shape(inputs=2, layers=(Layer(neurons=1, delays=2),), seed=4))
    verify(graph)
    graph.constants["layer1.late.delays"][:] = delays
    for name in ("layer1.late.waiting", "layer1.late.waiting.next"):
        graph.types[name] = TensorType("event", (rows, 2))
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    found = f"delays are {min(delays)} .. {max(delays)}, where {rows} rows hold 0 .. {rows - 1}"
    assert f"delay (from /layer1/late): {found}" in str(caught.value)


def test_all_problems_are_reported_at_once(graph):
    edit_attr(graph)
    edit_nan(graph)
    found = problems(graph)
    assert len(found) == 3
    with pytest.raises(VerifyError, match="3 problems: "):
        verify(graph)


def test_integers_are_needed_from_level_integer_on():
    graph = parse(TEXT)
    graph.ops, graph.states, graph.outputs = [], [], ["x"]
    graph.types = {name: graph.types[name] for name in ("x", "w")}
    graph.constants = {"w": graph.constants["w"]}
    graph.level = "integer"
    assert problems(graph) == [
        "%x is real-valued (f32[2]); integers are needed from level integer on",
        "%w is real-valued (f32[3, 2]); integers are needed from level integer on",
    ]
    graph.types["x"] = TensorType("i8", (2,), "w")
    assert problems(graph) == []  # w now holds scales


def test_integer_constants_stay_within_their_width():
    graph = parse(TEXT)
    graph.add_constant("c", np.array([127, 128]), TensorType("i8", (2,)))
    assert problems(graph) == ["constant %c holds 127 .. 128, outside -128 .. 127 of i8[2]"]


def test_a_ring_within_a_timestep_is_named():
    graph = parse(TEXT)
    graph.ops[0].operands = ("y", "w")
    with pytest.raises(CompileError, match="values depend on each other within one timestep: %"):
        graph.toposort()


@pytest.mark.parametrize("dtype", ["f16", "i0", "i65", "u", "int8", "i08"])
def test_unknown_element_types_are_refused(dtype):
    with pytest.raises(ValueError, match="unknown element type"):
        TensorType(dtype, (1,))


def test_types_read_as_written():
    assert str(TensorType("i16", (128,), 0.0078125)) == "i16[128] * 0.0078125"
    assert str(TensorType("i16", (128,), "l1.scale")) == "i16[128] * %l1.scale"
    assert str(TensorType("u8", ())) == "u8[]"
    assert (TensorType("u8", ()).bits, TensorType("event", (2,)).bits) == (8, 1)


@pytest.mark.parametrize(
    ("attrs", "problem"),
    [
        ({"bits": 65}, "attribute 'bits' is 65, outside 1 .. 64"),
        (
            {"shift": -(10**30)},
            "attribute 'shift' is -1000000000000000000000000000000, outside -63 ",
        ),
        ({"scale": float("inf")}, "attribute 'scale' is inf"),
        (
            {"bias": 1 << 63},
            "attribute 'bias' is 9223372036854775808, outside -9223372036854775808",
        ),
    ],
)
def test_attributes_beyond_any_machine(attrs, problem):
    given = {"shift": 0, "bias": 0, "bits": 16, "scale": 1.0, "layer": "layer1", **attrs}
    graph = parse(TEXT)
    graph.ops = [Op("scalar_drive", ("x", "w"), ("y",), given)]
    assert [text for text in problems(graph) if problem in text]
