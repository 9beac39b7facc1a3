"""Files written whole or not at all: the one place of the project that writes what a user names."""

import errno
import io
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOST_PIPED = 1 << 28
"""Bytes that are read of what is no regular file: a device may have no end."""
READER_SECONDS = 5.0
"""How long a FIFO that is written waits for somebody to read it."""

unfinished: set[str] = set()
"""Temporary files and folders in use: whoever ends the process at once removes them (`discard`)."""


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file. Raises OSError if it cannot be written; what stood there then still does.

    A new file appears, or an old one changes, in one step, and keeps its mode; of a symbolic link
    the target is written. A device is written into, and a FIFO, if somebody reads it. Threads and
    processes that write the same file do not disturb each other: one of them is last.
    """
    found = check_output(path)
    if found is not None and not stat.S_ISREG(found.st_mode):
        with open(_opened(path), "wb") as device:
            device.write(content)
        return
    target = os.path.realpath(path)
    # Not derived from the target's name, which may be as long as names can be.
    beside = os.path.join(os.path.dirname(target), f".dmpc-{os.urandom(8).hex()}")
    unfinished.add(beside)
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(content)
            if found is not None:
                _keep(file.fileno(), found)
        os.replace(beside, target)
    finally:
        _remove(beside)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """What a file holds, or a pipe gives. OSError, also if it gives more than can be meant."""
    try:
        opened = open(path, "rb")  # noqa: SIM115, closed below
    except ValueError as error:  # a NUL, or half a surrogate pair
        raise OSError(errno.EINVAL, "no file can have such a name") from error
    with opened as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read()
        content = file.read(MOST_PIPED + 1)
    if len(content) > MOST_PIPED:
        raise _failure(errno.EFBIG, path)
    return content


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8-sig") -> str:
    """The same as text, with lines that end alike. OSError or UnicodeDecodeError."""
    return io.TextIOWrapper(io.BytesIO(read_file(path)), encoding).read()


def check_output(path: str | os.PathLike[str]) -> os.stat_result | None:
    """What stands at a path that is to be written, if anything; OSError if it cannot be written."""
    name = os.fsdecode(path)
    if not name or not _possible(name):
        raise _failure(errno.EINVAL if name else errno.ENOENT, path)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        folder = os.path.dirname(os.path.realpath(path))  # of a link, the one of what it names
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _failure(errno.EACCES if os.path.isdir(folder) else errno.ENOENT, path) from None
        if name.endswith(os.sep):
            raise _failure(errno.EISDIR, path) from None
        return None
    if stat.S_ISDIR(found.st_mode):
        raise _failure(errno.EISDIR, path)
    if not os.access(path, os.W_OK):
        raise _failure(errno.EACCES, path)
    return found


@contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder for files that are gone afterwards."""
    path = os.path.join(tempfile.gettempdir(), f"dmpc-{os.urandom(8).hex()}")
    unfinished.add(path)
    try:
        os.mkdir(path, 0o700)
        yield path
    finally:
        _remove(path)


def discard() -> None:
    """Remove what is being written, before the process ends at once."""
    for path in list(unfinished):
        _remove(path)


def _opened(path: str | os.PathLike[str]) -> int:
    """A device or FIFO, open for writing; a FIFO waits for its reader, but not for ever."""
    patience = time.monotonic() + READER_SECONDS
    while True:
        try:
            file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > patience:
                raise OSError(errno.ENXIO, "nobody reads from it", os.fspath(path)) from error
        time.sleep(0.01)
    os.set_blocking(file, True)
    return file


def _keep(file: int, found: os.stat_result) -> None:
    """Give a file the mode of the one that it replaces, and its owner where that is allowed."""
    now = os.fstat(file)
    if (now.st_uid, now.st_gid) != (found.st_uid, found.st_gid):
        with suppress(PermissionError):
            os.fchown(file, found.st_uid, found.st_gid)
    os.fchmod(file, stat.S_IMODE(found.st_mode))  # after the owner: a new one clears bits


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)
    unfinished.discard(path)


def _possible(name: str) -> bool:
    """Whether a file can have a name."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _failure(code: int, path: str | os.PathLike[str]) -> OSError:
    return OSError(code, os.strerror(code), os.fspath(path))
