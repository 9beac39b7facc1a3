"""A model's forms beside a program: what its values mean, and what they should be."""

import numpy as np
from numpy.typing import NDArray

from dmpc.backend.emit import embedded_graph
from dmpc.compiler import AnyModel, Options, import_model, to_layers
from dmpc.errors import DmpcError
from dmpc.ir.endless import spiking_as
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.ir.registry import Tensor
from dmpc.verification import check_origin
from isa.arithmetic import Int
from isa.interface import provenance
from runtime.debugger import Expected, Meaning
from runtime.program import Program


def meanings(program: Program) -> dict[str, Meaning]:
    """What values of an image's graph are, by name; of an image without a graph, nothing."""
    try:
        graph = embedded_graph(program.image)
    except DmpcError:
        return {}
    return {
        name.replace(".next", ""): _meaning(graph, name)
        for name, type_ in graph.types.items()
        if len(type_.shape) == 1
    }


def _meaning(graph: Graph, name: str) -> Meaning:
    type_ = graph.types[name]
    scale: float | NDArray[np.float64] | None
    if isinstance(type_.scale, str):
        scale = np.asarray(graph.constants[type_.scale], np.float64)
    else:
        scale = type_.scale
    return Meaning(type_.size, scale)


class Beside:
    """The integer graph of a program and the float graph of its model, run on samples `x`."""

    def __init__(
        self, program: Program, model: AnyModel, x: Tensor, options: Options, tolerance: float
    ) -> None:
        self.program, self.tolerance = program, tolerance
        self.integer = embedded_graph(program.image)
        imported = import_model(model, options, x)
        check_origin(imported.graph, program.image, options, imported.name)
        self.layers = spiking_as(to_layers(imported.graph, options), self.integer)
        left = {
            name.partition("[")[0] for s in provenance(program.image) for name in s.values.values()
        }
        self.values = sorted(name for name in left if name in self.integer.types)
        self.meanings = {name: _meaning(self.integer, name) for name in self.values}

    def _rounding(self, name: str) -> float:
        """What rounding alone can make: two integer steps."""
        scale = self.meanings[name].scale
        return 1e-9 if scale is None else 2 * float(np.max(scale))

    def expected(self, x: Tensor, inputs: Int) -> dict[str, Expected]:
        """What values should be on one sample, real numbers [timesteps, inputs] and integers."""
        shared = [name for name in self.values if name in self.layers.types]
        floats = interpret(self.layers, x[None].astype(np.float64), trace=shared).traces
        integers = interpret(self.integer, inputs[None], trace=self.values).traces
        found = {}
        for name in self.values:
            series = floats[name][0].astype(np.float64) if name in floats else None
            largest = 0.0 if series is None else float(np.abs(series).max(initial=0.0))
            found[name] = Expected(
                name, integers[name][0].astype(np.int64), series, self.meanings[name],
                self.tolerance * largest + (self._rounding(name) if self.tolerance else 1e-9),
            )  # fmt: skip
        return found
