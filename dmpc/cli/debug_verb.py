"""`dmpc debug`."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import click

import runtime
from dmpc.cli.compile_verb import model_options, options_of
from dmpc.cli.files import InputFile, ModelFile, OutputFile, write_json
from dmpc.cli.main import Verb
from dmpc.cli.models import errors_of, refuse_unread
from dmpc.cli.recordings import device_input
from dmpc.cli.samples import samples_of
from dmpc.cli.terminal import Output, own_terminal
from dmpc.errors import DmpcError
from isa.arithmetic import Int
from isa.engines import ENGINES
from isa.errors import IsaError
from runtime.debug_commands import Console
from runtime.debugger import Debugger, Expected
from runtime.errors import RuntimeFailure
from runtime.samples import Samples

MODEL_OPTIONS = {one.name for one in click.command("")(model_options(lambda: None)).params}
PROMPT = "(dmpc) "
HISTORY = ".dmpc_history"


@click.command(
    "debug",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc debug digits.elf --input test.npz
  dmpc debug digits.elf --input test.npz --model model.onnx --sample 3
  dmpc debug digits.elf --input test.npz --script commands.txt --json told.json""",
)
@click.argument("image", type=InputFile())
@click.option(
    "--input", "data", type=InputFile(), required=True, metavar="NPZ",
    help="Samples: x [samples, timesteps, inputs].",
)  # fmt: skip
@click.option(
    "--sample", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Which sample to run; `restart N` changes to another one.",
)  # fmt: skip
@click.option(
    "--model", type=ModelFile(),
    help="The model that IMAGE was compiled from: stop at the first value that differs from it.",
)  # fmt: skip
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=0.05, show_default=True, metavar="SHARE",
    help="How far a value may be from the model's, as a share of its largest in the sample.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(ENGINES), default="cycle", show_default=True,
    help="What simulates; only the cycle engine stops between cycles and shows queues.",
)  # fmt: skip
@click.option(
    "--script", type=InputFile(), metavar="FILE",
    help="Carry out the commands in FILE, one a line, and leave; an error ends it.",
)  # fmt: skip
@click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Write what a script was told as JSON; - for stdout alone.",
)  # fmt: skip
@model_options
def debug(
    image: str,
    data: str,
    sample: int,
    model: str | None,
    tolerance: float,
    engine: str,
    script: str | None,
    json_path: str | None,
    **chosen: Any,
) -> None:
    """Stop IMAGE on a sample, look at it, go on: a prompt; `help` lists its commands.

    Breakpoints are at instructions, layers, timesteps, cycles, traps, saturation and spikes. With
    --model the integer and the float graph run beside, and the program stops at the first value
    that differs, with layer, timestep, neuron and both numbers.
    """
    refuse_unread(
        {
            "without --model": () if model else (*MODEL_OPTIONS, "tolerance"),
            "without --script": () if script else ("json_path",),
        }
    )
    program = runtime.load(image, engine)
    samples = runtime.load_samples(data, any_length=True)
    with samples_of(data):
        opened = _Opened(program, samples, model, tolerance, chosen)
        inputs, expected = opened.sample(sample)
    debugger = Debugger(program, inputs, meanings=opened.meanings, expected=expected)
    console = Console(debugger, opened.sample)
    if script:
        told = _run_script(console, script, Output())
        if json_path:
            write_json(json_path, {"commands": told})
    else:
        _prompt(console)


class _Opened:
    """Samples on a device, with what a model says of them."""

    def __init__(
        self,
        program: runtime.Program,
        samples: Samples,
        model: str | None,
        tolerance: float,
        chosen: dict[str, Any],
    ) -> None:
        from dmpc.cli.beside import Beside, meanings

        self.program, self.samples = program, samples
        self.meanings, self._beside = meanings(program), None
        if model:
            with errors_of(model):
                self._beside = Beside(program, model, options_of(**chosen), tolerance)

    def sample(self, number: int) -> tuple[Int, dict[str, Expected]]:
        """A sample by number: the device's integers, and what is expected of it."""
        inputs = device_input(self.program, self.samples, number)
        if self._beside is None:
            return inputs, {}
        return inputs, self._beside.expected(self.samples.x[number, : len(inputs)], inputs)


def _run_script(console: Console, path: str, out: Output) -> list[dict[str, Any]]:
    """Carry out the commands of a file; what was told, command by command."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise DmpcError(f"cannot read commands: {error.strerror or error}", where=path) from error
    except UnicodeDecodeError as error:
        raise DmpcError("not a text file", where=path) from error
    told = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        out.print(f"{PROMPT}{line}")
        try:
            answer = console.do(line)
        except (RuntimeFailure, IsaError, DmpcError) as error:
            raise DmpcError(str(error), where=f"{path}:{number}") from error
        out.print("\n".join(answer)) if answer else None
        told.append({"command": line, "lines": answer, "at": console.at()})
        if console.over:
            break
    return told


# -- the prompt -----------------------------------------------------------------------------------


def _prompt(console: Console) -> None:
    """Take commands until the user leaves; an interrupt stops what goes on."""
    out = Output()
    out.print("\n".join(console.where()))
    with own_terminal() as typed, _interrupts(console), _editing(console, typed is not None):
        while not console.over:
            line = _line(typed)
            if line is None:
                break
            try:
                answer = console.do(line)
            except (RuntimeFailure, IsaError, DmpcError) as error:
                answer = [f"error: {error}"]
            if answer:
                out.print("\n".join(answer))


def _line(typed: TextIO | None) -> str | None:
    """The next line that is typed or piped; None at the end."""
    if typed is None:
        return sys.stdin.readline() or None
    try:
        return input(PROMPT)
    except EOFError:
        return None


@contextmanager
def _interrupts(console: Console) -> Iterator[None]:
    """Ctrl-C stops a program that runs, as a breakpoint would, and not the command."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        console.debugger.interrupt.set()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _editing(console: Console, at_terminal: bool) -> Iterator[None]:
    """Lines at a terminal can be edited, are completed with Tab, and are kept for the next time."""
    if not at_terminal:
        yield
        return
    try:
        import readline
    except ImportError:  # Python without it; lines are then typed as they are
        yield
        return
    history = os.path.join(os.path.expanduser("~"), HISTORY)
    readline.set_completer(_completer(console, readline.get_line_buffer))
    readline.set_completer_delims(" ")
    readline.parse_and_bind("tab: complete")
    with suppress(OSError):  # there is none yet
        readline.read_history_file(history)
    try:
        yield
    finally:
        readline.set_history_length(1000)
        with suppress(OSError):  # a home that cannot be written
            readline.write_history_file(history)


def _completer(console: Console, line: Callable[[], str]) -> Callable[[str, int], str | None]:
    def complete(word: str, state: int) -> str | None:
        del word
        found = console.complete(line().lstrip())
        return found[state] if state < len(found) else None

    return complete
