"""A user's model, imported: its graph, and its own form to compare the graph with."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dmpc.errors import DmpcError
from dmpc.ir.graph import Graph
from dmpc.ir.registry import Tensor

FACTORY = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*")


class Reference(Protocol):
    """A model's own form, run by its own library; `name` is that library's."""

    name: str

    @property
    def type(self) -> type[np.generic]:
        """The type in which it takes its input."""
        ...

    @property
    def steps(self) -> int | None:
        """The number of timesteps that it insists on, None where any will do."""
        ...

    @property
    def batch(self) -> int | None:
        """The number of samples that it insists on, None where any will do."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """Logits [samples, classes] of samples `x` [samples, timesteps, inputs]."""
        ...


SAFE = 1 << 53  # whole numbers that float64 holds


@dataclass(frozen=True)
class Model:
    """An imported model. Without a reference there is nothing of its own to run."""

    name: str
    graph: Graph
    reference: Reference | None = None


def held(x: Tensor, type_: type[np.generic]) -> Tensor:
    """Samples as an input of a type holds them: truth values, whole numbers, rounded ones."""
    found: Tensor
    if issubclass(type_, np.bool_):
        found = x != 0
    elif issubclass(type_, np.integer):
        limits = np.iinfo(type_)
        found = np.clip(np.rint(x), max(limits.min, -SAFE), min(limits.max, SAFE))
    else:
        found = x.astype(type_)
    return found.astype(np.float64)


def one_timestep(x: Tensor, where: str) -> Tensor:
    """Samples [samples, 1, inputs] of those that do not change over time; DmpcError for others."""
    if (x != x[:, :1]).any():
        raise DmpcError(
            "the model takes one vector a sample and shows it at every timestep; these samples "
            "change over time",
            where=where,
            hint="give one timestep: x[:, :1]",
        )
    return x[:, :1]


def is_factory(model: str | os.PathLike[str]) -> bool:
    """Whether a model's name has the form `package.module:factory`."""
    return FACTORY.fullmatch(os.fspath(model)) is not None


def stem(model: str | os.PathLike[str]) -> str:
    """What a model is called: its name without directory, suffix and package.

    Bytes of a file's name that are no text are written out, as in `\\xff`.
    """
    name = os.fspath(model)
    if is_factory(name):
        return name.rpartition(":")[2]
    return os.fsencode(Path(name).stem).decode("utf-8", "backslashreplace")
