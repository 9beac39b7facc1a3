"""The command group, and how errors reach the user: one line on stderr, exit code 1 or 2."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from dmpc.cli.files import STDOUT, SampleFile, claim, outputs
from dmpc.cli.terminal import own_output, say
from dmpc.errors import DmpcError
from isa.errors import IsaError
from runtime.errors import RuntimeFailure

VERBS = {
    "compile": ("dmpc.cli.compile_verb", "Compile a model to an image."),
    "run": ("dmpc.cli.run_verb", "Run an image on samples: predictions and cycles."),
    "profile": ("dmpc.cli.profile_verb", "Say where an image's cycles and energy go."),
    "report": ("dmpc.cli.report_verb", "Write a page that shows an image and a run of it."),
    "sweep": ("dmpc.cli.sweep_verb", "Compare targets and widths in one table."),
    "fit": ("dmpc.cli.fit_verb", "Say which targets hold a model, and what is scarce."),
    "targets": ("dmpc.cli.targets_verb", "List and describe targets."),
    "diff": ("dmpc.cli.diff_verb", "Say what changed between images, models, targets or runs."),
    "check": ("dmpc.cli.check_verb", "Say everything that is wrong with a model."),
    "verify": ("dmpc.cli.verify_verb", "Check an image against its model, form by form."),
    "debug": ("dmpc.cli.debug_verb", "Stop an image on a sample, look at it, go on."),
    "quantize": ("dmpc.cli.quantize_verb", "Say what quantization costs, and find cheaper widths."),
    "inspect": (
        "dmpc.cli.inspect_verb",
        "Print a model's graph, or an image's memory and schedule.",
    ),
    "disasm": ("dmpc.cli.assembly_verbs", "Print an image as assembly text."),
    "asm": ("dmpc.cli.assembly_verbs", "Assemble text to an image."),
    "export": ("dmpc.cli.export_verb", "Write a model as portable ONNX."),
    "export-memories": (
        "dmpc.cli.export_memories_verb",
        "Write an image's memories and program for a Verilog bench.",
    ),
    "completion": ("dmpc.cli.completion_verb", "Print what completes commands in a shell."),
    "reproduce": ("dmpc.cli.reproduce_verb", "Measure what the paper reports."),
}
"""In which module each verb is, and what it does."""

USERS = (DmpcError, IsaError, RuntimeFailure, click.ClickException, click.exceptions.Exit)
"""What a user can get wrong, and --help; all other errors are ours."""


BINNING = "dmpc.binning"
"""Under which name a context keeps how events become timesteps."""


_FIELDS = {"bin": "width"}


class _Time(click.ParamType[int]):
    """A time such as 10ms, in nanoseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """It, or a usage error that says how it is written."""
        from runtime.data.binning import nanoseconds

        try:
            return nanoseconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _keep(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    if value is not None:
        ctx.meta.setdefault(BINNING, {})[_FIELDS.get(str(param.name), param.name)] = value


def binning_words(ctx: click.Context) -> dict[str, str]:
    """What was given of how events become timesteps, by parameter, as a shell would give it."""
    from runtime.data.binning import as_time

    given = ctx.meta.get(BINNING, {})
    words = {name: str(value) for name, value in given.items() if name != "width"}
    return words | ({"bin": as_time(given["width"])} if "width" in given else {})


def _binning_options() -> list[click.Parameter]:
    """How events in time become timesteps: options of every verb that reads samples."""
    kept: dict[str, Any] = {"expose_value": False, "callback": _keep}
    return [
        click.Option(
            ["--bin"], type=_Time(), metavar="TIME", **kept,
            help="Of events in time: how long a timestep is, such as 10ms.",
        ),
        click.Option(
            ["--channels"], type=click.IntRange(min=1), metavar="N", **kept,
            help="Of events in time: pool as many neighbouring units each to N inputs.",
        ),
        click.Option(
            ["--steps"], type=click.IntRange(min=1), metavar="N", **kept,
            help="Of events in time: N timesteps for every sample.  [default: to its last event]",
        ),
    ]  # fmt: skip


def sample_files(ctx: click.Context) -> list[str]:
    """The files of samples that a verb was given."""
    params = (param for param in ctx.command.params if isinstance(param.type, SampleFile))
    return [path for param in params if (path := ctx.params.get(param.name or ""))]


class Verb(click.Command):
    """A verb: what all of them keep to, whatever they do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if any(isinstance(param.type, SampleFile) for param in self.params):
            self.params += _binning_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an option of one value that is given twice: one of the two would be ignored."""
        given = Counter(self.make_parser(ctx).parse_args(list(args))[2])
        for param, times in given.items():
            single = isinstance(param, click.Option) and not (param.multiple or param.is_flag)
            if single and times > 1:
                raise click.UsageError(f"{param.opts[-1]} is given {times} times", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; on an error that is no user's, a note of what it was about to do."""
        if ctx.meta.get(BINNING) and not sample_files(ctx):
            raise click.UsageError("--bin, --channels and --steps are for files of samples", ctx)
        written = outputs(ctx)
        claim(ctx, written)
        try:
            with own_output(quiet=STDOUT in written.values()):
                return super().invoke(ctx)
        except USERS:
            raise
        except SystemExit as error:
            message = "the model's own code ended the process (sys.exit)"
            raise DmpcError(message, where=self._about(ctx)) from error
        except Exception as error:
            error.add_note(f"{ctx.info_name}: {self._about(ctx)}")
            raise

    def _about(self, ctx: click.Context) -> str:
        """The first file that the verb was given."""
        first = next((p.name for p in self.params if isinstance(p, click.Argument)), None)
        return str(ctx.params[first]) if first else ctx.command_path


class Verbs(click.Group):
    """Loads a verb's module when it runs, so that `dmpc --help` loads none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order in which one uses them."""
        del ctx
        return list(VERBS)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs that begin so, without loading them."""
        del ctx
        return [
            CompletionItem(name, help=short)
            for name, (_, short) in VERBS.items()
            if name.startswith(incomplete)
        ]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb; None if there is no such verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command = getattr(import_module(VERBS[cmd_name][0]), cmd_name.replace("-", "_"))
        assert isinstance(command, Verb)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What `dmpc --help` says of the verbs."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb and its arguments; a misspelt one is told the nearest."""
        name = args[0]
        if name not in VERBS and not name.startswith("-") and not ctx.resilient_parsing:
            from dmpc.ir.registry import did_you_mean

            ctx.fail(f"no verb '{name}' ({did_you_mean(name, VERBS)})")
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a verb and exit; what a user can get wrong becomes one line on stderr."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            say("error", _usage(error))
            sys.exit(error.exit_code)
        except (DmpcError, IsaError, RuntimeFailure) as error:
            say("error", str(error))
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)


def _usage(error: click.UsageError) -> str:
    """An error of usage in the words that other errors have: what, and what would help."""
    message = error.format_message().rstrip(".")
    path = error.ctx.command_path if error.ctx else "dmpc"
    verb = path.partition(" ")[2]
    return f"{verb + ': ' if verb else ''}{message[:1].lower()}{message[1:]}; see {path} --help"


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dmpc")
def main() -> None:
    """Compile dual-memory-pathway spiking networks and run them on a simulated accelerator."""


def option_list(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several click options as one decorator, in the order given."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate
