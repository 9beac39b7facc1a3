"""Cycles of a steady timestep of one layer, beside the published RTL's and the target's bound.

python -m benchmarks.layer_cycles
"""

import json
from pathlib import Path

import click

import dmpc
from benchmarks.networks import active_inputs, one_layer
from benchmarks.rtl import layer_cycles
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from runtime.program import Program

NEURONS, STATES, ACTIVE = (64, 128, 256), (5, 10, 40), (0, 1, 4, 8, 16, 32, 64)
INPUTS, SAMPLES, SHORT, LONG = 128, 4, 20, 60


def bound(target: str, groups: int, states: int, active: int) -> float:
    """Cycles that a steady timestep may take on a target."""
    if target == "pooled":
        return 1.15 * groups * max((states + 1) / 2, (active + states + 1) / 3) + 16
    return 1.05 * groups * max(active, states, 2) + 16


def steady_cycles(target: str, neurons: int, states: int, active: int) -> float:
    """Mean cycles of a timestep once the machine is busy: what further timesteps add."""
    graph = one_layer(INPUTS, neurons, states)
    x = active_inputs(SAMPLES, LONG, INPUTS, active)
    options = dmpc.Options(target=target)
    program = Program(dmpc.compile(graph, calibration=x, options=options).image, graph.name)
    long, short = (program.run(x[:, :steps]).cycles.sum() for steps in (LONG, SHORT))
    return float(long - short) / (SAMPLES * (LONG - SHORT))


@click.command()
@click.option("--json", "path", default="build/benchmarks/layer_cycles.json", show_default=True)
def main(path: str) -> None:
    """Measure every combination on both targets."""
    rows = []
    made = table(
        "steady timestep of one layer, cycles",
        "target", "N", "d", "S", "cycles", "bound", "of bound", "RTL", "of RTL",
    )  # fmt: skip
    for target in ("paper", "pooled"):
        for neurons in NEURONS:
            for states in STATES:
                for active in ACTIVE:
                    cycles = steady_cycles(target, neurons, states, active)
                    limit = bound(target, neurons // 4, states, active)
                    rtl = int(layer_cycles(active, neurons, states))
                    rows.append(
                        {"target": target, "N": neurons, "d": states, "S": active}
                        | {"cycles": cycles, "bound": limit, "rtl": rtl}
                    )
                    made.add_row(
                        target, *map(str, (neurons, states, active)), f"{cycles:.1f}",
                        f"{limit:.1f}", f"{cycles / limit:.3f}", str(rtl), f"{cycles / rtl:.3f}",
                    )  # fmt: skip
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(rows, indent=1) + "\n")
    Output().print(made)
    worst = max(rows, key=lambda row: row["cycles"] / row["bound"])
    Output().print(f"closest to its bound: {worst}")


if __name__ == "__main__":
    main()
