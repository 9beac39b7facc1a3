"""Spilling: what lives outside the chip when not everything fits, and in what pieces it comes in.

Weights stay on the chip or stream, whichever brings the fewest bits through the port to external
memory: of a product of events the rows of active inputs alone are fetched, of others all rows in
every timestep. So what is seldom active goes first. Neurons are worked on in pieces: so many groups
that two pages of their rows, one that is worked on and one that is filled, fit on the chip.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from dmpc.backend.places import bank_of, cell_of, layer_blocks, layout_of
from dmpc.backend.windows import is_external, products_of, windows_of
from dmpc.ir.chains import NEURONS, takes_spikes
from dmpc.ir.graph import Attr, Graph, Op
from dmpc.ir.ops_convolution import PRODUCTS
from dmpc.ir.ops_neurons import MODEL_OF
from dmpc.passes.partition import active_inputs
from dmpc.passes.ranges import Real
from isa.layout import coefficients
from isa.target import Target

PIECES = tuple(1 << n for n in range(10, -1, -1))
"""Groups of neurons in a piece, at most, that are tried."""
TURN = 12
"""Cycles that a piece costs beside its transfers: the pipeline of its neurons."""
HIDDEN = 0.1
"""What a cycle of transfers is thought to cost where work hides it: its energy."""
WORDS = 0.9
"""Part of the program memory that pieces may fill."""


@dataclass
class Spill:
    """What lives outside the chip: `constants`, and neurons of whole `layers`.

    `pieces` are groups that an op works on at a time, by name of its last result; `page` are the
    rows of all that external neurons of a piece keep. `cycles` is a guess of what a timestep takes
    for it.
    """

    constants: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)
    pieces: dict[str, int] = field(default_factory=dict)
    page: int = 0
    cycles: float = 0.0


@dataclass(frozen=True)
class _Product:
    """A product in a bank, with who takes its sums, and the part of its rows a timestep reads."""

    op: Op
    taker: Op
    slot: int
    density: float


@dataclass(frozen=True)
class Spiller:
    """Chooses what lives outside the chip, by the rows `used` of each memory if all were on it."""

    graph: Graph
    target: Target
    activity: Mapping[str, Real]
    used: Mapping[str, int]

    def best(self) -> Spill | None:
        """The choice that is thought to take the fewest cycles of a timestep; None: none fits."""
        found = [one for one in map(self._in_pieces, PIECES) if one]
        return min(found, key=lambda one: one.cycles, default=None)

    def _in_pieces(self, most: int) -> Spill | None:
        """A choice whose pieces are no larger than so many groups."""
        spill = Spill(page=most)
        fits = all(self._stream(spill, bank.name, most) for bank in self.target.bank)
        fits = fits and all(self._largest(spill, name) for name in ("drive", "update"))
        if not fits or not self._neurons(spill):
            return None
        self._together(spill)
        spill.cycles = self._cycles(spill)
        words = 2 * len(self.graph.ops) + sum(self._words(spill, op) for op in self.graph.ops)
        return spill if words <= WORDS * self.target.sequencer.program else None

    def _together(self, spill: Spill) -> None:
        """Ops whose states lie side by side are worked on in the same pieces."""
        for op in self.graph.ops:
            cell = cell_of(self.graph, op) if op.kind in MODEL_OF else []
            names = [one.results[-1] for one in cell]
            sizes = [spill.pieces[name] for name in names if name in spill.pieces]
            if sizes:
                spill.pieces |= dict.fromkeys(names, min(sizes))

    def _is_short(self, memory: str) -> bool:
        return self.used[memory] > self.target.memories[memory].rows

    # -- products ---------------------------------------------------------------------------------

    def _stream(self, spill: Spill, bank: str, most: int) -> bool:
        """Stream products of a bank, so that the others and two pages of theirs fit."""
        if not self._is_short(bank):
            return True
        products = sorted(self._products(bank), key=lambda one: (one.density, -self._rows(one)))
        found: list[tuple[float, int, dict[str, int]]] = []
        for count in range(1, len(products) + 1):
            kept = sum(map(self._rows, products[count:]))
            room = (self.target.memories[bank].rows - kept) // 2
            if pieces := self._pieces(products[:count], room, most):
                cycles = sum(
                    self._transfer(one, size) + TURN * -(-self._groups(one.taker) // size)
                    for one in products[:count]
                    for size in (pieces[one.taker.results[-1]],)
                )
                found.append((cycles, count, pieces))
        if not found:
            return False
        _, chosen, best = min(found, key=lambda option: option[:2])
        for name, size in best.items():
            spill.pieces[name] = min(size, spill.pieces.get(name, size))
        spill.constants.update(one.op.operands[1] for one in products[:chosen])
        return True

    def _pieces(self, streamed: list[_Product], room: int, most: int) -> dict[str, int]:
        """The largest pieces of each taker whose pages have room; nothing if one has none."""
        found: dict[str, int] = {}
        pages: dict[int, int] = {}
        for name in dict.fromkeys(one.taker.results[-1] for one in streamed):
            own = [one for one in streamed if one.taker.results[-1] == name]
            fitting = (
                size for size in PIECES if size <= most and sum(self._page(own, size)) <= room
            )
            if not (size := next(fitting, 0)):
                return {}
            found[name] = size
            for one, rows in zip(own, self._page(own, size), strict=True):
                pages[one.slot] = max(pages.get(one.slot, 0), rows)
        return found if sum(pages.values()) <= room else {}

    def _page(self, streamed: list[_Product], size: int) -> list[int]:
        """Rows of the windows of some products, for pieces of so many groups."""
        layouts = [layout_of(self.graph, one.op, self.target) for one in streamed]
        return [layout.part(0, min(size, layout.groups)).rows for layout in layouts]

    def _products(self, bank: str | None = None) -> Iterator[_Product]:
        names = [one.name for one in self.target.bank]
        for taker in self.graph.ops:
            own = products_of(self.graph, taker)
            if bank is not None:
                own = [op for op in own if bank_of(op, self.target) == names.index(bank)]
            for slot, op in enumerate(own):
                yield _Product(op, taker, slot, self._density(op))

    def _rows(self, product: _Product) -> int:
        return layout_of(self.graph, product.op, self.target).rows

    def _density(self, op: Op) -> float:
        """Part of a product's rows that a timestep reads."""
        if op.attrs.get("when") == "end":
            return 0.0
        inputs = self.graph.types[op.operands[0]]
        if inputs.dtype != "event" or op.attrs.get("stationary") == "output":
            return 1.0
        active = active_inputs(self.graph, op, self.activity)
        return float(active.mean()) / inputs.shape[0]

    # -- other memories ---------------------------------------------------------------------------

    def _largest(self, spill: Spill, memory: str) -> bool:
        """Stream constants of the drive or update memory, the largest first."""
        if not self._is_short(memory):
            return True
        rows = self._alone(memory)
        order = sorted(rows, key=lambda name: -rows[name])
        for count in range(1, len(order) + 1):
            kept = sum(rows[name] for name in order[count:])
            if kept + 2 * rows[order[0]] <= self.target.memories[memory].rows:
                spill.constants.update(order[:count])
                return True
        return False

    def _alone(self, memory: str) -> dict[str, int]:
        """Rows of what lies in the drive or update memory, by name."""
        kind, operand = {"drive": ("scalar_drive", 1), "update": ("state_update", 2)}[memory]
        found, sizes = {}, self.graph.types
        for op in (op for op in self.graph.ops if op.kind == kind):
            name = op.operands[operand]
            found[name] = sizes[name].shape[0]
            if memory == "update":
                lanes, drives = self.target.update.lanes, sizes[op.operands[1]].shape[0]
                found[name] = coefficients(found[name], lanes, drives).rows
        return found

    def _neurons(self, spill: Spill) -> bool:
        """Let the neurons of layers live outside, the largest first."""
        if not (self._is_short("neuron") or self._is_short("parameter")):
            return True
        ops = [op for op in self.graph.ops if op.kind in NEURONS]
        # What spikes add to a state alone reads them from their first on: no part of them. Of those
        # that come several times in a timestep the second ones follow all of the first.
        stays = {op.attrs["layer"] for op in ops if takes_spikes(op) or "times" in op.attrs}
        ops = [op for op in ops if not _is_in(op, stays)]
        groups = {op.attrs["layer"]: self._groups(op) for op in ops}
        kept = {layer: len(layer_blocks(self.graph, layer)) for layer in groups}
        rows = {layer: kept[layer] * groups[layer] for layer in groups}
        order = sorted(groups, key=lambda name: -rows[name])
        others = max(self.used["parameter"] - sum(rows.values()), 0)
        for count in range(1, len(order) + 1):
            chosen = order[:count]
            far = {op.results[-1]: kept[op.attrs["layer"]] for op in ops if _is_in(op, chosen)}
            most = [spill.pieces[name] * n for name, n in far.items() if name in spill.pieces]
            page = min([spill.page * max(far.values()), *most])
            page = max(page // n * n for n in far.values())  # of whole pieces of some layer
            left = sum(rows[name] for name in order[count:]) + others
            if page >= max(far.values()) and left + 2 * page <= self.target.neuron.rows:
                spill.layers, spill.page = {str(layer) for layer in chosen}, page
                spill.pieces.update((name, page // n) for name, n in far.items())
                return True
        return False

    def _groups(self, op: Op) -> int:
        return -(-self.graph.types[op.results[-1]].shape[0] // self.target.lanes)

    # -- what it costs ----------------------------------------------------------------------------

    def _cycles(self, spill: Spill) -> float:
        """Cycles of a timestep: of the port to external memory or the busiest bank, and turns."""
        banks = [0.0] * len(self.target.bank)
        for one in self._products():
            layout = layout_of(self.graph, one.op, self.target)
            banks[bank_of(one.op, self.target)] += one.density * layout.reads
        turns = sum(self._count(spill, op) for op in self.graph.ops)
        transfers = sum(self.transfers(spill).values())
        return max(transfers, *banks) + TURN * turns + HIDDEN * transfers

    def transfers(self, spill: Spill) -> dict[str, float]:
        """Cycles of a timestep in which each thing outside the chip comes in, by name; of neurons,
        that of each op's membranes."""
        port, found = self.target.external, {}
        assert port
        for one in self._products():
            if one.op.operands[1] in spill.constants:
                size = spill.pieces.get(one.taker.results[-1], self._groups(one.taker))
                found[one.op.operands[1]] = self._transfer(one, size)
        for memory in ("drive", "update"):
            for name, rows in self._alone(memory).items():
                if name in spill.constants:
                    found[name] = port.beats(rows * self.target.memories[memory].row_bits)
        exchanged = 2 * self.target.memories["neuron"].row_bits
        exchanged += self.target.memories["parameter"].row_bits
        for op in self.graph.ops:
            if op.attrs["layer"] in spill.layers and op.kind in NEURONS:
                name, count = op.results[-1], self._count(spill, op)
                found[name] = float(count * port.beats(spill.page * exchanged))
        return found

    def _count(self, spill: Spill, op: Op) -> int:
        """Pieces of an op; none if it is worked on as a whole."""
        size = spill.pieces.get(op.results[-1])
        return -(-self._groups(op) // size) if size else 0

    def _transfer(self, product: _Product, size: int) -> float:
        """Cycles of a timestep in which rows of a product come in."""
        port, op = self.target.external, product.op
        assert port
        layout = layout_of(self.graph, op, self.target)
        bits = self.target.bank[bank_of(op, self.target)].weight_bits * self.target.lanes
        count = -(-layout.groups // size)
        part = layout.part(0, min(size, layout.groups))
        if product.density in (0.0, 1.0) or layout.kernel:  # of a kernel all rows, for any event
            return count * port.beats(part.rows * bits) * float(product.density > 0)
        return count * product.density * layout.inputs * port.beats(part.per_input * bits)

    def _words(self, spill: Spill, op: Op) -> int:
        """Instructions of an op that is worked on in pieces."""
        products = products_of(self.graph, op)
        loads = sum(one.operands[1] in spill.constants for one in products)
        return (2 + len(products) + loads) * self._count(spill, op)


def spilled(graph: Graph, target: Target) -> Spill:
    """What lives outside the chip in a placed graph."""
    spill = Spill(constants={name for name in graph.constants if _is_far(graph, target, name)})
    for op in graph.ops:
        if isinstance(size := op.attrs.get("tile"), int):
            spill.pieces[op.results[-1]] = size
            if op.kind in NEURONS and is_external(graph, target, op.results[-1]):
                spill.layers.add(str(op.attrs["layer"]))
                spill.page = windows_of(graph, target)["neuron", 0].rows
    return spill


def _is_in(op: Op, layers: Collection[Attr]) -> bool:
    return op.attrs["layer"] in layers


def _is_far(graph: Graph, target: Target, name: str) -> bool:
    place = graph.placement.get(name)
    return place is not None and place.memory != "parameter" and is_external(graph, target, name)


def joined(graph: Graph, target: Target, *, events_alone: bool) -> Graph:
    """The graph with every product whole in its pathway's bank again; or those of events alone that
    had been shared."""
    graph = graph.copy()
    graph.placement.clear()
    for taker in list(graph.ops):
        shares: dict[str, list[Op]] = {}
        for op in products_of(graph, taker):
            events = graph.types[op.operands[0]].dtype == "event"
            if "share" in op.attrs and (events or not events_alone):
                shares.setdefault(op.operands[0], []).append(op)
        for first, *others in shares.values():
            weights = [graph.constants[op.operands[1]] for op in (first, *others)]
            graph.constants[first.operands[1]] = np.sum(weights, axis=0)
            first.attrs["bank"] = target.bank_for(str(first.attrs["path"]))
            del first.attrs["share"]
            gone = {op.results[0] for op in others}
            events = graph.types[first.operands[0]].dtype == "event"
            if events and isinstance(number := taker.attrs.get("events"), int):
                taker.attrs["events"] = number - len(gone)
            taker.operands = tuple(name for name in taker.operands if name not in gone)
            for op in others:
                graph.ops.remove(op)
                del graph.types[op.results[0]]
                del graph.types[op.operands[1]], graph.constants[op.operands[1]]
                graph.locs.pop(op.operands[1], None)
    for op in () if events_alone else graph.ops:
        if op.kind in PRODUCTS:
            op.attrs.pop("bank", None)
    return graph
