"""Quantization in its parts: widths, rounding, slow state, neurons, readout."""
