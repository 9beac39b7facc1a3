"""`dmpc export`."""

from pathlib import Path
from typing import Any

import click

from dmpc.cli.compile_verb import model_options, options_of
from dmpc.cli.files import ModelFile, OutputFile, json_option, write_bytes, write_json
from dmpc.cli.graphs import graph_data
from dmpc.cli.main import Verb
from dmpc.cli.models import errors_of
from dmpc.cli.terminal import Output, working
from dmpc.compiler import import_layers, import_model, to_layers
from dmpc.frontend import NIR, Timing
from dmpc.passes.carried import carried


@click.command(
    "export",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc export package.module:factory --weights state.pt -o net.onnx
  dmpc export model.nir -o model.onnx
  dmpc export model.onnx -o model.nir""",
)
@click.argument("model", type=ModelFile())
@click.option(
    "-o",
    "output",
    type=OutputFile(),
    required=True,
    metavar="FILE",
    help="File to write: ONNX, or NIR where it ends in .nir or .h5.",
)
@json_option
@model_options
def export(model: str, output: str, json_path: str | None, **chosen: Any) -> None:
    """Write MODEL, in any form that compile takes, as ONNX of standard operators, or as NIR.

    An ONNX file holds one Scan over time, in float32, for batches and sequences of any size; it
    runs in onnxruntime and imports as the same layers. Ranges and widths that the network was
    trained at stay with it. A model that shows one vector at every timestep still does.

    NIR has integrate-and-fire neurons, synapses, leaky integrators, linear maps and axonal delays.
    What a file of it leaves open, such as what a spike does, is said as options of the reader.
    """
    options = options_of(**chosen, no_dependency_breaking=True)
    with working("exporting"), errors_of(model):
        example = options.example
        given = None if example is None else example.reshape(*example.shape[:2], -1)
        layers = import_layers(model, options, given)
        if Path(output).suffix in NIR:
            from dmpc.nir_export import export_nir

            layers = to_layers(import_model(model, options, given).graph, options, lanes=1)
            made = export_nir(layers, options.timing.dt if options.timing else Timing().dt)
            content, reading = made.to_bytes(), made.reading.options
        else:
            from dmpc.backend.onnx_writer import to_onnx

            content = to_onnx(layers, carried(model)).SerializeToString(deterministic=True)
            reading = ""
    write_bytes(output, content)
    if json_path:
        graph = graph_data(layers)
        write_json(json_path, {"output": output, "bytes": len(content), "graph": graph})
    Output().print(f"wrote {output}" + (f"; read it with {reading}" if reading else ""))
