"""What the nodes and wires of a NIR graph must keep to."""

from dmpc.rules import Severity, Stage, rule

NODE_KIND = rule(
    "node-kind",
    Stage.IMPORT,
    "{what}",
    why="""The machine has linear maps, convolutions, scales, axonal delays, integrators that leak,
    and neurons whose membrane, with or without a synaptic current, leaks, fires and is reset. Other
    kinds of NIR nodes have no place on it.""",
    nearest="{nearest}",
)
PORT_COUNT = rule(
    "port-count",
    Stage.IMPORT,
    "the graph has {count} {kind} nodes; one is expected",
    why="A network takes a sequence and gives one vector of logits.",
    nearest="an Input and one Output node",
)
UNFED_NODE = rule(
    "unfed-node",
    Stage.IMPORT,
    "nothing feeds this node",
    why="A node computes with the sum of what its edges bring. Without an edge it has no value.",
    nearest="an edge to the node, or leave the node out",
)
NODE_SIZE = rule(
    "node-size",
    Stage.IMPORT,
    "takes {size} elements, but is fed {fed}",
    why="A node's parameters, its declared shape and what its sources bring must agree in size.",
    nearest="weights of the sizes of both ends of the edge",
)
TIMELESS_LOOP = rule(
    "timeless-loop",
    Stage.IMPORT,
    "the loop {ring} has neither neurons nor a delay",
    why="Values that depend on each other within one timestep have no order to compute them in.",
    nearest="put a Delay into it",
)

NIR_LINK = rule(
    "nir-link",
    Stage.FILE,
    "{problem}",
    why="""A NIR file holds its own graph and weights. Links inside HDF5 lead to other places and
    other files, whose contents would come in unasked; groups that contain each other have no
    end.""",
    nearest="write the file again, with nir.write",
)
NIR_VALUE = rule(
    "nir-value",
    Stage.IMPORT,
    "{problem}",
    why="""Parameters are real, finite numbers, a shape is made of whole numbers from 1 on, an edge
    is a pair of names. Anything else in their place has no meaning that could be guessed; the real
    part of a complex weight is another weight.""",
    nearest="write the graph again, with nir.write",
)
CONVOLUTION = rule(
    "nir-convolution",
    Stage.IMPORT,
    "{problem}",
    why="""A convolution reads what stands in lines and columns: an input or neurons whose shape is
    channels, lines, columns, another convolution's neurons, or what its own input_shape declares.
    Its numbers are whole. Beside a stride, libraries read padding 'same' in different ways.""",
    nearest="shapes that fit each other, an input_shape for the convolution; padding in numbers",
)
DELAYED_BIAS = rule(
    "delayed-bias",
    Stage.IMPORT,
    "delays a bias: element {element} is {bias:.4g} without any event, but not in the first "
    "timesteps",
    why="""The machine adds a bias at every timestep, from the first one on. Behind a delay it would
    set in later.""",
    nearest="add the bias after the delay",
)
ECHO = rule(
    "echo",
    Stage.IMPORT,
    "the loop {ring} has a delay, but no neurons",
    why="""What enters such a loop comes round again and again: every event has infinitely many
    times of arrival. A delay line of the machine gives each event once.""",
    nearest="neurons in the loop",
)
TIMESTEP = rule(
    "timestep",
    Stage.IMPORT,
    "{what} at a timestep of {dt:g} s",
    why="""A NIR file holds time constants, not the timestep that its network was trained with.
    Read with another, the network is another one: it hardly charges, or forgets at once.""",
    nearest="give the timestep of the training with --dt, in the unit of the file's time constants:"
    " --dt 1 where they count timesteps",
    severity=Severity.WARNING,
)
