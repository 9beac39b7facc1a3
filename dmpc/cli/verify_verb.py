"""`dmpc verify`."""

from typing import Any

import click

from dmpc.cli.compile_verb import model_options, options_of
from dmpc.cli.files import InputFile, ModelFile, write_json
from dmpc.cli.main import Verb
from dmpc.cli.models import errors_of
from dmpc.cli.samples import data_options, read_samples, samples_of
from dmpc.cli.terminal import Output, progress, say
from dmpc.verification import figures
from dmpc.verification import verify as climb
from isa.image import read_image
from runtime.program import Program


@click.command(
    "verify",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc verify model.onnx digits.elf --input test.npz
  dmpc verify model.onnx digits.elf --input test.npz --limit 100 --json -""",
)
@click.argument("model", type=ModelFile())
@click.argument("image", type=InputFile())
@data_options
@click.option(
    "--max-drop", type=float, default=1.0, show_default=True, metavar="POINTS",
    help="How much accuracy the integer graph may lose, in points of 100; with 100, any spikes.",
)  # fmt: skip
@model_options
def verify(
    model: str,
    image: str,
    data: str,
    json_path: str | None,
    limit: int | None,
    max_drop: float,
    **chosen: Any,
) -> None:
    """Compare MODEL with IMAGE on the same input, form by form.

    MODEL in onnxruntime or torch, its float graph, the integer graph inside IMAGE and the
    simulator: each is compared with the next, the first by tolerance and accuracy, the last by
    every bit.
    """
    samples = read_samples(data).first(limit)
    x = samples.x
    options, loaded = options_of(**chosen), read_image(image)
    with samples_of(data):
        Program(loaded, image).encode(x)
    with progress("verifying", len(x)) as advance, errors_of(model), samples_of(data):
        found = climb(
            model, loaded, x, samples.y, lengths=samples.lengths, options=options,
            max_drop=max_drop, progress=advance,
        )  # fmt: skip
    if json_path:
        write_json(json_path, found.to_json())
    out = Output()
    for rung in found.rungs:
        out.print(f"{'ok  ' if rung.ok else 'FAIL'} {rung.name}")
        for key, value in figures(rung):
            out.print(f"       {key}: {value}")
        if rung.reason:
            out.print(f"       {rung.reason}")
    if not found.ok:
        broken = "; ".join(f"{rung.name}: {rung.reason}" for rung in found.rungs if not rung.ok)
        say("error", f"{image}: {broken}")
        click.get_current_context().exit(1)
