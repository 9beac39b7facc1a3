"""The debugger's commands, as data: what a prompt, a script and an editor's console say to it."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from isa.arithmetic import Int
from runtime.breakpoints import KINDS, whole
from runtime.debug_values import look, names, queues
from runtime.debugger import Debugger, Expected, Stop
from runtime.errors import RuntimeFailure

AROUND = 4  # instructions that are listed before and behind


@dataclass(frozen=True)
class Command:
    """A command: its names, what follows them, what it does, what runs it."""

    names: tuple[str, ...]
    usage: str
    doc: str
    run: Callable[["Console", Sequence[str]], list[str]]


class Console:
    """Takes commands to a debugger, and answers in lines.

    `sample` gives the inputs of a sample by number, and what is expected of it.
    """

    def __init__(
        self, debugger: Debugger, sample: Callable[[int], tuple[Int, dict[str, Expected]]]
    ) -> None:
        self.debugger, self.sample = debugger, sample
        self.over = False
        self.last = ""

    def do(self, line: str) -> list[str]:
        """Carry out a command; an empty one repeats the last one that goes on. RuntimeFailure."""
        words = self._words(line) or self._words(self.last)
        if not words:
            return []
        command = self.command(words[0])
        wanted = command.usage.split()
        least = sum(not word.startswith("[") for word in wanted)
        most = len(wanted) + 10 * command.usage.endswith("...]")
        if not least <= len(words) - 1 <= most:
            raise RuntimeFailure(f"{command.names[0]} takes {command.usage or 'nothing more'}")
        self.last = line if command in GOING_ON and line.strip() else self.last
        return command.run(self, words[1:])

    def _words(self, line: str) -> list[str]:
        try:
            return shlex.split(line, comments=True)
        except ValueError as error:
            raise RuntimeFailure(f"{line.strip()}: {error}".lower()) from error

    def command(self, name: str) -> Command:
        """A command by one of its names."""
        for command in COMMANDS:
            if name in command.names:
                return command
        near = get_close_matches(name, [n for c in COMMANDS for n in c.names], 1)
        hint = f"did you mean {near[0]}?" if near else "help lists them"
        raise RuntimeFailure(f"no command '{name}'; {hint}")

    def complete(self, line: str) -> list[str]:
        """What the last word of a line could become."""
        words = line.split(" ")
        if len(words) == 1:
            known = [command.names[0] for command in COMMANDS]
        elif words[0] in ("break", "b"):
            known = _break_words(self.debugger, words[1:])
        elif words[0] in ("print", "p") and len(words) == 2:
            known = names(self.debugger)
        elif words[0] in ("help", "h") and len(words) == 2:
            known = [command.names[0] for command in COMMANDS]
        else:
            known = []
        return sorted(word for word in known if word.startswith(words[-1]))

    def typed(self, line: str) -> list[str]:
        """The same for a prompt: a single word is complete, and a blank follows it."""
        found = self.complete(line)
        return [f"{found[0]} "] if len(found) == 1 else found

    def at(self) -> dict[str, Any]:
        """Where the program stands, as plain data."""
        debugger, position = self.debugger, self.debugger.position
        source = debugger.program.provenance
        layer = source[position.pc].layer if position.pc < len(source) else ""
        return {
            "pc": position.pc,
            "layer": layer,
            "timestep": position.timestep,
            "cycle": debugger.now.cycle,
            "ended": debugger.ended,
        }

    def where(self) -> list[str]:
        """Where the program stands: the next instruction, and where it comes from."""
        debugger, position = self.debugger, self.debugger.position
        if debugger.ended or debugger.op is None:
            return ["at the end"]
        source = debugger.program.provenance[position.pc]
        step = "" if position.timestep is None else f"timestep {position.timestep}, "
        skipped = "" if position.runs else " (skipped in this iteration)"
        head = f"{step}cycle {debugger.now.cycle}, {source.layer or 'control'}"
        lines = [f"{head}{skipped}", f"=> {position.pc:4}  {debugger.text_of(position.pc)}"]
        if source.nodes:
            lines.append(f"         from {', '.join(source.nodes)}")
        return lines

    def stopped(self, stop: Stop) -> list[str]:
        """What is told when the program stops."""
        if stop.reason in ("trap", "end"):
            return [stop.text]
        number = "" if stop.breakpoint is None else f"breakpoint {stop.breakpoint.number}: "
        return [*([f"{number}{stop.text}"] if stop.text else []), *self.where()]


def _break_words(debugger: Debugger, words: Sequence[str]) -> list[str]:
    if len(words) == 1:
        return list(KINDS)
    if words[0] in ("layer", "spike", "saturation") and len(words) == 2:
        return list(dict.fromkeys(s.layer for s in debugger.program.provenance if s.layer))
    return []


def _count(words: Sequence[str]) -> int:
    count = whole(words[0], "how many", 1 << 30) if words else 1
    if not count:
        raise RuntimeFailure("how many is a number from 1")
    return count


def _step(console: Console, words: Sequence[str]) -> list[str]:
    return console.stopped(console.debugger.step(_count(words)))


def _timestep(console: Console, words: Sequence[str]) -> list[str]:
    return console.stopped(console.debugger.step_timestep(_count(words)))


def _cycle(console: Console, words: Sequence[str]) -> list[str]:
    return console.stopped(console.debugger.step_cycle(_count(words)))


def _continue(console: Console, words: Sequence[str]) -> list[str]:
    del words
    return console.stopped(console.debugger.go())


def _break(console: Console, words: Sequence[str]) -> list[str]:
    if not words:
        points = console.debugger.breakpoints
        return [f"{point.number:3}  {point}" for point in points] or ["no breakpoints"]
    point = console.debugger.break_at(words[0], *words[1:])
    return [f"breakpoint {point.number}: {point}"]


def _delete(console: Console, words: Sequence[str]) -> list[str]:
    point = console.debugger.delete(whole(words[0], "a breakpoint", 1 << 30))
    return [f"deleted {point}"]


def _print(console: Console, words: Sequence[str]) -> list[str]:
    return [line for vector in look(console.debugger, *words) for line in vector.lines()]


def _names(console: Console, words: Sequence[str]) -> list[str]:
    del words
    return names(console.debugger)


def _registers(console: Console, words: Sequence[str]) -> list[str]:
    del words
    found = [look(console.debugger, name)[0] for name in console.debugger.now.registers]
    return [f"{v.name:4} {v.summary()}" for v in found] or ["no register was written yet"]


def _queues(console: Console, words: Sequence[str]) -> list[str]:
    del words
    debugger = console.debugger
    lines = []
    for unit, ops in queues(debugger).items():
        for op in ops:
            pc, what = op.split()
            lines.append(f"{unit:10} {what:6} {int(pc):4}  {debugger.text_of(int(pc))}")
    return lines or ["every unit is idle, every queue empty"]


def _where(console: Console, words: Sequence[str]) -> list[str]:
    del words
    return console.where()


def _list(console: Console, words: Sequence[str]) -> list[str]:
    debugger = console.debugger
    last = len(debugger.code) - 1
    pc = whole(words[0], "a program counter", last) if words else min(debugger.position.pc, last)
    stops = {p.arguments[0] for p in debugger.breakpoints if p.kind == "pc"}
    lines = []
    for at in range(max(0, pc - AROUND), min(last, pc + AROUND) + 1):
        mark = "=>" if at == debugger.position.pc else " *" if str(at) in stops else "  "
        layer = debugger.program.provenance[at].layer
        lines.append(f"{mark} {at:4}  {layer:10.10}  {debugger.text_of(at)}")
    return lines


def _restart(console: Console, words: Sequence[str]) -> list[str]:
    if words:
        inputs, expected = console.sample(whole(words[0], "a sample", 1 << 30))
        console.debugger.restart(inputs, expected)
    else:
        console.debugger.restart()
    return console.where()


def _help(console: Console, words: Sequence[str]) -> list[str]:
    if not words:
        return [f"{' '.join((*c.names, c.usage)).strip():34}  {c.doc}" for c in COMMANDS]
    command = console.command(words[0])
    lines = [f"{command.names[0]} {command.usage}".strip(), command.doc]
    if command.names[0] == "break":
        lines += [f"  {name} {kind.usage}".ljust(24) + kind.doc for name, kind in KINDS.items()]
    return lines


def _quit(console: Console, words: Sequence[str]) -> list[str]:
    del words
    console.over = True
    return []


COMMANDS = (
    Command(("break", "b"), "[KIND] [ARGUMENTS...]", "stop somewhere; alone, list where", _break),
    Command(("delete", "d"), "NUMBER", "stop there no more", _delete),
    Command(("continue", "c"), "", "go on to the next breakpoint, or the end", _continue),
    Command(("step", "s"), "[COUNT]", "carry out instructions", _step),
    Command(("timestep", "t"), "[COUNT]", "go on to where a later timestep is taken", _timestep),
    Command(("cycle",), "[COUNT]", "go on by cycles", _cycle),
    Command(("where", "w"), "", "say where the program stands", _where),
    Command(("list", "l"), "[PC]", "show the instructions around", _list),
    Command(("print", "p"), "NAME [ELEMENTS]", "show a value, register or memory (3, 0:8)", _print),
    Command(("names",), "", "list what can be printed", _names),
    Command(("registers", "r"), "", "show what the registers hold", _registers),
    Command(("queues", "q"), "", "show what units work on, and what waits", _queues),
    Command(("restart",), "[SAMPLE]", "begin anew, with the same or another sample", _restart),
    Command(("help", "h"), "[COMMAND]", "list the commands, or explain one", _help),
    Command(("quit", "exit"), "", "leave", _quit),
)
GOING_ON = tuple(c for c in COMMANDS if c.run in (_continue, _step, _timestep, _cycle))
