"""Lowering of ops: the instructions of each, and of what stands around the timesteps."""

from collections.abc import Iterator
from typing import Any

from dmpc.backend.pieces import Lowered, Pieces
from dmpc.backend.places import records_of, side_by_side, starts_of, states_of
from dmpc.backend.windows import Tile, tiles_of
from dmpc.ir.chains import STAGES, begins
from dmpc.ir.drives import split
from dmpc.ir.graph import Op
from dmpc.ir.integer_types import since_of
from dmpc.ir.ops_neurons import MODEL_OF, PARAMETERS
from dmpc.ir.ops_readout import largest_from_zero
from dmpc.ir.registry import op_def
from isa.format import INSTRUCTIONS, Instruction, build, layout
from isa.instructions import (
    ClearDelays,
    ClearEvents,
    ClearLogits,
    ClearMembranes,
    ClearValue,
    CountEvents,
    DelayEvents,
    DescribeKernel,
    DriveEvents,
    DriveValues,
    Emit,
    HoldValue,
    InputEvents,
    InputValues,
    MoveEvents,
    Readout,
    Sync,
    Update,
    Window,
)
from isa.instructions.leaky_readout import CollectLogits, LeakLogits
from isa.instructions.neurons import FUSED, Fire, IntegrateValues
from isa.interface import Provenance

FIRES = ("row", "groups", "window", "parameters", "dest", "subtract")
"""Operands of firing once more."""
LOGITS = (
    "accumulate_logits", "total_logits", "leaky_logits", "following_logits", "collect_logits",
)  # fmt: skip
"""Ops that leave logits in the readout memory."""


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
        for number, (kernel, op) in enumerate(self.kernels.items()):
            source = Provenance(layer=str(op.attrs["layer"]), path="program", nodes=op.loc)
            yield Lowered(DescribeKernel.of(number, kernel), "kernels", source)
        yield from self._no_spikes()
        for op in self.graph.ops:
            name = op.operands[0]
            made: Instruction
            if op.kind in MODEL_OF or begins(self.graph, op):
                yield from self._clear_membranes(op)
                continue
            if (
                op.kind == "state_update"
                or op.kind == "count"
                or (op.kind == "hold" and ("since" in op.attrs or len(self.graph.users(name)) > 1))
            ):
                made = ClearValue(dest=self.row(name), size=self.size(name))
            elif op.kind in LOGITS:
                name, mode = op.results[0], str(op.attrs.get("mode", "sum"))
                if largest_from_zero(self.graph, op):
                    mode = "sum"
                made = ClearLogits(row=self.row(name), groups=self.rows(name), mode=mode)
            else:
                continue
            yield self.made(op, made, "clear", {})
            if op.kind in LOGITS:
                yield from self._first_logits(op)

    def _clear_membranes(self, op: Op) -> Iterator[Lowered]:
        """Clear the states of an op, piece by piece, and add to them what they start from."""
        own, beside = states_of(op), [state for state, _ in side_by_side(self.graph, op)]
        kept, whole = self.laid_out(op, beside), self.far(op) is None and len(beside) == 1
        for tile in [Tile(0, kept.groups)] if whole else tiles_of(self.graph, op):
            window = yield from self.load_neurons(op, tile, "clear")
            row, groups = kept.row(tile, self.row(own[0][0])), tile.groups * len(own)
            made = ClearMembranes(row=row, groups=groups, window=window)
            yield self.made(op, made, "clear", {})
            for state, init in starts_of(self.graph, op).items():
                row = kept.row(tile, self.row(state))
                record = self.laid_out(op, [init]).row(tile, self.row(init))
                yield self._start(op, row, record, tile.groups, window)

    def _start(
        self, op: Op, row: int, record: int, groups: int, window: int | None = None
    ) -> Lowered:
        """Add to cleared states what they start from."""
        given = {"row": row, "parameters": record, "groups": groups, "window": window}
        return self.made(op, build(IntegrateValues, {**given, "banks": ()}), "clear", {})

    def _first_logits(self, op: Op) -> Iterator[Lowered]:
        """Add to cleared logits what they start from."""
        for state, init in starts_of(self.graph, op).items():
            made = Readout(
                row=self.row(state),
                parameters=self.row(init),
                groups=self.rows(state),
                banks=(),
                mode="sum",
                steps=False,
            )
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
            if op.kind in LOGITS and op.results[0] in self.graph.outputs:
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
            **dict.fromkeys((*MODEL_OF, *STAGES), self._neurons),
            "accumulate_logits": self._readout,
            "total_logits": self._readout,
            "leaky_logits": self._leaky,
            "following_logits": self._leaky,
            "collect_logits": self._collect,
            "count": self._count,
            "tick": _no_instruction,
            "move": self._move,
        }
        yield from lower_one[op.kind](op)

    def _drive(self, op: Op) -> Iterator[Lowered]:
        source = op.operands[0]
        window = yield from self.load_all(op, op.operands[1])
        added, before = split(op.operands[2:], op.attrs)
        take = DriveEvents if self.is_event(source) else DriveValues
        made = take(
            dest=self.row(op.results[0]),
            source=self.row(source),
            row=self.row(op.operands[1]),
            inputs=self.size(source),
            shift=self.number(op, "shift"),
            bias=self.number(op, "bias"),
            window=window,
            linear=bool(op.attrs.get("linear")),
            offset=sum(self.size(name) for name in before),
            added=self.row(added[0]) if added else None,
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
            more=self.size(drive) - 1,
        )
        yield self.made(op, made, "step", {"state": op.results[0]})

    def _hold(self, op: Op) -> Iterator[Lowered]:
        made = HoldValue(
            dest=self.row(op.results[0]),
            source=self.row(op.operands[1]),
            size=self.size(op.operands[1]),
            every=self.number(op, "period"),
            since=since_of(op.attrs),
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

    def _neurons(self, op: Op) -> Iterator[Lowered]:
        """All stages of a model's states, or one stage of one state."""
        model = MODEL_OF.get(op.kind)
        kind = FUSED[model.name] if model else INSTRUCTIONS[STAGES[op.kind]]
        wanted = {placed.name for placed in layout(kind)}
        spiking = self.is_event(op.results[0])
        shift = "event_shift" if model else "shift"
        kept = self._kept(op, wanted)
        for piece in self.pieces(op):
            given: dict[str, Any] = {**piece.neurons, "banks": piece.banks}
            for name, (value, beside) in kept.items():
                given[name] = self.laid_out(op, beside).row(piece.tile, self.row(value))
            if "spikes" in wanted:
                given["spikes"] = self.row(op.operands[1])
            if "shift" in wanted:
                given["shift"] = self.number(op, shift)
            values = {}
            if spiking:
                given["dest"], values["dest"] = self.row(op.results[0]), op.results[0]
                given["subtract"] = op.attrs["reset_mode"] == "subtract"
                given["offset"] = piece.tile.start * self.target.lanes
                given["last"] = "endless" in op.attrs and "times" not in op.attrs
            made = build(kind, {name: given[name] for name in given if name in wanted})
            if model or spiking:
                values |= dict(zip(made.left, (new for _, new in states_of(op)), strict=True))
            again = self._again(op, made)
            left = {k: name for k, name in values.items() if not again or name != op.results[-1]}
            yield from self.worked(op, piece, made, **left)
            for one in again:
                named = {"row": op.results[-1]} if one is again[-1] else {}
                yield self.made(op, one, "step", {"dest": op.results[0], **named})
        if spiking:
            yield from self._kept_apart(op)

    def _kept(self, op: Op, wanted: set[str]) -> dict[str, tuple[str, list[str]]]:
        """What an op on neurons finds in rows, by operand, and what lies side by side there."""
        state, *others = op.operands
        kept = {"row": (state, [name for name, _ in side_by_side(self.graph, op)])}
        if "parameters" in wanted:
            parameters = self._parameters(op)
            kept["parameters"] = parameters[0], parameters
        if "source" in wanted:
            kept["source"] = others[0], others[:1]
        return kept

    def _again(self, op: Op, first: Instruction) -> list[Instruction]:
        """Neurons that spike several times in a timestep fire again, each time behind the last."""
        if op.attrs.get("times", 1) == 1:
            return []
        membranes, (threshold,) = op.results[-1], op_def(op.kind).bind(op.operands)["threshold"]
        groups, parameters = self.rows(membranes), self.row(threshold)
        fire = {**vars(first), "row": self.row(membranes), "parameters": parameters}
        size = groups * self.target.lanes
        kept, number = {name: fire[name] for name in FIRES}, self.number(op, "times")
        return [
            build(Fire, {**kept, "offset": time * size, "last": last})
            for time in range(1, number)
            for last in [time == number - 1 and "endless" in op.attrs]
        ]

    def _readout(self, op: Op) -> Iterator[Lowered]:
        for piece in self.pieces(op):
            made = Readout(
                row=self.row(op.results[0]) + piece.tile.start,
                parameters=self.row(self._parameters(op)[0]) + piece.tile.start,
                groups=piece.tile.groups,
                banks=piece.banks,
                mode=str(op.attrs.get("mode", "sum")),
                steps=op.kind == "total_logits",
                since=since_of(op.attrs),
            )
            yield from self.worked(op, piece, made, row=op.results[0])

    def _leaky(self, op: Op) -> Iterator[Lowered]:
        row, groups = self.row(op.results[0]), self.rows(op.results[0])
        parameters = self.row(self._parameters(op)[0])
        made = LeakLogits(row=row, parameters=parameters, groups=groups)
        yield self.made(op, made, "step", {})
        yield from self._readout(op) if op.kind == "leaky_logits" else self._collect(op)

    def _collect(self, op: Op) -> Iterator[Lowered]:
        made = CollectLogits(
            row=self.row(op.results[0]),
            source=self.row(op.operands[1]),
            groups=self.rows(op.results[0]),
            mode=str(op.attrs.get("mode", "sum")),
            since=since_of(op.attrs),
        )
        yield self.made(op, made, "step", {"row": op.results[0]})

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
            since=since_of(op.attrs),
        )
        yield self.made(op, made, "step", {"counts": op.results[0]})

    def _move(self, op: Op) -> Iterator[Lowered]:
        made = MoveEvents(
            dest=self.row(op.results[0]),
            source=self.row(op.operands[0]),
            size=self.size(op.operands[0]),
        )
        yield self.made(op, made, "move", {})

    def _parameters(self, op: Op) -> list[str]:
        """A constant of each record of an op, in the order in which these lie."""
        stage = STAGES.get(op.kind)
        if stage and not PARAMETERS[stage]:  # those of a state that it takes alone
            return [op.operands[-1]]
        found = [next(iter(one.values())) for one in records_of(self.graph, op) if one]
        return found if op.kind in MODEL_OF else found[:1]


def _no_instruction(op: Op) -> Iterator[Lowered]:
    """The sequencer counts timesteps by itself."""
    del op
    yield from ()
