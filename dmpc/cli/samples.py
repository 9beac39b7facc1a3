"""Samples on the command line: the options that name them, and errors that name their file."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from dmpc.cli.files import OutputFile, SampleFile
from dmpc.cli.main import BINNING, option_list, sample_files
from dmpc.cli.terminal import say
from dmpc.errors import SampleError
from isa.interface import Numbers
from runtime.data.binning import Binning
from runtime.data.reading import format_of
from runtime.errors import RuntimeFailure
from runtime.samples import Samples, told_samples

READ = "dmpc.samples"  # in a command's meta: samples that it has read, by path

data_options = option_list(
    click.option(
        "--input", "data", type=SampleFile(), required=True, metavar="DATA",
        help="Samples, with labels where they are known: .npz, .npy, HDF5 of SHD and SSC, NIRData, "
        "events in .npz or AEDAT4.",
    ),
    click.option(
        "--json", "json_path", type=OutputFile(), metavar="FILE",
        help="Write the results as JSON; - for stdout alone.",
    ),
    click.option(
        "--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N samples only."
    ),
)  # fmt: skip


def read_samples(path: str) -> Samples:
    """The samples in a file that the verb was given, in timesteps as its options say.

    A word on standard error says what was read, unless whoever saved it must know. Raises
    RuntimeFailure.
    """
    ctx = click.get_current_context()
    known: dict[str, Samples] = ctx.meta.setdefault(READ, {})
    if path in known:
        return known[path]
    binning = Binning(**ctx.meta.get(BINNING, {}))
    if binning.chosen and not format_of(path).timed(path):
        others = [other for other in sample_files(ctx) if other != path]
        if any(format_of(other).timed(other) for other in others):
            binning = Binning()  # they are for the other file
    samples, told = told_samples(path, any_length=True, binning=binning)
    if told:
        say("note", f"{path}: {told}")
    known[path] = samples
    return samples


AXES = re.compile(r"[1-9][0-9]{0,8}(x[1-9][0-9]{0,8})*", re.ASCII)


@dataclass(frozen=True)
class Frame:
    """Axes of a timestep's inputs, such as 2x34x34."""

    axes: tuple[int, ...] = ()

    def __str__(self) -> str:
        return "x".join(map(str, self.axes))


class FrameAxes(click.ParamType[Frame]):
    """The type of an option that names the axes of frames."""

    name = "AxBxC"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Frame:
        """The axes that a word names."""
        if not AXES.fullmatch(str(value)):
            self.fail(f"{str(value)[:40]!r} is not like 2x34x34", param, ctx)
        return Frame(tuple(map(int, str(value).split("x"))))


def example_of(path: str | None, frame: Frame | None) -> Numbers | None:
    """What a module is traced on, where that is not the flat data of the command: the samples of
    `path`, or those of the command as frames, of the axes given or of those that they came with.

    Raises RuntimeFailure.
    """
    paths = [path] if path else sample_files(click.get_current_context())
    for samples in map(read_samples, paths):
        axes = frame.axes if frame else samples.frame
        if axes and prod(axes) != samples.x.shape[2]:
            raise RuntimeFailure(
                f"{paths[0]}: a frame of {Frame(axes)} is {prod(axes)} inputs, "
                f"samples have {samples.x.shape[2]}"
            )
        if path or axes:
            return samples.x.reshape(*samples.x.shape[:2], *(axes or (-1,)))
    return None


class CalibrationSet(NamedTuple):
    """A calibration set, None where none was given, and its samples' lengths where they differ."""

    x: Numbers | None = None
    lengths: NDArray[np.int64] | None = None


def calibration_set(path: str | None) -> CalibrationSet:
    """The samples of --calibration; raises RuntimeFailure."""
    if path is None:
        return CalibrationSet()
    samples = read_samples(path)
    return CalibrationSet(samples.x, samples.lengths)


@contextmanager
def samples_of(path: str | None) -> Iterator[None]:
    """Errors about samples that do not fit name the file that they came from."""
    try:
        yield
    except SampleError as error:
        error.where = path or error.where
        raise
    except RuntimeFailure as error:
        raise RuntimeFailure(f"{path}: {error}" if path else str(error)) from error
