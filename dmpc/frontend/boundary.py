"""The boundary around reading and converting models: whatever goes wrong inside becomes an error.

Checks with a message of their own come first. What none of them expected (a file that is damaged in
a new way, an operator with operands that nobody thought of) is told at the node where it happened,
with the operands' shapes, and is no traceback.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from dmpc.errors import DmpcError, ImportFailure
from dmpc.rules import Stage, rule

if TYPE_CHECKING:
    from onnx import NodeProto

MOST_ELEMENTS = 1 << 26  # of one tensor: 512 MiB of float64, of which a few are held at a time
LONGEST_REASON = 300

IMPORTER_FAULT = rule(
    "importer-fault",
    Stage.IMPORT,
    "the importer did not expect this{operands}: {reason}",
    why="""The node's attributes and operands have no meaning, or one that the importer has no
    message for.""",
    nearest="check the node's attributes and the shapes of its operands; if it is sound, report it",
)
VAST_TENSOR = rule(
    "vast-tensor",
    Stage.IMPORT,
    "a tensor of shape {shape} is larger than any network that the machine holds",
    why="""The importer holds every tensor of a model, for a few samples and timesteps. Beyond
    2^26 elements it refuses before it asks for the memory.""",
    nearest="check the axes of inputs, and what computes shapes",
)


def one_line(error: Exception) -> str:
    """What an error of a library says, on one line of bearable length."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


class Poisoned(Exception):
    """What a graph computes depends on a node that could not be imported."""


@contextmanager
def boundary(where: str = "", operands: str = "") -> Iterator[None]:
    """Turn every exception inside that is no error of ours into an ImportFailure at `where`."""
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused by name
            yield
    except (DmpcError, Poisoned):
        raise
    except Exception as error:
        told = f" ({operands})" if operands else ""
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ImportFailure.of(IMPORTER_FAULT, where=where, operands=told, reason=reason) from error


@contextmanager
def at(node: "NodeProto") -> Iterator[None]:
    """The boundary around the work on one node."""
    name = node.name or next((name for name in node.output if name), node.op_type)
    with boundary(name, node.op_type):
        yield


def shown(node: "NodeProto", shapes: Sequence[tuple[int, ...] | None]) -> str:
    """A node's operator and the shapes of its operands."""
    listed = ", ".join("none" if shape is None else str(list(shape)) for shape in shapes)
    return f"{node.op_type} of {listed}" if shapes else node.op_type


def check_size(shape: Sequence[int], where: str = "") -> None:
    """Raise ImportFailure if a tensor is too large to be held."""
    if math.prod(shape) > MOST_ELEMENTS:
        raise ImportFailure.of(VAST_TENSOR, where=where, shape=list(shape))
