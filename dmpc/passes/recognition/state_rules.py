"""What recognition asks of slow states, lines of past events, and holds."""

from dmpc.rules import Stage, rule

SLOW = "m' = A m + B x, each x a sum W_x s + b_x of events s or a relu of one"

STRANGE_DRIVE = rule(
    "strange-drive",
    Stage.NETWORK,
    "the drive depends on {sources}, expected events or the input",
    why="""The drive unit adds up weights of events, those of one source after the other. Linear
    feedback from the slow state itself belongs into A; inside a relu nothing holds it.""",
    nearest=f"a slow state is {SLOW}, s the input or spikes",
)
UNKNOWN_STATE = rule(
    "unknown-state",
    Stage.NETWORK,
    "the state is neither a membrane nor a memory: its next value is not linear at {ops}, and no "
    "comparison of its charge with a threshold resets it",
    why="""A state of a network is a membrane, which a threshold resets, a slow state, which is
    linear in itself and what drives it, a held slow state, or a line of past events.""",
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
HOLDS_OPPOSITE = rule(
    "holds-opposite",
    Stage.NETWORK,
    "holds the opposite of the spikes of {spikes}",
    why="""Registers of events start empty, which means that nothing has fired. A line of opposites
    would have to start full.""",
    nearest="a delay line holds spikes, 1 where a neuron fires",
)

# -- holds ----------------------------------------------------------------------------------------

HOLD = "where(k mod period == since, new value, itself), k the number of the timestep"

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
HOLD_PHASE = rule(
    "hold-phase",
    Stage.NETWORK,
    "the held state is replaced {first}, not within {period} timesteps and in every {period}th "
    "from there on",
    why="""The sequencer renews held values once in each period, the first one included, and always
    in the same timestep of it.""",
    nearest=f"a held state is {HOLD}",
)
HOLD_START = rule(
    "hold-start",
    Stage.NETWORK,
    "what is held until timestep {first} is not what a slow state of zeros gives",
    why="""The machine holds slow states, and those start from zeros: until the first copy neurons
    are charged as they are by zeros, the bias included.""",
    nearest="hold the slow state itself, or what it gives before the first timestep",
)
HOLD_SOURCE = rule(
    "hold-source",
    Stage.NETWORK,
    "what is held depends on {found}, expected a slow state",
    why="Dilation holds slow states. Spikes and inputs are read when they come.",
    nearest="hold the slow state, or a linear map of it",
)
