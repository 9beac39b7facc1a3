"""Models on the command line: errors about them name their file, and where to see all of them."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from dmpc.errors import DmpcError, SampleError


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
        error.more = f"dmpc check {shlex.quote(path)}"
        raise
