"""A compiled network at run time: load an image, feed it samples, read predictions and cycles.

program = runtime.load("model.elf")
result = program.run(x)            # x: [samples, timesteps, inputs]
result.predictions, result.cycles
"""

from runtime.errors import RuntimeFailure
from runtime.program import Program, Result, load
from runtime.samples import Samples, load_samples
from runtime.saturation import Saturated
from runtime.stream import Answer, Stream

__all__ = [
    "Answer",
    "Program",
    "Result",
    "RuntimeFailure",
    "Samples",
    "Saturated",
    "Stream",
    "load",
    "load_samples",
]
