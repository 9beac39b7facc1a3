"""`dmpc completion`."""

import click
from click.shell_completion import get_completion_class

from dmpc.cli.main import Verb, main
from dmpc.cli.terminal import Output

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_DMPC_COMPLETE"


@click.command(
    "completion",
    cls=Verb,
    epilog="""Examples:

\b
  eval "$(dmpc completion bash)"
  dmpc completion fish > ~/.config/fish/completions/dmpc.fish""",
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script for SHELL that completes verbs, options, their values and names of files."""
    made = get_completion_class(shell)
    assert made is not None
    complete = made(main, {}, "dmpc", VARIABLE)
    Output().text(complete.source_template % complete.source_vars() + "\n")
