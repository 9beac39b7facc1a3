"""`dmpc report`."""

from typing import Any

import click

import runtime
from dmpc.cli.compile_verb import model_options, options_of
from dmpc.cli.files import (
    InputFile,
    ModelFile,
    OutputFile,
    SampleFile,
    beside,
    write_json,
    write_text,
)
from dmpc.cli.main import Verb
from dmpc.cli.models import errors_of, refuse_unread
from dmpc.cli.recordings import Numbers
from dmpc.cli.samples import data_options, read_samples, samples_of
from dmpc.cli.terminal import Output, progress
from dmpc.compiler import import_model
from dmpc.precision.losses import Loss, sources
from dmpc.precision.study import Study
from dmpc.report.collect import Choice, collect
from dmpc.report.page import page
from dmpc.verification import check_origin
from isa.image import Image

MEASURED = 64
"""Samples on which quantization losses are measured."""


@click.command(
    "report",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc report digits.elf --input test.npz -o report.html
  dmpc report digits.elf --input test.npz --samples 3,17 --neurons 0:4
  dmpc report digits.elf --input test.npz --model model.onnx --calibration train.npz""",
)
@click.argument("image", type=InputFile())
@click.option(
    "-o", "output", type=OutputFile(lambda given: beside(given["image"], ".html")), metavar="HTML",
    help="Page to write.  [default: IMAGE, ending in .html]",
)  # fmt: skip
@data_options
@click.option(
    "--samples", "looked", type=Numbers(), metavar="N,A:B",
    help="Samples to look into, as 3 or 0:4: spikes, states, membranes, logits.  [default: 0:3]",
)  # fmt: skip
@click.option(
    "--neurons", type=Numbers(), metavar="N,A:B",
    help="Neurons of each layer whose membranes to show.  [default: the 4 that spike most]",
)  # fmt: skip
@click.option(
    "--timestep", type=click.IntRange(min=0), metavar="K",
    help="Timestep whose schedule to show.  [default: the one in the middle]",
)  # fmt: skip
@click.option(
    "--model", type=ModelFile(), metavar="MODEL",
    help="The model that the image was made from: shows what each tensor loses by rounding.",
)  # fmt: skip
@click.option(
    "--calibration", type=SampleFile(), metavar="DATA",
    help="Its calibration set, for --model.  [default: the samples of --input]",
)  # fmt: skip
@model_options
def report(
    image: str,
    output: str,
    data: str,
    json_path: str | None,
    limit: int | None,
    looked: tuple[int, ...] | None,
    neurons: tuple[int, ...] | None,
    timestep: int | None,
    model: str | None,
    calibration: str | None,
    **chosen: Any,
) -> None:
    """Write a page that shows IMAGE and what it does on samples.

    One file without anything from a network: what bounds each layer, the network, a timestep's
    schedule, cycles, accesses and energy, memory maps, a roofline, what happens inside samples,
    answers; with --model, what quantization costs.
    """
    if not model:
        unread = {param.name or "" for param in click.command("")(model_options(_nothing)).params}
        refuse_unread({"without --model": {*unread, "calibration"}})
    program = runtime.load(image)
    samples = read_samples(data).first(limit)
    x, y, lengths = samples.x, samples.y, samples.lengths
    with progress("running", len(x)) as advance, samples_of(data):
        result = program.run(x, y, lengths=lengths, progress=advance)
    losses = _losses(model, program.image, calibration or data, chosen) if model else []
    with samples_of(data), errors_of(data):
        found = collect(
            program, samples, result, Choice(looked or (), neurons or (), timestep), losses
        )
    write_text(output, page(found))
    if json_path:
        write_json(json_path, found.to_json())
    Output().print(f"wrote {output}")


def _nothing() -> None:
    pass


def _losses(model: str, image: Image, data: str, chosen: dict[str, Any]) -> list[Loss]:
    """What each tensor of the image's model loses by rounding."""
    given = read_samples(data).first(MEASURED)
    options = options_of(**chosen)
    with errors_of(model), samples_of(data):
        check_origin(import_model(model, options, given.x).graph, image, options, model)
        study = Study.of(model, given.x, given.y, options, image.target, given.lengths)
        count = len(sources(study.layers, study.ranges.events))
        with progress("measuring", count) as advance:
            return study.losses(advance)
