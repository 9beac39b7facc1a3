"""Models on the command line: errors about them name their file, and where to see all of them."""

import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from click.core import ParameterSource

from dmpc.cli.main import binning_words
from dmpc.cli.terminal import say
from dmpc.errors import DmpcError, SampleError
from dmpc.findings import Finding
from dmpc.rules import Severity

MOST_WARNINGS = 3  # that are printed

# What does not come through a message of one line, or through a terminal, as it is.
_UNSHOWN = re.compile(r"\s{2}|[^\S ]|[^ -~\w]")


@contextmanager
def errors_of(path: str) -> Iterator[None]:
    """Errors of passes, which know the model's nodes alone, name the model's file as well."""
    try:
        yield
    except SampleError:
        raise
    except DmpcError as error:
        for one in error.every:
            if not one.where.startswith(path):
                one.where = f"{path}: {one.where}" if one.where else path
        error.more = check_command(path)
        raise


def check_command(model: str) -> str:
    """`dmpc check` of a model with the options that this command was given, for a shell."""
    from dmpc.cli.check_verb import check

    ctx = click.get_current_context()
    words = ["dmpc", "check", f".{os.sep}{model}" if model.startswith("-") else model]
    known = {param.name for param in check.params}
    for param in ctx.command.params:
        if not isinstance(param, click.Option) or param.name is None:
            continue
        option: str = param.opts[0]
        value: Any = {**ctx.params, **binning_words(ctx)}.get(param.name)
        if ctx.info_name == "verify" and param.name == "data":
            words += ["--calibration", value]
        elif param.name in known - {"json_path"} and is_given(ctx, param.name):
            words += _words(option, param, value)
    return " ".join(map(quoted, words))


def warn(told: list[Finding], model: str) -> None:
    """The first warnings of those told, a line each, and where to see the others."""
    warnings = [found for found in told if found.severity is Severity.WARNING]
    for found in warnings[:MOST_WARNINGS]:
        place = found.where if found.where.startswith(model) else f"{model}: {found.where}"
        say("warning", f"{place}: {found.message}")
    if len(warnings) > MOST_WARNINGS:
        say("warning", f"{len(warnings) - MOST_WARNINGS} more: {check_command(model)}")


def is_given(ctx: click.Context, name: str) -> bool:
    """Whether the command line gives a parameter."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def refuse_unread(unread: Mapping[str, Collection[str]]) -> None:
    """A usage error if a parameter is given that would be ignored: names by when they are."""
    ctx = click.get_current_context()
    for param in ctx.command.params:
        for when, names in unread.items():
            if param.name in names and is_given(ctx, param.name):
                raise click.UsageError(f"{param.opts[0]} has no effect {when}", ctx)


def _words(option: str, param: click.Option, value: Any) -> Iterator[str]:
    if param.is_flag:
        yield option
    elif isinstance(value, dict):
        for key, other in value.items():
            yield from (option, f"{key}={other}")
    elif isinstance(value, tuple):
        yield from (option, *map(str, value))
    else:
        yield from (option, str(value))


def quoted(word: str) -> str:
    """A word as a shell takes it; in bash's own way if it could not be shown otherwise."""
    if not _UNSHOWN.search(word):
        return shlex.quote(word)
    shown = (
        chr(byte) if 32 < byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in _bytes_of(word)
    )
    return f"$'{''.join(shown)}'"


def _bytes_of(word: str) -> bytes:
    """A word as it was given; half a surrogate pair, which no shell gives, as it would be."""
    try:
        return os.fsencode(word)
    except UnicodeEncodeError:
        return word.encode("utf-8", "surrogatepass")
