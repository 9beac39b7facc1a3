"""The engine's C sources as a library: built when the project is installed, found when it runs.

`pip install` builds it into this folder with the machine's C compiler, or where there is none with
the one that the Python package `ziglang` carries. Its name holds a digest of the sources, so a
library of other sources is never loaded; whoever changes them gets a new one at the next run, here
or, where this folder cannot be written, in the user's cache.
"""

import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from isa.errors import IsaError
from isa.native.records import header

HERE = Path(__file__).parent
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-fno-math-errno")
LEVELS = {
    "x86_64": {"base": ((), ()), "avx2": (("-march=x86-64-v3",), ("-mcpu=x86_64_v3",))},
}
"""Processors of an architecture, the commonest first: flags of a C compiler, and of zig."""


def levels() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The libraries that this architecture has."""
    return LEVELS.get(platform.machine(), {"base": ((), ())})


def digest() -> str:
    """Of everything that the library is made from."""
    made = hashlib.sha256(" ".join((*FLAGS, platform.machine(), sys.platform)).encode())
    for text in (header(), *(path.read_text("utf-8") for path in sorted(HERE.glob("*.[ch]")))):
        made.update(text.encode())
    return made.hexdigest()[:16]


def file_name(level: str) -> str:
    """The library's file for a kind of processor."""
    return f"engine-{digest()}-{level}.so"


def compiler() -> list[str] | None:
    """How to call a C compiler, or None: the machine's, or the one in the package `ziglang`."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and (found := shutil.which(name)):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    return None


def build(folder: Path) -> None:
    """Build the libraries of all levels into a folder; IsaError if that cannot be done."""
    command = compiler()
    if command is None:
        raise IsaError(
            "the simulator's compiled engine is missing and there is no C compiler to build it: "
            "install one, or `pip install ziglang`, which carries one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "records.h").write_text(header(), "utf-8")
        for level, flags in levels().items():
            made = Path(scratch, level)
            special = flags["ziglang" in command]
            call = [*command, *FLAGS, *special, f"-I{scratch}", str(HERE / "engine.c")]
            # zig keeps a cache of its own, which is of no use afterwards
            caches = {"ZIG_GLOBAL_CACHE_DIR": scratch, "ZIG_LOCAL_CACHE_DIR": scratch}
            run = subprocess.run(
                [*call, "-o", str(made)], capture_output=True, text=True, env=os.environ | caches
            )
            if run.returncode:
                told = " ".join(run.stderr.split())[:300]
                raise IsaError(f"the simulator's compiled engine cannot be built: {told}")
            beside = folder / f".{file_name(level)}.{os.getpid()}"
            shutil.copyfile(made, beside)
            beside.replace(folder / file_name(level))
    wanted = {file_name(level) for level in levels()}
    for stale in set(folder.glob("engine-*.so")) - {folder / name for name in wanted}:
        stale.unlink(missing_ok=True)  # of sources that are gone


def missing(folder: Path) -> bool:
    """Whether a folder lacks the library of one of the levels."""
    return not all((folder / file_name(level)).exists() for level in levels())


def _cache() -> Path:
    """The user's folder for libraries, where this one cannot be written."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dmpc"


def _found(level: str) -> Path | None:
    places = (folder / file_name(level) for folder in (HERE, _cache()))
    return next((path for path in places if path.exists()), None)


@cache
def library() -> ctypes.CDLL:
    """The library for this processor, built first if need be; IsaError if it cannot be had."""
    if missing(HERE) and missing(_cache()):
        try:
            build(HERE)
        except OSError:
            build(_cache())
    loaded = {}
    for level in levels():
        path = _found(level)
        assert path is not None
        loaded[level] = ctypes.CDLL(str(path))
        if len(loaded) == 1 and "avx2" in levels() and not loaded[level].dmpc_has_avx2():
            break
    return loaded[list(loaded)[-1]]
