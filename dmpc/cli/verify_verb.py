"""`dmpc verify`."""

import sys
from typing import Any

import click

from dmpc.cli.compile_verb import import_options, options_of
from dmpc.cli.terminal import console, progress, write_json
from dmpc.verification import figures
from dmpc.verification import verify as climb
from isa.image import read_image
from runtime.samples import load_samples


@click.command("verify")
@click.argument("model")
@click.argument("image")
@click.option("--input", "data", required=True, metavar="NPZ", help="x, and y where known.")
@click.option("--json", "json_path", metavar="FILE", help="Write results as JSON; - for stdout.")
@click.option("--limit", type=click.IntRange(min=1), help="Run only so many samples.")
@click.option("--max-drop", type=float, default=1.0, show_default=True, help="Points of accuracy.")
@import_options
def verify(
    model: str,
    image: str,
    data: str,
    json_path: str | None,
    limit: int | None,
    max_drop: float,
    calibration: str | None,
    **chosen: Any,
) -> None:
    """Compare MODEL and IMAGE rung by rung: onnxruntime, float graph, integer graph, simulator."""
    del calibration
    samples = load_samples(data)
    x, y = samples.x[:limit], None if samples.y is None else samples.y[:limit]
    options, loaded = options_of(**chosen), read_image(image)
    with progress("verifying", len(x)) as advance:
        found = climb(model, loaded, x, y, options=options, max_drop=max_drop, progress=advance)
    if json_path:
        write_json(json_path, found.to_json())
    if json_path != "-":
        out = console()
        for rung in found.rungs:
            out.print(f"[bold]{'ok  ' if rung.ok else 'FAIL'}[/bold] {rung.name}")
            for key, value in figures(rung):
                out.print(f"       {key}: {value}")
            if rung.reason:
                out.print(f"       {rung.reason}")
    if not found.ok:
        broken = "; ".join(f"{rung.name}: {rung.reason}" for rung in found.rungs if not rung.ok)
        click.echo(f"dmpc: error: {image}: {broken}", err=True)
        sys.exit(1)
