"""Lowering of ops: the instructions of each, and of what stands around the timesteps."""

from collections.abc import Iterator

from dmpc.backend.pieces import Lowered, Pieces
from dmpc.backend.places import parameters_of
from dmpc.backend.windows import is_external, tiles_of
from dmpc.ir.graph import Op
from isa.format import Instruction
from isa.instructions import (
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
    HoldValue,
    InputEvents,
    InputValues,
    IntegrateEvents,
    IntegrateValues,
    Leak,
    Lif,
    MoveEvents,
    Readout,
    Sync,
    Update,
    Window,
)
from isa.interface import Provenance


class Lowering(Pieces):
    """Instructions of ops, by the places of what they read and write."""

    # -- around the timesteps ---------------------------------------------------------------------

    def clears(self) -> Iterator[Lowered]:
        """Bring every state to its value before the first timestep."""
        for (memory, _), window in self.windows.items():
            yield Lowered(
                Window(
                    window=window.number,
                    memory=self.named(memory),
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
            yield self.made(op, made, "clear", {})

    def _clear_membranes(self, op: Op) -> Iterator[Lowered]:
        row, groups = self.row(op.operands[0]), self.rows(op.operands[0])
        if not is_external(self.graph, self.target, op.operands[0]):
            yield self.made(op, ClearMembranes(row=row, groups=groups), "clear", {})
            return
        for tile in tiles_of(self.graph, op):
            window = yield from self.load_neurons(op, tile, "clear")
            made = ClearMembranes(row=row + tile.start, groups=tile.groups, window=window)
            yield self.made(op, made, "clear", {})

    def _no_spikes(self) -> Iterator[Lowered]:
        """Before the first timestep no neuron has fired, and no event waits."""
        for state in self.graph.states:
            writer = self.graph.producer(state.next)
            if writer is None or self.graph.types[state.name].dtype != "event":
                continue
            made: Instruction = ClearEvents(dest=self.row(state.name), size=self.size(state.name))
            if writer.kind == "delay":
                made = ClearDelays(row=self.row(state.name), rows=self.rows(state.name))
            yield self.made(writer, made, "clear", {})

    def inputs(self) -> Iterator[Lowered]:
        """Take the network's input."""
        for name in self.graph.inputs:
            take = InputEvents if self.is_event(name) else InputValues
            made = take(dest=self.row(name), inputs=self.size(name))
            nodes = self.graph.locs.get(name, ())
            source = Provenance(
                layer="input", path="input", op=name, nodes=nodes, values={"dest": name}
            )
            yield Lowered(made, "input", source)

    def emit(self) -> Iterator[Lowered]:
        """Send the logits and wait until all is done."""
        for op in self.graph.ops:
            if op.kind in ("accumulate_logits", "total_logits"):
                name = op.results[0]
                made = Emit(row=self.row(name), groups=self.rows(name))
                yield self.made(op, made, "emit", {})
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
        window = yield from self.load_all(op, op.operands[1])
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
        yield self.made(op, made, "step", {"dest": op.results[0]})

    def _update(self, op: Op) -> Iterator[Lowered]:
        state, drive, coefficients, _ = op.operands
        window = yield from self.load_all(op, coefficients)
        made = Update(
            state=self.row(state),
            drive=self.row(drive),
            row=self.row(coefficients),
            size=self.size(state),
            shift=self.number(op, "shift"),
            window=window,
        )
        yield self.made(op, made, "step", {"state": op.results[0]})

    def _hold(self, op: Op) -> Iterator[Lowered]:
        made = HoldValue(
            dest=self.row(op.results[0]),
            source=self.row(op.operands[1]),
            size=self.size(op.operands[1]),
            every=self.number(op, "period"),
        )
        yield self.made(op, made, "step", {"dest": op.results[0]})

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
        yield self.made(op, made, "step", {"dest": op.results[0]})

    def _lif(self, op: Op) -> Iterator[Lowered]:
        for piece in self.pieces(op):
            made = Lif(
                dest=self.row(op.results[0]),
                **piece.neurons,
                parameters=self._parameters(op) + piece.tile.start,
                banks=piece.banks,
                shift=self.number(op, "event_shift"),
                subtract=op.attrs["reset_mode"] == "subtract",
                offset=piece.tile.start * self.target.lanes,
            )
            yield from self.worked(op, piece, made, dest=op.results[0], row=op.results[1])
        yield from self._kept_apart(op)

    def _leak(self, op: Op) -> Iterator[Lowered]:
        for piece in self.pieces(op):
            parameters = self._parameters(op) + piece.tile.start
            yield from self.worked(op, piece, Leak(**piece.neurons, parameters=parameters))

    def _integrate_events(self, op: Op) -> Iterator[Lowered]:
        for piece in self.pieces(op):
            shift = self.number(op, "shift")
            made = IntegrateEvents(**piece.neurons, banks=piece.banks, shift=shift)
            yield from self.worked(op, piece, made)

    def _integrate_values(self, op: Op) -> Iterator[Lowered]:
        for piece in self.pieces(op):
            parameters = self._parameters(op) + piece.tile.start
            made = IntegrateValues(**piece.neurons, parameters=parameters, banks=piece.banks)
            yield from self.worked(op, piece, made)

    def _fire(self, op: Op) -> Iterator[Lowered]:
        for piece in self.pieces(op):
            made = Fire(
                dest=self.row(op.results[0]),
                **piece.neurons,
                parameters=self._parameters(op) + piece.tile.start,
                subtract=op.attrs["reset_mode"] == "subtract",
                offset=piece.tile.start * self.target.lanes,
            )
            yield from self.worked(op, piece, made, dest=op.results[0], row=op.results[1])
        yield from self._kept_apart(op)

    def _readout(self, op: Op) -> Iterator[Lowered]:
        for piece in self.pieces(op):
            made = Readout(
                row=self.row(op.results[0]) + piece.tile.start,
                parameters=self._parameters(op) + piece.tile.start,
                groups=piece.tile.groups,
                banks=piece.banks,
                mode=str(op.attrs.get("mode", "sum")),
                steps=op.kind == "total_logits",
            )
            yield from self.worked(op, piece, made, row=op.results[0])

    def _kept_apart(self, op: Op) -> Iterator[Lowered]:
        """Spikes of the timestep before lie elsewhere where neurons are worked on in pieces."""
        for state in self.graph.states:
            new, old = op.results[0], state.name
            if state.next == new and self.row(old) != self.row(new):
                made = MoveEvents(dest=self.row(old), source=self.row(new), size=self.size(old))
                yield self.made(op, made, "step", {})

    def _count(self, op: Op) -> Iterator[Lowered]:
        made = CountEvents(
            counts=self.row(op.operands[0]),
            source=self.row(op.operands[1]),
            size=self.size(op.operands[1]),
        )
        yield self.made(op, made, "step", {"counts": op.results[0]})

    def _move(self, op: Op) -> Iterator[Lowered]:
        made = MoveEvents(
            dest=self.row(op.results[0]),
            source=self.row(op.operands[0]),
            size=self.size(op.operands[0]),
        )
        yield self.made(op, made, "move", {})

    def _parameters(self, op: Op) -> int:
        return self.row(parameters_of(self.graph, op)[0])


def _no_instruction(op: Op) -> Iterator[Lowered]:
    """The sequencer counts timesteps by itself."""
    del op
    yield from ()
