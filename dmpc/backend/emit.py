"""Emission: the image of a scheduled graph."""

from itertools import groupby

from dmpc.backend.interface import interface_of
from dmpc.backend.lower import lower
from dmpc.backend.origin import note
from dmpc.backend.pieces import Lowered
from dmpc.backend.places import REGISTERS, section_of
from dmpc.backend.tables import memory_tables
from dmpc.errors import CompileError, VerifyError
from dmpc.ir.graph import Graph
from dmpc.ir.levels import LEVELS
from dmpc.ir.printer import to_text
from dmpc.ir.verify import verify
from isa.errors import IsaError
from isa.image import Image, Symbol
from isa.interface import INTERFACE, interface, notes
from isa.target import Target, parse_target
from isa.validity import MEMORY, check

GRAPH_NOTE = ".dmpc.graph"


def emit(graph: Graph, target_text: str, layers: Graph | None = None) -> Image:
    """The image of a scheduled graph for the target that `target_text` describes.

    Notes carry the graph itself, where each instruction comes from, what a runtime needs to feed
    events and to read logits, and a sketch of the float `layers` that it was made from. Raises
    CompileError for what the target cannot hold.
    """
    target = parse_target(target_text, "target")
    program = lower(graph, target)
    image = Image(
        target_text,
        tuple(item.instruction for item in program),
        memory_tables(graph, target),
        (*_code_symbols(program), *_memory_symbols(graph, target)),
        {
            GRAPH_NOTE: to_text(graph).encode(),
            **({} if layers is None else note(layers)),
            **notes(interface_of(graph), tuple(item.provenance for item in program)),
        },
    )
    try:
        check(image)
    except IsaError as error:
        raise CompileError(str(error), where=graph.name) from error
    return image


def embedded_graph(image: Image) -> Graph:
    """The verified graph that an image was made from; DmpcError if it carries none.

    Its interface is the image's: whoever compares the two feeds both alike.
    """
    from dmpc.ir.parser import parse  # its library takes long to load, and compiling needs none

    where = f"{image.origin}: {GRAPH_NOTE}" if image.origin else GRAPH_NOTE
    if GRAPH_NOTE not in image.notes:
        raise CompileError(
            "the image carries no graph",
            where=image.origin,
            hint="it was assembled by hand; compile the model instead",
        )
    try:
        graph = parse(image.notes[GRAPH_NOTE].decode(), where)
        verify(graph)
    except UnicodeDecodeError as error:
        raise CompileError(f"not UTF-8: {error}", where=where) from None
    except VerifyError as error:
        raise error.inside(where) from None
    if graph.level != LEVELS[-1]:
        raise CompileError(f"the graph is at level {graph.level}, not {LEVELS[-1]}", where=where)
    if interface_of(graph) != interface(image):
        raise CompileError(f"the graph has another interface than {INTERFACE}", where=where)
    return graph


def _code_symbols(program: list[Lowered]) -> list[Symbol]:
    """A symbol for each stretch of code of one part of a layer."""
    symbols: list[Symbol] = []
    start = 0
    for name, items in groupby(program, key=lambda item: item.symbol):
        size = len(list(items))
        symbols.append(Symbol(name, ".text", start, size))
        start += size
    return symbols


def _memory_symbols(graph: Graph, target: Target) -> list[Symbol]:
    symbols = []
    for name, place in graph.placement.items():
        if place.memory not in REGISTERS and name in graph.constants:
            section, first = section_of(target, place.memory, place.row)
            symbols.append(Symbol(name, MEMORY + section, place.row - first, place.rows))
    return symbols
