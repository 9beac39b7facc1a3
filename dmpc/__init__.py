"""Compiler for dual-memory-pathway spiking networks.

    compiled = dmpc.compile("model.onnx", calibration=x)
    compiled.save("model.elf")

A model is a file, a torch module's factory, or a module in memory (`from_torch`).

`dmpc.nn` holds the layers to train, `runtime` runs images, `isa` is the machine.
"""

from dmpc.compiler import Compiled, Options, compile  # noqa: A004  the verb of the whole project
from dmpc.errors import DmpcError
from dmpc.frontend import Model, from_torch

__all__ = ["Compiled", "DmpcError", "Model", "Options", "compile", "from_torch"]
