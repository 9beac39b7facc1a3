"""The memory map of an image as a table: what lies in which rows and registers, and how long."""

from collections.abc import Iterator
from typing import Any

from dmpc.backend.emit import GRAPH_NOTE, embedded_graph
from dmpc.backend.places import REGISTERS
from dmpc.cli.tables import table
from dmpc.ir.graph import Graph
from isa.image import Image
from runtime.maps import memory_map

PROGRAM, SAMPLE = "program", "sample"
"""Constants live as long as the program, what a timestep leaves to the next as long as a sample."""


def memory_table(image: Image) -> Any:
    """A row for each thing: of an image with a graph states and registers, too."""
    made = table("memory map", "memory", "holds", "rows", "bits a row", "lives", text=2)
    made.columns[-1].justify = "left"
    for memory, name, first, rows, lives in held(image):
        described = image.target.memories.get(memory)
        bits = str(described.row_bits) if described else ""
        made.add_row(memory, name, f"{first} .. {first + rows - 1}", bits, lives)
    return made


def held(image: Image) -> Iterator[tuple[str, str, int, int, str]]:
    """Memory, name, first row, rows and life of everything."""
    for part in memory_map(image):
        yield part.memory, part.symbol, part.first, part.rows, PROGRAM
    if GRAPH_NOTE not in image.notes:
        return
    graph = embedded_graph(image)
    states = {state.name for state in graph.states}
    items = (
        (place.memory, place.row, n, name, place)
        for n, (name, place) in enumerate(graph.placement.items())
        if name in states or (place.memory in REGISTERS and not _is_next(graph, name))
    )
    for memory, row, _, name, place in sorted(items):
        lives = " to ".join(place.lives) if place.lives else SAMPLE
        yield memory, name, row, place.rows, lives


def _is_next(graph: Graph, name: str) -> bool:
    """Whether a value lies where the state lies whose next value it is."""
    return any(
        state.next == name and graph.placement.get(state.name) == graph.placement[name]
        for state in graph.states
    )


def shared_registers(graph: Graph) -> Iterator[str]:
    """What a user should know of registers that several vectors share."""
    for kind in REGISTERS:
        places = {
            name: place
            for name, place in graph.placement.items()
            if place.memory == kind and not _is_next(graph, name)
        }
        wanted = sum(place.rows for place in places.values())
        found = max((place.row + place.rows for place in places.values()), default=0)
        if wanted > found:
            yield (
                f"{found} registers of {kind} hold what would take {wanted}: vectors that live for "
                "a part of a timestep lie there one after the other"
            )
