"""Files on the command line: which are read, which are written, and that none is both."""

import json
import math
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from dmpc.cli.terminal import write_out, write_out_text
from dmpc.errors import DmpcError
from isa.files import check_output, write_file

STDOUT = "-"


class InputFile(click.ParamType[str]):
    """The name of a file, or of something else, that the command reads."""

    name = "file"

    def files(self, value: str) -> Iterator[str]:
        """Every file that is read for a value, if it is there."""
        yield value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """A shell completes names of files itself."""
        del ctx, param
        return [CompletionItem(incomplete, type="file")]


class ModelFile(InputFile):
    """A model, or an image: with what its file refers to."""

    def files(self, value: str) -> Iterator[str]:
        """The file, its external data; of a factory, its module."""
        from dmpc.frontend.models import is_factory

        yield value
        if is_factory(value):
            module = value.partition(":")[0].replace(".", os.sep)
            for folder in ("", *sys.path):
                yield os.path.join(folder, f"{module}.py")
                yield os.path.join(folder, module, "__init__.py")
        elif value.endswith(".onnx"):
            yield from _external(value)


def _external(path: str) -> Iterator[str]:
    """The files in which an ONNX file keeps tensors; nothing of one that cannot be read."""
    import onnx
    from google.protobuf.message import DecodeError, Message

    def tensors(message: Message) -> Iterator[onnx.TensorProto]:
        if isinstance(message, onnx.TensorProto):
            yield message
        for _, value in message.ListFields():
            parts = [value] if isinstance(value, Message) else value
            if isinstance(parts, Iterable) and not isinstance(parts, str | bytes):
                for part in parts:
                    if not isinstance(part, Message):
                        break
                    yield from tensors(part)

    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, ValueError, DecodeError):
        return
    places = {e.value for t in tensors(model) for e in t.external_data if e.key == "location"}
    yield from (os.path.join(os.path.dirname(path), place) for place in sorted(places))


class SampleFile(InputFile):
    """A file of samples, in any format that is known."""


class InputFolder(InputFile):
    """A folder, of which the command may read every file."""

    def files(self, value: str) -> Iterator[str]:
        """The files in it."""
        if os.path.isdir(value):
            yield from (os.path.join(value, name) for name in os.listdir(value))


class OutputFile(click.ParamType[str]):
    """The name of a file that the command writes; `-` is standard output, however it is spelt.

    `default` makes it of the other parameters where it is not given.
    """

    name = "file"

    def __init__(self, default: Callable[[dict[str, Any]], str] | None = None) -> None:
        self.default = default

    shell_complete = InputFile.shell_complete

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """`-` for what standard output goes to, such as /dev/stdout; else the name as it is."""
        del param, ctx
        try:
            found = os.stat(value)
            same = os.path.samestat(found, os.fstat(1))
        except (OSError, ValueError):
            return value
        device = stat.S_ISCHR(found.st_mode) and not os.isatty(1)
        return STDOUT if same and not device else value


class OutputFolder(click.ParamType[str]):
    """The name of a folder that the command writes files into."""

    name = "folder"

    @staticmethod
    def write(folder: str, files: Mapping[str, str | dict[str, Any]]) -> None:
        """Write texts, and JSON of what is no text, into a folder; it is made if it is not there.

        Raises DmpcError, before anything is written, if a file cannot be, or is one that the verb
        reads.
        """
        try:
            os.makedirs(folder, exist_ok=True)
        except (OSError, ValueError) as error:  # no name that a folder can have
            raise _cannot(folder, error) from error
        paths = {name: os.path.join(folder, name) for name in files}
        claim(click.get_current_context(), {name: paths[name] for name in sorted(paths)})
        for name, content in files.items():
            if isinstance(content, str):
                write_text(paths[name], content)
            else:
                write_json(paths[name], content)


json_option = click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Write the results as JSON; - for stdout alone.",
)  # fmt: skip


def outputs(ctx: click.Context) -> dict[str, str]:
    """The files that a verb is to write, by option; those that were not chosen are set."""
    found = {}
    for param in ctx.command.params:
        if isinstance(param.type, OutputFile) and param.name:
            if ctx.params[param.name] is None and param.type.default:
                ctx.params[param.name] = param.type.default(ctx.params)
            if ctx.params[param.name] is not None:
                found[param.opts[0]] = ctx.params[param.name]
    return found


def beside(source: str, suffix: str) -> str:
    """What a file made of another is called."""
    return os.path.splitext(source)[0] + suffix


def claim(ctx: click.Context, wanted: dict[str, str]) -> None:
    """Refuse, before anything is done, `wanted` outputs that would be wrong.

    Raises DmpcError if one cannot be written, is an input of the verb, or is another output.
    """
    chosen = {
        param.opts[0]
        for param in ctx.command.params
        if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
    }
    taken: dict[str | tuple[int, int], str] = {}
    for option, path in wanted.items():
        key = path if path == STDOUT else _identity(path, option in chosen)
        if key is not None and taken.setdefault(key, option) != option:
            raise DmpcError(f"{taken[key]} and {option} would both write it", where=path)
    if not any(isinstance(key, tuple) for key in taken):
        return  # none is there yet
    for name, path in _inputs(ctx):
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            continue
        writer = taken.get((found.st_dev, found.st_ino))
        if writer:
            message = f"{writer} would overwrite what the command reads ({name})"
            raise DmpcError(message, where=wanted[writer], hint="write another file")


def _identity(path: str, chosen: bool) -> str | tuple[int, int] | None:
    """What tells a file from others, under whatever name; None for a device, which is no file."""
    try:
        found = check_output(path)
    except FileNotFoundError as error:
        if chosen:
            raise _cannot(path, error) from error
        found = None  # beside an input that is not there, which its reader says better
    except OSError as error:
        raise _cannot(path, error) from error
    if found is None:
        return os.path.realpath(path)
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _inputs(ctx: click.Context) -> Iterator[tuple[str, str]]:
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        if isinstance(param.type, InputFile) and value:
            label = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
            values = value if param.nargs == -1 else (value,)
            yield from ((label, path) for one in values for path in param.type.files(one))


# -- writing --------------------------------------------------------------------------------------


def write_bytes(path: str, content: bytes) -> None:
    """Write a file, whole or not at all; `-` is standard output. Raises DmpcError."""
    if path == STDOUT:
        write_out(content)
        return
    try:
        write_file(path, content)
    except OSError as error:
        raise _cannot(path, error) from error


def write_text(path: str, text: str) -> None:
    """Write a text file, whole or not at all; `-` is standard output. Raises DmpcError."""
    if path == STDOUT:
        write_out_text(text)
    else:
        write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: str, value: dict[str, Any]) -> None:
    """Write JSON, whole or not at all; `-` is standard output. Raises DmpcError."""
    write_text(path, json.dumps(_plain(value), indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """A value of which JSON can hold all: it knows no number that is none, or infinite."""
    if isinstance(value, dict):
        return {key: _plain(other) for key, other in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(other) for other in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cannot(path: str, error: OSError | ValueError) -> DmpcError:
    reason = error.strerror if isinstance(error, OSError) else None
    return DmpcError(f"cannot write: {reason or error}", where=path)
