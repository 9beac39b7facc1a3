"""The command group, and how errors reach the user: one line on stderr, exit code 1."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from dmpc.errors import DmpcError
from dmpc.ir.registry import did_you_mean
from isa.errors import IsaError
from runtime.samples import RuntimeFailure

VERBS = {
    "compile": "dmpc.cli.compile_verb",
    "run": "dmpc.cli.run_verb",
    "check": "dmpc.cli.check_verb",
    "verify": "dmpc.cli.verify_verb",
    "quantize": "dmpc.cli.quantize_verb",
    "inspect": "dmpc.cli.inspect_verb",
    "disasm": "dmpc.cli.assembly_verbs",
    "asm": "dmpc.cli.assembly_verbs",
    "export": "dmpc.cli.export_verb",
    "reproduce": "dmpc.cli.reproduce_verb",
}


class Verbs(click.Group):
    """Loads a verb's module when it is needed, so that `dmpc --help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order in which one uses them."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb; None if there is no such verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command = getattr(import_module(VERBS[cmd_name]), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb and its arguments; a misspelt one is told the nearest."""
        name = args[0]
        if name not in VERBS and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{name}' ({did_you_mean(name, VERBS)})")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; what a user can get wrong becomes one line on stderr and exit code 1."""
        try:
            return super().invoke(ctx)
        except (DmpcError, IsaError, RuntimeFailure) as error:
            click.echo(f"dmpc: error: {' '.join(str(error).split())}", err=True)
            sys.exit(1)


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
