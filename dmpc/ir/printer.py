"""The printer: a graph as text that parses back to the same graph, byte for byte of its constants.

dmpir 1
graph "spoken_digits" level layers {
  attr readout = "mean"
  input %x : f32[140] loc("x")
  state %layer1.u : f32[128] = zeros next %layer1.u.next
  const %layer1.fast.weight : f32[128, 140] loc("fc1.weight")
  %layer1.fast = dense(%x, %layer1.fast.weight) {layer = "layer1"} : f32[128] loc("/fc1/Gemm")
  output %readout
}
data {
  %layer1.fast.weight = f64 "AAAAAAAA8D8..."
}

Whole numbers of which many are zero are written without these, after the word `nonzero`.
"""

import base64
import json
from collections.abc import Iterator

import numpy as np

from dmpc.ir.graph import Array, Attr, Graph, Loc, Op

VERSION = 1
INLINE = 8  # constants of at most so many elements are written as numbers
LINE = 96  # characters of base64 on a line
LONG = 1 << 16  # characters of base64 that nobody reads any more: on longer lines, for the parser
LONG_LINE = 1 << 14


def to_text(graph: Graph, *, data: bool = True) -> str:
    """A graph as text; without `data` the constants' elements are left out, for reading."""
    lines = [
        f"dmpir {VERSION}",
        f"graph {_string(graph.name)} level {graph.level} {{",
        *(f"  {line}" for line in _statements(graph)),
        "}",
    ]
    if data and graph.constants:
        entries = (line for item in graph.constants.items() for line in _data(*item))
        lines += ["data {", *(f"  {line}" for line in entries), "}"]
    return "\n".join(lines) + "\n"


def _statements(graph: Graph) -> Iterator[str]:
    for key, value in graph.attrs.items():
        yield f"attr {key} = {_value(value)}"
    for name in graph.inputs:
        yield f"input %{name} : {graph.types[name]}{_loc(graph.locs.get(name, ()))}"
    for state in graph.states:
        init = "zeros" if state.init is None else f"%{state.init}"
        type_ = graph.types[state.name]
        yield f"state %{state.name} : {type_} = {init} next %{state.next}{_loc(state.loc)}"
    for name in graph.constants:
        yield f"const %{name} : {graph.types[name]}{_loc(graph.locs.get(name, ()))}"
    yield from (op_text(graph, op) for op in graph.ops)
    yield from (f"output %{name}" for name in graph.outputs)
    for name, place in graph.placement.items():
        lives = f" lives %{place.lives[0]} to %{place.lives[1]}" if place.lives else ""
        where = f"{_string(place.memory)} row {place.row} rows {place.rows}"
        yield f"place %{name} = {where}{lives}"
    yield from (f"asm {_string(line)}" for line in graph.listing)


def op_text(graph: Graph, op: Op) -> str:
    """One op as a line of text."""
    types = ", ".join(str(graph.types[name]) for name in op.results)
    attrs = ", ".join(f"{key} = {_value(value)}" for key, value in op.attrs.items())
    attrs = f" {{{attrs}}}" if attrs else ""
    call = f"{op.kind}({_names(op.operands)})"
    return f"{_names(op.results)} = {call}{attrs} : {types}{_loc(op.loc)}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"%{name}" for name in names)


def _loc(loc: Loc) -> str:
    return f" loc({', '.join(map(_string, loc))})" if loc else ""


def _string(text: str) -> str:
    return json.dumps(text)


def _value(value: Attr) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def _data(name: str, array: Array) -> Iterator[str]:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    code = "bool" if array.dtype == np.bool_ else f"{array.dtype.kind}{array.dtype.itemsize * 8}"
    if array.size <= INLINE and (array.dtype.kind != "f" or bool(np.isfinite(array).all())):
        as_number = float if array.dtype.kind == "f" else int
        numbers = ", ".join(repr(as_number(x)) for x in little.flat)
        yield f"%{name} = {code} [{numbers}]"
        return
    raw, form = little.tobytes(), ""
    if array.dtype.kind in "iu" and len(sparse := nonzero_bytes(little)) < len(raw):
        raw, form = sparse, " nonzero"
    text = base64.b64encode(raw).decode()
    width = LINE if len(text) <= LONG else LONG_LINE
    yield f"%{name} = {code}{form}"
    yield from (f'  "{text[at : at + width]}"' for at in range(0, len(text), width))


def nonzero_bytes(array: Array) -> bytes:
    """A bit for each element, whether it is anything but zero, and then those that are."""
    there = array.ravel() != 0
    return bytes(np.packbits(there, bitorder="little")) + bytes(array.ravel()[there])


def from_nonzero(raw: bytes, dtype: np.dtype[np.generic], size: int) -> Array:
    """The `size` elements of `nonzero_bytes`; raises ValueError if they are not what it gave."""
    bits = -(-size // 8)
    if len(raw) < bits:
        raise ValueError(f"{len(raw)} bytes hold no bits for {size} elements")
    there = np.unpackbits(np.frombuffer(raw, np.uint8, bits), count=size, bitorder="little") > 0
    given: Array = np.frombuffer(raw, dtype, offset=bits)
    if len(given) != there.sum():
        raise ValueError(f"{there.sum()} bits are set, but there are {len(given)} elements")
    flat: Array = np.zeros(size, dtype)
    flat[there] = given
    return flat
