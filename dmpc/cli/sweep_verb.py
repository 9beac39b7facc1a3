"""`dmpc sweep`."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import click

from dmpc.cli.compile_verb import model_options, options_of
from dmpc.cli.files import STDOUT, InputFile, ModelFile, OutputFile, SampleFile, write_json
from dmpc.cli.main import Verb
from dmpc.cli.models import errors_of
from dmpc.cli.samples import calibration_set, read_samples, samples_of
from dmpc.cli.sweeping import Point, compiled, known, measured, sweep_of
from dmpc.cli.tables import cut, kilobytes, table
from dmpc.cli.terminal import Output, progress, say
from dmpc.compiler import OBJECTIVES
from isa.target import load_target, target_names


class Several(click.ParamType[tuple[Any, ...]]):
    """Values with commas between, each checked by `one` and taken once."""

    def __init__(self, one: click.ParamType[Any]) -> None:
        self.one, self.name = one, one.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """The values in the order given."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        return tuple(dict.fromkeys(self.one.convert(part, param, ctx) for part in parts))


class Targets(Several, InputFile):
    """Targets by name or file."""

    def __init__(self) -> None:
        super().__init__(click.STRING)

    def files(self, value: Any) -> Iterator[str]:
        """Those that may be files."""
        yield from value


@click.command(
    "sweep",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc sweep model.onnx --target paper,pooled,edge --weight-bits 4,6,8 \\
      --calibration train.npz --input test.npz
  dmpc sweep model.onnx --target paper --optimise cycles,energy \\
      --calibration train.npz --input test.npz --json sweep.json

The same command again takes what sweep.json holds already, and goes on.""",
)
@click.argument("model", type=ModelFile())
@click.option(
    "--target", "targets", type=Targets(), default=("paper",), metavar="NAME,..",
    help=f"Targets: names ({', '.join(target_names())}) or TOML files.  [default: paper]",
)  # fmt: skip
@click.option(
    "--weight-bits", "widths", type=Several(click.IntRange(min=2)), metavar="BITS,..",
    help="Widths of weights of events and of the readout.  [default: as wide as the target's]",
)  # fmt: skip
@click.option(
    "--optimise", "objectives", type=Several(click.Choice(OBJECTIVES)), default=("cycles",),
    metavar="WHAT,..",
    help=f"What banks are chosen for: {', '.join(OBJECTIVES)}.  [default: cycles]",
)  # fmt: skip
@click.option(
    "--calibration", type=SampleFile(), metavar="DATA",
    help="Input data, as for run, from which to choose scales.",
)  # fmt: skip
@click.option(
    "--input", "data", type=SampleFile(), required=True, metavar="DATA",
    help="Samples on which every choice is run: x and, where known, labels y.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N samples only."
)
@click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Keep every point as JSON as soon as it is known, and begin with those that FILE holds; "
    "- for stdout alone.",
)  # fmt: skip
@model_options
def sweep(
    model: str,
    targets: tuple[str, ...],
    widths: tuple[int, ...] | None,
    objectives: tuple[str, ...],
    calibration: str | None,
    data: str,
    limit: int | None,
    json_path: str | None,
    **chosen: Any,
) -> None:
    """Compile MODEL for every choice, run it, and print one table.

    Accuracy, cycles, energy and memory of each target, width and objective. A choice that cannot
    be compiled says why. Exits with 1 if none can.
    """
    for target in targets:
        load_target(target)
    options, train = options_of(**chosen), calibration_set(calibration)
    samples = read_samples(data).first(limit)
    choices = [Point(*choice) for choice in product(targets, widths or (None,), objectives)]
    before = known(json_path, sweep_of(model, targets, calibration, data, limit, chosen))
    found = before.by_choice
    points: list[Point] = []
    with progress("sweeping", len(choices)) as advance, samples_of(data):
        for choice in choices:
            point = found.get(choice.key)
            if point is None:
                with errors_of(model), samples_of(calibration):
                    image = compiled(model, train, options, choice)
                point = measured(choice, image, samples)
            points.append(point)
            if json_path and json_path != STDOUT:
                write_json(json_path, before.to_json(points))
            advance(1)
    if json_path == STDOUT:
        write_json(json_path, before.to_json(points))
    _print(model, points, Output())
    if all(point.error for point in points):
        say("error", f"{model}: no choice can be compiled: {points[0].error}")
        click.get_current_context().exit(1)


def _print(name: str, points: list[Point], out: Output) -> None:
    made = table(
        name, "target", "bits", "for", "accuracy", "cycles", "us", "nJ", "memory", "outside"
    )
    made.columns[2].justify = "left"
    for point in points:
        bits = "" if point.weight_bits is None else str(point.weight_bits)
        choice = (cut(point.target, 16), bits, point.optimise)
        if point.error is not None or point.cycles is None:
            made.add_row(*choice, "none")
            continue
        accuracy = "" if point.accuracy is None else f"{100 * point.accuracy:.2f} %"
        made.add_row(
            *choice,
            accuracy,
            f"{point.cycles:.1f}",
            f"{point.microseconds:.3f}",
            f"{(point.energy_pj or 0) / 1000:.3f}",
            kilobytes(point.memory_bits or 0),
            kilobytes(point.outside_bits) if point.outside_bits else "",
        )
    out.print(made)
    out.print("cycles, microseconds and energy of a timestep; memory that the image fills")
    for point in points:
        if point.error:
            bits = f" at {point.weight_bits} bits" if point.weight_bits else ""
            out.print(f"{point.target}{bits}: {point.error}")
