"""Models on the command line: errors about them name their file."""

from collections.abc import Iterator
from contextlib import contextmanager

from dmpc.errors import CompileError, VerifyError


@contextmanager
def errors_of(path: str) -> Iterator[None]:
    """Errors of passes, which know the model's nodes alone, name the model's file as well."""
    try:
        yield
    except (CompileError, VerifyError) as error:
        if not error.where.startswith(path):
            error.where = f"{path}: {error.where}" if error.where else path
        raise
