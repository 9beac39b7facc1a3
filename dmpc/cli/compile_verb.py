"""`dmpc compile`."""

from contextlib import nullcontext
from typing import Any, get_args

import click

from dmpc.check import compile_and_tell
from dmpc.cli.activity import count_cycles
from dmpc.cli.files import (
    STDOUT,
    InputFile,
    ModelFile,
    OutputFile,
    SampleFile,
    beside,
    json_option,
    write_bytes,
    write_json,
)
from dmpc.cli.main import Verb, option_list
from dmpc.cli.models import errors_of, warn
from dmpc.cli.samples import Frame, FrameAxes, calibration_set, example_of, samples_of
from dmpc.cli.summary import print_summary, summary
from dmpc.cli.terminal import Output, working
from dmpc.compiler import OBJECTIVES, Options
from dmpc.errors import CompileError
from dmpc.findings import listening
from dmpc.frontend import Timing
from dmpc.frontend.models import is_factory, stem
from dmpc.frontend.nir_format.neurons import Integration, Reset
from dmpc.ir.graph import Graph
from dmpc.ir.printer import to_text
from dmpc.ir.registry import did_you_mean
from dmpc.ir.verify import READOUTS
from dmpc.passes import PASSES
from dmpc.passes.quantization.widths import read_widths
from isa.image import image_bytes
from isa.target import target_names


def check_pairs(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """IN=OUT pairs as a mapping; a usage error if one is not a pair."""
    del ctx
    pairs = {}
    for pair in value:
        source, equals, result = pair.partition("=")
        if not (source and equals and result):
            raise click.BadParameter(f"{pair!r} is not IN=OUT", param=param)
        if source in pairs:
            raise click.BadParameter(f"state input '{source}' is given twice", param=param)
        pairs[source] = result
    return pairs


def check_pass_names(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Refuse a pass name that does not exist, as a usage error."""
    del ctx
    for name in value:
        if name not in PASSES:
            known = did_you_mean(name, PASSES)
            raise click.BadParameter(f"no pass '{name}' ({known})", param=param)
    return value


def check_output_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse the name of a file to write, as a usage error: that is -o."""
    del ctx
    if value is not None and value.endswith((".elf", ".onnx")):
        message = f"{value!r} is no output of a model; the file to write is -o {value}"
        raise click.BadParameter(message, param=param)
    return value


model_options = option_list(
    click.option(
        "--output", "answer", metavar="NAME", callback=check_output_name,
        help="The output that is the answer, where the model has several: its name, or its place "
        "(0, 1, ...) or key in what a torch module returns. The others are left out.",
    ),
    click.option(
        "--readout", type=click.Choice(READOUTS),
        help="How timesteps become the answer, where the model does not say it.  [default: mean]",
    ),
    click.option(
        "--state", "states", multiple=True, metavar="IN=OUT", callback=check_pairs,
        help="State input IN takes output OUT of the timestep before, where the model's structure "
        "does not tell; once for each pair.",
    ),
    click.option(
        "--dt", type=float, metavar="SECONDS",
        help="A timestep of the neurons of a NIR file.  [default: 0.0001]",
    ),
    click.option(
        "--reset", type=click.Choice(get_args(Reset)),
        help="What a spike does in a NIR file: the membrane becomes v_reset, or loses v_threshold "
        "at once, or late, after the next leak, as in snnTorch.  [default: value]",
    ),
    click.option(
        "--spike-at", is_flag=True,
        help="Neurons of a NIR file spike at their threshold, not only above it.",
    ),
    click.option(
        "--integration", type=click.Choice(get_args(Integration)),
        help="How neurons of a NIR file are stepped: forward Euler; with a leak of exp(-dt/tau), "
        "inputs as in Euler; exactly; or as Rockpool writes its files.  [default: euler]",
    ),
    click.option(
        "--weights", type=InputFile(), metavar="PT",
        help="Weights of MODULE:FACTORY: a file that torch.save wrote of its state_dict.",
    ),
    click.option(
        "--example-input", "example", type=SampleFile(), metavar="DATA",
        help="Input data, as for run, on whose first sample MODULE:FACTORY is traced.  "
        "[default: the other data of the command]",
    ),
    click.option(
        "--frame", type=FrameAxes(), metavar="AxBxC",
        help="Axes of a timestep's inputs, such as 2x34x34, where MODULE:FACTORY takes frames.  "
        "[default: those of the data]",
    ),
    click.option(
        "--time-first", is_flag=True,
        help="MODULE:FACTORY takes [timesteps, samples, inputs], not [samples, timesteps, inputs].",
    ),
    click.option(
        "--trust", is_flag=True,
        help="Run what is pickled in a .pt2 file or in --weights: only for files whose author you "
        "know.",
    ),
)  # fmt: skip

target_option = click.option(
    "--target", type=InputFile(), default="paper", show_default=True, metavar="NAME",
    help=f"Name of a target ({', '.join(target_names())}), or a TOML file.",
)  # fmt: skip

compile_options = option_list(
    model_options,
    target_option,
    click.option(
        "--calibration", type=SampleFile(), metavar="DATA",
        help="Input data, as for run, from which to choose scales."
    ),
    click.option(
        "--input-range", nargs=2, type=float, metavar="LOW HIGH",
        help="The input is graded, between LOW and HIGH; not needed with --calibration.",
    ),
    click.option(
        "--weight-bits", type=click.IntRange(min=2), metavar="BITS",
        help="Width of weights of events and of the readout.  [default: as wide as the target's]",
    ),
    click.option(
        "--widths", type=InputFile(), metavar="TOML",
        help="Widths by layer and tensor, as dmpc quantize --save writes them.",
    ),
    click.option(
        "--no-dependency-breaking", is_flag=True,
        help="Compute the slow current from m[k] and not ahead from m[k-1], for comparison.",
    ),
    click.option(
        "--no-fusion", is_flag=True,
        help="Read and write membranes for leak, each integration and threshold, for comparison.",
    ),
    click.option(
        "--no-stationarity", is_flag=True,
        help="Memory path input-stationary, spike path output-stationary, for comparison.",
    ),
    click.option(
        "--no-overlap", is_flag=True,
        help="All layers work on the same timestep, for comparison.",
    ),
    click.option(
        "--optimise", type=click.Choice(OBJECTIVES), default="cycles", show_default=True,
        help="What banks are chosen for: the fewest cycles, or the least energy.",
    ),
    click.option(
        "--dedicated-banks", "--no-balance", "no_balance", is_flag=True,
        help="Keep the weights of each pathway in its own bank, as published, for comparison.",
    ),
    click.option(
        "--no-count-readout", is_flag=True,
        help="Read out every timestep instead of counting spikes, for comparison.",
    ),
)  # fmt: skip


def options_of(
    readout: str | None,
    states: dict[str, str],
    dt: float | None = None,
    reset: Reset | None = None,
    spike_at: bool = False,
    integration: Integration | None = None,
    weights: str | None = None,
    example: str | None = None,
    frame: Frame | None = None,
    time_first: bool = False,
    trust: bool = False,
    answer: str | None = None,
    target: str = "paper",
    input_range: tuple[float, float] | None = None,
    weight_bits: int | None = None,
    widths: str | None = None,
    no_dependency_breaking: bool = False,
    no_fusion: bool = False,
    no_stationarity: bool = False,
    no_overlap: bool = False,
    optimise: str = "cycles",
    no_balance: bool = False,
    no_count_readout: bool = False,
) -> Options:
    """Compiler options from the command line."""
    ctx = click.get_current_context()
    factory = is_factory(ctx.params.get("model") or ctx.params["file"])
    if (example or frame) and not factory:
        option = "--example-input" if example else "--frame"
        raise click.UsageError(f"{option} is for package.module:factory", ctx)
    timed = {
        "dt": dt, "reset": reset, "spike_at": spike_at or None, "integration": integration
    }  # fmt: skip
    given: dict[str, Any] = {name: value for name, value in timed.items() if value is not None}
    return Options(
        target=target,
        readout=readout,
        states=states,
        timing=Timing(**given) if given else None,
        weights=weights,
        example=example_of(example, frame) if factory else None,
        time_first=time_first,
        trust=trust,
        output=answer,
        input_range=input_range,
        weight_bits=weight_bits,
        widths=read_widths(widths) if widths else {},
        dependency_breaking=not no_dependency_breaking,
        fusion=not no_fusion,
        heterogeneous_stationarity=not no_stationarity,
        overlap=not no_overlap,
        balance=not no_balance,
        optimise=optimise,
        count_readout=not no_count_readout,
    )


class Printer:
    """An observer that prints the graph after the passes asked for."""

    def __init__(self, after: tuple[str, ...], all_passes: bool) -> None:
        self._wanted = dict.fromkeys(PASSES if all_passes else after)
        self._missing = [] if all_passes else list(self._wanted)

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def __call__(self, name: str, graph: Graph) -> None:
        """Print the graph, if this pass was asked for."""
        if name in self._wanted:
            Output().text(f"// after {name}\n{to_text(graph, data=False)}\n")
        if name in self._missing:
            self._missing.remove(name)

    def check(self, model: str) -> None:
        """Refuse to have printed nothing; raises CompileError."""
        if self._missing:
            message = f"pass '{self._missing[0]}' did not run, so that there is nothing to print"
            raise CompileError(message, where=model, hint="choose a pass that this model needs")


def image_of(model: str) -> str:
    """What the image of a model is called, if nothing else is said."""
    return f"{stem(model)}.elf" if is_factory(model) else beside(model, ".elf")


@click.command(
    "compile",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc compile model.onnx --calibration train.npz
  dmpc compile model.onnx --calibration train.npz --target edge -o edge.elf
  dmpc compile package.module:factory --weights state.pt -o net.elf
  dmpc compile model.onnx --print-after quantize""",
)
@click.argument("model", type=ModelFile())
@click.option(
    "-o",
    "output",
    type=OutputFile(lambda given: image_of(given["model"])),
    metavar="ELF",
    help="Image to write.  [default: MODEL, ending in .elf]",
)
@compile_options
@click.option(
    "--print-after", multiple=True, metavar="PASS", callback=check_pass_names,
    help=f"Print the graph after a pass ({', '.join(PASSES)}); may be repeated.",
)  # fmt: skip
@click.option("--print-after-all", is_flag=True, help="Print the graph after every pass.")
@json_option
def compile(  # noqa: A001  named like its verb
    model: str,
    output: str,
    calibration: str | None,
    print_after: tuple[str, ...],
    print_after_all: bool,
    json_path: str | None,
    **chosen: Any,
) -> None:
    """Compile MODEL to an image for the accelerator.

    MODEL is a file (.onnx, .nir, .pt2 of torch.export, .dmpir text), or package.module:factory: a
    function without arguments that returns a torch module.

    Prints the layers, the memory they take, and cycles per timestep.
    """
    options = options_of(**chosen)
    data = calibration_set(calibration)
    observe = Printer(print_after, print_after_all)
    if observe and STDOUT in (output, json_path):
        taken = "the image (-o)" if output == STDOUT else "the summary (--json)"
        raise click.UsageError(f"standard output takes {taken}, and no graphs")
    with nullcontext() if observe else working("compiling"), samples_of(calibration):
        with errors_of(model), listening() as told:
            compiled = compile_and_tell(
                model, calibration=data.x, lengths=data.lengths, options=options, observe=observe
            )
        cycles = count_cycles(compiled, data.x, data.lengths)
    observe.check(model)
    warn(told, model)
    write_bytes(output, image_bytes(compiled.image))
    if json_path:
        write_json(json_path, summary(compiled, cycles, output))
    print_summary(compiled, cycles, output, Output())
