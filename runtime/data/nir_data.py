"""NIRData: what a node of a NIR graph was fed or gave, as `nir.write_data` writes it.

Of a file with one observable it is that one, of others the one of the node `input`. Gridded data
are timesteps already; events are times in seconds and the numbers of neurons, padded with -1.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.data.binning import Binning, Events, Recordings, binned, whole
from runtime.data.hdf5 import array, member, read_file
from runtime.errors import RuntimeFailure
from runtime.samples import Samples

if TYPE_CHECKING:
    import h5py

ROOT, GRAPH, NODE = "__type__", "NIRGraphData", "NIRNodeData"
INPUT = "input"
DEEPEST = 16  # graphs in graphs
MOST_SECONDS = 1e9


def holds(path: Path | str) -> bool:
    """Whether an HDF5 file says that it is NIRData."""
    return read_file(path, lambda file: bool(file.attrs.get(ROOT) == GRAPH))


def read(path: Path | str, binning: Binning) -> tuple[Samples, str]:
    """Its samples in timesteps, and what is to be said of them."""
    found = read_file(path, lambda file: _contents(file, path))
    if isinstance(found, Recordings):
        return binned(found, binning, str(path))
    return Samples(found, None), ""


def _contents(file: "h5py.File", path: Path | str) -> Recordings | np.ndarray:
    """Events, or timesteps."""
    found = dict(_observables(file, "", path))
    names = [name for name in found if f"/{name}".split("/")[-2] == INPUT] or list(found)
    if len(names) != 1:
        held = ", ".join(names[:8]) or "none"
        raise RuntimeFailure(
            f"{path}: holds {len(names)} observables ({held}); the samples are those of a node "
            f"'{INPUT}', or the only ones"
        )
    group, kind = found[names[0]], found[names[0]].attrs.get(ROOT)
    if kind == "TimeGriddedData":
        return _needed(group, "data", path)
    if kind != "EventData":
        raise RuntimeFailure(
            f"{path}: {names[0]} is {kind}; samples are EventData or TimeGriddedData"
        )
    return _recordings(group, path)


def is_gridded(path: Path | str) -> bool:
    """Whether its data are timesteps already."""
    return read_file(path, lambda file: _gridded(file, path))


def _gridded(file: "h5py.File", path: Path | str) -> bool:
    observables = _observables(file, "", path)
    return any(group.attrs.get(ROOT) == "TimeGriddedData" for _, group in observables)


def _observables(
    group: "h5py.Group", prefix: str, path: Path | str, depth: int = 0
) -> "Iterator[tuple[str, h5py.Group]]":
    """The observables of a graph's nodes, each by the names of node and observable."""
    nodes = member(group, "nodes", path)
    if depth > DEEPEST:
        raise RuntimeFailure(f"{path}: graphs are nested too deep")
    for name in nodes or ():
        node: Any = member(nodes, name, path)
        if node.attrs.get(ROOT) == GRAPH:
            yield from _observables(node, f"{prefix}{name}/", path, depth + 1)
            continue
        held = member(node, "observables", path)
        for one in held or ():
            yield f"{prefix}{name}/{one}", member(held, one, path)


def _recordings(group: "h5py.Group", path: Path | str) -> Recordings:
    times, units = _needed(group, "time", path), _needed(group, "idx", path)
    if times.ndim != 2 or times.shape != units.shape or units.dtype.kind not in "iu":
        raise RuntimeFailure(
            f"{path}: time {list(times.shape)} and idx {list(units.shape)} must be alike, "
            "[samples, events], idx whole numbers"
        )
    neurons, lasts = group.attrs.get("n_neurons"), group.attrs.get("t_max")
    if not isinstance(neurons, np.integer | int) or neurons < 1:
        raise RuntimeFailure(f"{path}: n_neurons is {neurons}; it must be a number from 1 on")
    if not isinstance(lasts, np.floating | float) or not 0 < lasts < MOST_SECONDS:
        raise RuntimeFailure(f"{path}: t_max is {lasts}; it must be seconds, more than 0")
    length = int(whole(np.array([lasts]), 10**9)[0])
    return Recordings([*_events(times, units, path)], int(neurons), None, length)


def _events(times: np.ndarray, units: np.ndarray, path: Path | str) -> Iterator[Events]:
    for number, (when, where) in enumerate(zip(times, units, strict=True)):
        there = where >= 0
        try:
            yield Events(whole(when[there], 10**9), where[there].astype(np.int64))
        except RuntimeFailure as error:
            raise RuntimeFailure(f"{path}: sample {number}: {error}") from error


def _needed(group: "h5py.Group", name: str, path: Path | str) -> np.ndarray:
    found = array(group, name, path)
    if found is None:
        raise RuntimeFailure(f"{path}: {group.name} has no {name}")
    return found
