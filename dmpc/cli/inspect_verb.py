"""`dmpc inspect`."""

from pathlib import Path
from typing import Any

import click

from dmpc.backend.emit import embedded_graph
from dmpc.cli.activity import typical_input
from dmpc.cli.compile_verb import compile_options, options_of
from dmpc.cli.files import InputFile, ModelFile, OutputFile
from dmpc.cli.main import Verb
from dmpc.cli.memory_table import memory_table
from dmpc.cli.models import errors_of, refuse_unread
from dmpc.cli.ranges import print_ranges, range_report
from dmpc.cli.samples import samples_of
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from dmpc.compiler import as_trained, find_ranges, import_model, to_layers
from dmpc.compiler import compile as compile_model
from dmpc.errors import DmpcError
from dmpc.frontend import SUFFIXES
from dmpc.frontend.models import is_factory
from dmpc.ir.graph import Graph
from dmpc.ir.levels import LEVELS, rank
from dmpc.ir.printer import to_text
from dmpc.lowering import from_layers
from isa.disassembler import assembly
from isa.image import Image, read_image
from isa.interface import interface
from isa.target import load_target
from runtime.program import Program
from runtime.samples import load_samples
from runtime.timestep import Timestep, timestep_of


@click.command("inspect", cls=Verb)
@click.argument("file", type=ModelFile())
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    metavar="LEVEL",
    help=f"Print the graph at a level: {', '.join(LEVELS)}.",
)
@click.option("--data", "with_data", is_flag=True, help="Print the elements of constants, too.")
@click.option("--memory", is_flag=True, help="Print the memory map.")
@click.option("--schedule", is_flag=True, help="Print when each instruction of a timestep runs.")
@click.option(
    "--ranges", is_flag=True, help="Print what is proved of every width: what can saturate."
)
@click.option(
    "--timesteps",
    type=click.IntRange(min=1),
    metavar="T",
    help="No sample is longer than T, for --ranges.",
)
@click.option(
    "--events",
    type=click.IntRange(min=0),
    metavar="N",
    help="No timestep has more than N active inputs, for --ranges.",
)
@click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Write the ranges as JSON; - for stdout alone.",
)  # fmt: skip
@click.option(
    "--input",
    "samples",
    type=InputFile(),
    metavar="NPZ",
    help="Samples from which to take the schedule's input, and the ranges seen.  [default: random "
    "input for the schedule, the calibration set for ranges]",
)
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Which sample of them.",
)
@click.option(
    "--timestep",
    type=click.IntRange(min=0),
    metavar="K",
    help="Which timestep of the sample.  [default: the one in the middle]",
)
@compile_options
def inspect(
    file: str,
    level: str | None,
    with_data: bool,
    memory: bool,
    schedule: bool,
    ranges: bool,
    timesteps: int | None,
    events: int | None,
    json_path: str | None,
    samples: str | None,
    sample: int,
    timestep: int | None,
    **chosen: Any,
) -> None:
    """Look at FILE: a model, IR text (.dmpir) or an image (.elf).

    Without options: the graph of a model at level layers, or the interface, the memory map and the
    schedule of an image. What a model shows beyond its layers is compiled for the purpose, with the
    options of compile.
    """
    declared = chosen["input_range"]
    is_image = not is_factory(file) and Path(file).suffix not in SUFFIXES
    graph_alone = not (memory or schedule or ranges or (is_image and not level))
    scheduled = schedule or (is_image and not (level or memory or ranges))
    refuse_unread(
        {
            "when no graph is printed": () if level or graph_alone else ("with_data",),
            "without --ranges": () if ranges else ("timesteps", "events", "json_path"),
            "without --ranges or --schedule": () if ranges or scheduled else ("samples",),
            "without --schedule": () if scheduled else ("sample", "timestep"),
            "for an image, which is compiled": _compiling(ranges, samples) if is_image else (),
        }
    )
    out = Output()
    calibration = chosen["calibration"]
    if level or not (is_image or memory or schedule or ranges):
        with errors_of(file):
            if is_image:
                graph = _image_graph(file, level)
            else:
                graph = _model_graph(file, level, chosen, graph_alone)
        out.text(to_text(graph, data=with_data))
    if graph_alone:
        return
    image = read_image(file) if is_image else _compiled(file, chosen)
    if ranges:
        data = samples or calibration
        x = load_samples(data).x if data else None
        with samples_of(data), errors_of(file):
            found = range_report(image, file, x, timesteps, events, declared)
        print_ranges(found, json_path, out)
        if not (memory or schedule):
            return
    if not (memory or schedule):
        _print_overview(image, out)
    if memory or not schedule:
        out.print(memory_table(image))
    if schedule or not memory:
        program = Program(image, file)
        x = load_samples(samples).x if samples else typical_input(program)
        if sample >= len(x):
            raise DmpcError(
                f"there is no sample {sample}; the last is {len(x) - 1}", where=samples or file
            )
        with samples_of(samples):
            trace = program.trace(x[sample:])
        with samples_of(file):
            step = timestep_of(trace, image.code, x.shape[1], timestep)
        _print_schedule(program, step, out)


def _image_graph(file: str, level: str | None) -> Graph:
    """The graph inside an image, which stands at the last level."""
    graph = embedded_graph(read_image(file))
    if level not in (None, graph.level):
        raise DmpcError(
            f"the image holds its graph at level {graph.level} alone",
            where=file,
            hint=f"inspect the model for level {level}",
        )
    return graph


def _compiling(ranges: bool, samples: str | None) -> set[str]:
    """Options that say how to compile; of an image, some say what to assume for ranges."""
    read = {"input_range", *(() if samples else ("calibration",))} if ranges else set()
    return {name for name in COMPILING if name not in read}


COMPILING = {one.name for one in click.command("")(compile_options(lambda: None)).params}

# The first level that an option of compile has an effect on, where it is not the first of all.
EFFECT = {
    "no_dependency_breaking": "layers",
    **dict.fromkeys(
        ("target", "calibration", "input_range", "weight_bits", "widths", "no_count_readout"),
        "integer",
    ),
    **dict.fromkeys(("no_stationarity", "no_overlap"), "partitioned"),
    **dict.fromkeys(("no_fusion", "no_balance", "optimise"), "fused"),
}


def _model_graph(file: str, level: str | None, chosen: dict[str, Any], alone: bool) -> Graph:
    """A model's graph at a level, compiled as far as needed; nothing else is asked if `alone`."""
    calibration = chosen.pop("calibration")
    options = options_of(**chosen)
    data = load_samples(calibration).x if calibration else None
    graph = import_model(file, options, data).graph
    wanted = level or ("layers" if graph.level == "model" else graph.level)
    if alone:
        late = (name for name, first in EFFECT.items() if rank(first) > rank(wanted))
        example = {"calibration"} if is_factory(file) else set()
        refuse_unread({f"for the graph at level {wanted}": set(late) - example})
    if rank(wanted) < rank(graph.level):
        raise DmpcError(f"the graph is at level {graph.level}, past {wanted}", where=file)
    if wanted == graph.level:
        return graph
    seen: dict[str, Graph] = {}

    def keep(name: str, result: Graph) -> None:
        del name
        seen[result.level] = result

    if rank(graph.level) <= rank("layers"):
        graph = to_layers(graph, options, keep)
        if wanted == "layers":
            return graph
        options, _ = as_trained(options, file, load_target(options.target))
        with samples_of(calibration):
            ranges = find_ranges(graph, data, options, file)
    else:
        ranges = None
    from_layers(graph, ranges, load_target(options.target), options, keep)
    return seen[wanted]


def _compiled(file: str, chosen: dict[str, Any]) -> Image:
    calibration = chosen.pop("calibration")
    data = load_samples(calibration).x if calibration else None
    with samples_of(calibration), errors_of(file):
        return compile_model(file, calibration=data, options=options_of(**chosen)).image


def _print_overview(image: Image, out: Output) -> None:
    described = interface(image)
    source, result = described.input, described.output
    scale = "" if source.kind == "events" else f" of {source.bits} bits, {source.scale:g} a step"
    out.print(f"{described.name}, built for target {image.target.name}")
    out.print(f"input: {source.size} {source.kind}{scale}")
    over = "the mean over timesteps" if result.average else "over all timesteps"
    out.print(f"output: {result.size} logits, {result.scale:g} a step, {over}")


def _print_schedule(program: Program, step: Timestep, out: Output) -> None:
    """Issue, start and end of every instruction of a timestep."""
    made = table(
        f"timestep {step.number}, in cycles from its first instruction",
        "unit", "layer", "pc", "issued", "start", "end", "instruction", text=2
    )  # fmt: skip
    made.columns[-1].justify = "left"
    for span in step.spans:
        times = (time - step.first for time in (span.issued, span.start, span.end))
        text = " ".join(assembly(program.image.code[span.pc]).split())
        layer = program.provenance[span.pc].layer
        made.add_row(span.unit, layer, str(span.pc), *map(str, times), text)
    out.print(made)
