"""`dmpc reproduce`."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

import click
from rich.table import Table

from dmpc.cli.files import InputFolder, OutputFile, write_json
from dmpc.cli.main import Verb
from dmpc.cli.tables import table
from dmpc.cli.terminal import WIDTH, Output
from dmpc.compiler import Compiled
from dmpc.errors import DmpcError
from dmpc.ir.registry import Tensor
from dmpc.reproduce import PATHS, Measured, Reproduction
from dmpc.reproduce import reproduce as measure
from isa.files import temporary_folder
from runtime.program import Program
from runtime.samples import load_samples

EXAMPLE = Path("examples/spoken_digits")
NEEDED = ("model.onnx", "model_256.onnx", "train.npz", "test.npz")


@click.command(
    "reproduce",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc reproduce
  dmpc reproduce --limit 1000 --json ratios.json""",
)
@click.option(
    "--example", type=InputFolder(), default=str(EXAMPLE), show_default=True,
    help="Folder with model.onnx, model_256.onnx, train.npz and test.npz.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=200, help="Samples (200).")
@click.option(
    "--plot",
    type=OutputFile(),
    metavar="PNG",
    help="Draw the comparison, too (needs matplotlib).",
)
@click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Write the figures as JSON; - for stdout alone.",
)  # fmt: skip
def reproduce(example: str, limit: int, plot: str | None, json_path: str | None) -> None:
    """Print the paper's ratios of energy and throughput beside those counted here."""
    folder = Path(example)
    for name in NEEDED:
        if not (folder / name).is_file():
            raise DmpcError(
                f"no file {name}",
                where=example,
                hint="name the folder examples/spoken_digits of the repository: --example FOLDER",
            )
    test, train = load_samples(folder / "test.npz"), load_samples(folder / "train.npz")
    if test.y is None:
        raise DmpcError("no labels y", where=str(folder / "test.npz"))
    with temporary_folder() as targets:
        found = measure(
            folder, test.x[:limit], test.y[:limit], train.x, run_measured, Path(targets)
        )
    out = Output()
    out.print(_claims(found))
    out.print("\n".join(_reasons(found)) + "\n")
    out.print(_ablation(found))
    out.print(_mismatch(found))
    if json_path:
        write_json(json_path, _plain(found))
    if plot:
        from dmpc.cli.plots import plot_claims

        plot_claims(found, plot)


def run_measured(compiled: Compiled, x: Tensor, y: Tensor) -> Measured:
    """Run a compiled network and put its energy onto the paper's paths."""
    result = Program(compiled.image, compiled.graph.name).run(x, y)
    timesteps = int(result.lengths.sum())
    by_path = {
        name: sum(result.energy.by_path.get(part, 0.0) for part in parts) / timesteps
        for name, parts in PATHS.items()
    }
    return Measured(
        float(result.cycles.sum()) / timesteps,
        result.energy.total / timesteps,
        by_path,
        result.accuracy or 0.0,
    )


def _claims(found: Reproduction) -> Table:
    made = table("the paper's ratios, of fusion and stationarity", "ratio", "published", "measured")
    for claim in found.claims():
        made.add_row(claim.name, claim.published, f"{claim.measured:.2f}")
    return made


def _reasons(found: Reproduction) -> Iterator[str]:
    """Where each ratio comes from."""
    for claim in found.claims():
        yield fill(f"  {claim.name}: {claim.why}", WIDTH, subsequent_indent=4 * " ")


def _ablation(found: Reproduction) -> Table:
    chosen = found.ablation.items()
    made = table(
        "one network, per timestep",
        "fusion",
        *("on" if fusion else "off" for (fusion, _), _ in chosen),
    )
    ways = ("heterogeneous" if stationarity else "the other" for (_, stationarity), _ in chosen)
    made.add_row("stationarity", *ways)
    made.add_row("cycles", *(f"{one.cycles:.0f}" for _, one in chosen))
    made.add_row("pJ", *(f"{one.energy:.0f}" for _, one in chosen))
    for path in PATHS:
        made.add_row(f"  {path}", *(f"{one.by_path[path]:.0f}" for _, one in chosen))
    made.add_row("accuracy", *(f"{100 * one.accuracy:.1f} %" for _, one in chosen))
    return made


def _mismatch(found: Reproduction) -> Table:
    names = list(found.mismatch[True])
    made = table("spikes that differ from the float graph's", "dependency breaking", *names)
    for broken, mismatch in found.mismatch.items():
        cells = (f"{100 * mismatch[name]:.2f} %" for name in names)
        made.add_row("on" if broken else "off", *cells)
    return made


def _plain(found: Reproduction) -> dict[str, object]:
    return {
        "claims": [claim.__dict__ for claim in found.claims()],
        "ablation": [
            {"fusion": fusion, "stationarity": stationarity, **measured.__dict__}
            for (fusion, stationarity), measured in found.ablation.items()
        ],
        "wide": found.wide.__dict__,
        "mismatch": {"on" if on else "off": part for on, part in found.mismatch.items()},
    }
