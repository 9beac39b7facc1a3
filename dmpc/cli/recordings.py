"""What `dmpc run` writes of samples beside results: `--trace` by cycle, `--vectors` by timestep."""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import click
import numpy as np

import runtime
from dmpc.cli.files import STDOUT, OutputFolder, write_bytes, write_text
from dmpc.errors import DmpcError
from runtime.places import chosen, left
from runtime.recording import Recording, record
from runtime.samples import Samples

PERFETTO = (".perfetto-trace", ".pftrace")
VCD = ".vcd"
FST = ".fst"


class Numbers(click.ParamType[tuple[int, ...]]):
    """Numbers from 0 as in `3`, `0:4` (0 to 3), `1,5:8`; in order, each once."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The numbers."""
        found = set[int]()
        for part in str(value).split(","):
            match = re.fullmatch(r"\s*(\d{1,9})(?::(\d{1,9}))?\s*", part)
            last = int(match[2] or int(match[1]) + 1) if match else 0
            if not match or last <= int(match[1]):
                message = f"{part!r} is neither a number from 0 nor a range such as 0:4"
                self.fail(message, param, ctx)
            found.update(range(int(match[1]), last))
        return tuple(sorted(found))


def window(timesteps: tuple[int, ...] | None) -> range | None:
    """Timesteps that follow each other, as they are recorded; DmpcError if they do not."""
    if timesteps is None:
        return None
    found = range(timesteps[0], timesteps[-1] + 1)
    if len(found) != len(timesteps):
        raise DmpcError(
            "timesteps that are chosen follow each other",
            hint=f"--timesteps {found[0]}:{found.stop}",
        )
    return found


def is_perfetto(path: str | None) -> bool:
    """Whether a file's name asks for a Perfetto trace."""
    return path is not None and path.endswith(PERFETTO)


def check_trace(path: str | None) -> None:
    """Refuse, before anything runs, a trace of a form that nobody knows."""
    stem, suffix = os.path.splitext(path or "")
    if suffix and path != STDOUT and suffix not in (*PERFETTO, VCD, FST):
        raise DmpcError(
            f"no trace is called {suffix}", where=path or "",
            hint=f"write {stem}{VCD} for a wave viewer, {stem}{PERFETTO[0]} for ui.perfetto.dev",
        )  # fmt: skip


def write_trace(
    program: runtime.Program,
    samples: Samples,
    path: str,
    numbers: tuple[int, ...] | None,
    timesteps: range | None,
    shown: tuple[str, ...],
    cycles: Sequence[int],
    advance: Callable[[int], None],
) -> None:
    """Record samples by number, the first if none are chosen, and write the file.

    `cycles` are those that each of the samples takes.
    """
    perfetto = is_perfetto(path)
    watched = chosen(program, shown)
    if perfetto:
        watched = [item for item in left(program) if item.is_events]
    recordings: list[tuple[int, Recording]] = []
    for number in numbers or (0,):
        inputs = device_input(program, samples, number)
        found = record(program, inputs, timesteps=timesteps, watched=watched, cycles=cycles[number])
        recordings.append((number, found))
        advance(1)
    if perfetto:
        from dmpc.report.perfetto import trace_bytes

        write_bytes(path, trace_bytes(recordings, program.image))
        return
    from dmpc.report.fst import fst_bytes
    from dmpc.report.signals import signals
    from dmpc.report.waves import vcd_text

    target = program.image.target
    comment = f"{program.interface.name} on {target.name}, {target.frequency_mhz:g} MHz"
    made = signals(recordings, program.image)
    if path.endswith(FST):
        write_bytes(path, fst_bytes(made, comment, path))
    else:
        write_text(path, vcd_text(made, comment))


def write_vectors(
    program: runtime.Program,
    samples: Samples,
    folder: str,
    numbers: tuple[int, ...] | None,
    timesteps: range | None,
) -> None:
    """Write samples by number, the first if none are chosen, as test vectors."""
    from runtime.readmemh import vector_files  # which takes an assembler's time to load

    inputs = {number: device_input(program, samples, number) for number in numbers or (0,)}
    files = vector_files(program, inputs, timesteps)
    OutputFolder.write(folder, {**files.texts, "vectors.json": files.to_json()})


def device_input(program: runtime.Program, samples: Samples, number: int) -> Any:
    """The device's integers [timesteps, inputs] of a sample; DmpcError if there is none."""
    if number >= len(samples.x):
        raise DmpcError(f"there is no sample {number}; the last is {len(samples.x) - 1}")
    length = None if samples.lengths is None else samples.lengths[number]
    inputs, _ = program.encode(samples.x[number : number + 1, :length])
    return np.asarray(inputs[0])
