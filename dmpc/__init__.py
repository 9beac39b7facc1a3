"""Compiler for dual-memory-pathway spiking networks.

    compiled = dmpc.compile("model.onnx", calibration=x)
    compiled.save("model.elf")

`dmpc.nn` holds the layers to train, `runtime` runs images, `isa` is the machine.
"""

from dmpc.compiler import Compiled, Options, compile  # noqa: A004  the verb of the whole project
from dmpc.errors import DmpcError

__all__ = ["Compiled", "DmpcError", "Options", "compile"]
