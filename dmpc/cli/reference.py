"""The page of all verbs, generated from their definitions.

`make site` makes it anew with the site of the documents; it is no file of the repository.
"""

import re
from collections.abc import Iterator

import click

from dmpc.cli.main import VERBS, main

HEAD = """# Commands

Generated from the verbs' own definitions; `dmpc VERB --help` says the same. Errors are one line and
exit with 1, errors of usage with 2. With `-` for a file that is written, standard output holds it
alone.

| verb | what it does |
|---|---|"""


def reference() -> str:
    """The page."""
    ctx = click.Context(main, info_name="dmpc")
    lines = [HEAD]
    lines += [
        f"| [`{name}`](#dmpc-{name}) | {_plain(short)} |" for name, (_, short) in VERBS.items()
    ]
    for name in VERBS:
        command = main.get_command(ctx, name)
        assert command is not None
        lines += ["", *_verb(command, click.Context(command, ctx, info_name=name))]
    return "\n".join(lines) + "\n"


def _verb(command: click.Command, ctx: click.Context) -> Iterator[str]:
    yield f"## dmpc {ctx.info_name}"
    yield ""
    yield f"    {' '.join([ctx.command_path, *command.collect_usage_pieces(ctx)])}"
    for paragraph in re.split(r"\n\s*\n", (command.help or "").strip()):
        yield ""
        yield _plain(" ".join(paragraph.split()))
    yield ""
    yield "| option | means |"
    yield "|---|---|"
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record and record[1] and "--help" not in param.opts:
            name, text = (" ".join(part.split()) for part in record)
            yield f"| `{name.replace('|', ' or ')}` | {_plain(text)} |"
    if command.epilog:
        yield ""
        yield "Examples:"
        yield ""
        for line in command.epilog.splitlines():
            if line.startswith("  "):
                yield f"    {line.strip()}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([*_|<>\[\]])", r"\\\1", text.replace("\\", "\\\\"))


if __name__ == "__main__":
    print(reference(), end="")
