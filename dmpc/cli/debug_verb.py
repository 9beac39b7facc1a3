"""`dmpc debug`."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import click

import runtime
from dmpc.cli.compile_verb import model_options, options_of
from dmpc.cli.files import InputFile, ModelFile, OutputFile, SampleFile, write_json
from dmpc.cli.main import USERS, Verb
from dmpc.cli.models import errors_of, refuse_unread
from dmpc.cli.recordings import device_input
from dmpc.cli.samples import read_samples, samples_of
from dmpc.cli.terminal import Output, own_terminal, write_out
from dmpc.errors import DmpcError
from isa.arithmetic import Int
from isa.engines import ENGINES
from isa.errors import IsaError
from isa.files import read_text
from runtime.debug_adapter import Adapter, Opened
from runtime.debug_commands import Console
from runtime.debugger import Debugger, Expected
from runtime.errors import RuntimeFailure

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
@click.argument("image", type=InputFile(), required=False)
@click.option(
    "--input", "data", type=SampleFile(), metavar="DATA",
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
@click.option(
    "--dap", is_flag=True,
    help="Speak the Debug Adapter Protocol on standard input and output, for an editor; what its "
    "launch arguments (program, input, sample, model, source) leave out is taken from here.",
)  # fmt: skip
@model_options
def debug(
    image: str | None,
    data: str | None,
    sample: int,
    model: str | None,
    tolerance: float,
    engine: str,
    script: str | None,
    json_path: str | None,
    dap: bool,
    **chosen: Any,
) -> None:
    """Stop IMAGE on a sample, look at it, go on: a prompt; `help` lists its commands.

    Breakpoints are at instructions, layers, timesteps, cycles, traps, saturation and spikes. With
    --model the integer and the float graph run beside, and the program stops at the first value
    that differs, with layer, timestep, neuron and both numbers.
    """
    refuse_unread(
        {
            "without --model": () if model or dap else (*MODEL_OPTIONS, "tolerance"),
            "without --script": () if script else ("json_path",),
            "with --dap": ("script",) if dap else (),
        }
    )
    given = _Given(image, data, sample, model, tolerance, engine, chosen)
    if dap:
        Adapter(sys.stdin.buffer, write_out, given.launched, USERS).serve()
        return
    for name, value in (("IMAGE", image), ("--input", data)):
        if value is None:
            raise click.UsageError(f"missing {name}")
    console = given.opened()
    if script:
        told = _run_script(console, script, Output())
        if json_path:
            write_json(json_path, {"commands": told})
    else:
        _prompt(console)


@dataclass(frozen=True)
class _Given:
    """What is to be debugged, as the command line or an editor's launch arguments say."""

    image: str | None
    data: str | None
    sample: int
    model: str | None
    tolerance: float
    engine: str
    chosen: dict[str, Any]

    def opened(self) -> Console:
        """A console at the start of the sample."""
        from dmpc.cli.beside import Beside, meanings

        assert self.image is not None
        assert self.data is not None
        program = runtime.load(self.image, self.engine)
        samples = read_samples(self.data)
        beside = None
        if self.model:
            with errors_of(self.model):
                beside = Beside(
                    program, self.model, samples.x, options_of(**self.chosen), self.tolerance
                )

        def sample(number: int) -> tuple[Int, dict[str, Expected]]:
            with samples_of(self.data):
                inputs = device_input(program, samples, number)
            expected = beside.expected(samples.x[number, : len(inputs)], inputs) if beside else {}
            return inputs, expected

        inputs, expected = sample(self.sample)
        debugger = Debugger(program, inputs, meanings=meanings(program), expected=expected)
        return Console(debugger, sample)

    def launched(self, arguments: dict[str, Any]) -> Opened:
        """What an editor wants to debug."""
        wanted = replace(
            self,
            image=_text(arguments, "program", self.image),
            data=_text(arguments, "input", self.data),
            model=_text(arguments, "model", self.model),
            sample=int(arguments.get("sample", self.sample)),
        )
        for name, value in (("program", wanted.image), ("input", wanted.data)):
            if value is None:
                raise DmpcError(f"the launch arguments name no {name}")
        assert wanted.image is not None
        return Opened(
            wanted.opened(),
            f"{Path(wanted.image).stem}.s",
            _text(arguments, "source", None) or "",
            bool(arguments.get("stopOnEntry", True)),
        )


def _text(arguments: dict[str, Any], name: str, default: str | None) -> str | None:
    value = arguments.get(name, default)
    if value is not None and not isinstance(value, str):
        raise DmpcError(f"the launch argument {name} is a text")
    return value


def _run_script(console: Console, path: str, out: Output) -> list[dict[str, Any]]:
    """Carry out the commands of a file; what was told, command by command."""
    try:
        lines = read_text(path, "utf-8").splitlines()
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
            console.debugger.interrupt.clear()  # one at the prompt is over
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
        found = console.typed(line().lstrip())
        return found[state] if state < len(found) else None

    return complete
