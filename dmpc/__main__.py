"""The `dmpc` command as a process: signals, standard streams, the last boundary for errors.

What takes time is imported after signals are looked after, so that one that comes early is silent.
"""

from __future__ import annotations

import os
import signal
import sys
from io import BufferedWriter, RawIOBase, TextIOWrapper

TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

INTERNAL = 70
"""Exit code of an error that is no user's."""

DEBUG = "DMPC_DEBUG"
"""Set, this environment variable shows tracebacks and the libraries' own warnings."""

STOPPED = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""Signals that end the command, each with the handler that Python has if nobody chose another."""


NO_PLUGINS = "PYDANTIC_DISABLE_PLUGINS", "__all__"
"""Whatever else is installed has no say in what a target means; and nobody has to look for it."""


def run() -> NoReturn:
    """Run the command with this process's arguments, and end the process."""
    os.environ.setdefault(*NO_PLUGINS)
    for number, handler in STOPPED.items():
        if signal.getsignal(number) == handler:  # a shell or nohup may have had it ignored
            signal.signal(number, _stop)
    output = _own_streams()
    if not os.environ.get(DEBUG):
        _silence()
    sys.exit(_ended(output, _command(output)))


class StandardOutput(RawIOBase):
    """Where standard output goes, with errors of its own class: no other file's, never passed over.

    After one, what is still to come is dropped.
    """

    class Failure(Exception):
        """Standard output that cannot be written; the message is one line."""

    def __init__(self, file: int | None) -> None:
        self._file, self.failed = file, False

    def write(self, data: Any, /) -> int:
        """Write what can be written at once; raises Failure."""
        if self.failed:
            return len(memoryview(data))
        try:
            if self._file is None:
                raise OSError("it is closed")
            return os.write(self._file, data)
        except OSError as error:
            self.failed = True
            reason = error.strerror or error
            raise self.Failure(f"standard output: cannot write: {reason}") from error

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The file's descriptor."""
        return super().fileno() if self._file is None else self._file

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._file is not None and os.isatty(self._file)


def _own_streams() -> StandardOutput:
    """Set up streams that write everything or fail, and know what to do with any character."""
    closed = sys.stdout is None
    for number in (0, 1, 2):  # a file that is opened must not take the place of a closed stream
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    raw = StandardOutput(None if closed else 1)
    encoding = "utf-8" if closed else sys.stdout.encoding
    sys.stdout = TextIOWrapper(
        BufferedWriter(raw), encoding, "backslashreplace", line_buffering=raw.isatty()
    )
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  for good
    return raw


def _silence() -> None:
    """Keep what libraries say besides the command's own messages off the terminal."""
    import logging
    import warnings

    def nothing(*_: Any, **__: Any) -> None:
        pass

    logging.disable()
    if not sys.warnoptions:
        warnings.showwarning = nothing  # and no filter: libraries set filters, too
    sys.unraisablehook = nothing


def _command(output: StandardOutput) -> int:
    """Run the command; its exit code."""
    try:
        from dmpc.cli import main

        main(prog_name="dmpc")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except output.Failure as error:
        return _unwritten(error)
    except MemoryError as error:
        _show_traceback()
        return _say(f"{_doing(error)}there is not enough memory", 1)
    except Exception as error:  # the last boundary: a mistake of this project, said in one line
        _show_traceback()
        return _say(_internal(error), INTERNAL)
    return 0


def _ended(output: StandardOutput, status: int) -> int:
    """Write what is left of the output; the exit code."""
    try:
        sys.stdout.flush()
    except output.Failure as error:
        return _unwritten(error)
    return status


def _unwritten(error: Exception) -> int:
    """Whoever reads has seen enough, as `head` has: not a word, and the exit code of SIGPIPE."""
    if isinstance(error.__cause__, BrokenPipeError):
        return 128 + signal.SIGPIPE
    return _say(str(error), 1)


def _show_traceback() -> None:
    if os.environ.get(DEBUG):
        import traceback

        traceback.print_exc()


def _internal(error: Exception) -> str:
    from traceback import extract_tb

    frame = extract_tb(error.__traceback__)[-1]
    place = "/".join(frame.filename.split(os.sep)[-3:])
    said = f"{type(error).__name__}: {error}"
    return (
        f"{_doing(error)}{said} ({place}:{frame.lineno}); this is a mistake in dmpc, not in yours: "
        f"please report it, with what {DEBUG}=1 in the environment shows"
    )


def _doing(error: BaseException) -> str:
    """What the command was doing, which its verb noted on the error."""
    return "".join(f"{note}: " for note in getattr(error, "__notes__", ()))


def _say(message: str, status: int) -> int:
    from dmpc.cli.terminal import say

    say("error", message)
    return status


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End the process at once and without a word, and leave no half-written file behind."""
    del frame
    discard = getattr(sys.modules.get("isa.files"), "discard", None)  # it may be loading
    if discard:
        discard()
    if os.isatty(2):
        os.write(2, b"\r\x1b[K\x1b[?25h")  # a progress bar hides the cursor
    os._exit(128 + number)


if __name__ == "__main__":
    run()
