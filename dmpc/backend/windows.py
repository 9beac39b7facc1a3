"""Windows: where rows that lie outside the chip are worked on, and through which window each.

A product, a drive, an update or neurons whose place is external are brought in piece by piece. All
of a memory share its windows: one for each product that a piece of a layer has there.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from dmpc.backend.places import layer_blocks, layout_of
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import PRODUCTS
from isa.target import Target

Key = tuple[str, int]
"""A memory, and the number of one of its windows."""

NEURON = ("neuron", "parameter")
"""Memories whose external rows go in and out together."""


@dataclass(frozen=True)
class Window:
    """A window by its number: two pages of `rows` rows from row `at` of its memory on."""

    number: int
    at: int
    rows: int


@dataclass(frozen=True)
class Tile:
    """Groups of neurons that are worked on together."""

    start: int
    groups: int


def tiles_of(graph: Graph, op: Op) -> list[Tile]:
    """The pieces in which an op on groups of neurons is worked on; one as a rule."""
    groups = graph.placement[op.results[-1]].rows
    size = op.attrs.get("tile", groups)
    assert isinstance(size, int)
    return [Tile(start, min(size, groups - start)) for start in range(0, groups, size)]


def is_external(graph: Graph, target: Target, name: str) -> bool:
    """Whether a value lies outside the chip."""
    place = graph.placement[name]
    memory = target.memories.get(place.memory)
    return memory is not None and place.row >= memory.rows


def products_of(graph: Graph, op: Op) -> list[Op]:
    """The products whose sums an op takes."""
    found = (graph.producer(name) for name in op.operands)
    return [op for op in found if op is not None and op.kind in PRODUCTS]


def external_products(graph: Graph, target: Target, op: Op) -> dict[str, Key]:
    """The window of each product of an op that is outside the chip, by name of its sums."""
    taken: dict[str, int] = defaultdict(int)
    found = {}
    for product in products_of(graph, op):
        if is_external(graph, target, product.operands[1]):
            memory = graph.placement[product.operands[1]].memory
            found[product.results[0]] = (memory, taken[memory])
            taken[memory] += 1
    return found


def _uses(graph: Graph, target: Target) -> Iterator[tuple[Key, int]]:
    """Rows of a window that somebody needs."""
    for op in graph.ops:
        external = external_products(graph, target, op)
        for product in products_of(graph, op) if external else ():
            if product.results[0] in external:
                layout = layout_of(graph, product, target)
                for tile in tiles_of(graph, op):
                    yield (
                        external[product.results[0]],
                        layout.part(tile.start, tile.groups).rows,
                    )
        if op.kind in ("scalar_drive", "state_update"):
            name = op.operands[1 if op.kind == "scalar_drive" else 2]
            if is_external(graph, target, name):
                yield (graph.placement[name].memory, 0), graph.placement[name].rows
        for name in op.results:
            place = graph.placement.get(name)
            if place and place.memory == "neuron" and is_external(graph, target, name):
                size = op.attrs["tile"]
                assert isinstance(size, int)
                yield ("neuron", 0), size * len(layer_blocks(graph, op.attrs["layer"]))


@dataclass(frozen=True)
class Pages:
    """Where what the neurons of a layer keep lies: from row `base` on, in pieces of `size` of their
    groups, each of which has all that it keeps side by side in a page of `rows` rows."""

    base: int
    groups: int
    size: int
    rows: int

    @classmethod
    def far(cls, graph: Graph, op: Op, rows: int) -> "Pages":
        """Of an op on neurons that lie outside the chip."""
        (first, _), _ = layer_blocks(graph, op.attrs["layer"])[0]
        place, size = graph.placement[first], op.attrs["tile"]
        assert isinstance(size, int)
        return cls(place.row, place.rows, size, rows)

    def page(self, tile: Tile) -> int:
        """The first row of a piece."""
        return self.base + tile.start // self.size * self.rows

    def row(self, tile: Tile, placed: int) -> int:
        """Where a piece of what is `placed` at some row lies."""
        return self.page(tile) + (placed - self.base) // self.groups * tile.groups

    @property
    def end(self) -> int:
        """The row behind the last piece."""
        return self.base + -(-self.groups // self.size) * self.rows


def windows_of(graph: Graph, target: Target) -> dict[Key, Window]:
    """The windows that a placed graph needs, behind all rows that stay on the chip."""
    rows: dict[Key, int] = {}
    for key, count in _uses(graph, target):
        rows[key] = max(rows.get(key, 0), count)
    free: dict[str, int] = defaultdict(int)
    for place in graph.placement.values():
        if place.memory in target.memories and place.row < target.memories[place.memory].rows:
            free[place.memory] = max(free[place.memory], place.row + place.rows)
    free["neuron"] = max(free[name] for name in NEURON)
    made = {}
    for number, (memory, slot) in enumerate(sorted(rows)):
        made[memory, slot] = Window(number, free[memory], rows[memory, slot])
        free[memory] += 2 * rows[memory, slot]
    return made
