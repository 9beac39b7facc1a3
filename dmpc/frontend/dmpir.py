"""Graphs from text files."""

import os

from dmpc.errors import ImportFailure, VerifyError
from dmpc.frontend.model_rules import NO_FILE
from dmpc.ir.graph import Graph
from dmpc.ir.verify import verify
from isa.files import read_text


def load_dmpir(path: str | os.PathLike[str]) -> Graph:
    """The verified graph in a `.dmpir` file.

    Raises ImportFailure if the file cannot be read, ParseError and VerifyError as `parse` and
    `verify` do.
    """
    from dmpc.ir.parser import parse  # its library takes long to load, and few models are text

    where = os.fspath(path)
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise ImportFailure.of(NO_FILE, where=where) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ImportFailure(f"this is not a text file: {error}", where=where) from None
    graph = parse(text, where)
    try:
        verify(graph)
    except VerifyError as error:
        raise error.inside(where) from None
    return graph
