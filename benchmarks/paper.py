"""The networks of the paper's comparison on every target that ships, beside the paper's figures.

    python -m benchmarks.paper [TASK ...]

Networks are those of `examples/families`. Trained rows are models of the repository on the test
set of the spoken digits. All others have weights as they are drawn, scaled so that the neurons of
each layer fire (`dmpc.nn.initialise`), and run on the stand-in data of that folder's `paper.py`:
their cycles and energy are those of the activity that is stated, and say nothing of accuracy.
"""

import json
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import dmpc
from dmpc.errors import DmpcError
from dmpc.frontend import import_onnx
from dmpc.ir.graph import Graph
from dmpc.nn import initialise, measure, parameter_count, to_onnx
from isa.target import target_names
from runtime.program import Program
from runtime.samples import Samples

FAMILIES = Path(__file__).parents[1] / "examples" / "families"
SAMPLES = 16  # of each network without training
RATE = 0.1  # of the timesteps in which neurons are to fire
TRAINED = {"dmp": "DMP", "fsnn": "FSNN", "rsnn": "RSNN", "dsnn": "DSNN"}


@dataclass(frozen=True)
class Network:
    """What is measured: a graph or file, samples to calibrate on and to run."""

    task: str
    family: str
    shape: str
    trained: bool
    parameters: int
    model: Graph | Path
    calibration: np.ndarray
    test: Samples
    densities: tuple[float, ...]
    reported: str


def shape_of(task: Any, hidden: tuple[int, ...] | None = None) -> str:
    """Sizes of a network as text."""
    inputs = task.inputs if isinstance(task.inputs, int) else " x ".join(map(str, task.inputs))
    front = [f"conv {conv.out_channels}" for conv in task.front()]
    return "-".join(map(str, [inputs, *front, *(hidden or task.hidden), task.classes]))


def drawn(name: str, family: str, recipe: dict[str, Any]) -> Network:
    """A network of the paper with weights as they are drawn, scaled to the stand-in data."""
    import torch

    task = recipe["TASKS"][name]
    torch.manual_seed(0)
    network = task.network(family).eval()
    train, test = (one.first(SAMPLES) for one in task.stand_in())
    initialise(network, torch.from_numpy(train.x), RATE)
    x, y = recipe["tensors"](test)
    found = measure(network, x, y, batch=SAMPLES)
    densities = (float(np.mean(test.x != 0)), *found.densities)
    graph = import_onnx(to_onnx(network))
    return Network(
        name, family, shape_of(task), False, parameter_count(network), graph, train.x,
        Samples(test.x, None), densities, task.reported if family == "dmp" else "",
    )  # fmt: skip


def trained(recipe: dict[str, Any], limit: int) -> Iterator[Network]:
    """The committed models of the spoken digits, which have the shape of SHD."""
    compare = runpy.run_path(str(FAMILIES / "compare.py"))
    train, test = (one.first(limit) for one in recipe["spoken"]())
    for family, name in TRAINED.items():
        path = compare["MODELS"][name]
        hidden = (128, 128) if family == "dmp" else recipe_sizes(family)
        yield Network(
            "shd", family, shape_of(recipe["TASKS"]["shd"], hidden), True,
            compare["parameters"](path), path, train.x, test, (float(np.mean(test.x)),),
            recipe["TASKS"]["shd"].reported if family == "dmp" else "",
        )  # fmt: skip


def recipe_sizes(family: str) -> tuple[int, int]:
    """Neurons of the committed models, which have about as many parameters as DMP's."""
    neurons, _ = runpy.run_path(str(FAMILIES / "train.py"))["FAMILIES"][family]
    return neurons, neurons


def measured(one: Network, target: str) -> dict[str, Any]:
    """Cycles and nanojoules of a timestep on a target, or why there are none."""
    options = dmpc.Options(target=target)
    try:
        image = dmpc.compile(one.model, calibration=one.calibration, options=options).image
    except DmpcError as error:
        return {"refused": str(error)}
    result = Program(image, one.task).run(one.test.x, one.test.y)
    timesteps = int(result.lengths.sum())
    return {
        "cycles": float(result.cycles.sum()) / timesteps,
        "nanojoules": result.energy.total / timesteps / 1000,
        "outside": any(memory.startswith("external.") for memory in image.memories),
        "accuracy": result.accuracy if one.trained else None,
    }


def cell(found: dict[str, Any]) -> str:
    """A target's column."""
    if "refused" in found:
        return "refused"
    mark = " *" if found["outside"] else ""
    return f"{found['cycles']:,.0f}, {found['nanojoules']:,.1f} nJ{mark}"


def activity(one: Network, found: dict[str, dict[str, Any]]) -> str:
    """What a row's activity is, and whether anything was trained."""
    if one.trained:
        accuracy = next(each["accuracy"] for each in found.values() if "accuracy" in each)
        return f"trained, {100 * accuracy:.1f} %"
    return "drawn, " + ", ".join(f"{100 * density:.2g}" for density in one.densities) + " %"


@click.command()
@click.argument("tasks", nargs=-1)
@click.option("--family", "chosen", multiple=True, help="Of dmp, fsnn, rsnn, dsnn; all of them.")
@click.option("--target", "targets", multiple=True, help="Of those that ship; all of them.")
@click.option("--limit", default=200, show_default=True, help="Samples of trained networks.")
@click.option("--json", "path", default="build/benchmarks/paper.json", show_default=True)
def main(
    tasks: tuple[str, ...], chosen: tuple[str, ...], targets: tuple[str, ...], limit: int, path: str
) -> None:
    """Print the table."""
    recipe, targets = runpy.run_path(str(FAMILIES / "paper.py")), targets or tuple(target_names())
    columns = "task | network | family | activity | parameters | the paper's"
    print(f"| {columns} | {' | '.join(f'`{name}`' for name in targets)} |")
    print("|---" * (6 + len(targets)) + "|")
    rows: list[dict[str, Any]] = []
    learned = [*(trained(recipe, limit) if not tasks or "shd" in tasks else ())]
    learned = [one for one in learned if one.family in (chosen or recipe["FAMILIES"])]
    every = (
        drawn(name, family, recipe)
        for name in tasks or recipe["TASKS"]
        for family in recipe["FAMILIES"]
        if family in (chosen or recipe["FAMILIES"])
        and (family == "dmp" or name in ("shd", "ssc", "smnist", "gesture"))
    )
    for one in (network for part in (learned, every) for network in part):
        found = {target: measured(one, target) for target in targets}
        cells = [
            one.task, one.shape, one.family.upper(), activity(one, found), f"{one.parameters:,}",
            one.reported, *map(cell, found.values()),
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)
        rows.append({"task": one.task, "network": one.shape, "family": one.family, "on": found})
        rows[-1] |= {"parameters": one.parameters, "densities": one.densities}
    print("\n\\* from external memory, in part")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
