"""What recognition asks of slow states, lines of past events, and holds."""

from dmpc.rules import Stage, rule

SLOW = "m' = A m + B relu(W_x s + b_x)"

NO_RELU = rule(
    "no-relu",
    Stage.NETWORK,
    "the state is linear in {sources} without a relu between",
    why="""What drives a slow state is one scalar, rectified: the drive unit adds the weights of
    active inputs and cuts at zero.""",
    nearest=f"a slow state is {SLOW}",
)
MANY_DRIVES = rule(
    "several-drives",
    Stage.NETWORK,
    "the state has {number} drives: {drives}",
    why="A slow state has one scalar drive. Two scalars are two slow states, each with its own.",
    nearest=f"a slow state is {SLOW}, with one relu",
)
MEMORY_BIAS = rule(
    "memory-bias",
    Stage.NETWORK,
    "a constant is added to the slow state",
    why="""The update unit multiplies A with the state and B with the drive and adds nothing else. A
    bias inside the relu does the same work.""",
    nearest=f"a slow state is {SLOW}, its only bias inside the relu",
)
VECTOR_DRIVE = rule(
    "vector-drive",
    Stage.NETWORK,
    "the drive of {state} has {elements} elements, expected a scalar",
    why="""A slow state of d elements is driven by one scalar: that is what makes it cheap. The
    update unit holds one column B.""",
    nearest=f"a slow state is {SLOW}, W_x of one row",
)
STRANGE_DRIVE = rule(
    "strange-drive",
    Stage.NETWORK,
    "the drive depends on {sources}, expected the layer's input",
    why="""The drive unit reads events of one source. Linear feedback from the slow state itself
    belongs into A.""",
    nearest=f"a slow state is {SLOW}, s the input or the spikes of one layer",
)
UNKNOWN_STATE = rule(
    "unknown-state",
    Stage.NETWORK,
    "the state is neither a membrane nor a memory: its next value is not linear at {ops}, and no "
    "comparison of its charge with a threshold resets it",
    why="""A state of a network is a membrane, which a threshold resets, a slow state, which is
    linear in itself and a rectified scalar, a held slow state, or a line of past events.""",
    nearest=f"a LIF neuron, or {SLOW}",
)

# -- lines of past events -------------------------------------------------------------------------

LINE_START = rule(
    "line-start",
    Stage.NETWORK,
    "the state holds events of earlier timesteps, but does not start from zero",
    why="""Registers of events are empty when a sample starts. Events from before would be those of
    another sample.""",
    nearest="reset the model's states before exporting it",
)
TWO_DELAYS = rule(
    "two-delays",
    Stage.NETWORK,
    "element {element} of {source} arrives after both {one} and {other} timesteps",
    why="""The drive unit reads events of one source, and takes each of them once. Synapses of
    neurons may have delays of their own: each arrival is a product of its own there.""",
    nearest="one number of timesteps for each input of a slow state's drive",
)
HOLDS_OPPOSITE = rule(
    "holds-opposite",
    Stage.NETWORK,
    "holds the opposite of the spikes of {spikes}",
    why="""Registers of events start empty, which means that nothing has fired. A line of opposites
    would have to start full.""",
    nearest="a delay line holds spikes, 1 where a neuron fires",
)

# -- holds ----------------------------------------------------------------------------------------

HOLD = "where(k mod period == 0, new value, itself), k the number of the timestep"

HOLD_SWAPPED = rule(
    "hold-swapped",
    Stage.NETWORK,
    "the held state is kept in timesteps that count, replaced in others",
    why="Dilation renews a held value once in each period and keeps it in between.",
    nearest=f"a held state is {HOLD}",
)
HOLD_CONDITION = rule(
    "hold-condition",
    Stage.NETWORK,
    "the timestep of a held state depends on {found}, expected the remainder of one counter",
    why="""The sequencer knows the number of the timestep and holds values by it, not by what a
    network computes.""",
    nearest=f"a held state is {HOLD}",
)
HOLD_REMAINDER = rule(
    "hold-remainder",
    Stage.NETWORK,
    "the remainder is of {found}, expected a counter",
    why="The sequencer counts timesteps; nothing else has a remainder on the machine.",
    nearest=f"a held state is {HOLD}",
)
HOLD_PERIOD = rule(
    "hold-period",
    Stage.NETWORK,
    "the period is {period:g} timesteps, no whole number",
    why="A period is a whole number of timesteps, from 1 on; it is part of an instruction.",
    nearest=f"a held state is {HOLD}",
)
HOLD_VARIABLE_PERIOD = rule(
    "hold-variable-period",
    Stage.NETWORK,
    "the period is not a constant number",
    why="A period is part of an instruction, so it is the same for all neurons and for all time.",
    nearest=f"a held state is {HOLD}",
)
HOLD_FLOOR = rule(
    "hold-floor",
    Stage.NETWORK,
    "the floor leaves no remainder of the counter",
    why="A floor is understood as a part of k - period * floor(k / period), the remainder of k.",
    nearest=f"a held state is {HOLD}",
)
COUNTER_STEP = rule(
    "counter-step",
    Stage.NETWORK,
    "the counter does not add 1 in each timestep",
    why="What decides on a held value is the number of the timestep, which the sequencer knows.",
    nearest=f"a held state is {HOLD}",
)
COUNTER_START = rule(
    "counter-start",
    Stage.NETWORK,
    "the counter starts from {start:g}, not from 0",
    why="The sequencer counts the timesteps of a sample from 0.",
    nearest=f"a held state is {HOLD}",
)
HOLD_PHASE = rule(
    "hold-phase",
    Stage.NETWORK,
    "the held state is replaced {first}, not in timestep 0 and every {period} after it",
    why="The sequencer renews held values in the timesteps that the period divides.",
    nearest=f"a held state is {HOLD}",
)
HOLD_SOURCE = rule(
    "hold-source",
    Stage.NETWORK,
    "what is held depends on {found}, expected a slow state",
    why="Dilation holds slow states. Spikes and inputs are read when they come.",
    nearest="hold the slow state, or a linear map of it",
)
