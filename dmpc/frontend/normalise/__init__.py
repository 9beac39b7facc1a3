"""ONNX models in one form: functions, branches and loops of every kind as Scans over time."""

from dmpc.frontend.normalise.pipeline import CONTROL, is_usual, normalise, sequences

__all__ = ["CONTROL", "is_usual", "normalise", "sequences"]
