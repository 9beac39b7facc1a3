"""Compiler for dual-memory-pathway spiking networks.

    compiled = dmpc.compile("model.onnx", calibration=x)
    compiled.save("model.elf")

A model is a file, a torch module's factory, or a module in memory (`from_torch`).

`dmpc.nn` holds the layers to train, `runtime` runs images, `isa` is the machine.
"""

TYPE_CHECKING = False  # as typing's, which takes longer to load than all of this

if TYPE_CHECKING:
    from dmpc.compiler import Compiled, Options, compile  # noqa: A004  the project's verb
    from dmpc.errors import DmpcError
    from dmpc.frontend import Model, from_torch

__all__ = ["Compiled", "DmpcError", "Model", "Options", "compile", "from_torch"]

_HOMES = {
    "Compiled": "dmpc.compiler",
    "DmpcError": "dmpc.errors",
    "Model": "dmpc.frontend",
    "Options": "dmpc.compiler",
    "compile": "dmpc.compiler",
    "from_torch": "dmpc.frontend",
}


def __getattr__(name: str) -> object:
    """Load what is used: the command must look after signals before it loads anything else."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'dmpc' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
