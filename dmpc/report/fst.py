"""Signals as Fast Signal Traces, GTKWave's own compact form, written by its own library.

The Python package `pylibfst` carries that library; it is needed here alone.
"""

import os
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from dmpc.errors import DmpcError
from dmpc.report.signals import Signal, Signals
from isa.files import temporary_folder

EXPONENTS = {"ns": -9, "ps": -12, "fs": -15}
NO_DATE = b"Thu Jan  1 00:00:00 1970"  # the same signals give the same file


def fst_bytes(made: Signals, comment: str, where: str) -> bytes:
    """A trace; DmpcError names the file `where` it is to go if there is no library to write it."""
    try:
        from pylibfst import ffi, lib
    except ImportError:
        raise DmpcError(
            "writing .fst needs pylibfst", where=where,
            hint="pip install pylibfst, or write .vcd, which GTKWave's vcd2fst turns to .fst",
        ) from None  # fmt: skip
    with temporary_folder() as folder:
        path = os.path.join(folder, "trace")
        writer = lib.fstWriterCreate(path.encode(), 1)
        if writer == ffi.NULL:
            raise DmpcError("cannot write a temporary file", where=folder)
        lib.fstWriterSetTimescale(writer, EXPONENTS[made.clock.unit])
        lib.fstWriterSetDate(writer, NO_DATE)
        lib.fstWriterSetVersion(writer, b"dmpc")
        lib.fstWriterSetComment(writer, comment.encode())
        handles = _declare(lib, ffi, writer, made.signals)
        for half, changes in groupby(made.changes, key=lambda change: change[0]):
            lib.fstWriterEmitTimeChange(writer, made.clock.at(half))
            for _, number, value in changes:
                data = _shown(made.signals[number], value)
                if not made.signals[number].bits:
                    lib.fstWriterEmitVariableLengthValueChange(
                        writer, handles[number], data, len(data)
                    )
                else:
                    lib.fstWriterEmitValueChange(writer, handles[number], data)
        lib.fstWriterEmitTimeChange(writer, made.clock.at(made.end))
        lib.fstWriterClose(writer)
        return Path(path).read_bytes()


def _shown(signal: Signal, value: int | str | None) -> bytes:
    """What a signal shows, as the library takes it: bits, the highest first, or a text."""
    if not signal.bits:
        return str(value or "").encode()
    if not isinstance(value, int):
        return b"x" * signal.bits
    return f"{value % (1 << signal.bits):0{signal.bits}b}".encode()


def _declare(lib: Any, ffi: Any, writer: Any, signals: list[Signal]) -> list[int]:
    """Signals in their scopes; their handles, in the order of the signals."""
    handles = [0] * len(signals)
    open_: tuple[str, ...] = ()
    for number in sorted(range(len(signals)), key=lambda n: (signals[n].scope, n)):
        signal = signals[number]
        shared = takewhile(lambda pair: pair[0] == pair[1], zip(open_, signal.scope, strict=False))
        kept = len(list(shared))
        for _ in open_[kept:]:
            lib.fstWriterSetUpscope(writer)
        for name in signal.scope[kept:]:
            lib.fstWriterSetScope(writer, lib.FST_ST_VCD_MODULE, name.encode(), ffi.NULL)
        open_ = signal.scope
        kind = lib.FST_VT_VCD_WIRE if signal.bits else lib.FST_VT_GEN_STRING
        handles[number] = lib.fstWriterCreateVar(
            writer, kind, lib.FST_VD_IMPLICIT, signal.bits, signal.name.encode(), 0
        )
    for _ in open_:
        lib.fstWriterSetUpscope(writer)
    return handles
