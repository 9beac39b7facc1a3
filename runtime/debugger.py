"""A sample that is stopped, looked at and continued: what prompt, script and editors share."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isa.arithmetic import Int
from isa.disassembler import assembly
from isa.engines.session import Snapshot
from isa.errors import Trap, named
from isa.format import Instruction
from runtime.breakpoints import Breakpoint, Moment, made
from runtime.errors import RuntimeFailure
from runtime.places import Left, left
from runtime.position import Follower, Position

if TYPE_CHECKING:
    from runtime.program import Program

Scale = float | NDArray[np.float64] | None


@dataclass(frozen=True)
class Meaning:
    """What a value of the graph is: `size` elements, `scale` the real value of an integer step."""

    size: int
    scale: Scale = None

    def real(self, integers: Int) -> NDArray[np.float64] | None:
        """The real numbers that elements stand for, if they stand for any."""
        if self.scale is None:
            return None
        scaled: NDArray[np.float64] = integers * np.asarray(self.scale)
        return scaled


@dataclass(frozen=True)
class Expected:
    """What a value should be in each timestep [timesteps, elements], under the graph's own name.

    `integers` are those of the integer graph, which the machine must equal; `floats` those of the
    float graph, from which it may differ by `tolerance`. Either may be missing.
    """

    value: str
    integers: Int | None
    floats: NDArray[np.float64] | None
    meaning: Meaning
    tolerance: float


@dataclass(frozen=True)
class Done:
    """An instruction that ran, and what it left behind."""

    at: Position
    left: tuple[tuple[Left, Int], ...] = ()


@dataclass(frozen=True)
class Stop:
    """Why the program stopped: `reason` is step, breakpoint, trap, interrupt or end."""

    reason: str
    text: str
    breakpoint: Breakpoint | None = None


class Debugger:
    """One sample of a program on its engine, from start to end.

    `meanings` are by name without `.next`; `expected` by the graph's own names. Stopping at what
    differs is a breakpoint like others. `interrupt` stops what goes on, from another thread.
    """

    def __init__(
        self,
        program: "Program",
        inputs: Int,
        *,
        meanings: Mapping[str, Meaning] | None = None,
        expected: Mapping[str, Expected] | None = None,
    ) -> None:
        self.program, self.code = program, program.image.code
        self.meanings, self.expected = dict(meanings or {}), dict(expected or {})
        self.places: dict[int, list[Left]] = {}
        for item in left(program):
            self.places.setdefault(item.place[0], []).append(item)
        self.breakpoints: list[Breakpoint] = []
        self.interrupt = threading.Event()
        self._numbers = 0
        self.restart(inputs)
        if self.expected:
            self.break_at("differs")

    def restart(
        self, inputs: Int | None = None, expected: Mapping[str, Expected] | None = None
    ) -> None:
        """Begin the sample, or another one, anew; breakpoints stay."""
        if inputs is not None:
            self.inputs = inputs
        if expected is not None:
            self.expected = dict(expected)
        with named(self.program.origin):
            self.session = self.program.engine.reset(self.inputs)
        self._follower = Follower(self.code, len(self.inputs))
        self.now: Snapshot = self.session.snapshot()
        self.position = self._follower.position
        self.holds: dict[str, Left] = {}  # what was left where last: names share registers
        self.trap: Trap | None = None
        self.ended = False

    # -- breakpoints ------------------------------------------------------------------------------

    def break_at(self, kind: str, *arguments: str) -> Breakpoint:
        """Stop where something holds; RuntimeFailure if there is no such place."""
        found = made(self, kind, arguments, self._numbers + 1)
        self._numbers += 1
        self.breakpoints.append(found)
        return found

    def delete(self, number: int) -> Breakpoint:
        """Do not stop there any more."""
        for found in self.breakpoints:
            if found.number == number:
                self.breakpoints.remove(found)
                return found
        raise RuntimeFailure(f"there is no breakpoint {number}")

    # -- going on ---------------------------------------------------------------------------------

    def go(self) -> Stop:
        """Go on to the next breakpoint, or to the end."""
        by_cycle = any(point.kind == "cycle" for point in self.breakpoints)
        while not (stop := self._one(by_cycle=by_cycle)):
            pass
        return stop

    def step(self, count: int = 1) -> Stop:
        """So many instructions, or as far as the next breakpoint."""
        for _ in range(count):
            if stop := self._one():
                return stop
        return Stop("step", "")

    def step_timestep(self, count: int = 1) -> Stop:
        """To where the input of the next timestep, or a later one, is about to be taken."""
        until = self.now.timestep + count - (not self.takes_input)
        while not (stop := self._one()):
            if self.now.timestep >= until and self.takes_input:
                return Stop("step", "")
        return stop

    def step_cycle(self, count: int = 1) -> Stop:
        """So many cycles; only the cycle engine stops between them."""
        until = self.session.cycles + count
        while not (stop := self._one(by_cycle=True)):
            if self.session.cycles >= until:
                return Stop("step", "")
        return stop

    @property
    def takes_input(self) -> bool:
        """Whether the next instruction takes a timestep of the input."""
        op = self.op
        return op is not None and op.mnemonic.startswith("input.") and self.position.runs

    @property
    def op(self) -> Instruction | None:
        """The next instruction."""
        return self.code[self.position.pc] if self.position.pc < len(self.code) else None

    def _one(self, *, by_cycle: bool = False) -> Stop | None:
        """One instruction, or one cycle, and what stops behind it."""
        if self.ended:
            raise RuntimeFailure("the sample has ended; restart begins it anew")
        before, cycle = self.session.instructions, self.now.cycle
        saturated = self.session.saturations if self._asks_for("saturation") else None
        try:
            with named(self.program.origin):
                goes_on = self.session.step("cycle" if by_cycle else "instruction")
        except Trap as trap:
            self.trap, self.ended = trap, True
            return Stop("trap", str(trap))
        done = None
        if self.session.instructions > before or not goes_on:
            done = self._done()
        elif by_cycle:
            self.now = replace(self.now, cycle=self.session.cycles)
        if not goes_on:
            self.ended = True
        moment = Moment(done, cycle, saturated)
        for point in self.breakpoints:
            if text := point.check(moment):
                return Stop("breakpoint", text, point)
        if self.ended:
            return Stop("end", self.answer())
        if self.interrupt.is_set():
            self.interrupt.clear()
            return Stop("interrupt", "interrupted")
        return None

    def _asks_for(self, kind: str) -> bool:
        return any(point.kind == kind for point in self.breakpoints)

    def _done(self) -> Done:
        """The instruction that was carried out, now that it was."""
        at = self.position
        self.now = self.session.snapshot()
        self.position = self._follower.go(self.now.pc)
        found = []
        for item in self.places.get(at.pc, ()) if at.runs else ():
            data = self.lying_at(item.where)
            if data is not None:
                found.append((item, data))
                self.holds[item.where] = item
        return Done(at, tuple(found))

    # -- looking ----------------------------------------------------------------------------------

    def lying_at(self, where: str) -> Int | None:
        """What lies in a register such as e1 or in rows such as neuron[0:4], if anything does."""
        memory, _, rows = where.rstrip("]").partition("[")
        if not rows:
            return self.now.registers.get(where)
        first, last = map(int, rows.split(":"))
        there = self.now.memories.get(memory, {})
        if not all(row in there for row in range(first, last)):
            return None
        return np.concatenate([there[row] for row in range(first, last)])

    def text_of(self, pc: int) -> str:
        """An instruction as assembly text."""
        return " ".join(assembly(self.code[pc]).split())

    def answer(self) -> str:
        """What the device said at the end of the sample."""
        head = f"the sample has ended in cycle {self.session.cycles}"
        emitted, classes = len(self.now.logits), self.program.classes
        if emitted < classes:
            return f"{head}; the program emitted {emitted} of {classes} logits"
        integers = self.program.integers(self.now.logits)
        real = integers * self.program.scale(len(self.inputs))
        best = int(integers.argmax())
        return f"{head}: class {best}, logit {integers[best]} ({real[best]:.6g})"
