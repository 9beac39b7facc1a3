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
    why="""The readout unit adds the weights of the last layer's spikes. Activations after the
    readout (softmax, argmax) change no prediction and are left to the host.""",
    nearest="a readout is a linear map of the spikes of one layer",
)
