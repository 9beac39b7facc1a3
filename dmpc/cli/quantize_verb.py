"""`dmpc quantize`."""

from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from dmpc.cli.compile_verb import model_options, options_of, target_option
from dmpc.cli.files import InputFile, ModelFile, OutputFile, SampleFile, write_json, write_text
from dmpc.cli.main import Verb, option_list
from dmpc.cli.models import errors_of
from dmpc.cli.samples import read_samples, samples_of
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output, progress, say, working
from dmpc.errors import DmpcError
from dmpc.precision.impulse import Impulse
from dmpc.precision.losses import READOUT, Loss, sources
from dmpc.precision.search import stored
from dmpc.precision.study import Study
from dmpc.precision.yardstick import Difference
from runtime.samples import Samples

data_options = option_list(
    click.option(
        "--calibration", type=SampleFile(), required=True, metavar="DATA",
        help="Input data, as for run, from which scales are chosen and losses are taken.",
    ),
    click.option(
        "--input", "data", type=SampleFile(), metavar="DATA",
        help="Other samples, on which the result is measured.  [default: the calibration set]",
    ),
    click.option(
        "--limit", type=click.IntRange(min=1), metavar="N", help="Use N samples of --input only."
    ),
)  # fmt: skip


@click.command(
    "quantize",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc quantize model.onnx --calibration train.npz --report
  dmpc quantize model.onnx --calibration train.npz --max-drop 0.5 --save widths.toml""",
)
@click.argument("model", type=ModelFile())
@data_options
@click.option("--report", is_flag=True, help="Where the loss comes from, by layer and tensor.")
@click.option(
    "--max-drop", type=click.FloatRange(min=0), metavar="POINTS",
    help="Search the cheapest widths that keep the accuracy but for POINTS of 100.",
)  # fmt: skip
@click.option(
    "--save",
    type=OutputFile(),
    metavar="TOML",
    help="Write the widths, for dmpc compile --widths.",
)
@click.option(
    "--plot",
    type=OutputFile(),
    metavar="PNG",
    help="Draw the memories' impulse responses (needs matplotlib).",
)
@click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Write the results as JSON; - for stdout alone.",
)  # fmt: skip
@model_options
@target_option
@click.option(
    "--weight-bits", type=click.IntRange(min=2), metavar="BITS",
    help="Width of weights of events and of the readout.  [default: as wide as the target's]",
)  # fmt: skip
@click.option(
    "--widths",
    type=InputFile(),
    metavar="TOML",
    help="Widths to begin with, as --save writes them.",
)
def quantize(
    model: str,
    calibration: str,
    data: str | None,
    limit: int | None,
    report: bool,
    max_drop: float | None,
    save: str | None,
    plot: str | None,
    json_path: str | None,
    **chosen: Any,
) -> None:
    """Quantize MODEL and compare it with its float network.

    The calibration set decides: scales, rounding, the losses of --report and the widths that
    --max-drop finds come from it alone. --input only measures the result.
    """
    train = read_samples(calibration)
    test = _test_samples(data, limit)
    with errors_of(model), samples_of(calibration):
        with working("calibrating"):
            study = Study.of(model, train.x, train.y, options_of(**chosen), lengths=train.lengths)
        if max_drop is not None:
            with progress("searching", len(stored(study.layers, study.ranges.events))) as advance:
                study = study.cheapest(max_drop, advance)
        found: list[Loss] = []
        if report:
            count = len(sources(study.layers, study.ranges.events))
            with progress("measuring", count) as advance:
                found = study.losses(advance)
    with samples_of(data), working("comparing"):
        difference = study.difference(test.x, test.y, test.lengths) if test else study.calibrated
    impulses = study.impulses() if report or plot else []
    if save:
        write_text(save, study.widths_text())
    if plot:
        from dmpc.cli.plots import plot_impulses

        plot_impulses(impulses, plot)
    if json_path:
        write_json(json_path, _plain(study, found, impulses, difference))
    out = Output()
    if study.trained is not None and study.trained.agrees:
        out.print(study.trained.text)
    elif study.trained is not None:
        say("warning", f"{model}: {study.trained.text}")
    if report:
        out.print(_losses(found))
        out.print(_impulses(impulses))
    if report or max_drop is not None or chosen["weight_bits"] or chosen["widths"]:
        out.print(_widths(study))
    _print_difference(study, difference, data or calibration, out)
    _check_drop(difference, max_drop, data or calibration)


def _test_samples(data: str | None, limit: int | None) -> Samples | None:
    if data is None:
        if limit is not None:
            raise click.UsageError("--limit counts samples of --input, which is not given")
        return None
    return read_samples(data).first(limit)


def _check_drop(difference: Difference, max_drop: float | None, data: str) -> None:
    """Exit with 1 if what the search promised on the calibration set does not hold on the data."""
    if max_drop is not None and difference.drop > max_drop + 1e-9:
        what = "accuracy" if difference.accuracy is not None else "agreement"
        message = f"{what} drops by {difference.drop:.2f} points, {max_drop:g} were allowed"
        hint = "allow less on the calibration set, or give a larger one"
        say("error", str(DmpcError(message, where=data, hint=hint)))
        click.get_current_context().exit(1)


# -- tables ---------------------------------------------------------------------------------------


def _losses(found: list[Loss]) -> Table:
    made = table(
        "spikes that differ, per cent: layers fed with float spikes; of the readout, predictions",
        "layer", "tensor", "bits", "a bit less", "alone", "a bit more", "without it",
        text=2,
    )  # fmt: skip
    for loss in found:
        shares = (loss.less, loss.only, loss.more, loss.without)
        row = (loss.source.layer, loss.source.tensor, str(loss.bits))
        made.add_row(*row, *("" if share is None else f"{100 * share:.2f}" for share in shares))
    return made


def _impulses(found: list[Impulse]) -> Table:
    made = table(
        "impulse responses of the memories over their windows, against real numbers",
        "layer", "bits", "timesteps", "largest eigenvalue", "after", "coefficients", "machine",
    )  # fmt: skip
    for one in found:
        errors = (f"{100 * one.error(what):.3f} %" for what in (one.rounded, one.machine))
        radii = (f"{one.radius:.6f}", f"{one.radius_after:.6f}")
        made.add_row(one.layer, str(one.bits), str(len(one.real)), *radii, *errors)
    return made


def _widths(study: Study) -> Table:
    made = table("widths", "layer", "tensor", "elements", "bits", text=2)
    for part in stored(study.layers, study.ranges.events):
        bits = getattr(study.plan[part.layer], part.width)
        made.add_row(part.layer, part.width, f"{part.elements:,}", str(bits))
    return made


def _print_difference(study: Study, difference: Difference, data: str, out: Output) -> None:
    made = table("spikes that differ, per cent", "layer", "alone", "through the network")
    for name, alone in difference.alone.items():
        layer = study.layer_of(name)
        made.add_row(layer, f"{100 * alone:.2f}", f"{100 * difference.through[name]:.2f}")
    out.print(made)
    out.print(f"{study.bits:,} bits of weights, {study.target_bits:,} at the target's widths")
    out.print(f"predictions that differ: {100 * difference.disagreement:.2f} % on {data}")
    if difference.accuracy is not None and difference.float_accuracy is not None:
        float_, integer = 100 * difference.float_accuracy, 100 * difference.accuracy
        out.print(f"accuracy {integer:.2f} %, of the float network {float_:.2f} %")


def _plain(
    study: Study, found: list[Loss], impulses: list[Impulse], difference: Difference
) -> dict[str, Any]:
    """The results as plain data."""
    return {
        "widths": {
            f"{part.layer}.{part.width}": getattr(study.plan[part.layer], part.width)
            for part in stored(study.layers, study.ranges.events)
        },
        "bits": study.bits,
        "target_bits": study.target_bits,
        "difference": asdict(difference),
        "losses": [
            {
                "layer": loss.source.layer,
                "tensor": loss.source.tensor,
                "of": "predictions" if loss.source.layer == READOUT else "spikes",
                "bits": loss.bits,
                "less": loss.less,
                "alone": loss.only,
                "more": loss.more,
                "without": loss.without,
            }
            for loss in found
        ],
        "impulses": [
            {
                "layer": one.layer,
                "bits": one.bits,
                "timesteps": len(one.real),
                "radius": one.radius,
                "radius_after": one.radius_after,
                "coefficients": one.error(one.rounded),
                "machine": one.error(one.machine),
            }
            for one in impulses
        ],
    }
