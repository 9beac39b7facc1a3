"""A network's float graph, whose structure stays from one batch to the next: its numbers change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from dmpc.frontend import import_onnx
from dmpc.ir.graph import Array, Graph
from dmpc.ir.recorded import NotRecorded, Recorded, Tape, recorded
from dmpc.nn.export import to_onnx
from dmpc.nn.network import DMPNetwork
from dmpc.nn.onnx_nodes import weights
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

Numbers = Mapping[str, NDArray[np.float64]]
"""Those of a network by the names of its file; numbers of neurons may be one for all."""


WORTH: Final = 3
"""The import of which a tape is made: that takes as long as ten more, and some have but a few."""
OFTEN: Final = 100
"""How often a tape is played until it is held against an import again."""


@dataclass(frozen=True)
class _Import:
    """What numbers `given` made, and what has to stay for a structure to stay.

    The `tape` of one import is held against the next, of other numbers, before it is relied on, and
    against one again when it has been `played` for a while: numbers may come to where recognition
    decides otherwise.
    """

    fixed: object
    given: Numbers
    graph: Graph
    number: int = 1
    tape: Tape | None = None
    refused: str = ""  # why there is no tape
    sure: bool = False
    played: int = 0


class Structure:
    """The layers of a network: imported a few times, and again when more than numbers has changed.

    Importing and recognising an export costs as much as running it. Both find the same structure
    while no delay moves and no tensor becomes zero or stops being so, and what they make of weights
    is on a tape (`dmpc.ir.recorded`): what recognition did is done again with the present numbers.
    A network of which a tape does not give what an import gives, bit for bit, is imported every
    time, and so is one whose weights the importer itself changes, as it does behind batch norms.
    """

    def __init__(self) -> None:
        self.last: _Import | None = None

    def layers(self, network: DMPNetwork) -> Graph:
        """The graph of level layers of the present weights, as `recognise` gives it."""
        numbers, names = file_numbers(network), trained(network)
        given = {name: one for name, one in numbers.items() if name in names}
        fixed, last = _fixed(network, numbers, names), self.last
        if last is None or last.fixed != fixed:
            self.last = last = _Import(fixed, given, imported(network))
            return last.graph
        if all(_same(one, last.given[name]) for name, one in given.items()):
            return last.graph.copy()
        if last.tape is not None and last.sure and last.played < OFTEN:
            self.last, graph = replace(last, played=last.played + 1), last.graph.copy()
            graph.constants |= last.tape.play(given)
            return graph
        self.last = last = _again(network, last, given)
        return last.graph


def _again(network: DMPNetwork, last: _Import, given: Numbers) -> _Import:
    """A further import: the tape of the last one is held against it, or one is made."""
    model = _model(network)
    graph = apply(Recognise(), model)
    now = replace(last, given=given, graph=graph, number=last.number + 1, played=0)
    if last.refused or now.number < WORTH:
        return now
    if last.tape is None:
        try:
            return replace(now, tape=_recorded(model, given))
        except NotRecorded as error:
            return replace(now, refused=str(error))
    found = last.graph.constants | last.tape.play(given)
    sure = all(_same(one, found[name]) for name, one in now.graph.constants.items())
    if not sure:
        return replace(now, tape=None, refused="with other numbers recognition decides otherwise")
    return replace(now, sure=True)


def imported(network: DMPNetwork) -> Graph:
    """The graph of level layers of a network's export."""
    return apply(Recognise(), _model(network))


def _model(network: DMPNetwork) -> Graph:
    model = to_onnx(network)
    for value in model.graph.input:  # open sizes would be imported twice, to compare
        for dim in value.type.tensor_type.shape.dim[:2]:
            dim.dim_value = 2
    return import_onnx(model)


def _recorded(model: Graph, given: Numbers) -> Tape:
    """A tape of what is done to numbers from a file's on; NotRecorded if it cannot hold that."""
    model, tape = model.copy(), Tape()
    for name, value in given.items():
        own = model.constants.get(name)
        places = None if own is None else _places(value, own)
        if places is None:
            raise NotRecorded(f"the importer makes other numbers of {name}")
        number: Any = tape.input(name, value)
        model.constants[name] = _placed(number, places)
    try:
        found: Mapping[str, object] = Recognise().run(model).constants
    except ValueError as error:
        if not tape.lost:
            raise
        raise NotRecorded(tape.lost) from error
    if tape.lost:
        raise NotRecorded(tape.lost)
    tape.end({name: one for name, one in found.items() if isinstance(one, Recorded)})
    return tape


def _places(value: Array, made: Array) -> NDArray[np.int64] | None:
    """Which numbers of one array those of another are, the last but one a zero; None: others."""
    found = np.empty_like(made, np.int64)  # what is picked lies in memory as this does
    if value.size == made.size and np.array_equal(value.ravel(), made.ravel()):
        found[...] = np.arange(value.size).reshape(made.shape)
        return found
    flat = np.append(value, 0.0)
    order = np.argsort(flat)
    found[...] = order[np.searchsorted(flat[order], made).clip(max=value.size)]
    return found if np.array_equal(flat[found], made) else None


@recorded
def _placed(value: Array, places: NDArray[np.int64]) -> Array:
    return np.append(value, 0.0)[places]


def trained(network: DMPNetwork) -> set[str]:
    """Names of the numbers that training changes, but delays, whose structure they are."""
    names = {name for name, _ in network.named_parameters() if not name.endswith("delays.delay")}
    layers = enumerate(network.dmp_layers)
    return names | {f"layers.{i}.lif.gain" for i, one in layers if isinstance(one.lif.gain, Tensor)}


def file_numbers(network: DMPNetwork) -> Numbers:
    """The numbers that an export has, as its import reads them.

    Raises ValueError, as an export does, if one is not finite.
    """
    return {one.name: numpy_helper.to_array(one).astype(np.float64) for one in weights(network)}


def _fixed(network: DMPNetwork, numbers: Numbers, names: set[str]) -> object:
    """What has to stay for a structure to stay: whole delays, and which tensors hold something."""
    delays = {
        f"layers.{i}.delays.delay": layer.delays.whole().numpy()
        for i, layer in enumerate(network.dmp_layers)
        if layer.delays is not None
    }
    others = {
        name: one.tobytes() for name, one in {**numbers, **delays}.items() if name not in names
    }
    return others, [bool(value.any()) for value in numbers.values()]


def _same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other)
