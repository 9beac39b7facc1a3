"""Imports every module that defines ops, so that they are registered."""

from dmpc.ir import (
    layer_facts,  # noqa: F401  facts of the levels, too
    ops_convolution,
    ops_integer,
    ops_layers,
    ops_model,
    ops_neurons,
    ops_output,
    ops_readout,
)

MODULES = (
    ops_model, ops_layers, ops_output, ops_convolution, ops_integer, ops_neurons, ops_readout,
)  # fmt: skip
