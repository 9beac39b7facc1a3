"""Cycles of convolutions beside their bound by rows and lanes, on every target that ships.

    python -m benchmarks.convolution

In a timestep a layer must read its rows, each active input, times the positions that see it, times
the groups of a position, and visit the row of membranes of each group twice, to read and to write
it, since neurons leak. Bank and neuron unit work side by side: the bound is the larger of the two,
timestep by timestep. Cycles are those of a timestep of the layer alone, fed with the events that
reach it in its network, on the target with room for its neurons.

Networks have random weights; events are random, too, as dense as the table says. `reader` is shaped
like the digit reader that public NIR files hold, `gesture` like a network for gestures, whose dense
layer has a slow memory that is read every ten timesteps.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from benchmarks.random_networks import Layer, Shape, network
from dmpc import Options
from dmpc import compile as compile_network
from dmpc.backend.places import bank_of, layout_of
from dmpc.ir.graph import Attr, Graph, Op, State
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.types import event, f32
from isa.target import target_names, target_text
from runtime.program import Program

SAMPLES, STEPS = 4, 20
DENSITIES = (0.01, 0.02, 0.05, 0.2)
CLASSES = 3  # of a layer alone


@dataclass(frozen=True)
class Front:
    """A convolution in front of what follows: outputs, taps, stride, padding, pool before it."""

    outputs: int
    taps: int
    stride: int = 1
    padding: int = 0
    pool: int = 1


NETWORKS = {
    "reader": (
        (34, 34, 2),
        (Front(16, 5, 2, 1), Front(16, 3, 1, 1), Front(8, 3, 1, 1, pool=2)),
        (Layer(256), Layer(10)),
        10,
    ),
    "gesture": (
        (32, 32, 2),
        (Front(16, 5, 2, 2), Front(32, 3, 2, 1)),
        (Layer(512, states=40, legendre=True, dilation=10),),
        11,
    ),
}


def built(
    grid: tuple[int, int, int],
    fronts: Sequence[Front],
    layers: Sequence[Layer],
    classes: int,
    *,
    planar: bool = True,
) -> Graph:
    """A network at level layers, of convolutions and then dense layers.

    Inputs come plane by plane, or, as behind a convolution, position by position.
    """
    draw = np.random.default_rng(7)
    made = Graph("convolutions", "layers")
    (height, width, channels), source = grid, "x"
    made.inputs, made.types["x"] = ["x"], f32(height * width * channels)
    for number, front in enumerate(fronts, 1):
        size = height // front.pool, width // front.pool
        lines, columns = (
            (one + 2 * front.padding - front.taps) // front.stride + 1 for one in size
        )
        one = Convolution(
            (height, width), channels, (lines, columns), front.outputs, (front.taps,) * 2,
            (front.stride,) * 2, (front.padding,) * 2, pool=(front.pool,) * 2,
            planar=planar and number == 1,
        )  # fmt: skip
        weight = draw.normal(0, 1, (front.outputs, front.taps, front.taps, channels))
        source = _front(made, f"front{number}", one, weight, source)
        height, width, channels = lines, columns, front.outputs
    rest = network(Shape(height * width * channels, tuple(layers), classes, seed=7))
    return _joined(made, rest, source)


def _front(made: Graph, name: str, one: Convolution, weight: np.ndarray, source: str) -> str:
    size = one.places * one.outputs
    made.add_constant(f"{name}.weight", weight - weight.mean(), f32(*weight.shape))
    made.add(
        Op("conv", (source, f"{name}.weight"), (f"{name}.fast",), {**one.attrs, "layer": name}),
        f32(size),
    )
    for role, value in (("beta", 0.5), ("threshold", 2.0), ("reset", 0.0)):
        made.add_constant(f"{name}.{role}", np.full(size, value), f32(size))
    made.types[f"{name}.u"] = f32(size)
    made.states.append(State(f"{name}.u", f"{name}.u.next", None))
    roles = tuple(f"{name}.{role}" for role in ("beta", "threshold", "reset"))
    attrs: dict[str, Attr] = {"layer": name, "reset_mode": "hard", "strict": False}
    op = Op(
        "lif", (f"{name}.u", f"{name}.fast", *roles), (f"{name}.spikes", f"{name}.u.next"), attrs
    )
    made.add(op, event(size), f32(size))
    return f"{name}.spikes"


def _joined(made: Graph, rest: Graph, source: str) -> Graph:
    """What comes first, and the rest behind it."""
    (old,) = rest.inputs
    for op in rest.ops:
        op.operands = tuple(source if name == old else name for name in op.operands)
    for name, array in rest.constants.items():  # inputs hold each other back, as trained ones do
        fast = name.endswith(".fast.weight")
        rest.constants[name] = array - array.mean(axis=1, keepdims=True) if fast else array
    made.ops += rest.ops
    made.states += rest.states
    made.types |= {name: one for name, one in rest.types.items() if name != old}
    made.constants |= rest.constants
    made.outputs, made.attrs = rest.outputs, rest.attrs
    return made


def parameters(graph: Graph) -> int:
    """Weights of products; a memory's coefficients are fixed."""
    return sum(graph.constants[n].size for n in graph.constants if n.endswith("weight"))


@dataclass(frozen=True)
class Bound:
    """What a timestep of a layer alone must take, and what it takes, in cycles.

    `rows` are those that its banks must read, of two banks those of the busier one; `neurons` are
    the rows of its membranes, read and written on one port; `least` is the larger of the two in
    each timestep.
    """

    rows: float
    neurons: int
    least: float
    cycles: float

    @property
    def over(self) -> float:
        """How much longer it takes than it must."""
        return self.cycles / self.least


def bound(graph: Graph, x: np.ndarray, target: str) -> Bound:
    """The bound of a network of one convolution, over the second half of its timesteps.

    Its weights are made small: what it fires is the load of whoever comes behind.
    """
    for name in graph.constants:
        if name.endswith("weight"):
            graph.constants[name] *= 0.01
    compiled = compile_network(graph, calibration=x, options=Options(target=target))
    machine, half = compiled.image.target, x.shape[1] // 2
    later = x[:, half:].reshape(-1, x.shape[2]).astype(np.int64)
    by_bank: dict[int, np.ndarray] = {}
    groups = 0
    for op in compiled.graph.ops:
        if op.kind == "convolve":  # one, or two parts of one
            layout, bank = layout_of(compiled.graph, op, machine), bank_of(op, machine)
            by_bank[bank] = by_bank.get(bank, 0) + layout.read(later).sum(1)
            groups = layout.groups
    rows = np.max(list(by_bank.values()), axis=0)
    program = Program(compiled.image, "image")
    cycles = [program.run(part).cycles.sum() for part in (x, x[:, :half])]
    least = np.maximum(rows, 2 * groups).mean()
    return Bound(rows.mean(), 2 * groups, least, (cycles[0] - cycles[1]) / len(later))


def alone(name: str, x: np.ndarray, target: str) -> Iterator[Bound]:
    """Of each convolution of a network its bound, fed with what reaches it there."""
    grid, fronts, layers, classes = NETWORKS[name]
    graph = built(grid, fronts, layers, classes)
    inputs = [op.operands[0] for op in graph.ops if op.kind == "conv"]
    reaching = interpret(graph, x, trace=inputs[1:]).traces | {inputs[0]: x}
    for front, source in zip(fronts, inputs, strict=True):
        made = built(grid, (front,), (), CLASSES, planar=source == inputs[0])
        yield bound(made, reaching[source] > 0, target)
        (op,) = (op for op in made.ops if op.kind == "conv")
        one = Convolution.of(op.attrs, made.types[op.operands[1]].shape)
        grid = (*one.positions, one.outputs)


def roomy(name: str, folder: Path) -> str:
    """A file of a shipped target with room for the neurons of any layer here."""
    path = folder / f"{name}.toml"
    path.write_text(re.sub(r"(\[neuron\]\nrows = )\d+", r"\g<1>2048", target_text(name)))
    return str(path)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--target", "targets", multiple=True, help="Of those that ship; all of them.")
@click.option("--density", "densities", multiple=True, type=float, default=DENSITIES)
def main(names: tuple[str, ...], targets: tuple[str, ...], densities: tuple[float, ...]) -> None:
    """Print the table."""
    columns = "rows | neurons | bound | cycles | of the bound | of the rows"
    print(f"| network | active | target | layer | {columns} |")
    print("|---" * 10 + "|")
    every = product(names or NETWORKS, densities, targets or target_names())
    with TemporaryDirectory() as folder:
        for name, density, target in every:
            size = (SAMPLES, STEPS, int(np.prod(NETWORKS[name][0])))
            x = np.random.default_rng(0).random(size) < density
            for number, one in enumerate(alone(name, x, roomy(target, Path(folder))), 1):
                numbers = (one.rows, one.neurons, one.least, one.cycles)
                shown = " | ".join(f"{number:,.0f}" for number in numbers)
                over = f"{one.over:.3f} | {one.cycles / one.rows:.2f}"
                print(
                    f"| {name} | {100 * density:g} % | `{target}` | {number} | {shown} | {over} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
