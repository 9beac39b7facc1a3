"""Pieces of layers: products and neurons, some groups at a time where not all fit on the chip."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dmpc.backend.places import bank_of, layout_of
from dmpc.backend.windows import (
    Pages,
    Tile,
    external_products,
    is_external,
    products_of,
    tiles_of,
    windows_of,
)
from dmpc.ir.graph import Graph, Op
from isa.format import Instruction
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    LoadEvents,
    LoadNeurons,
    LoadRows,
)
from isa.interface import Provenance
from isa.kernel import Kernel
from isa.target import Target

NOWHERE = Provenance()
T_ = TypeVar("T_")


@dataclass(frozen=True)
class Lowered:
    """An instruction, the stretch of code it belongs to, and where it comes from."""

    instruction: Instruction
    symbol: str
    provenance: Provenance = NOWHERE


def stage_of(op: Op) -> int:
    """How many timesteps behind the input an op runs."""
    stage = op.attrs.get("stage", 0)
    assert isinstance(stage, int)
    return stage


@dataclass(frozen=True)
class Piece:
    """Groups of an op on neurons: what comes before, whose sums it takes, where neurons lie."""

    tile: Tile
    before: list[Lowered]
    banks: tuple[int, ...]
    neurons: dict[str, Any]


class Pieces:
    """Instructions of a placed graph's products, and of what brings external rows in for them."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        self.windows = windows_of(graph, target)
        self.kernels: dict[Kernel, Op] = {}
        for op in graph.ops:
            if op.kind == "convolve" and (kernel := layout_of(graph, op, target).kernel):
                self.kernels.setdefault(kernel, op)

    def row(self, name: str) -> int:
        """First row or register of a value."""
        return self.graph.placement[name].row

    def rows(self, name: str) -> int:
        """Rows of a value."""
        return self.graph.placement[name].rows

    def size(self, name: str) -> int:
        """Elements of a vector."""
        return self.graph.types[name].shape[0]

    def is_event(self, name: str) -> bool:
        """Whether a value is events."""
        return self.graph.types[name].dtype == "event"

    def number(self, op: Op, attr: str) -> int:
        """An attribute that is a whole number."""
        value = op.attrs[attr]
        assert isinstance(value, int)
        return value

    # -- pieces of a layer ------------------------------------------------------------------------

    def pieces(self, op: Op) -> Iterator[Piece]:
        """An op on groups of neurons, some of them at a time where not all fit on the chip."""
        products = sorted(
            ((bank_of(one, self.target), one) for one in products_of(self.graph, op)),
            key=lambda item: item[0],  # those of a bank side by side
        )
        windows = external_products(self.graph, self.target, op)
        far = {name: self.windows[key].number for name, key in windows.items()}
        for tile in tiles_of(self.graph, op):
            before: list[Lowered] = []
            window = returned(self.load_neurons(op, tile, "step"), before)
            for index, (bank, product) in enumerate(products):
                join = index + 1 < len(products) and products[index + 1][0] == bank
                before += self._product(product, tile, far.get(product.results[0]), join=join)
            row, banks = self.row(op.results[-1]) + tile.start, {bank for bank, _ in products}
            neurons = {"row": row, "groups": tile.groups, "window": window}
            yield Piece(tile, before, tuple(sorted(banks)), neurons)

    def worked(self, op: Op, piece: Piece, made: Instruction, **values: str) -> Iterator[Lowered]:
        """What comes before a piece of an op, and the op itself."""
        if len(tiles_of(self.graph, op)) > 1:
            lanes, tile = self.target.lanes, piece.tile
            for place in [one for one in values if one != "dest"]:  # which is whole in the end
                end = min((tile.start + tile.groups) * lanes, self.size(values[place]))
                values[place] += f"[{tile.start * lanes}:{end}]"
        yield from piece.before
        yield self.made(op, made, "step", values)

    def _product(self, op: Op, tile: Tile, window: int | None, *, join: bool) -> Iterator[Lowered]:
        """A product's sums for some groups, with what brings its rows in if they are external."""
        source, weight = op.operands
        whole = layout_of(self.graph, op, self.target)
        layout = whole.part(tile.start, tile.groups)
        rows: dict[str, Any] = {
            "bank": bank_of(op, self.target),
            "row": self.row(weight) + whole.row_of(tile.start),
            "inputs": layout.inputs,
            "groups": layout.groups,
            "first": layout.first,
            "share": layout.share,
        }
        if layout.kernel:
            number = list(self.kernels).index(layout.kernel)
            rows |= {"kernel": number, "start": layout.start, "described": layout.kernel}
        events, output = self.is_event(source), op.attrs.get("stationary") == "output"
        if window is not None and events and not output and not layout.kernel:
            load = LoadEvents(**rows, window=window, source=self.row(source))
            yield self.made(op, load, "step", {})
        elif window is not None:
            yield self._load_rows(op, window, f"b{rows['bank']}", rows["row"], layout.rows)
        common = {**rows, "source": self.row(source), "join": join, "window": window}
        if events:
            made: Instruction = AccumulateEvents(**common, scan=output)
        else:
            spill = op.attrs.get("stationary") == "input"
            made = AccumulateValues(**common, spill=spill)
        yield self.made(op, made, "step", {})

    def load_neurons(self, op: Op, tile: Tile, part: str) -> Generator[Lowered, None, int | None]:
        """Bring in the neurons of a tile, if they are external; through which window."""
        far = self.far(op)
        if far is None:
            return None
        window = self.windows["neuron", 0]
        made = LoadNeurons(window=window.number, row=far.page(tile), groups=window.rows)
        yield self.made(op, made, part, {})
        return window.number

    def laid_out(self, op: Op, names: Sequence[str]) -> Pages:
        """Where pieces of some values of an op's neurons lie, which are side by side."""
        groups = self.rows(op.results[-1])
        size = self.number(op, "tile") if "tile" in op.attrs else groups
        return self.far(op) or Pages(self.row(names[0]), groups, size, size * len(names))

    def far(self, op: Op) -> Pages | None:
        """Where an op's neurons lie, if that is outside the chip."""
        name = op.results[-1]
        if self.graph.placement[name].memory != "neuron":
            return None
        if not is_external(self.graph, self.target, name):
            return None
        return Pages.far(self.graph, op, self.windows["neuron", 0].rows)

    def load_all(self, op: Op, name: str) -> Generator[Lowered, None, int | None]:
        """Bring in all rows of a constant, if they are external; through which window."""
        if not is_external(self.graph, self.target, name):
            return None
        place = self.graph.placement[name]
        window = self.windows[place.memory, 0].number
        yield self._load_rows(op, window, place.memory, place.row, place.rows)
        return window

    def _load_rows(self, op: Op, window: int, memory: str, row: int, rows: int) -> Lowered:
        made = LoadRows(window=window, memory=memory, row=row, rows=rows)
        return self.made(op, made, "step", {})

    def named(self, memory: str) -> str:
        """A memory as instructions of the loader name it."""
        names = [bank.name for bank in self.target.bank]
        return f"b{names.index(memory)}" if memory in names else memory

    def made(self, op: Op, made: Instruction, part: str, values: dict[str, str]) -> Lowered:
        """An instruction of an op in a part of its layer's code, and the values that it leaves."""
        layer = str(op.attrs["layer"])
        path = str(op.attrs.get("path", ""))
        source = Provenance(layer=layer, path=path, op=op.results[0], nodes=op.loc, values=values)
        if part in ("step", "move"):
            made = replace(made, stage=stage_of(op))
        return Lowered(made, f"{layer}.{part}", source)


def returned(items: Generator[Lowered, None, T_], to: list[Lowered]) -> T_:
    """What a generator returns, after all that it yields went elsewhere."""
    while True:
        try:
            to.append(next(items))
        except StopIteration as end:
            value: T_ = end.value
            return value
