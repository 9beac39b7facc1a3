"""What a NIR file or a graph in memory holds, as plain mappings, arrays and texts.

A file is data: whatever in it would lead elsewhere (links, storage in other files) is refused, and
so is what only a mistake or ill will makes: groups that contain themselves, arrays without end.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.boundary import MOST_ELEMENTS
from dmpc.frontend.model_rules import NO_FILE
from dmpc.frontend.nir_format.rules import NIR_LINK, NIR_VALUE, NODE_KIND
from dmpc.ir.graph import Array
from isa.files.hdf5 import read_hdf5

if TYPE_CHECKING:
    import h5py
    import nir

NUMBERS = "biuf"  # kinds of NumPy types that are real numbers
METADATA = "metadata"  # of a node; nothing in it has a meaning
DEEPEST = 64  # groups in groups: a graph nested in a graph takes two
# What libraries raise on contents that they did not expect.
ODD = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


def contents(source: "str | os.PathLike[str] | nir.NIRGraph") -> Mapping[str, Any]:
    """The root of a NIR graph, as nested mappings.

    Raises ImportFailure for what is no HDF5 file or no NIR graph, and for a file that leads out of
    itself.
    """
    if isinstance(source, str | os.PathLike):
        return _of_file(os.fspath(source))
    try:
        found: Mapping[str, Any] = source.to_dict()
    except ODD as error:
        _check_nodes(source, (), set())
        raise ImportFailure(f"this NIR graph cannot be read: {_reason(error)}") from None
    return found


def _check_nodes(graph: Any, path: tuple[str, ...], seen: set[int]) -> None:
    """Raise ImportFailure for the first thing in the place of a node that is none."""
    seen.add(id(graph))
    nodes = getattr(graph, "nodes", None)
    for name, node in nodes.items() if isinstance(nodes, Mapping) else ():
        place = (*path, str(name))
        if isinstance(node, type) or not hasattr(node, "to_dict"):
            kind = node.__name__ if isinstance(node, type) else type(node).__name__
            what = f"the class {kind}" if isinstance(node, type) else f"an object of class {kind}"
            what = f"{'None' if node is None else what} is no node of NIR"
            where = f"node '{'.'.join(place)}'"
            nearest = "nodes are objects of the package nir, such as nir.LIF(...)"
            raise ImportFailure.of(NODE_KIND, where=where, what=what, nearest=nearest)
        if id(node) not in seen:
            _check_nodes(node, place, seen)


def _of_file(path: str) -> Mapping[str, Any]:
    if not os.path.isfile(path):
        raise ImportFailure.of(NO_FILE, where=path)
    try:
        found = read_hdf5(path, lambda file: _group(file, "", ()) if "node" in file else {})
    except ODD as error:
        reason = _reason(error)
        raise ImportFailure(f"this is not a NIR file, or it is damaged: {reason}") from None
    root = found.get("node")
    if not isinstance(root, dict):
        raise ImportFailure(
            "this HDF5 file holds no NIR graph: it has no group 'node'",
            hint="samples belong to --input or --calibration, as .npz: docs/samples.md",
        )
    return root


def _group(group: "h5py.Group", path: str, above: tuple[int, ...]) -> dict[str, Any]:
    """A group's members; `above` are the addresses of the groups that it lies in."""
    import h5py

    found: dict[str, Any] = {}
    for key in group:
        place = f"{path}/{key}"
        if not key.isprintable():
            raise ImportFailure.of(NIR_VALUE, where=repr(path), problem=f"holds the name {key!r}")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ImportFailure.of(NIR_LINK, where=f"'{place}'", problem="is a link")
        member = group[key]
        if isinstance(member, h5py.Dataset):
            found[key] = _dataset(member, place)
        elif isinstance(member, h5py.Group) and key != METADATA:
            address = h5py.h5o.get_info(member.id).addr
            if address in above:
                raise ImportFailure.of(NIR_LINK, where=f"'{place}'", problem="contains itself")
            if len(above) >= DEEPEST:
                raise ImportFailure.of(NIR_LINK, where=f"'{place}'", problem="is nested too deep")
            found[key] = _group(member, place, (*above, address))
    return found


def _dataset(dataset: "h5py.Dataset", place: str) -> Any:
    import h5py

    if dataset.external or dataset.is_virtual:
        raise ImportFailure.of(NIR_LINK, where=f"'{place}'", problem="is stored in another file")
    if dataset.size is None or h5py.check_ref_dtype(dataset.dtype):  # nothing, or an address
        return None
    if dataset.size > MOST_ELEMENTS:
        problem = f"has {dataset.size} elements, more than {MOST_ELEMENTS}"
        raise ImportFailure.of(NIR_VALUE, where=f"'{place}'", problem=problem)
    return dataset[()]


def _reason(error: Exception) -> str:
    """A foreign error in one line that can be printed."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.isprintable() else ascii(text)


# -- values ----------------------------------------------------------------------------------------


def text(value: Any) -> str | None:
    """A value that is a text, as HDF5 or as Python has it; None for any other."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else None


def numbers(value: Any) -> Array:
    """A value as an array of float64; raises ValueError, saying what else it is."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind == "c":
        raise ValueError("is made of complex numbers, which the machine has not")
    if array.dtype.kind not in NUMBERS:
        raise ValueError("is not made of numbers")
    if array.size == 0:
        raise ValueError(f"is empty: its shape is {list(array.shape)}")
    with np.errstate(over="ignore"):
        found: Array = array.astype(np.float64)
    return found
