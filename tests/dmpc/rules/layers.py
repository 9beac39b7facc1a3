"""Layers that break one rule each, or that one thing is to be said of, by the rule's name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from dmpc.check import Report, check
from dmpc.compiler import Options
from dmpc.ir.graph import Graph
from isa.target import target_text
from tests.networks import Layer, Shape, network

PLAIN = Shape(inputs=5, layers=(Layer(neurons=6, states=3),), seed=3)
COUPLED = Shape(inputs=5, layers=(Layer(neurons=6, hard=False, adapts="current"),), seed=3)
LATE = Shape(inputs=5, layers=(Layer(neurons=6, delays=3),), seed=3)
Change = Callable[[Graph], None]


def constant(name: str, value: object) -> Change:
    """A change of a constant, which keeps its shape."""

    def change(graph: Graph) -> None:
        graph.constants[name] = np.broadcast_to(value, graph.constants[name].shape).astype(float)

    return change


def element(name: str, at: object, value: float) -> Change:
    """A change of some elements of a constant."""

    def change(graph: Graph) -> None:
        graph.constants[name] = graph.constants[name].copy()
        graph.constants[name][at] = value

    return change


def starts(graph: Graph) -> None:
    state = graph.state("layer1.m")
    state.init = graph.add_constant("start", np.ones(3), graph.types[state.name])


def strange_current(graph: Graph) -> None:
    lif = next(op for op in graph.ops if op.kind == "lif")
    lif.operands = (lif.operands[0], "layer1.threshold", *lif.operands[2:])


def never_leaks(graph: Graph) -> None:
    constant("layer1.beta", 1.0)(graph)
    constant("layer1.fast.weight", -1.0)(graph)


def one_speaks(graph: Graph) -> None:
    constant("layer1.threshold", 1e3)(graph)
    element("layer1.threshold", 0, 0.2)(graph)
    element("layer1.fast.bias", 0, 0.15)(graph)
    element("layer1.slow.bias", 0, 0.0)(graph)
    element("layer1.slow.weight", 0, 0.0)(graph)
    element("layer1.beta", 0, 0.5)(graph)


def undriven(graph: Graph) -> None:
    constant("layer1.wx", 0.0)(graph)
    constant("layer1.bx", -1.0)(graph)


def reads_memory(graph: Graph) -> None:
    graph.constants["readout.weight"] = np.ones((3, 3))
    graph.types["readout.weight"] = graph.types["layer1.A"]
    graph.ops[-1].operands = ("layer1.m.next", *graph.ops[-1].operands[1:])


def spikes_often(weight: float) -> Change:
    """Neurons that spike as often as they can, on weights of so much."""

    def change(graph: Graph) -> None:
        constant("layer1.fast.weight", weight)(graph)
        constant("layer1.reset", 1.0)(graph)
        lif = next(op for op in graph.ops if op.kind == "lif")
        lif.attrs |= {"reset_mode": "subtract", "endless": True}

    return change


CHANGES: dict[str, Change] = {
    "readout-source": reads_memory,
    "initial-state": starts,
    "leak-range": element("layer1.beta", 2, 1.5),
    "strange-current": strange_current,
    "lasting-memory": constant("layer1.A", np.eye(3)),
    "endless-membrane": never_leaks,
    "many-spikes": spikes_often(30.0),
    "spikes-limited": spikes_often(0.1),
    "silent-memory": undriven,
    "idle-drive": constant("layer1.bx", 0.5),
    "never-reached": element("layer1.threshold", [1, 4], 1e3),
    "unread": element("layer1.fast.weight", (slice(None), 2), 0.0),
    "leak-rounded": element("layer1.beta", 3, 1 - 1e-5),
    "weights-vanish": element("readout.weight", (0, 0), 1e5),
}

TARGETS = {
    "memory-full": ("rows = 4096", "rows = 3"),
    "registers-taken": ("count = 16", "count = 1"),
}

EXAMPLES = {
    "silent-layer": constant("layer1.threshold", 1e3),
    "still-neurons": one_speaks,
    "restless-neurons": element("layer1.threshold", 0, -1e3),
}


def changed(change: Change, shape: Shape = PLAIN) -> Graph:
    """The network after a change."""
    graph = network(shape)
    change(graph)
    if change is CHANGES["unread"]:
        element("layer1.wx", (..., 2), 0.0)(graph)
    return graph


def cases(folder: Path) -> dict[str, Callable[[], Report]]:
    """Every network, checked."""
    quiet = np.zeros((2, 6, 5))

    def on_target(name: str, old: str, new: str) -> Report:
        text = target_text("paper")
        assert old in text
        path = folder / f"{name}.toml"
        path.write_text(text.replace(old, new, 1))
        return check(network(PLAIN), options=Options(target=str(path)))

    return {
        **{name: lambda c=c: check(changed(c)) for name, c in CHANGES.items()},
        **{name: lambda n=name, e=e: on_target(n, *e) for name, e in TARGETS.items()},
        **{name: lambda c=c: check(changed(c), calibration=quiet) for name, c in EXAMPLES.items()},
        "coupled-membrane": lambda: check(changed(constant("layer1.coupling", 2.0), COUPLED)),
        "too-large": _too_large,
        "many-products": lambda: check(network(Shape(inputs=2, layers=(Layer(4, again=13),)))),
        "graded-delay": lambda: check(network(LATE), options=Options(input_range=(-1.0, 1.0))),
        "graded-comparison": lambda: check(
            changed(lambda graph: graph.attrs.update(events="/Cast")),
            options=Options(input_range=(-1.0, 1.0)),
        ),
        "long-delay": lambda: check(network(replace(LATE, layers=(Layer(3, delays=9999),)))),
    }


def _too_large() -> Report:
    """A period has sixteen bits."""
    return check(network(Shape(inputs=1, layers=(Layer(2, states=1, dilation=70000),))))
