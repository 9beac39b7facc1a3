"""A compiled network at run time: load an image, feed it samples, read predictions and cycles.

program = runtime.load("model.elf")
result = program.run(x)            # x: [samples, timesteps, inputs]
result.predictions, result.cycles
"""

TYPE_CHECKING = False  # as typing's, which takes longer to load than all of this

if TYPE_CHECKING:
    from runtime.data.binning import Binning
    from runtime.errors import RuntimeFailure
    from runtime.profile import Profile
    from runtime.program import Program, Result, load
    from runtime.samples import Samples, load_samples
    from runtime.saturation import Saturated
    from runtime.stream import Answer, Stream

__all__ = [
    "Answer",
    "Binning",
    "Profile",
    "Program",
    "Result",
    "RuntimeFailure",
    "Samples",
    "Saturated",
    "Stream",
    "load",
    "load_samples",
]

_HOMES = {
    "Answer": "runtime.stream",
    "Binning": "runtime.data.binning",
    "Profile": "runtime.profile",
    "Program": "runtime.program",
    "Result": "runtime.program",
    "RuntimeFailure": "runtime.errors",
    "Samples": "runtime.samples",
    "Saturated": "runtime.saturation",
    "Stream": "runtime.stream",
    "load": "runtime.program",
    "load_samples": "runtime.samples",
}


def __getattr__(name: str) -> object:
    """Load what is used: the command needs the errors alone to say that there is no such verb."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'runtime' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
