"""Lowering: the instructions of a placed graph, each with where it comes from."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import networkx as nx

from dmpc.backend.places import bank_of, layout_of, parameters_of
from dmpc.backend.windows import (
    Tile,
    external_products,
    is_external,
    products_of,
    tiles_of,
    windows_of,
)
from dmpc.errors import CompileError, raise_all
from dmpc.ir.graph import Graph, Op
from dmpc.rules import Stage, rule
from isa.errors import IsaError
from isa.format import Instruction, encode
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    ClearDelays,
    ClearEvents,
    ClearLogits,
    ClearMembranes,
    ClearValue,
    CountEvents,
    DelayEvents,
    DriveEvents,
    DriveValues,
    Emit,
    Fire,
    Halt,
    HoldValue,
    InputEvents,
    InputValues,
    IntegrateEvents,
    IntegrateValues,
    Leak,
    Lif,
    LoadEvents,
    LoadNeurons,
    LoadRows,
    Loop,
    MoveEvents,
    Readout,
    Sync,
    Update,
    Window,
)
from isa.interface import Provenance
from isa.target import Target

T_ = TypeVar("T_")
NOWHERE = Provenance()
TOO_LARGE = rule(
    "too-large",
    Stage.MACHINE,
    "{layer}: {reason}",
    why="""Rows, sizes and shifts are fields of an instruction, each with a number of bits; see
    isa.md.""",
    nearest="the layer is larger than an instruction can say",
)


@dataclass(frozen=True)
class Lowered:
    """An instruction, the stretch of code it belongs to, and where it comes from."""

    instruction: Instruction
    symbol: str
    provenance: Provenance = NOWHERE


def lower(graph: Graph, target: Target) -> list[Lowered]:
    """The program: a loop over samples around a loop over timesteps.

    Raises CompileError where an operand does not fit its instruction.
    """
    lowering = _Lowering(graph, target)
    order = execution_order(graph)
    moves = [op for op in order if op.kind == "move"]
    rest = [op for op in order if op.kind != "move" and op.attrs.get("when") != "end"]
    end = [op for op in order if op.attrs.get("when") == "end"]
    # The input first: it comes while layers still work on the timestep before.
    step = [*lowering.inputs(), *(item for op in (*moves, *rest) for item in lowering.op(op))]
    drain = max(item.instruction.stage for item in step)
    steps = Lowered(Loop(counter="steps", drain=drain, length=len(step)), "timestep")
    answer = [item for op in end for item in lowering.op(op)]
    body = [*lowering.clears(), steps, *step, *answer, *lowering.emit()]
    program = [
        Lowered(Loop(counter="samples", length=len(body)), "main"),
        *body,
        Lowered(Halt(), "end"),
    ]
    _check(program)
    return program


def _check(program: list[Lowered]) -> None:
    """Raises CompileError for the first operand of each layer that does not fit."""
    errors: dict[str, CompileError] = {}
    for item in program:
        layer, nodes = item.provenance.layer, tuple(item.provenance.nodes)
        try:
            encode(item.instruction)
        except IsaError as error:
            where = ", ".join(nodes)
            found = CompileError.of(TOO_LARGE, where=where, nodes=nodes, layer=layer, reason=error)
            errors.setdefault(layer, found)
    raise_all(errors.values())


def execution_order(graph: Graph) -> list[Op]:
    """The ops but for products, in an order that keeps states and copies in place.

    A state's register or rows hold its old value until the op that replaces it, so whatever reads
    the old value comes first; and a copy for a later stage is made before the original changes.
    Products run with the op that consumes their sums.
    """
    order: nx.DiGraph[int] = nx.DiGraph()
    at = {name: i for i, op in enumerate(graph.ops) for name in op.results}
    writer = {state.name: at[state.next] for state in graph.states}
    ops = [i for i, op in enumerate(graph.ops) if op.kind != "matvec"]
    order.add_nodes_from(ops)
    for i in ops:
        for name in _reads(graph, graph.ops[i]):
            if name in at and graph.ops[i].kind == "move":
                order.add_edge(i, at[name])
            elif name in at:
                order.add_edge(at[name], i)
            elif name in writer and writer[name] != i:
                order.add_edge(i, writer[name])
    rank = {i: (stage_of(graph.ops[i]), i) for i in ops}
    try:
        found = nx.lexicographical_topological_sort(order, key=rank.__getitem__)
        return [graph.ops[i] for i in found]
    except nx.NetworkXUnfeasible:
        ring = [graph.ops[edge[0]] for edge in nx.find_cycle(order)]
        raise CompileError(
            "a state is read both before and after its update by ops that depend on each other: "
            + ", ".join(f"%{op.results[0]}" for op in ring),
            where=graph.name,
        ) from None


def stage_of(op: Op) -> int:
    """How many timesteps behind the input an op runs."""
    stage = op.attrs.get("stage", 0)
    assert isinstance(stage, int)
    return stage


def _reads(graph: Graph, op: Op) -> Iterator[str]:
    """Vectors that an op reads, directly or through its products."""
    for name in op.operands:
        producer = graph.producer(name)
        if producer is not None and producer.kind == "matvec":
            yield producer.operands[0]
        else:
            yield name


class _Lowering:
    """Instructions of ops, by the places of what they read and write."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        self.windows = windows_of(graph, target)

    def row(self, name: str) -> int:
        return self.graph.placement[name].row

    def rows(self, name: str) -> int:
        return self.graph.placement[name].rows

    def size(self, name: str) -> int:
        return self.graph.types[name].shape[0]

    def is_event(self, name: str) -> bool:
        return self.graph.types[name].dtype == "event"

    def number(self, op: Op, attr: str) -> int:
        value = op.attrs[attr]
        assert isinstance(value, int)
        return value

    # -- around the timesteps ---------------------------------------------------------------------

    def clears(self) -> Iterator[Lowered]:
        """Bring every state to its value before the first timestep."""
        for (memory, _), window in self.windows.items():
            yield Lowered(
                Window(
                    window=window.number,
                    memory=self._named(memory),
                    at=window.at,
                    rows=window.rows,
                ),
                "windows",
                Provenance(layer="windows", path="load"),
            )
        yield from self._no_spikes()
        for op in self.graph.ops:
            name = op.operands[0]
            made: Instruction
            if op.kind in ("lif_step", "leak"):
                yield from self._clear_membranes(op)
                continue
            if (
                op.kind == "state_update"
                or op.kind == "count"
                or (op.kind == "hold" and len(self.graph.users(name)) > 1)
            ):
                made = ClearValue(dest=self.row(name), size=self.size(name))
            elif op.kind in ("accumulate_logits", "total_logits"):
                name, mode = op.results[0], str(op.attrs.get("mode", "sum"))
                made = ClearLogits(row=self.row(name), groups=self.rows(name), mode=mode)
            else:
                continue
            yield self._made(op, made, "clear", {})

    def _clear_membranes(self, op: Op) -> Iterator[Lowered]:
        row, groups = self.row(op.operands[0]), self.rows(op.operands[0])
        if not is_external(self.graph, self.target, op.operands[0]):
            yield self._made(op, ClearMembranes(row=row, groups=groups), "clear", {})
            return
        for tile in tiles_of(self.graph, op):
            window = yield from self._load_neurons(op, tile, "clear")
            made = ClearMembranes(row=row + tile.start, groups=tile.groups, window=window)
            yield self._made(op, made, "clear", {})

    def _no_spikes(self) -> Iterator[Lowered]:
        """Before the first timestep no neuron has fired, and no event waits."""
        for state in self.graph.states:
            writer = self.graph.producer(state.next)
            if writer is None or self.graph.types[state.name].dtype != "event":
                continue
            made: Instruction = ClearEvents(dest=self.row(state.name), size=self.size(state.name))
            if writer.kind == "delay":
                made = ClearDelays(row=self.row(state.name), rows=self.rows(state.name))
            yield self._made(writer, made, "clear", {})

    def inputs(self) -> Iterator[Lowered]:
        """Take the network's input."""
        for name in self.graph.inputs:
            take = InputEvents if self.is_event(name) else InputValues
            made = take(dest=self.row(name), inputs=self.size(name))
            nodes = self.graph.locs.get(name, ())
            source = Provenance(layer="input", path="input", nodes=nodes, values={"dest": name})
            yield Lowered(made, "input", source)

    def emit(self) -> Iterator[Lowered]:
        """Send the logits and wait until all is done."""
        for op in self.graph.ops:
            if op.kind in ("accumulate_logits", "total_logits"):
                name = op.results[0]
                made = Emit(row=self.row(name), groups=self.rows(name))
                yield self._made(op, made, "emit", {})
        yield Lowered(Sync(), "emit")

    # -- ops of a timestep ------------------------------------------------------------------------

    def op(self, op: Op) -> Iterator[Lowered]:
        """The instructions of an op, with those of its products before it."""
        lower_one = {
            "scalar_drive": self._drive,
            "state_update": self._update,
            "hold": self._hold,
            "delay": self._delay,
            "lif_step": self._lif,
            "leak": self._leak,
            "integrate_events": self._integrate_events,
            "integrate_values": self._integrate_values,
            "fire": self._fire,
            "accumulate_logits": self._readout,
            "total_logits": self._readout,
            "count": self._count,
            "tick": _no_instruction,
            "move": self._move,
        }
        yield from lower_one[op.kind](op)

    def _drive(self, op: Op) -> Iterator[Lowered]:
        source = op.operands[0]
        window = yield from self._load_all(op, op.operands[1])
        take = DriveEvents if self.is_event(source) else DriveValues
        made = take(
            dest=self.row(op.results[0]),
            source=self.row(source),
            row=self.row(op.operands[1]),
            inputs=self.size(source),
            shift=self.number(op, "shift"),
            bias=self.number(op, "bias"),
            window=window,
        )
        yield self._made(op, made, "step", {"dest": op.results[0]})

    def _update(self, op: Op) -> Iterator[Lowered]:
        state, drive, coefficients, _ = op.operands
        window = yield from self._load_all(op, coefficients)
        made = Update(
            state=self.row(state),
            drive=self.row(drive),
            row=self.row(coefficients),
            size=self.size(state),
            shift=self.number(op, "shift"),
            window=window,
        )
        yield self._made(op, made, "step", {"state": op.results[0]})

    def _hold(self, op: Op) -> Iterator[Lowered]:
        made = HoldValue(
            dest=self.row(op.results[0]),
            source=self.row(op.operands[1]),
            size=self.size(op.operands[1]),
            every=self.number(op, "period"),
        )
        yield self._made(op, made, "step", {"dest": op.results[0]})

    def _delay(self, op: Op) -> Iterator[Lowered]:
        waiting, source, delays = op.operands
        made = DelayEvents(
            dest=self.row(op.results[0]),
            source=self.row(source),
            row=self.row(waiting),
            axons=self.row(delays),
            inputs=self.size(source),
            length=self.graph.types[waiting].shape[0],
        )
        yield self._made(op, made, "step", {"dest": op.results[0]})

    def _lif(self, op: Op) -> Iterator[Lowered]:
        for piece in self._pieces(op):
            made = Lif(
                dest=self.row(op.results[0]),
                **piece.neurons,
                parameters=self._parameters(op) + piece.tile.start,
                banks=piece.banks,
                shift=self.number(op, "event_shift"),
                subtract=op.attrs["reset_mode"] == "subtract",
                offset=piece.tile.start * self.target.lanes,
            )
            yield from self._worked(op, piece, made, dest=op.results[0], row=op.results[1])
        yield from self._kept_apart(op)

    def _leak(self, op: Op) -> Iterator[Lowered]:
        for piece in self._pieces(op):
            parameters = self._parameters(op) + piece.tile.start
            yield from self._worked(op, piece, Leak(**piece.neurons, parameters=parameters))

    def _integrate_events(self, op: Op) -> Iterator[Lowered]:
        for piece in self._pieces(op):
            shift = self.number(op, "shift")
            made = IntegrateEvents(**piece.neurons, banks=piece.banks, shift=shift)
            yield from self._worked(op, piece, made)

    def _integrate_values(self, op: Op) -> Iterator[Lowered]:
        for piece in self._pieces(op):
            parameters = self._parameters(op) + piece.tile.start
            made = IntegrateValues(**piece.neurons, parameters=parameters, banks=piece.banks)
            yield from self._worked(op, piece, made)

    def _fire(self, op: Op) -> Iterator[Lowered]:
        for piece in self._pieces(op):
            made = Fire(
                dest=self.row(op.results[0]),
                **piece.neurons,
                parameters=self._parameters(op) + piece.tile.start,
                subtract=op.attrs["reset_mode"] == "subtract",
                offset=piece.tile.start * self.target.lanes,
            )
            yield from self._worked(op, piece, made, dest=op.results[0], row=op.results[1])
        yield from self._kept_apart(op)

    def _readout(self, op: Op) -> Iterator[Lowered]:
        for piece in self._pieces(op):
            made = Readout(
                row=self.row(op.results[0]) + piece.tile.start,
                parameters=self._parameters(op) + piece.tile.start,
                groups=piece.tile.groups,
                banks=piece.banks,
                mode=str(op.attrs.get("mode", "sum")),
                steps=op.kind == "total_logits",
            )
            yield from self._worked(op, piece, made, row=op.results[0])

    def _kept_apart(self, op: Op) -> Iterator[Lowered]:
        """Spikes of the timestep before lie elsewhere where neurons are worked on in pieces."""
        for state in self.graph.states:
            new, old = op.results[0], state.name
            if state.next == new and self.row(old) != self.row(new):
                made = MoveEvents(dest=self.row(old), source=self.row(new), size=self.size(old))
                yield self._made(op, made, "step", {})

    def _count(self, op: Op) -> Iterator[Lowered]:
        made = CountEvents(
            counts=self.row(op.operands[0]),
            source=self.row(op.operands[1]),
            size=self.size(op.operands[1]),
        )
        yield self._made(op, made, "step", {"counts": op.results[0]})

    def _move(self, op: Op) -> Iterator[Lowered]:
        made = MoveEvents(
            dest=self.row(op.results[0]),
            source=self.row(op.operands[0]),
            size=self.size(op.operands[0]),
        )
        yield self._made(op, made, "move", {})

    def _parameters(self, op: Op) -> int:
        return self.row(parameters_of(self.graph, op)[0])

    # -- pieces of a layer ------------------------------------------------------------------------

    def _pieces(self, op: Op) -> Iterator["_Piece"]:
        """An op on groups of neurons, some of them at a time where not all fit on the chip."""
        products = sorted(
            ((bank_of(one, self.target), one) for one in products_of(self.graph, op)),
            key=lambda item: item[0],  # those of a bank side by side
        )
        windows = external_products(self.graph, self.target, op)
        far = {name: self.windows[key].number for name, key in windows.items()}
        for tile in tiles_of(self.graph, op):
            before: list[Lowered] = []
            window = _last(self._load_neurons(op, tile, "step"), before)
            for index, (bank, product) in enumerate(products):
                join = index + 1 < len(products) and products[index + 1][0] == bank
                before += self._product(product, tile, far.get(product.results[0]), join=join)
            row, banks = self.row(op.results[-1]) + tile.start, {bank for bank, _ in products}
            neurons = {"row": row, "groups": tile.groups, "window": window}
            yield _Piece(tile, before, tuple(sorted(banks)), neurons)

    def _worked(
        self, op: Op, piece: "_Piece", made: Instruction, **values: str
    ) -> Iterator[Lowered]:
        """What comes before a piece of an op, and the op itself."""
        if "row" in values and len(tiles_of(self.graph, op)) > 1:
            lanes, tile = self.target.lanes, piece.tile
            end = min((tile.start + tile.groups) * lanes, self.size(values["row"]))
            values["row"] += f"[{tile.start * lanes}:{end}]"
        yield from piece.before
        yield self._made(op, made, "step", values)

    def _product(self, op: Op, tile: Tile, window: int | None, *, join: bool) -> Iterator[Lowered]:
        """A product's sums for some groups, with what brings its rows in if they are external."""
        source, weight = op.operands
        whole = layout_of(self.graph, op, self.target)
        layout = whole.part(tile.start, tile.groups)
        rows: dict[str, Any] = {
            "bank": bank_of(op, self.target),
            "row": self.row(weight) + tile.start * whole.per_group,
            "inputs": layout.inputs,
            "groups": layout.groups,
            "first": layout.first,
            "share": layout.share,
        }
        events, output = self.is_event(source), op.attrs.get("stationary") == "output"
        if window is not None and events and not output:
            load = LoadEvents(**rows, window=window, source=self.row(source))
            yield self._made(op, load, "step", {})
        elif window is not None:
            yield self._load_rows(op, window, f"b{rows['bank']}", rows["row"], layout.rows)
        common = {**rows, "source": self.row(source), "join": join, "window": window}
        if events:
            made: Instruction = AccumulateEvents(**common, scan=output)
        else:
            spill = op.attrs.get("stationary") == "input"
            made = AccumulateValues(**common, spill=spill)
        yield self._made(op, made, "step", {})

    def _load_neurons(self, op: Op, tile: Tile, part: str) -> Generator[Lowered, None, int | None]:
        """Bring in the neurons of a tile, if they are external; through which window."""
        name = op.results[-1]
        if self.graph.placement[name].memory != "neuron":
            return None
        if not is_external(self.graph, self.target, name):
            return None
        window = self.windows["neuron", 0]
        row = self.row(name) + tile.start
        made = LoadNeurons(window=window.number, row=row, groups=window.rows)
        yield self._made(op, made, part, {})
        return window.number

    def _load_all(self, op: Op, name: str) -> Generator[Lowered, None, int | None]:
        """Bring in all rows of a constant, if they are external; through which window."""
        if not is_external(self.graph, self.target, name):
            return None
        place = self.graph.placement[name]
        window = self.windows[place.memory, 0].number
        yield self._load_rows(op, window, place.memory, place.row, place.rows)
        return window

    def _load_rows(self, op: Op, window: int, memory: str, row: int, rows: int) -> Lowered:
        made = LoadRows(window=window, memory=memory, row=row, rows=rows)
        return self._made(op, made, "step", {})

    def _named(self, memory: str) -> str:
        """A memory as instructions of the loader name it."""
        names = [bank.name for bank in self.target.bank]
        return f"b{names.index(memory)}" if memory in names else memory

    def _made(self, op: Op, made: Instruction, part: str, values: dict[str, str]) -> Lowered:
        layer = str(op.attrs["layer"])
        path = str(op.attrs.get("path", ""))
        source = Provenance(layer=layer, path=path, nodes=op.loc, values=values)
        if part in ("step", "move"):
            made = replace(made, stage=stage_of(op))
        return Lowered(made, f"{layer}.{part}", source)


def _no_instruction(op: Op) -> Iterator[Lowered]:
    """The sequencer counts timesteps by itself."""
    del op
    yield from ()


@dataclass(frozen=True)
class _Piece:
    """Groups of an op on neurons: what comes before, whose sums it takes, where neurons lie."""

    tile: Tile
    before: list[Lowered]
    banks: tuple[int, ...]
    neurons: dict[str, Any]


def _last(items: Generator[Lowered, None, T_], to: list[Lowered]) -> T_:
    """What a generator returns, after all that it yields went elsewhere."""
    while True:
        try:
            to.append(next(items))
        except StopIteration as end:
            value: T_ = end.value
            return value
