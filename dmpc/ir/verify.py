"""The verifier: checks that a graph is well formed and that the facts of its level hold."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dmpc.errors import DmpcError, VerifyError
from dmpc.ir.graph import Array, Graph, Loc, Op
from dmpc.ir.levels import LEVELS, at_least, rank
from dmpc.ir.registry import COMMON_ATTRS, AttrSpec, OpDef, all_ops, did_you_mean, op_def
from dmpc.ir.types import TensorType
from isa.interface import MOST_REPEATS, MOST_SINCE

NAME = re.compile(r"[A-Za-z0-9_./:-]*[A-Za-z0-9_./-]")
LARGEST_VALUE, LARGEST_CONSTANT = 1 << 20, 1 << 26
"""Elements: a machine has at most 2**20 neurons, and as many weights as its banks have lanes."""

SINCE = ("mean", "sum")
"""Readouts that may begin with a later timestep."""
READOUTS = ("mean", "sum", "last", "max", "max0")
Check = Callable[[Graph], Iterable[str]]

MOST = np.float64(1e100)  # of a real constant: no float32 comes near, products stay numbers


@dataclass(frozen=True)
class Fact:
    """Something that holds for every graph from level `since` to level `until`."""

    doc: str
    since: str
    until: str
    check: Check


FACTS: list[Fact] = []


def fact(doc: str, *, since: str = LEVELS[0], until: str = LEVELS[-1]) -> Callable[[Check], Check]:
    """Register a function that yields one text for every breach of a fact."""

    def enter(check: Check) -> Check:
        FACTS.append(Fact(doc, since, until, check))
        return check

    return enter


def verify(graph: Graph) -> None:
    """Check a graph against the IR's rules and its level's facts.

    Raises VerifyError with every problem found; each names the value and the user's own nodes.
    """
    found = problems(graph)
    if found:
        raise VerifyError(found, where=f"graph '{graph.name}' at level {graph.level}")


def problems(graph: Graph) -> list[str]:
    """Every breach of the IR's rules, or else of the level's facts; empty for a sound graph."""
    try:
        level = rank(graph.level)
    except DmpcError as error:
        return [str(error)]
    found = [*_sizes(graph)] or [*_sources(graph), *_operations(graph), *_states(graph)]
    if found:
        return found
    for entry in FACTS:
        if rank(entry.since) <= level <= rank(entry.until):
            found.extend(entry.check(graph))
    return found


def origin(loc: Loc) -> str:
    """The user's own node names, in the form in which messages show them; '' where unknown."""
    return f" (from {', '.join(loc)})" if loc else ""


def describe(op: Op) -> str:
    """An op as messages name it: its results, its kind, the user's own nodes."""
    results = ", ".join(f"%{name}" for name in op.results)
    return f"{results} = {op.kind}{origin(op.loc)}"


def _sizes(graph: Graph) -> Iterator[str]:
    """Values that no machine could hold: said before anything of their size is asked for."""
    for name, type_ in graph.types.items():
        most = LARGEST_CONSTANT if name in graph.constants else LARGEST_VALUE
        if type_.size > most:
            at = origin(graph.locs.get(name, ()))
            yield f"%{name}{at} has {type_.size:,} elements; no machine holds more than {most:,}"


def _sources(graph: Graph) -> Iterator[str]:
    """Inputs, states, constants: defined once, with a type that fits."""
    seen: set[str] = set()
    for name in graph.sources():
        if name in seen:
            yield f"%{name} is defined twice"
        elif name not in graph.types:
            yield f"%{name} has no type"
        seen.add(name)
    for name, value in graph.constants.items():
        if name in graph.types:
            from_ = origin(graph.locs.get(name, ()))
            yield from (f"constant %{name}{from_} {text}" for text in _constant(graph, name, value))


def _constant(graph: Graph, name: str, value: Array) -> Iterator[str]:
    type_ = graph.types[name]
    if value.shape != type_.shape:
        yield f"has shape {list(value.shape)} but type {type_}"
        return
    if type_.is_float != (value.dtype.kind == "f"):
        yield f"is stored as {value.dtype} but has type {type_}"
        return
    if type_.is_float:
        bad = np.flatnonzero(~(np.abs(value) <= MOST))
        if bad.size:
            first = ", ".join(map(str, np.unravel_index(bad[0], value.shape)))
            size = f"beyond {MOST:g}" if np.isfinite(value).all() else "not finite"
            yield (
                f"holds {value.flat[bad[0]]} at [{first}]; {len(bad)} of {value.size} elements "
                f"are {size}"
            )
    elif value.size:
        low, high = _range(type_)
        least, most = int(value.min()), int(value.max())
        if least < low or most > high:
            yield f"holds {least} .. {most}, outside {low} .. {high} of {type_}"


def _range(type_: TensorType) -> tuple[int, int]:
    """Least and greatest element of a type that is not float."""
    if type_.is_signed:
        return -(1 << (type_.bits - 1)), (1 << (type_.bits - 1)) - 1
    return 0, (1 << type_.bits) - 1


def _operations(graph: Graph) -> Iterator[str]:
    """Ops: known, allowed at the level, well typed, every value defined before its use."""
    defined = set(graph.sources())
    for op in graph.ops:
        undefined = [name for name in op.operands if name not in defined]
        for name in undefined:
            yield f"{describe(op)}: %{name} is not defined before it is used"
        for name in op.results:
            if name in defined:
                yield f"{describe(op)}: %{name} is defined twice"
        defined.update(op.results)
        if not undefined:
            yield from (f"{describe(op)}: {text}" for text in _operation(graph, op))
    for name in sorted(graph.types.keys() - defined):
        yield f"%{name} has a type but is never defined"
    for name in graph.outputs:
        if name not in defined:
            yield f"output %{name} is not defined"


def _operation(graph: Graph, op: Op) -> Iterator[str]:
    if op.kind not in all_ops():
        yield f"unknown op ({did_you_mean(op.kind, all_ops())})"
        return
    definition = op_def(op.kind)
    if graph.level not in definition.levels:
        yield f"the op belongs to level {' or '.join(definition.levels)}, not {graph.level}"
    bad = [*attribute_problems(definition, op), *_signature(graph, definition, op)]
    yield from bad
    if bad:
        return
    types = [graph.types[name] for name in op.operands]
    try:
        expected = definition.infer(types, op.attrs)
    except ValueError as error:
        yield str(error)
        return
    if definition.numbers:
        bound = definition.bind(op.operands)
        parameters = [name for slot in definition.parameters for name in bound[slot]]
        yield from definition.numbers(types, [graph.constants[name] for name in parameters])
    for name, type_ in zip(op.results, expected, strict=True):
        if name not in graph.types:
            yield f"%{name} has no type"
        elif graph.types[name] != type_:
            yield f"%{name} has type {graph.types[name]}, but the op gives {type_}"


def attribute_problems(definition: OpDef, op: Op) -> Iterator[str]:
    """A text for every attribute of an op that is missing, unknown or not what it may be."""
    for name, value in op.attrs.items():
        spec = definition.attrs.get(name) or COMMON_ATTRS.get(name)
        if spec:
            yield from _attr(name, value, spec)
        else:
            yield f"unknown attribute '{name}' ({did_you_mean(name, definition.attrs)})"
    for name, spec in definition.attrs.items():
        if spec.required and name not in op.attrs:
            yield f"attribute '{name}' is missing ({spec.doc})"


def _attr(name: str, value: object, spec: AttrSpec) -> Iterator[str]:
    if type(value) is not spec.type:
        yield f"attribute '{name}' must be of type {spec.type.__name__}, not {value!r}"
    elif isinstance(value, int) and not spec.limits[0] <= value <= spec.limits[1]:
        yield f"attribute '{name}' is {value}, outside {spec.limits[0]} .. {spec.limits[1]}"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"attribute '{name}' is {value}"
    elif spec.choices and value not in spec.choices:
        known = ", ".join(map(repr, spec.choices))
        yield f"attribute '{name}' must be one of {known}, not {value!r}"


def _signature(graph: Graph, definition: OpDef, op: Op) -> Iterator[str]:
    if len(op.results) != len(definition.results):
        yield f"gives ({', '.join(definition.results)}), but {len(op.results)} results are named"
    try:
        bound = definition.bind(op.operands)
    except ValueError as error:
        yield str(error)
        return
    for slot in definition.parameters:
        for name in bound[slot]:
            if name not in graph.constants:
                yield f"{slot} must be a constant, but %{name} is computed"


def _states(graph: Graph) -> Iterator[str]:
    for state in graph.states:
        at = f"state %{state.name}{origin(state.loc)}"
        type_ = graph.types.get(state.name)
        if state.next not in graph.types:
            yield f"{at}: its next value %{state.next} is not defined"
        elif graph.types[state.next] != type_:
            yield f"{at} has type {type_}, but its next value has {graph.types[state.next]}"
        if state.init is None:
            continue
        if state.init not in graph.constants:
            yield f"{at}: its initial value %{state.init} is not a constant"
        elif graph.types.get(state.init) != type_:
            yield f"{at} has type {type_}, but its initial value has {graph.types[state.init]}"


@fact("the readout over timesteps is mean, sum, last or max, and there is one output")
def _readout(graph: Graph) -> Iterator[str]:
    if graph.attrs.get("readout") not in READOUTS:
        yield (
            f"graph attribute 'readout' is {graph.attrs.get('readout')!r}, expected one of "
            f"{', '.join(READOUTS)}"
        )
    if len(graph.outputs) != 1:
        yield f"the graph has {len(graph.outputs)} outputs, expected one"
    if not isinstance(graph.attrs.get("events", ""), str):
        yield f"graph attribute 'events' is {graph.attrs['events']!r}, expected the name of a node"
    for name, most in (("repeats", MOST_REPEATS), ("since", MOST_SINCE)):
        number = graph.attrs.get(name, 1)
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
            yield f"graph attribute '{name}' is {number!r}, expected a number of timesteps"
    if (
        "since" in graph.attrs
        and graph.attrs.get("readout") not in SINCE
        and "average" not in (graph.attrs)
    ):
        yield "graph attribute 'since' is there without a readout that is a mean or a sum"


@fact("names can be written in the text form")
def _names(graph: Graph) -> Iterator[str]:
    for name in graph.types:
        if not NAME.fullmatch(name):
            yield f"the name {name!r} cannot be written: letters, digits and _ . / : - only"
    for name in graph.locs:
        if name not in graph.inputs and name not in graph.constants:
            yield f"%{name} has an entry in locs, but is neither an input nor a constant"


@fact("there is one input", since="layers")
def _one_input(graph: Graph) -> Iterator[str]:
    if len(graph.inputs) != 1:
        yield f"the graph has {len(graph.inputs)} inputs, expected one"


@fact("no real numbers: every value is an integer, event or boolean, except scales")
def _no_floats(graph: Graph) -> Iterator[str]:
    if not at_least(graph.level, "integer"):
        return
    scales = {type_.scale for type_ in graph.types.values()}
    for name, type_ in graph.types.items():
        if type_.is_float and name not in scales:
            yield f"%{name} is real-valued ({type_}); integers are needed from level integer on"


@fact("a type's scale is a number or a constant with one value per element")
def _scales(graph: Graph) -> Iterator[str]:
    for name, type_ in graph.types.items():
        if isinstance(type_.scale, str) and type_.scale not in graph.constants:
            yield f"%{name}: its scale %{type_.scale} is not a constant"


@fact("every op is on a pathway of the machine", since="partitioned")
def _paths(graph: Graph) -> Iterator[str]:
    for op in graph.ops:
        if "path" not in op.attrs:
            yield f"{describe(op)}: attribute 'path' is missing"


@fact("constants and vectors have places from level placed on")
def _places(graph: Graph) -> Iterator[str]:
    if at_least(graph.level, "placed") != bool(graph.placement):
        yield "values have places from level placed on, and not before"
    for name, place in graph.placement.items():
        if name not in graph.types:
            yield f"%{name} has a place, but is no value"
        for end in place.lives or ():
            if end not in graph.types:
                yield f"%{name} lives to or from %{end}, which is no value"


@fact("the listing holds the instructions of a scheduled graph")
def _listing(graph: Graph) -> Iterator[str]:
    if at_least(graph.level, "scheduled") != bool(graph.listing):
        yield "the listing is filled at level scheduled, and not before"
