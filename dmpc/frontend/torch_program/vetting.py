"""What a `.pt2` file's description may say before torch's own reader sees it.

torch builds a program by evaluating parts of its description: expressions through sympy, names into
generated source, types and operations by attribute, contexts of containers by import. Here every
text must match what its place is for; a text in a place that is not listed is refused.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import keyword
import re
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.rules import INNER_FUNCTION, UNSAFE_TEXT

LIBRARIES = ("aten", "sj_lif", "sj_plif", "sj_if")
OPERATION = re.compile(rf"torch\.ops\.({'|'.join(LIBRARIES)})\.[a-z_A-Z]\w*\.[a-zA-Z]\w*", re.ASCII)
# Arithmetic of sizes, where a program has free axes.
SIZES = frozenset(
    {"math.ceil", "math.floor", "math.trunc", "torch.sym_float", "torch.sym_int"}
    | {"torch.sym_ite", "torch.sym_max", "torch.sym_min", "torch.sym_not"}
    | {f"_operator.{name}" for name in ("add", "and_", "eq", "floordiv", "ge", "getitem", "gt")}
    | {f"_operator.{name}" for name in ("le", "lt", "mod", "mul", "ne", "neg", "or_", "pos")}
    | {"_operator.sub", "_operator.truediv"}
)
# Arguments that are words. Any other operation that takes a text may reach a file.
WORDS = frozenset(
    {"approximate", "equation", "indexing", "mode", "norm", "pad_mode", "padding", "reduce"}
    | {"rounding_mode", "side"}
)
EXPRESSION = frozenset(
    {"Abs", "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "Equality", "FloorDiv"}
    | {"FloorToInt", "GreaterThan", "IntTrueDiv", "Integer", "LessThan", "Max", "Min", "Mod"}
    | {"ModularIndexing", "Mul", "Ne", "Not", "Or", "PythonMod", "Rational", "StrictGreaterThan"}
    | {"StrictLessThan", "Symbol", "ToFloat", "TruncToInt", "Unequality", "Where"}
)
SYMBOL = re.compile(r"[a-z]{1,3}\d{1,6}", re.ASCII)
LARGEST = 2**40  # no axis is longer, and sums and products of a few such numbers stay small
LONGEST = 4000  # characters of an expression
CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")


def identifier(text: str) -> bool:
    """Whether a text can stand for a name in generated source and nothing else."""
    plain = text.isascii() and text.isidentifier() and not text.startswith("__")
    return plain and not keyword.iskeyword(text)


def path(text: str) -> bool:
    """Whether a text is a parameter's name: names or numbers, with dots between."""
    parts = text.split(".")
    return all(p.isascii() and (identifier(p) or p.isdigit()) for p in parts)


def operation(text: str) -> bool:
    """Whether a text names an operation on tensors or sizes, which no word leads to a file."""
    if text in SIZES:
        return True
    return OPERATION.fullmatch(text) is not None and all(map(WORDS.__contains__, _words(text)))


def _words(operator: str) -> list[str]:
    """Arguments of an operation that are texts; none of one that is not installed."""
    import torch

    library, name, overload = operator.removeprefix("torch.ops.").split(".")
    packet = getattr(getattr(torch.ops, library), name, None)
    found: Any = getattr(packet, overload, None)
    if not isinstance(found, torch._ops.OpOverload):
        return []
    kernel = operator.removeprefix("torch.ops.").replace(".", "::", 1).removesuffix(".default")
    if not torch._C._dispatch_has_kernel(kernel):  # an operation of TorchScript's interpreter
        return [kernel]
    return [a.name for a in found._schema.arguments if "str" in str(a.type)]


def expression(text: str) -> bool:
    """Whether a text is arithmetic of named sizes and whole numbers.

    sympy evaluates expressions as Python, so nothing else may reach it.
    """
    if len(text) > LONGEST:
        return False
    try:
        return _arithmetic(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _arithmetic(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=bool()):
            return True
        case ast.Constant(value=int(number)):
            return abs(number) <= LARGEST
        case ast.Name(id=name):
            return SYMBOL.fullmatch(name) is not None
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            return _arithmetic(inner)
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult(), left=one, right=other):
            return _arithmetic(one) and _arithmetic(other)
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            facts = all(isinstance(k.value, ast.Constant) and k.arg for k in node.keywords)
            return facts and SYMBOL.fullmatch(name) is not None
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return name in EXPRESSION and name != "Symbol" and all(map(_arithmetic, arguments))
    return False


def structure(text: str, *, data: bool = False) -> bool:
    """Whether a text describes tuples, lists and dictionaries, and nothing that is imported.

    Keys of arguments become names in generated source; those of results are `data` and may be any.
    """
    try:
        version, tree = json.loads(text)
        return version == 1 and _structure(tree, _shown if data else _named)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _structure(tree: Any, allowed: Callable[[Any], bool]) -> bool:
    parts = tree["children_spec"]
    if tree["type"] not in CONTAINERS or not all(_structure(part, allowed) for part in parts):
        return False
    keys = json.loads(tree["context"] or "null")
    return keys is None or (isinstance(keys, list) and all(map(allowed, keys)))


def _named(key: Any) -> bool:
    return isinstance(key, str) and identifier(key)


def _shown(key: Any) -> bool:
    return isinstance(key, int) or (isinstance(key, str) and key.isprintable())


def printable(text: str) -> bool:
    """Whether a text may be shown as it is."""
    return all(letter.isprintable() or letter in "\n\t" for letter in text)


def word(text: str) -> bool:
    """Whether a text is the word that some operations take: a mode, or Einstein's indices."""
    return re.fullmatch(r"[\w ,.>-]*", text, re.ASCII) is not None


TEXTS: dict[str, Callable[[str], bool]] = {
    "name": lambda text: text == "" or identifier(text),  # arguments of sums of sizes have none
    "as_name": identifier,
    "target": operation,
    "expr_str": expression,
    "as_string": word,
    "as_strings": word,
    "type": str.isalpha,  # of a device
    "parameter_name": path,
    "buffer_name": path,
    "tensor_constant_name": path,
    "user_input_name": identifier,
    "metadata": printable,
    "path_name": word,
}
KEYS: dict[str, Callable[[str], bool]] = {
    "tensor_values": identifier,
    "sym_int_values": identifier,
    "sym_bool_values": identifier,
    "sym_float_values": identifier,
    "range_constraints": lambda name: SYMBOL.fullmatch(name) is not None,
    "metadata": identifier,
    "config": path,
}


def vet(value: Any, kind: Any, field: str, part: str) -> None:
    """Raise ImportFailure unless a value is of its declared kind and every text in it is harmless.

    `field` is the name of the field that holds it, `part` what errors call the file's part.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        vet(value, inner[0], field, part)
    elif origin in (typing.Union, types.UnionType):
        if value is not None:
            vet(value, inner[0], field, part)
    elif dataclasses.is_dataclass(kind):
        _vet_fields(value, kind, part)
    elif origin is list and isinstance(value, list):
        for each in value:
            vet(each, inner[0], field, part)
    elif origin is dict and isinstance(value, dict):
        for key, each in value.items():
            _check(KEYS.get(field, _never)(key), field, key, part)
            vet(each, inner[1], field, part)
    elif kind is str and isinstance(value, str):
        _check(TEXTS.get(field, _never)(value), field, value, part)
    else:
        _check(_is_number(value, kind), field, value, part)


def _vet_fields(value: Any, kind: Any, part: str) -> None:
    from torch._export.serde import schema
    from torch._export.serde.union import _Union

    _check(isinstance(value, kind), "", value, part)
    hints = typing.get_type_hints(kind, globalns=vars(schema))
    if isinstance(value, _Union):  # of its fields, one is set
        told = str.__str__(value.type)  # torch's own kind of text compares in its own way
        if told == "as_graph":
            raise ImportFailure.of(INNER_FUNCTION, where=part)
        vet(value.value, hints[told], told, part)
        return
    for field in dataclasses.fields(kind):
        vet(getattr(value, field.name), hints[field.name], field.name, part)


def _is_number(value: Any, kind: Any) -> bool:
    if kind is bool:
        return isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float)
    whole = kind is int or (isinstance(kind, type) and issubclass(kind, Enum))
    return whole and isinstance(value, int)


def _never(_: str) -> bool:
    return False


def _check(harmless: bool, field: str, value: Any, part: str) -> None:
    if not harmless:
        shown = "".join(c if c.isprintable() else "?" for c in str(value))
        shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
        raise ImportFailure.of(UNSAFE_TEXT, where=part, field=field, text=shown)
