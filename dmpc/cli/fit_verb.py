"""`dmpc fit`."""

from typing import Any

import click

from dmpc.cli.compile_verb import model_options, options_of
from dmpc.cli.files import InputFile, ModelFile, OutputFile, write_json
from dmpc.cli.main import Verb
from dmpc.cli.models import errors_of
from dmpc.cli.tables import kilobytes, table
from dmpc.cli.terminal import Output, working
from dmpc.compiler import check_level, check_options, import_model, limit_spikes, to_layers
from dmpc.fit import Fit, shipped, smallest
from dmpc.fit import fit as fitted
from isa.target import load_target, target_names


@click.command(
    "fit",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc fit model.onnx
  dmpc fit model.onnx --target mine.toml
  dmpc fit model.onnx --json - | jq .smallest""",
)
@click.argument("model", type=ModelFile())
@click.option(
    "--target", type=InputFile(), metavar="NAME",
    help=f"Name of a target ({', '.join(target_names())}), or a TOML file.  [default: all that "
    "ship]",
)  # fmt: skip
@model_options
@click.option(
    "--input-range", nargs=2, type=float, metavar="LOW HIGH",
    help="The input is graded, between LOW and HIGH.",
)  # fmt: skip
@click.option(
    "--weight-bits", type=click.IntRange(min=2), metavar="BITS",
    help="Width of weights of events and of the readout.  [default: as wide as the target's]",
)  # fmt: skip
@click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Write the answer as JSON; - for stdout alone.",
)  # fmt: skip
def fit(model: str, target: str | None, json_path: str | None, **chosen: Any) -> None:
    """Say whether targets hold MODEL, what is scarce, and the smallest that would do.

    Exits with 1 if the target, or every one that ships, cannot hold it. Sizes alone are asked for:
    nothing is calibrated, and nothing timed.
    """
    options = options_of(**chosen, target=target or "paper")
    asked = [load_target(target)] if target else []
    with working("fitting"), errors_of(model):
        check_options(options)
        graph = import_model(model, options).graph
        check_level(graph)
        others = [one for one in shipped() if one not in asked]
        fits = [
            fitted(
                limit_spikes(to_layers(graph, options, lanes=one.lanes), None, options),
                one,
                options,
            )
            for one in (*asked, *others)
        ]
    best = smallest(fits)
    shown = fits[0] if asked else best or fits[-1]
    if json_path:
        told = [one.to_json() for one in fits]
        name = best.target.name if best else None
        write_json(json_path, {"model": graph.name, "smallest": name, "targets": told})
    out = Output()
    _print(graph.name, shown, fits, best, out)
    if not shown.fits:
        click.get_current_context().exit(1)


def _print(name: str, shown: Fit, fits: list[Fit], best: Fit | None, out: Output) -> None:
    made = table("targets", "target", "holds it", "memory", "scarcest", "of it", text=2)
    for one in sorted(fits, key=lambda one: (one.bits, one.target.name)):
        answer = "on the chip" if one.on_chip else "in part" if one.fits else "no"
        least = one.scarcest
        used = (least.name, f"{100 * least.used:.1f} %") if least else ("", "")
        made.add_row(one.target.name, answer, kilobytes(one.bits), *used)
    made.columns[3].justify = "left"
    out.print(made)
    wanted = table(f"{name} on {shown.target.name}", "what", "wanted", "there", "used")
    for room in shown.rooms:
        wanted.add_row(room.name, f"{room.wanted}", f"{room.there}", f"{100 * room.used:.1f} %")
    if shown.rooms:
        out.print(wanted)
    outside = {room.name: room.outside for room in shown.rooms if room.outside}
    if shown.reason:
        out.print(f"{shown.target.name} cannot hold it: {shown.reason}")
    elif outside:
        rows = ", ".join(f"{count:,} rows of {memory}" for memory, count in outside.items())
        out.print(f"in external memory: {rows}, which costs cycles and energy")
    if shown.grown is not None:
        grown, there = shown.grown, shown.target.memories
        rows = ", ".join(
            f"{memory.name} {memory.rows}"
            for memory in grown.memories.values()
            if memory.rows != there[memory.name].rows
        )
        more = sum(m.rows * m.row_bits for m in grown.memories.values()) - shown.bits
        out.print(
            f"{shown.target.name} with these rows would hold all of it on the chip, with "
            f"{kilobytes(more)} more: {rows}"
        )
    if best is None:
        out.print("no target that ships holds it")
    else:
        how = "on the chip" if best.on_chip else "in part in external memory"
        out.print(f"the smallest target that would do: {best.target.name}, {how}")
