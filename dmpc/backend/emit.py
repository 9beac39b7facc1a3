"""Emission: the image of a scheduled graph."""

from itertools import groupby

from dmpc.backend.lower import Lowered, lower
from dmpc.backend.places import REGISTERS
from dmpc.backend.tables import memory_tables
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph
from dmpc.ir.parser import parse
from dmpc.ir.printer import to_text
from isa.image import Image, Symbol
from isa.interface import Input, Interface, Output, notes
from isa.target import parse_target

GRAPH_NOTE = ".dmpc.graph"


def emit(graph: Graph, target_text: str) -> Image:
    """The image of a scheduled graph for the target that `target_text` describes.

    Notes carry the graph itself, where each instruction comes from, and what a runtime needs to
    feed events and to read logits.
    """
    target = parse_target(target_text, "target")
    program = lower(graph, target)
    return Image(
        target_text,
        tuple(item.instruction for item in program),
        memory_tables(graph, target),
        (*_code_symbols(program), *_memory_symbols(graph)),
        {
            GRAPH_NOTE: to_text(graph).encode(),
            **notes(interface_of(graph), tuple(item.provenance for item in program)),
        },
    )


def embedded_graph(image: Image) -> Graph:
    """The graph that an image was made from; CompileError if it carries none."""
    if GRAPH_NOTE not in image.notes:
        raise CompileError(
            "the image carries no graph", hint="it was assembled by hand; compile the model instead"
        )
    return parse(image.notes[GRAPH_NOTE].decode(), GRAPH_NOTE)


def interface_of(graph: Graph) -> Interface:
    """The input and output of a graph of integers, as its image describes them."""
    source, output = graph.types[graph.inputs[0]], graph.types[graph.outputs[0]]
    return Interface(
        name=graph.name,
        input=Input(
            kind="events" if source.dtype == "event" else "values",
            size=source.shape[0],
            bits=source.bits,
            scale=_number(source.scale),
        ),
        output=Output(
            size=output.shape[0],
            scale=_number(output.scale),
            average=bool(graph.attrs["average"]),
        ),
    )


def _number(scale: float | str | None) -> float:
    assert not isinstance(scale, str)
    return 1.0 if scale is None else scale


def _code_symbols(program: list[Lowered]) -> list[Symbol]:
    """A symbol for each stretch of code of one part of a layer."""
    symbols: list[Symbol] = []
    start = 0
    for name, items in groupby(program, key=lambda item: item.symbol):
        size = len(list(items))
        symbols.append(Symbol(name, ".text", start, size))
        start += size
    return symbols


def _memory_symbols(graph: Graph) -> list[Symbol]:
    return [
        Symbol(name, f".mem.{place.memory}", place.row, place.rows)
        for name, place in graph.placement.items()
        if place.memory not in REGISTERS and name in graph.constants
    ]
