"""ONNX models in one form: functions, branches and loops of every kind as Scans over time."""

from dmpc.frontend.normalise.pipeline import normalise

__all__ = ["normalise"]
