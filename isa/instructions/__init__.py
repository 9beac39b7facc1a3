"""The instruction set. Each class is the one definition of its instruction.

Fields give the encoding and the syntax, `execute` the semantics, `work` the demand on the unit
that timing and access counts come from. Shapes: B is the batch, one core per sample.

Every module of this folder is part of the set: a new one needs no mention here.
"""

from importlib import import_module
from pkgutil import iter_modules

from isa.instructions.banks import AccumulateEvents, AccumulateValues
from isa.instructions.control import Halt, Loop, Sync
from isa.instructions.delays import ClearDelays, DelayEvents
from isa.instructions.events import ClearEvents, InputEvents, InputValues, MoveEvents
from isa.instructions.kernels import DescribeKernel
from isa.instructions.loader import LoadEvents, LoadNeurons, LoadRows, Window
from isa.instructions.neurons import (
    ClearMembranes,
    Fire,
    IntegrateEvents,
    IntegrateValues,
    Leak,
    Lif,
)
from isa.instructions.readout import ClearLogits, CountEvents, Emit, Readout
from isa.instructions.slow_state import ClearValue, DriveEvents, DriveValues, HoldValue, Update

__all__ = [
    "AccumulateEvents",
    "AccumulateValues",
    "ClearDelays",
    "ClearEvents",
    "ClearLogits",
    "ClearMembranes",
    "ClearValue",
    "CountEvents",
    "DelayEvents",
    "DescribeKernel",
    "DriveEvents",
    "DriveValues",
    "Emit",
    "Fire",
    "Halt",
    "HoldValue",
    "InputEvents",
    "InputValues",
    "IntegrateEvents",
    "IntegrateValues",
    "Leak",
    "Lif",
    "LoadEvents",
    "LoadNeurons",
    "LoadRows",
    "Loop",
    "MoveEvents",
    "Readout",
    "Sync",
    "Update",
    "Window",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
