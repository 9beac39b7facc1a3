"""Cycles of networks that are larger than the chip, on every target that ships.

    python -m benchmarks.beyond [NAME ...]

Weights are random, a twentieth of the inputs is active, and the compiler is calibrated on what is
then run: cycles are counts, not measurements. Names are those of the table that it prints.
"""

from collections.abc import Sequence

import click
import numpy as np

from benchmarks.random_networks import Layer, Shape, network
from dmpc import Options
from dmpc import compile as compile_network
from dmpc.ir.graph import Graph
from isa.target import target_names
from runtime.program import Program

NETWORKS = {
    "700-512-512-35, d = 16": (700, [(512, 16)] * 2, 35),
    "140-320-320-20, d = 16": (140, [(320, 16)] * 2, 20),
    "1-200-200-10, d = 100": (1, [(200, 100)] * 2, 10),
    "784-1000-10": (784, [(1000, 0)], 10),
    "2312-256-10, d = 16": (2312, [(256, 16)], 10),
    "700-4 x 2048-20": (700, [(2048, 0)] * 4, 20),
    "2048-4 x 2048-20, d = 16": (2048, [(2048, 16)] * 4, 20),
}
SAMPLES, STEPS, DENSITY = 4, 10, 0.05


def built(inputs: int, layers: Sequence[tuple[int, int]], classes: int) -> Graph:
    """A network with random weights, whose inputs hold each other back as trained ones do."""
    made = tuple(Layer(neurons, states, legendre=states < 50) for neurons, states in layers)
    graph = network(Shape(inputs, made, classes))
    for name, array in graph.constants.items():
        if name.endswith(".fast.weight") and inputs > 1:
            graph.constants[name] = array - array.mean(axis=1, keepdims=True)
    return graph


def parameters(graph: Graph) -> int:
    """Weights of products; a memory's coefficients are fixed."""
    return sum(graph.constants[n].size for n in graph.constants if n.endswith(".weight"))


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Print the table."""
    targets = target_names()
    print(f"| network | parameters | {' | '.join(f'`{name}`' for name in targets)} |")
    print("|---" * (2 + len(targets)) + "|")
    for name, (inputs, layers, classes) in NETWORKS.items():
        if names and name not in names:
            continue
        graph = built(inputs, layers, classes)
        density = DENSITY if inputs > 1 else 0.4
        x = np.random.default_rng(0).random((SAMPLES, STEPS, inputs)) < density
        cells = []
        for target in targets:
            image = compile_network(graph, calibration=x, options=Options(target=target)).image
            run = Program(image, name).run(x)
            where = " *" if any(m.startswith("external.") for m in image.memories) else ""
            cells.append(f"{run.cycles.sum() / (SAMPLES * STEPS):,.0f}{where}")
        print(f"| {name} | {parameters(graph):,} | {' | '.join(cells)} |", flush=True)
    print("\n\\* from external memory, in part")


if __name__ == "__main__":
    main()
