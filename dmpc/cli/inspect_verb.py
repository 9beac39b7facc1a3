"""`dmpc inspect`."""

from pathlib import Path
from typing import Any

import click

from dmpc.backend.emit import embedded_graph
from dmpc.cli.activity import typical_input
from dmpc.cli.compile_verb import compile_options, options_of
from dmpc.cli.files import ModelFile, OutputFile, SampleFile, json_option, write_json, write_text
from dmpc.cli.graphs import graph_data
from dmpc.cli.main import Verb
from dmpc.cli.memory_table import held, memory_table
from dmpc.cli.models import errors_of, refuse_unread
from dmpc.cli.ranges import print_ranges, range_report
from dmpc.cli.samples import calibration_set, samples_of
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from dmpc.compiler import as_trained, find_ranges, import_model, limit_spikes, to_layers
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
from isa.interface import interface, provenance
from isa.target import load_target
from runtime.program import Program
from runtime.timestep import Timestep, timestep_of


@click.command(
    "inspect",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc inspect model.onnx --level layers --svg model.svg
  dmpc inspect digits.elf --schedule --input test.npz --timestep 50
  dmpc inspect digits.elf --memory --json -
  dmpc inspect model.onnx --ranges --calibration train.npz""",
)
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
    "--dot", type=OutputFile(), metavar="FILE", help="Draw the graph as text for Graphviz."
)
@click.option(
    "--svg", type=OutputFile(), metavar="FILE", help="Draw the graph as SVG (needs matplotlib)."
)
@json_option
@click.option(
    "--input",
    "samples",
    type=SampleFile(),
    metavar="DATA",
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
    dot: str | None,
    svg: str | None,
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
    is_image = not is_factory(file) and Path(file).suffix not in SUFFIXES
    drawn = bool(dot or svg)
    graph_alone = not (memory or schedule or ranges or (is_image and not (level or drawn)))
    wants_graph = bool(level) or drawn or graph_alone
    everything = is_image and not (wants_graph or memory or schedule or ranges)
    scheduled = schedule or everything
    refuse_unread(
        {
            "when no graph is printed": () if wants_graph else ("with_data",),
            "without --ranges": () if ranges else ("timesteps", "events"),
            "without --ranges or --schedule": () if ranges or scheduled else ("samples",),
            "without --schedule": () if scheduled else ("sample", "timestep"),
            "for an image, which is compiled": _compiling(ranges, samples) if is_image else (),
        }
    )
    out, told, options = Output(), dict[str, Any](), dict(chosen)
    if wants_graph:
        with errors_of(file):
            if is_image:
                graph = _image_graph(file, level)
            else:
                graph = _model_graph(file, level, options, graph_alone)
            _draw(graph, dot, svg)
        told["graph"] = graph_data(graph)
        out.text(to_text(graph, data=with_data))
    if not graph_alone:
        image = read_image(file) if is_image else _compiled(file, dict(chosen))
        if ranges:
            data = samples or chosen["calibration"]
            given = calibration_set(data)
            with samples_of(data), errors_of(file):
                found = range_report(image, file, given, timesteps, events, chosen["input_range"])
            print_ranges(found, out)
            told["ranges"] = found.to_json()
        if everything:
            told["interface"] = _print_overview(image, out)
        if memory or everything:
            told["memory"] = _print_memory(image, out)
        if scheduled:
            step = _timestep(Program(image, file), samples, sample, timestep)
            told["schedule"] = _print_schedule(image, step, out)
    if json_path:
        write_json(json_path, told["ranges"] if list(told) == ["ranges"] else told)


def _draw(graph: Graph, dot: str | None, svg: str | None) -> None:
    """Write the pictures of a graph that were asked for."""
    if dot or svg:
        from dmpc.report.graph_pictures import dot_text, svg_text

        if dot:
            write_text(dot, dot_text(graph))
        if svg:
            write_text(svg, svg_text(graph))


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
    data = calibration_set(calibration)
    graph = import_model(file, options, data.x).graph
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
            graph = limit_spikes(graph, data.x, options, keep)
            ranges = find_ranges(graph, data.x, options, file, data.lengths)
    else:
        ranges = None
    from_layers(graph, ranges, load_target(options.target), options, keep)
    return seen[wanted]


def _compiled(file: str, chosen: dict[str, Any]) -> Image:
    calibration = chosen.pop("calibration")
    data, options = calibration_set(calibration), options_of(**chosen)
    with samples_of(calibration), errors_of(file):
        return compile_model(file, calibration=data.x, lengths=data.lengths, options=options).image


def _print_overview(image: Image, out: Output) -> dict[str, Any]:
    described = interface(image)
    source, result = described.input, described.output
    scale = "" if source.kind == "events" else f" of {source.bits} bits, {source.scale:g} a step"
    out.print(f"{described.name}, built for target {image.target.name}")
    out.print(f"input: {source.size} {source.kind}{scale}")
    over = "the mean over timesteps" if result.average else "over all timesteps"
    over += f" from {result.since} on" if result.since else ""
    out.print(f"output: {result.size} logits, {result.scale:g} a step, {over}")
    return {**described.model_dump(mode="json"), "target": image.target.name}


def _print_memory(image: Image, out: Output) -> list[dict[str, Any]]:
    out.print(memory_table(image))
    keys = ("memory", "holds", "first", "rows", "lives")
    return [dict(zip(keys, row, strict=True)) for row in held(image)]


def _timestep(program: Program, samples: str | None, sample: int, timestep: int | None) -> Timestep:
    """The timestep to show, of a user's sample or of typical input."""
    given = calibration_set(samples)
    x = typical_input(program) if given.x is None else given.x
    if sample >= len(x):
        raise DmpcError(
            f"there is no sample {sample}; the last is {len(x) - 1}",
            where=samples or program.origin,
        )
    with samples_of(samples):
        one = x[sample : sample + 1, : None if given.lengths is None else given.lengths[sample]]
        trace = program.trace(one)
    with samples_of(program.origin):
        return timestep_of(trace, program.image.code, one.shape[1], timestep)


def _print_schedule(image: Image, step: Timestep, out: Output) -> dict[str, Any]:
    """Issue, start and end of every instruction of a timestep."""
    made = table(
        f"timestep {step.number}, in cycles from its first instruction",
        "unit", "layer", "pc", "issued", "start", "end", "instruction", text=2
    )  # fmt: skip
    made.columns[-1].justify = "left"
    rows, names = [], provenance(image)
    for span in step.spans:
        times = [time - step.first for time in (span.issued, span.start, span.end)]
        text = " ".join(assembly(image.code[span.pc]).split())
        made.add_row(span.unit, names[span.pc].layer, str(span.pc), *map(str, times), text)
        row = dict(zip(("issued", "start", "end"), times, strict=True))
        named = {"layer": names[span.pc].layer, "nodes": list(names[span.pc].nodes)}
        rows.append({"unit": span.unit, "pc": span.pc, **row, **named, "instruction": text})
    out.print(made)
    return {"timestep": step.number, "first": step.first, "instructions": rows}
