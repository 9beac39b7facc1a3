"""What recognition asks of a network as a whole."""

from dmpc.rules import Stage, rule

INPUT_COUNT = rule(
    "input-count",
    Stage.NETWORK,
    "the network has {number} inputs, expected one",
    why="A sample is one sequence of vectors; the machine has one input register.",
    nearest="concatenate the inputs before the network",
)
READOUT = rule(
    "readout",
    Stage.NETWORK,
    "the output depends on {found}",
    why="""The readout unit adds the weights of spikes, of as many layers as are read, and may let
    the sum leak. Memories and membranes that spikes reset have no way to it. Activations after the
    readout (softmax, argmax) change no prediction and are left to the host.""",
    nearest="a readout is a linear map of the spikes of one layer or several, and may leak as a "
    "whole",
)
