"""Cycles of a timestep by what a layer remembers: states, scalars that drive them, their sources.

    python -m benchmarks.slow_states

A layer of 128 neurons reads 128 inputs, of which 5 % are active in a timestep; weights are random,
thresholds such that 5 % of the neurons fire. Each of q scalars reads the input, or with `hidden`
the layer's last spikes as well. Rectified or linear is all the same.
"""

from itertools import product

import click
import numpy as np

from benchmarks.random_networks import Layer, Shape, network, samples
from dmpc import Options
from dmpc import compile as compile_network
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from runtime.program import Program

TARGETS = ("paper", "pooled", "edge")
KINDS = [(0, 1, False), *product((8, 16), (1, 2, 4), (False, True))]
"""States, scalars, and whether these hear the layer's own spikes."""


def cycles(states: int, drives: int, hidden: bool, target: str) -> float:
    """Cycles of a timestep of a layer on a target."""
    layer = Layer(128, states=states, drives=drives, hears=hidden, linear=True, flavour="sparse")
    shape = Shape(128, (layer,), classes=10, density=0.05, samples=4, steps=50, seed=1)
    x = samples(shape)
    made = compile_network(
        firing(network(shape), x, shape.density), calibration=x, options=Options(target=target)
    )
    return float(Program(made.image, "layer").run(x).cycles.mean() / shape.steps)


def firing(graph: Graph, x: np.ndarray, rate: float) -> Graph:
    """A network with thresholds at which its layer fires about as often as that."""
    given, low, high = graph.constants["layer1.threshold"], 0.0, 1000.0
    for _ in range(16):
        factor = (low + high) / 2
        graph.constants["layer1.threshold"] = given * factor
        spikes = interpret(graph, x, trace=["layer1.spikes"]).traces["layer1.spikes"]
        low, high = (factor, high) if spikes.mean() > rate else (low, factor)
    return graph


@click.command()
def main() -> None:
    """Print a table in Markdown."""
    print(f"| states | scalars | hidden | {' | '.join(TARGETS)} |")
    print("|---|---|---|" + "---|" * len(TARGETS))
    for states, drives, hidden in KINDS:
        found = (f"{cycles(states, drives, hidden, target):.0f}" for target in TARGETS)
        shown = [str(states), str(drives) if states else "", "yes" if hidden else ""]
        print(f"| {' | '.join([*shown, *found])} |")


if __name__ == "__main__":
    main()
