"""The passes, by the name that the command line knows them under."""

from dmpc.passes.base import Pass, apply
from dmpc.passes.fold import Fold
from dmpc.passes.recognise import Recognise

__all__ = ["PASSES", "Pass", "apply"]

PASSES: dict[str, type[Pass]] = {step.name: step for step in (Recognise, Fold)}
