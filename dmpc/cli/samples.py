"""Samples on the command line: the options that name them, and errors that name their file."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from dmpc.cli.files import InputFile, OutputFile
from dmpc.cli.main import option_list
from dmpc.errors import SampleError
from runtime.errors import RuntimeFailure

data_options = option_list(
    click.option(
        "--input", "data", type=InputFile(), required=True, metavar="NPZ",
        help="Samples: x [samples, timesteps, inputs] and, where known, labels y [samples].",
    ),
    click.option(
        "--json", "json_path", type=OutputFile(), metavar="FILE",
        help="Write the results as JSON; - for stdout alone.",
    ),
    click.option(
        "--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N samples only."
    ),
)  # fmt: skip


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
