"""The text form: what is printed parses back to the same graph; errors point into the text."""

import re
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dmpc.errors import ParseError, VerifyError
from dmpc.frontend.dmpir import load_dmpir
from dmpc.ir.graph import Graph, Op, Place, State
from dmpc.ir.levels import LEVELS
from dmpc.ir.parser import parse
from dmpc.ir.printer import to_text
from dmpc.ir.registry import all_ops
from dmpc.ir.types import TensorType
from dmpc.ir.verify import verify

NAME = st.from_regex(r"[A-Za-z0-9_./:-]{0,5}[A-Za-z0-9_./-]", fullmatch=True)
WORD = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
LOC = st.lists(st.text(max_size=8), max_size=3).map(tuple)
ATTR = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)
ATTRS = st.dictionaries(WORD, ATTR, max_size=3)
DTYPE = st.sampled_from(["f32", "bool", "event"]) | st.builds(
    "{}{}".format, st.sampled_from("iu"), st.integers(1, 64)
)
SHAPE = st.lists(st.integers(0, 4), max_size=3).map(tuple)
SCALE = st.none() | NAME | st.floats(min_value=1e-300, max_value=1e300)
TYPE = st.builds(TensorType, DTYPE, SHAPE, SCALE)
STORED = st.sampled_from(["f8", "f4", "i8", "i4", "i2", "i1", "u8", "u1", "?"])


@st.composite
def graphs(draw):
    """Any graph that the text form can hold, sound or not."""
    names = iter(draw(st.lists(NAME, min_size=14, max_size=14, unique=True)))
    graph = Graph(draw(st.text(max_size=5)), draw(st.sampled_from(LEVELS)), attrs=draw(ATTRS))
    for _ in range(draw(st.integers(0, 2))):
        graph.inputs.append(name := next(names))
        graph.types[name] = draw(TYPE)
        if loc := draw(LOC):
            graph.locs[name] = loc
    for _ in range(draw(st.integers(0, 2))):
        graph.states.append(State(next(names), draw(NAME), draw(st.none() | NAME), draw(LOC)))
        graph.types[graph.states[-1].name] = draw(TYPE)
    for _ in range(draw(st.integers(0, 3))):
        shape = draw(SHAPE)
        dtype = np.dtype(draw(STORED))
        elements = {"allow_nan": False} if dtype.kind == "f" else {}
        array = draw(hnp.arrays(dtype, shape, elements=elements))
        graph.add_constant(
            next(names), array, TensorType(draw(DTYPE), shape, draw(SCALE)), draw(LOC)
        )
    for _ in range(draw(st.integers(0, 3))):
        results = tuple(next(names) for _ in range(draw(st.integers(1, 2))))
        operands = tuple(draw(st.lists(NAME, max_size=3)))
        kind = draw(st.sampled_from(sorted(all_ops())))
        op = Op(kind, operands, results, draw(ATTRS), draw(LOC))
        graph.add(op, *(draw(TYPE) for _ in results))
    graph.outputs = draw(st.lists(NAME, max_size=2))
    place = st.builds(Place, st.text(max_size=4), st.integers(0), st.integers(0))
    graph.placement = draw(st.dictionaries(NAME, place, max_size=2))
    graph.listing = draw(st.lists(st.text(max_size=8), max_size=3))
    return graph


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_text_parses_back_to_the_same_graph(graph):
    text = to_text(graph)
    again = parse(text)
    assert again == graph
    assert to_text(again) == text


def test_large_constants_and_special_values_round_trip():
    graph = Graph("g", "model")
    values = np.array([0.1, -0.0, np.inf, np.nan, 5e-324, 1e308])
    graph.add_constant("odd", values, TensorType("f32", (6,)))
    graph.add_constant(
        "large", np.random.default_rng(0).normal(size=(7, 5)), TensorType("f32", (7, 5))
    )
    assert parse(to_text(graph)) == graph


@pytest.mark.parametrize("dtype", ["i1", "i2", "<u4", "i8"])
@pytest.mark.parametrize("size", [9, 17, 100_000])
def test_zeros_of_whole_numbers_are_left_out(dtype, size):
    random = np.random.default_rng(size)
    few = (random.integers(0, 100, size) * (random.random(size) < 0.2)).astype(dtype)
    graph = Graph("g", "placed")
    graph.add_constant("few", few, TensorType("i64", few.shape))
    graph.add_constant("all", np.full(size, 7, dtype), TensorType("i64", few.shape))
    text = to_text(graph)
    assert text.count(" nonzero\n") == 1
    assert parse(text) == graph
    assert max(map(len, text.splitlines())) < 20_000
    assert len(text.splitlines()) < 12_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('"Aw=="', "10:3: data of %w: 2 bits are set, but there are 0 elements"),
        ('"AwE="', "10:3: data of %w: 2 bits are set, but there are 1 elements"),
        ('""', "10:3: data of %w: 0 bytes hold no bits for 6 elements"),
        ('"Aw"', "10:3: data of %w: "),
        ("[1]", "10:19: unexpected '[', expected a string"),
    ],
)
def test_what_is_no_list_of_nonzero_numbers(data, message):
    numbers = "f64 [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]"
    sound = parse(TEXT.replace(numbers, 'i8 nonzero "AwEC"'))
    assert sound.constants["w"].tolist() == [[1, 2], [0, 0], [0, 0]]
    with pytest.raises(ParseError, match=re.escape(message)):
        parse(TEXT.replace(numbers, f"i8 nonzero {data}"))


TEXT = """dmpir 1
graph "g" level layers {
  attr readout = "mean"
  input %x : f32[2]
  const %w : f32[3, 2]
  %y = dense(%x, %w) {layer = "readout"} : f32[3] loc("fc")
  output %y
}
data {
  %w = f64 [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
}
"""


def test_the_text_form_reads_as_shown():
    assert to_text(parse(TEXT)) == TEXT


def test_data_can_be_left_out_for_reading():
    assert to_text(parse(TEXT), data=False) == TEXT[: TEXT.index("data {")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("input", "inpt", "a.dmpir:4:3: unexpected 'inpt', expected .* (did you mean input?)"),
        ("dense(", "dnse(", "a.dmpir:6:8: unknown op 'dnse' (did you mean dense?)"),
        (
            "level layers",
            "level layer",
            "a.dmpir:2:17: unknown level 'layer' (did you mean layers?)",
        ),
        (
            "f32[2]",
            "f33[2]",
            "a.dmpir:4:14: unknown element type 'f33', expected f32, bool, event, ",
        ),
        (
            ": f32[3] loc",
            ": f32[3], f32[3] loc",
            "a.dmpir:6:8: 1 results but 2 types",
        ),
        ("input %x : f32[2]", "input %w : f32[2]", "a.dmpir:5:9: %w is defined twice"),
        ("%w = f64", "%v = f64", "a.dmpir:10:3: data for %v, which is not a constant (known: w)"),
        ("= f64", "= f65", "a.dmpir:10:8: unknown element type 'f65' (did you mean f64"),
        (
            ", 6.0]",
            "]",
            "a.dmpir:10:3: data of %w: cannot reshape array of size 5 into shape (3,2)",
        ),
        ('loc("fc")', r'loc("\q")', "a.dmpir:6:55: bad string: Invalid \\escape"),
        ("dmpir 1", "dmpir 2", "a.dmpir:1:7: text form 2; this version reads 1"),
        (TEXT[TEXT.index("  input") :], "", "a.dmpir:3:24: unexpected end of text, expected"),
        (TEXT, "", "a.dmpir:1:1: unexpected end of text, expected dmpir"),
        ("[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]", '"AA!="', "a.dmpir:10:3: data of %w: "),
    ],
)
def test_parse_errors_say_where_what_and_what_was_expected(old, new, message):
    with pytest.raises(ParseError) as caught:
        parse(TEXT.replace(old, new, 1), "a.dmpir")
    shown = str(caught.value)
    for part in message.split(".*"):
        assert part in shown
    assert caught.value.detail.splitlines()[-1].strip() in ("^", "")
    assert "\n" not in shown


def test_a_caret_points_at_the_word():
    with pytest.raises(ParseError) as caught:
        parse(TEXT.replace("dense", "dnse"))
    line, caret = caught.value.detail.splitlines()
    assert line[caret.index("^") :].startswith("dnse")


def test_constants_without_data_are_named():
    text = to_text(parse(TEXT), data=False)
    with pytest.raises(ParseError, match=r"no data for constant %w \(1 of 1 lack it\)"):
        parse(text)


DEEP = "[" * 3000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("f32[2]", f"f32[{'9' * 5000}]", "4:18: a number of 5000 digits; 100 are read"),
        ("dmpir 1", f"dmpir {'9' * 5000}", "1:7: a number of 5000 digits; 100 are read"),
        ('"mean"', "9" * 5000, "3:18: a number of 5000 digits; 100 are read"),
        ('"mean"', DEEP + "]" * 3000, "3:68: lists within lists, 50 deep"),
        ('"mean"', DEEP, "4:3: unexpected 'input', expected "),
        ('"mean"', r'"\ud800"', "3:18: bad string: surrogates not allowed"),
        ('"g"', r'"\udfff"', "2:7: bad string: surrogates not allowed"),
        ('"g"', '"\ud800"', "2:7: bad string: surrogates not allowed"),
        ('loc("fc")', r'loc("\ud800")', "6:55: bad string: surrogates not allowed"),
        ("input", "\x00input", r"4:3: unexpected '\x00', expected "),
        ("input", "\u2028input", r"4:3: unexpected "),
        ("= dense", f"{'9' * 5000} dense", f"6:6: unexpected '{'9' * 60}...', expected "),
        ("{layer", '{layer = "a", layer', "6:36: layer stands twice"),
        ('= "mean"', '= "mean" attr readout = "sum"', "3:30: readout stands twice"),
        ("6.0]", "6.0] %w = f64 []", "10:43: %w stands twice"),
        (
            "output %y",
            'output %y place %w = "a" row 0 rows 1 place %w = "b" row 0 rows 1',
            "7:47: %w stands twice",
        ),
        ("f64 [1.0", "i8 [1.5", "10:12: 1.5 is no element of type int8"),
        ("f64 [1.0", "bool [2", "10:14: 2 is no element of type bool"),
        ("f64 [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]", "i8 [1000]", "10:3: data of %w: "),
    ],
)
def test_odd_text_is_refused_where_it_stands(old, new, message):
    assert old in TEXT
    with pytest.raises(ParseError) as caught:
        parse(TEXT.replace(old, new, 1), "a.dmpir")
    assert str(caught.value).startswith(f"a.dmpir:{message}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("after", ["\x00", "}", "dmpir 1", "\u2028"])
def test_what_follows_the_end_is_refused(after):
    with pytest.raises(ParseError, match=r"unexpected .*, expected .*end of text"):
        parse(f"{TEXT}\n{after}", "a.dmpir")


def test_text_cut_anywhere_is_refused():
    for end in range(len(TEXT) - 2):
        with pytest.raises(ParseError, match=r"^a\.dmpir:\d+:\d+: "):
            parse(TEXT[:end], "a.dmpir")


def test_text_of_other_systems(tmp_path):
    whole = parse(TEXT)
    assert parse(TEXT.replace("\n", "\r\n")) == whole
    path = tmp_path / "a.dmpir"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert load_dmpir(path) == whole


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("input %x : f32[2]", "input %x : f32[1000000000]", "%x has 1,000,000,000 elements; no m"),
        ("1.0, 2.0", "1.0, 1e999", "constant %w holds inf at [0, 1]; 1 of 6 elements are not fin"),
        ("f64 [1.0, 2.0", "f32 [1.0, 1e300", "constant %w holds inf at [0, 1]; 1 of 6 elements"),
    ],
)
def test_numbers_that_no_machine_holds(tmp_path, old, new, message):
    assert old in TEXT
    path = tmp_path / "a.dmpir"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(VerifyError) as caught:
        load_dmpir(path)
    assert str(caught.value).startswith(f"{path}: graph 'g' at level layers: {message}")


PIECES = (
    *[
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        ",",
        ":",
        "=",
        "*",
        '"',
        "%",
        "%w",
        "%x",
        "f32",
        "i65",
        "zeros",
        "next",
        "loc",
        "true",
        "nan",
        "-inf",
        "1e999",
        "-1",
        "0.5",
        "lif",
    ],
    *(
        "\\",
        "\n",
        "\0",
        "\ud800",
        "\ufeff",
        "9" * 5000,
        "[" * 2000,
        "state %s : f32[9] = zeros next %y",
    ),
)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_text(seed):
    random = Random(seed)
    outcomes = Counter(mutated_outcome(random) for _ in range(150))
    assert outcomes["refused"] > 75
    assert outcomes["refused"] + outcomes["sound"] == 150


def mutated_outcome(random):
    """What becomes of TEXT with some of its tokens replaced, dropped or put in."""
    tokens = re.findall(r"\s+|%?[\w.]+|.", TEXT)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(tokens))
        new = random.choice((random.choice(PIECES), random.choice(tokens)))
        tokens[at : at + random.randint(0, 2)] = [new][: random.randint(0, 3)]
    said = None
    try:
        verify(parse("".join(tokens), "a.dmpir"))
    except (ParseError, VerifyError) as error:
        said = str(error)
    if said is None:
        return "sound"
    assert said.isprintable()
    assert len(said) < 2000
    return "refused"
