"""The passes in their order, by the name that the command line knows them under."""

from dmpc.passes.align import Align
from dmpc.passes.base import Pass, apply
from dmpc.passes.break_dependency import BreakDependency
from dmpc.passes.count_readout import CountReadout
from dmpc.passes.distribute import Distribute
from dmpc.passes.fold import Fold
from dmpc.passes.fuse import Fuse
from dmpc.passes.overlap import Overlap
from dmpc.passes.partition import Partition
from dmpc.passes.place import PlaceInMemory
from dmpc.passes.quantize import Quantize
from dmpc.passes.recognise import Recognise
from dmpc.passes.schedule import Schedule
from dmpc.passes.spikes import LimitSpikes

__all__ = ["PASSES", "Pass", "apply"]

PASSES: dict[str, type[Pass]] = {
    step.name: step
    for step in (
        Recognise,
        Fold,
        BreakDependency,
        Align,
        LimitSpikes,
        Quantize,
        CountReadout,
        Partition,
        Overlap,
        Fuse,
        Distribute,
        PlaceInMemory,
        Schedule,
    )
}
