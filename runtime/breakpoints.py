"""Where a program stops: kinds of breakpoints, each with its arguments and what it waits for."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from isa.arithmetic import Int
from runtime.errors import RuntimeFailure
from runtime.places import Left

if TYPE_CHECKING:
    from runtime.debugger import Debugger, Done


@dataclass(frozen=True)
class Moment:
    """After a step: the instruction that was carried out, if one was, and what was before.

    `saturated` is known if a breakpoint asks for it.
    """

    done: "Done | None"
    cycle: int
    saturated: Counter[tuple[int, str]] | None


Check = Callable[[Moment], str]
"""The text of why the program stops here; none if it does not."""


@dataclass(frozen=True)
class Breakpoint:
    """One of them: its `number`, and what a user said."""

    number: int
    kind: str
    arguments: tuple[str, ...]
    check: Check

    def __str__(self) -> str:
        return " ".join((self.kind, *self.arguments))


@dataclass(frozen=True)
class Kind:
    """A kind: what its arguments are called, what it waits for, and what makes it of them."""

    usage: str
    doc: str
    make: Callable[["Debugger", Sequence[str]], Check]


def made(debugger: "Debugger", kind: str, arguments: Sequence[str], number: int) -> Breakpoint:
    """A breakpoint; RuntimeFailure says what is wrong with it."""
    if kind.isdecimal():
        kind, arguments = "pc", (kind, *arguments)
    if kind not in KINDS:
        raise RuntimeFailure(f"no breakpoint at '{kind}'; {_nearest(kind, KINDS)}")
    wanted = KINDS[kind].usage.split()
    least = sum(not word.startswith("[") for word in wanted)
    if not least <= len(arguments) <= len(wanted):
        raise RuntimeFailure(f"break {kind} takes {KINDS[kind].usage or 'nothing more'}")
    return Breakpoint(number, kind, tuple(arguments), KINDS[kind].make(debugger, arguments))


DIGITS = 18  # of numbers that mean anything here


def whole(text: str, what: str, most: int) -> int:
    """A number from 0 to `most`; RuntimeFailure names what it should be."""
    if not text.isdecimal() or len(text) > DIGITS or int(text) > most:
        raise RuntimeFailure(f"{what} is a number from 0 to {most}, not '{text}'")
    return int(text)


def _nearest(name: str, known: Sequence[str] | dict[str, Kind]) -> str:
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"


def _pc(debugger: "Debugger", arguments: Sequence[str]) -> Check:
    pc = whole(arguments[0], "a program counter", len(debugger.code) - 1)

    def check(now: Moment) -> str:
        return f"pc {pc}" if now.done and debugger.position.pc == pc and not debugger.ended else ""

    return check


def _layer(debugger: "Debugger", arguments: Sequence[str]) -> Check:
    layers = [source.layer for source in debugger.program.provenance]
    (name,) = arguments
    if name not in layers:
        known = list(dict.fromkeys(filter(None, layers)))
        raise RuntimeFailure(f"the program has no layer '{name}'; {_nearest(name, known)}")

    def check(now: Moment) -> str:
        position = debugger.position
        if not now.done or debugger.ended or not position.runs or position.pc >= len(layers):
            return ""
        was_there = layers[now.done.at.pc] == name and now.done.at.runs
        return f"layer {name}" if layers[position.pc] == name and not was_there else ""

    return check


def _timestep(debugger: "Debugger", arguments: Sequence[str]) -> Check:
    step = whole(arguments[0], "a timestep of this sample", len(debugger.inputs) - 1)

    def check(now: Moment) -> str:
        there = debugger.takes_input and debugger.now.timestep == step
        return f"timestep {step}" if now.done and there else ""

    return check


def _cycle(debugger: "Debugger", arguments: Sequence[str]) -> Check:
    wanted = whole(arguments[0], "a cycle", 1 << 40)

    def check(now: Moment) -> str:
        there = now.cycle < wanted <= debugger.now.cycle
        return f"cycle {debugger.now.cycle}" if there else ""

    return check


def _trap(debugger: "Debugger", arguments: Sequence[str]) -> Check:
    del debugger, arguments
    return lambda _: ""  # nothing goes on after one


def _saturation(debugger: "Debugger", arguments: Sequence[str]) -> Check:
    sources = debugger.program.provenance
    layer = arguments[0] if arguments else None
    if layer is not None:
        _layer(debugger, arguments)  # says so if there is none

    def check(now: Moment) -> str:
        if not now.done or now.saturated is None:
            return ""
        new = debugger.session.saturations - now.saturated
        told = (
            f"{sources[pc].layer or 'pc ' + str(pc)}: {what} saturated {number} times"
            for (pc, what), number in sorted(new.items())
            if layer in (None, sources[pc].layer)
        )
        text = "; ".join(told)
        return f"{text} {_when(now.done)}" if text else ""

    return check


def _spike(debugger: "Debugger", arguments: Sequence[str]) -> Check:
    layer, number = arguments
    target = debugger.program.image.target
    spikes = [
        item for pc, items in debugger.places.items() for item in items
        if item.is_events and debugger.code[pc].work(target).unit == "neuron"
    ]  # fmt: skip
    places = [item for item in spikes if layer in (item.layer, item.name, item.part[0])]
    if not places:
        known = sorted({item.layer or item.name for item in spikes})
        raise RuntimeFailure(f"no neurons in a layer '{layer}'; {_nearest(layer, known)}")
    meaning = debugger.meanings.get(places[0].part[0])
    neuron = whole(number, f"a neuron of {layer}", (meaning.size if meaning else 1 << 20) - 1)

    def check(now: Moment) -> str:
        for item, data in now.done.left if now.done else ():
            at = neuron - item.part[1]
            new = getattr(debugger.code[item.place[0]], "offset", 0)  # pieces before were told
            if now.done and item in places and new <= at < len(data) and data[at]:
                return f"neuron {neuron} of {layer} spikes {_when(now.done)}"
        return ""

    return check


def _differs(debugger: "Debugger", arguments: Sequence[str]) -> Check:
    if not debugger.expected:
        raise RuntimeFailure("nothing to compare with; dmpc debug --model names the model")
    only = arguments[0] if arguments else ""
    if only and only not in {part for e in debugger.expected for part in _names(e)}:
        known = sorted({_names(e)[0] for e in debugger.expected})
        raise RuntimeFailure(f"no value '{only}' is compared; {_nearest(only, known)}")

    def check(now: Moment) -> str:
        if not now.done or now.done.at.timestep is None:
            return ""
        step = now.done.at.timestep
        wanted = (part for part in now.done.left if not only or only in _names(part[0].value))
        return next(filter(None, (difference(debugger, *part, step) for part in wanted)), "")

    return check


def _names(value: str) -> tuple[str, str]:
    """What a user may call a value of the graph, or the layer that it is part of."""
    name = value.partition("[")[0].replace(".next", "")
    return name, name.partition(".")[0]


def difference(debugger: "Debugger", item: Left, data: Int, timestep: int) -> str:
    """The first element in which what an instruction left differs from what was expected."""
    value = item.value.partition("[")[0]
    expected = debugger.expected.get(value)
    if expected is None:
        return ""
    start = item.part[1]
    size = min(len(data), expected.meaning.size - start)
    part, got = slice(start, start + size), data[:size]
    place = f"{item.layer or value}, timestep {timestep}, neuron"
    if expected.integers is not None:
        should = expected.integers[timestep, part]
        if len(odd := np.flatnonzero(should != got)):
            at = int(odd[0])
            return (
                f"{place} {start + at}: {item.part[0]} is {got[at]} on the machine, {should[at]} "
                "in the integer graph: the image does not compute its graph"
            )
    if expected.floats is None:
        return ""
    scale = expected.meaning.scale
    step = np.ones(size) if scale is None else np.broadcast_to(scale, expected.meaning.size)[part]
    real, wanted = got * step, expected.floats[timestep, part]
    odd = np.flatnonzero(np.abs(real - wanted) > expected.tolerance)
    if not len(odd):
        return ""
    at = int(odd[0])
    also = f"; {len(odd) - 1} others of {size} differ, too" if len(odd) > 1 else ""
    integer = "" if scale is None else f" ({got[at]})"
    far = "" if scale is None else f"; more than {expected.tolerance:.3g} apart"
    return (
        f"{place} {start + at}: {item.part[0]} is {real[at]:.6g}{integer} on the machine, "
        f"{wanted[at]:.6g} in the model{far}{also}"
    )


def _when(done: "Done") -> str:
    """Where and when an instruction ran."""
    step = "" if done.at.timestep is None else f" in timestep {done.at.timestep}"
    return f"at pc {done.at.pc}{step}"


KINDS = {
    "pc": Kind("N", "before instruction N", _pc),
    "layer": Kind("NAME", "when the program comes to a layer", _layer),
    "timestep": Kind("K", "before timestep K is taken from the input", _timestep),
    "cycle": Kind("N", "in cycle N", _cycle),
    "spike": Kind("LAYER NEURON", "when a neuron has spiked", _spike),
    "saturation": Kind("[LAYER]", "when a value did not fit its width", _saturation),
    "trap": Kind("", "at a trap, as every program does anyway", _trap),
    "differs": Kind("[VALUE]", "when a value differs from the model's", _differs),
}
