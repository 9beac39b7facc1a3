"""Cycles of convolutions beside their bound by rows and lanes, on every target that ships.

    python -m benchmarks.convolution

The bound of a product is the rows that it must read, each active input, times the positions that
see it, times the groups of a position, and a cycle for each group that sees nothing. Networks have
random weights; events are random, too, as dense as the table says. `reader` is shaped like the
digit reader that public NIR files hold, `gesture` like a network for gestures, whose dense layer
has a slow memory that is read every ten timesteps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import click
import numpy as np

from benchmarks.random_networks import Layer, Shape, network
from dmpc import Compiled, Options
from dmpc import compile as compile_network
from dmpc.backend.places import layout_of
from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.types import event, f32
from isa.instructions import AccumulateEvents
from isa.target import target_names
from runtime.program import Program

SAMPLES, STEPS = 4, 20
DENSITIES = (0.01, 0.05, 0.2)


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
    grid: tuple[int, int, int], fronts: Sequence[Front], layers: Sequence[Layer], classes: int
) -> Graph:
    """A network at level layers, of convolutions and then dense layers."""
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
            (front.stride,) * 2, (front.padding,) * 2, pool=(front.pool,) * 2, planar=number == 1,
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
    attrs = {"layer": name, "reset_mode": "hard", "strict": False}
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
    """What a timestep must do for the neurons of a convolution, and what its bank did.

    `rows` are those of its product: each active input, times the positions that see it, times the
    groups of a position. `unseen` are groups that see nothing, whose sum, zero, is handed on all
    the same: a neuron leaks in every timestep. `neurons` are rows of membranes, read and written
    on one port, by the neuron unit, beside the bank.
    """

    layer: str
    rows: float
    unseen: float
    neurons: float
    busy: float

    @property
    def over(self) -> float:
        """How much longer the bank worked than rows and groups need."""
        return self.busy / max(self.rows + self.unseen, 1)


def bounds(compiled: Compiled, x: np.ndarray) -> list[Bound]:
    """The bound of each convolution beside the cycles of its bank, a timestep."""
    program, graph, target = Program(compiled.image, "image"), compiled.graph, compiled.image.target
    counts = program.run(x).counts
    ops = [op for op in graph.ops if op.kind == "convolve"]
    traces = interpret(graph, x.astype(np.int64), trace=[op.operands[0] for op in ops]).traces
    found: dict[str, Bound] = {}
    for op in ops:  # of a layer one, or two parts of one in two banks
        layout, layer = layout_of(graph, op, target), str(op.attrs["layer"])
        active = traces.get(op.operands[0], x).reshape(-1, layout.inputs).astype(np.int64)
        read, steps = layout.read(active), len(active)
        before = found.get(layer, Bound(layer, 0.0, 0.0, 0.0, 0.0))
        rows = before.rows + float(read.sum()) / steps
        unseen = before.unseen + np.count_nonzero(read == 0) / steps
        found[layer] = Bound(layer, rows, unseen, 2.0 * layout.groups, before.busy)
    for pc, code in enumerate(compiled.image.code):
        if isinstance(code, AccumulateEvents) and code.kernel is not None:
            layer = program.provenance[pc].layer
            busy = counts.busy_at[pc, target.bank[code.bank].name] / x[..., 0].size
            found[layer] = replace(found[layer], busy=found[layer].busy + busy)
    return list(found.values())


@click.command()
@click.argument("names", nargs=-1)
@click.option("--target", "targets", multiple=True, help="Of those that ship; all of them.")
@click.option("--density", "densities", multiple=True, type=float, default=DENSITIES)
def main(names: tuple[str, ...], targets: tuple[str, ...], densities: tuple[float, ...]) -> None:
    """Print the tables."""
    columns = "rows | unseen | cycles | of the bound | neurons | timestep"
    print(f"| network | active | target | layer | {columns} |")
    print("|---" * 10 + "|")
    for name, density, target in product(names or NETWORKS, densities, targets or target_names()):
        graph = built(*NETWORKS[name])
        size = (SAMPLES, STEPS, graph.types["x"].size)
        x = np.random.default_rng(0).random(size) < density
        compiled = compile_network(graph, calibration=x, options=Options(target=target))
        cycles = Program(compiled.image, name).run(x).cycles.sum() / (SAMPLES * STEPS)
        for one in bounds(compiled, x):
            numbers = f"{one.rows:,.0f} | {one.unseen:,.0f} | {one.busy:,.0f} | {one.over:.3f}"
            print(
                f"| {name} | {100 * density:g} % | `{target}` | {one.layer} | {numbers} | "
                f"{one.neurons:,.0f} | {cycles:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
