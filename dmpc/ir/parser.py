"""The parser: text of a graph back to the graph (grammar: dmpir.lark)."""

import base64
import binascii
import functools
import json
from collections.abc import Container, Iterator
from importlib import resources

import numpy as np
from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from dmpc.errors import ParseError
from dmpc.ir.graph import Array, Attr, Graph, Loc, Op, Place, State
from dmpc.ir.levels import LEVELS
from dmpc.ir.printer import VERSION, from_nonzero
from dmpc.ir.registry import all_ops, did_you_mean
from dmpc.ir.types import TensorType
from isa.errors import one_line

Node = Tree[Token]
DIGITS = 100  # of a whole number
DEEPEST = 50  # lists within lists
SHOWN = 60  # characters of a word in a message
DTYPES = {
    **{f"f{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"i{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    "bool": np.dtype(np.bool_),
}


def parse(text: str, filename: str = "<text>") -> Graph:
    """The graph that a text describes; it is not verified.

    Raises ParseError, whose `where` is file:line:column and whose `detail` shows the line with a
    caret, on bad syntax, unknown ops, types or levels, and constants without data.
    """
    source = _Source(text, filename)
    try:
        tree = _grammar().parse(text)
    except UnexpectedInput as error:
        raise source.syntax(error) from None
    return _Builder(source).graph(tree)


@functools.cache
def _grammar() -> Lark:
    text = resources.files("dmpc.ir").joinpath("dmpir.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr")


class _Source:
    """The text being parsed: makes errors that point into it."""

    def __init__(self, text: str, filename: str) -> None:
        self.lines = text.split("\n")  # as the grammar counts them
        self.filename = filename

    def error(self, line: int, column: int, message: str, hint: str = "") -> ParseError:
        shown = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return ParseError(
            message,
            where=f"{self.filename}:{line}:{column}",
            hint=hint,
            detail=f"{shown}\n{' ' * (column - 1)}^",
        )

    def at(self, token: Token, message: str, hint: str = "") -> ParseError:
        return self.error(token.line or 0, token.column or 1, message, hint)

    def syntax(self, error: UnexpectedInput) -> ParseError:
        expected: set[str] = set()
        found = "end of text"
        text = "\n".join(self.lines).rstrip()
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
        if isinstance(error, UnexpectedEOF):
            expected = set(error.expected)
        elif isinstance(error, UnexpectedToken):
            expected = set(error.accepts or error.expected)
            if error.token.type != "$END":
                found, line, column = f"'{_start(error.token)}'", error.line, error.column
        elif isinstance(error, UnexpectedCharacters):
            expected = set(error.allowed or ())
            found, line, column = f"'{one_line(error.char)}'", error.line, error.column
        words = sorted(_spelling(terminal) for terminal in expected)
        near = did_you_mean(found.strip("'"), words)
        return self.error(
            line,
            column,
            f"unexpected {found}, expected {' or '.join(words)}",
            near if near.startswith("did") else "",
        )


def _start(word: str) -> str:
    """A word of a text, or how it begins."""
    return word if len(word) <= SHOWN else f"{word[:SHOWN]}..."


def _spelling(terminal: str) -> str:
    """A grammar terminal in the words of a message."""
    words = {
        "NAME": "%name",
        "WORD": "a word",
        "FLOAT": "a real number",
        "INT": "an integer",
        "STRING": "a string",
        "$END": "end of text",
        "<END-OF-FILE>": "end of text",  # so lark calls it for an odd character
    }
    if terminal in words:
        return words[terminal]
    pattern = _grammar().get_terminal(terminal).pattern.value
    return pattern if pattern.isalpha() else f"'{pattern.replace(chr(92), '')}'"


class _Builder:
    """Builds the graph from the syntax tree."""

    def __init__(self, source: _Source) -> None:
        self.source = source

    def graph(self, tree: Node) -> Graph:
        version = _token(tree, 0)
        if self.whole(version) != VERSION:
            raise self.source.at(version, f"text form {version}; this version reads {VERSION}")
        body = _tree(tree, 1)
        name, level = _token(body, 0), _token(body, 1)
        if level not in LEVELS:
            raise self.source.at(level, f"unknown level '{level}'", did_you_mean(level, LEVELS))
        graph = Graph(self.string(name), str(level))
        statements = {
            "attr": self.attr, "input": self.input, "state": self.state, "const": self.const,
            "op": self.op, "output": self.output, "place": self.place, "asm": self.asm,
        }  # fmt: skip
        declared: dict[str, Token] = {}
        for child in _trees(body):
            statements[child.data](graph, child)
            if child.data == "const":
                declared[_name(_token(child, 0))] = _token(child, 0)
        for entry in (entry for data in tree.children[2:] for entry in _trees(data)):
            self.entry(graph, entry, declared)
        missing = [name for name in declared if name not in graph.constants]
        if missing:
            raise self.source.at(
                declared[missing[0]],
                f"no data for constant %{missing[0]} ({len(missing)} of {len(declared)} lack it)",
                "print the graph with its data, or add a data section",
            )
        graph.constants = {name: graph.constants[name] for name in declared}
        return graph

    def attr(self, graph: Graph, tree: Node) -> None:
        self.once(graph.attrs, _token(tree, 0))
        graph.attrs[str(_token(tree, 0))] = self.value(tree.children[1])

    def input(self, graph: Graph, tree: Node) -> None:
        name = self.define(graph, _token(tree, 0), _tree(tree, 1))
        graph.inputs.append(name)
        self.locate(graph, name, tree)

    def const(self, graph: Graph, tree: Node) -> None:
        name = self.define(graph, _token(tree, 0), _tree(tree, 1))
        self.locate(graph, name, tree)

    def state(self, graph: Graph, tree: Node) -> None:
        name = self.define(graph, _token(tree, 0), _tree(tree, 1))
        init = _tree(tree, 2)
        start = _name(_token(init, 0)) if init.children else None
        graph.states.append(State(name, _name(_token(tree, 3)), start, self.loc(tree)))

    def output(self, graph: Graph, tree: Node) -> None:
        graph.outputs.append(_name(_token(tree, 0)))

    def place(self, graph: Graph, tree: Node) -> None:
        memory, row, rows = _token(tree, 1), _token(tree, 2), _token(tree, 3)
        ends = [_name(_token(part, n)) for part in _trees(tree) for n in (0, 1)]
        lives = (ends[0], ends[1]) if ends else None
        place = Place(self.string(memory), self.whole(row), self.whole(rows), lives)
        self.once(graph.placement, _token(tree, 0))
        graph.placement[_name(_token(tree, 0))] = place

    def asm(self, graph: Graph, tree: Node) -> None:
        graph.listing.append(self.string(_token(tree, 0)))

    def op(self, graph: Graph, tree: Node) -> None:
        parts = {part.data: part for part in _trees(tree)}
        kind = next(child for child in tree.children if isinstance(child, Token))
        if kind not in all_ops():
            raise self.source.at(kind, f"unknown op '{kind}'", did_you_mean(kind, all_ops()))
        lists = [part for part in _trees(tree) if part.data == "names"]
        results = list(_tokens(lists[0]))
        types = list(_trees(parts["types"]))
        if len(results) != len(types):
            raise self.source.at(kind, f"{len(results)} results but {len(types)} types")
        names = tuple(self.define(graph, *pair) for pair in zip(results, types, strict=True))
        operands = tuple(_name(token) for part in lists[1:] for token in _tokens(part))
        attrs: dict[str, Attr] = {}
        for pair in _trees(parts["attrs"]) if "attrs" in parts else ():
            self.once(attrs, _token(pair, 0))
            attrs[str(_token(pair, 0))] = self.value(pair.children[1])
        graph.ops.append(Op(str(kind), operands, names, attrs, self.loc(tree)))

    def define(self, graph: Graph, token: Token, tree: Node) -> str:
        name = _name(token)
        if name in graph.types:
            raise self.source.at(token, f"%{name} is defined twice")
        graph.types[name] = self.type(tree)
        return name

    def type(self, tree: Node) -> TensorType:
        dtype = _token(tree, 0)
        shape = tuple(map(self.whole, _tokens(_tree(tree, 1))))
        scale: float | str | None = None
        for part in tree.children[2:]:
            token = _token(part, 0)
            scale = _name(token) if token.type == "NAME" else float(token)
        try:
            return TensorType(str(dtype), shape, scale)
        except ValueError as error:
            raise self.source.at(dtype, str(error)) from None

    def locate(self, graph: Graph, name: str, tree: Node) -> None:
        loc = self.loc(tree)
        if loc:
            graph.locs[name] = loc

    def loc(self, tree: Node) -> Loc:
        parts = [part for part in _trees(tree) if part.data == "loc"]
        return tuple(self.string(token) for part in parts for token in _tokens(part))

    def value(self, item: Token | Node, depth: int = 0) -> Attr:
        if isinstance(item, Tree):
            if depth == DEEPEST:
                raise self.source.at(_token(item, 0), f"lists within lists, {DEEPEST} deep")
            return tuple(self.value(child, depth + 1) for child in item.children[1:])
        if item.type in ("TRUE", "FALSE"):
            return item.type == "TRUE"
        if item.type in ("INT", "FLOAT"):
            return self.whole(item) if item.type == "INT" else float(item)
        return self.string(item)

    def whole(self, token: Token) -> int:
        if len(token) > DIGITS:
            raise self.source.at(token, f"a number of {len(token)} digits; {DIGITS} are read")
        return int(token)

    def once(self, known: Container[str], token: Token) -> None:
        """Refuse a name that a table has already: one of the two would be ignored."""
        name = _name(token) if token.type == "NAME" else str(token)
        if name in known:
            raise self.source.at(token, f"{token} stands twice")

    def string(self, token: Token) -> str:
        try:
            text = str(json.loads(token))
            text.encode()  # half a surrogate pair, which JSON can spell, is no text
        except json.JSONDecodeError as error:
            raise self.source.at(token, f"bad string: {error.msg}") from None
        except UnicodeEncodeError as error:
            raise self.source.at(token, f"bad string: {error.reason}") from None
        return text

    def entry(self, graph: Graph, tree: Node, declared: dict[str, Token]) -> None:
        token, code = _token(tree, 0), _token(tree, 1)
        name = _name(token)
        if name not in declared:
            raise self.source.at(
                token, f"data for %{name}, which is not a constant", did_you_mean(name, declared)
            )
        self.once(graph.constants, token)
        if code not in DTYPES:
            raise self.source.at(code, f"unknown element type '{code}'", did_you_mean(code, DTYPES))
        try:
            type_ = graph.types[name]
            flat = self.elements(_tree(tree, 2), DTYPES[code], type_.size)
            graph.constants[name] = flat.reshape(type_.shape)
        except (ValueError, OverflowError, binascii.Error) as error:
            raise self.source.at(token, f"data of %{name}: {error}") from None

    def elements(self, tree: Node, dtype: np.dtype[np.generic], size: int) -> Array:
        """The flat elements of a data entry, `size` if they fit, in native byte order."""
        if tree.data == "numbers":
            if dtype.kind == "f":
                with np.errstate(over="ignore"):  # infinite: the verifier says where
                    return np.array([float(t) for t in _tokens(tree)], dtype.newbyteorder("="))
            for token in _tokens(tree):
                if token.type == "FLOAT" or (dtype.kind == "b" and token not in ("0", "1")):
                    raise self.source.at(token, f"{token} is no element of type {dtype}")
            return np.array(list(map(self.whole, _tokens(tree))), dtype.newbyteorder("="))
        text = "".join(token[1:-1] for token in _tokens(tree))
        raw = base64.b64decode(text, validate=True)
        sparse = tree.data == "nonzero"
        flat: Array = from_nonzero(raw, dtype, size) if sparse else np.frombuffer(raw, dtype)
        return flat.astype(dtype.newbyteorder("="))


def _name(token: Token) -> str:
    return str(token)[1:]


def _token(tree: Token | Node, index: int) -> Token:
    assert isinstance(tree, Tree)
    child = tree.children[index]
    assert isinstance(child, Token)
    return child


def _tree(tree: Node, index: int) -> Node:
    child = tree.children[index]
    assert isinstance(child, Tree)
    return child


def _trees(tree: Token | Node) -> Iterator[Node]:
    assert isinstance(tree, Tree)
    return (child for child in tree.children if isinstance(child, Tree))


def _tokens(tree: Node) -> Iterator[Token]:
    return (child for child in tree.children if isinstance(child, Token))
