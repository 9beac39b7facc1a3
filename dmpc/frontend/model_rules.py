"""What a model file must keep to as a whole: inputs and outputs, states, the loop over time."""

from dmpc.rules import Severity, Stage, rule

# -- the file -------------------------------------------------------------------------------------

NO_FILE = rule(
    "no-file",
    Stage.FILE,
    "no such file",
    why="The path does not name a file that can be seen from here.",
    nearest="check the path",
)
NOT_ONNX = rule(
    "not-onnx",
    Stage.FILE,
    "this is not an ONNX file, or it {problem}",
    why="An ONNX file is a protocol buffer with a graph in it.",
    nearest="export the model again",
)
UNREADABLE = rule(
    "unreadable",
    Stage.FILE,
    "cannot be read: {reason}",
    why="""The file refers to data that is not there (weights in a file beside it), or it may not be
    opened.""",
    nearest="keep the files that the exporter wrote together",
)
NO_OPSET = rule(
    "no-opset",
    Stage.FILE,
    "the model names no opset of the standard operators",
    why="What an operator means depends on the opset, its version of the standard.",
    nearest="export the model again, with a standard opset",
)
OLD_OPSET = rule(
    "old-opset",
    Stage.FILE,
    "opset {opset} is too old",
    why="Operators changed their inputs and attributes from opset to opset.",
    nearest="export with opset {least} or later",
)
BROKEN_WEIGHT = rule(
    "broken-weight",
    Stage.FILE,
    "weight '{name}' cannot be read: {reason}",
    why="What is stored of the weight is not what its type and shape say.",
    nearest="export the model again",
)
NOT_EVALUATED = rule(
    "not-evaluated",
    Stage.IMPORT,
    "{op} of constants cannot be computed: {reason}",
    why="""What depends on constants alone is computed while the model is imported, as ONNX's own
    reference computes it.""",
    nearest="check the node's attributes and the shapes of its operands",
)
BROKEN_STANDARD = rule(
    "broken-standard",
    Stage.FILE,
    "breaks the ONNX standard: {reason}",
    why="The ONNX checker refuses the file, so its meaning is not defined.",
    nearest="export the model again, or mend it as the checker says",
)

# -- inputs and outputs ---------------------------------------------------------------------------

NO_INPUT = rule(
    "no-input",
    Stage.IMPORT,
    "the model has no input",
    why="A network takes a sequence, or a timestep and its states.",
    nearest="export with the sequence as an input, not as a constant",
)
UNKNOWN_SIZE = rule(
    "unknown-size",
    Stage.IMPORT,
    "input '{name}' has axis {axis} of unknown size",
    why="""Batch and time may be known at run time only; the number of inputs is that of the
    weights.""",
    nearest="export with a fixed number of features",
)
INPUT_AXES = rule(
    "input-axes",
    Stage.IMPORT,
    "input '{name}' has {rank} axes, expected [batch, time, inputs]",
    why="A sequence has an axis of time and one of inputs.",
    nearest="x of shape [batch, time, inputs] or [time, batch, inputs]",
)
NO_TIME = rule(
    "no-time",
    Stage.IMPORT,
    "'{name}' is the only input, and no timestep hangs on the one before: this is neither a loop "
    "over time nor one timestep with states",
    why="""A spiking network remembers. Its states must show: as a loop that a tracer unrolls and
    that can be rolled up again, as a Scan, or as inputs and outputs of one timestep. What computes
    all timesteps at once, with a matrix over time (parallel spiking neurons) or attention over
    time, needs the end before the beginning.""",
    nearest="compute timestep after timestep from x[:, t] and states; a module of torch that takes "
    "[timesteps, samples, inputs] needs --time-first; in ONNX a Scan, or one timestep with states "
    "as inputs and outputs",
)
REPEATED_INPUT = rule(
    "repeated-input",
    Stage.IMPORT,
    "'{name}' is one vector that every timestep reads, and the timesteps do not roll up: {reason}",
    why="""A network that shows its input again and again is taken for one of a sequence, in which
    every timestep is alike. Which reader belongs to which timestep must show.""",
    nearest="take x [batch, time, inputs] and read x[:, t] in timestep t; repeat the vector in the "
    "data",
)
BATCH_AXES = rule(
    "batch-axes",
    Stage.IMPORT,
    "the inputs differ in their batch axis: {shapes}",
    why="All states and the input of a timestep belong to the same samples.",
    nearest="the batch as the first axis of every input, of one size or free",
)
DEAD_OUTPUT = rule(
    "dead-output",
    Stage.IMPORT,
    "output '{name}' is constant or never computed",
    why="What does not depend on the input is no answer, and no state's next value.",
    nearest="leave the output out, or connect it",
)
PARTIAL_OUTPUT = rule(
    "partial-output",
    Stage.IMPORT,
    "output '{name}' does not cover all samples",
    why="Each sample has an answer of its own; an output of some of them mixes or drops samples.",
    nearest="keep the batch axis up to the output",
)
PARTIAL_TIME = rule(
    "partial-time",
    Stage.IMPORT,
    "output '{name}' covers {found} of {steps} timesteps",
    why="""The readout unit adds up from the first timestep to the last, or keeps the last: a window
    of timesteps in between has no instruction.""",
    nearest="a readout over time is the mean, sum or maximum of all timesteps, or the last",
)
MANY_OUTPUTS = rule(
    "many-outputs",
    Stage.IMPORT,
    "the model has {number} outputs: {names}",
    why="An image answers with one vector of logits. Taps for training and plots are not computed.",
    nearest="say which is the answer: {options}",
)
NO_SUCH_OUTPUT = rule(
    "no-such-output",
    Stage.IMPORT,
    "the model has no output '{name}'",
    why="""The answer is chosen by the name that an ONNX file gives its output, or a NIR graph its
    Output node; of a torch module, by its place in a tuple (0, 1, ...) or its key in a dict.""",
    nearest="{nearest}",
)
LEFT_OUT = rule(
    "outputs-left-out",
    Stage.IMPORT,
    "the answer is output '{answer}'; left out: {left}",
    why="An image answers with one vector of logits. Nothing else that a model gives is kept.",
    nearest="--output chooses another",
    severity=Severity.NOTE,
)
ACTIVATION_AXIS = rule(
    "activation-axis",
    Stage.IMPORT,
    "the model ends in {function} over axis {axis}, which is not the one of its classes",
    why="""At the end of a model, a softmax over the classes of each answer keeps their order, and
    is left out. One over samples or timesteps changes which class is the largest.""",
    nearest="softmax over the classes, or none",
)
ACTIVATION_EVERY_STEP = rule(
    "activation-every-step",
    Stage.IMPORT,
    "the model ends in {functions} of every timestep's answer: the {readout} over time of that is "
    "not in the order of the logits' own",
    why="""The machine reads out sums of weights. A function of each timestep's answer is left out
    where it keeps the order of the classes: one of the last timestep, or of the answer after the
    readout; a log_softmax also where the mean or sum follows.""",
    nearest="apply it to the answer after the readout over time; --readout last",
)
READOUT_CONFLICT = rule(
    "readout-conflict",
    Stage.IMPORT,
    "the model's readout over time is its {found}, but {wanted} is asked for",
    why="""The model says itself how timesteps become the answer; another answer would be another
    model.""",
    nearest="leave readout= out, or export the output of every timestep",
)
SIZE_DEPENDENT = rule(
    "size-dependent",
    Stage.IMPORT,
    "the model computes with its batch size or number of timesteps",
    why="""An image runs sequences of any length, sample by sample. A weight that contains one of
    these sizes (a sum divided by a guessed number of timesteps) would be wrong for all others.""",
    nearest="export with fixed sizes, or take the mean over time",
)

# -- states of one timestep -----------------------------------------------------------------------

NO_SUCH_STATE = rule(
    "no-such-state",
    Stage.IMPORT,
    "no {kind} '{name}' in the model",
    why="""Pairs of states are given as input=output, by the names of the model's inputs and
    outputs.""",
    nearest="{nearest}",
)
ALL_STATES = rule(
    "all-states",
    Stage.IMPORT,
    "every input of the timestep is a state; none is the network's input",
    why="""Each input found an output of its shape that depends on it, so the network's own input
    was taken for a state.""",
    nearest="name the states with states=",
)
UNPAIRED = rule(
    "unpaired-states",
    Stage.IMPORT,
    "one of the inputs {inputs} is the network's, the others are states whose next value is not "
    "among the outputs; outputs that are left: {outputs}",
    why="""A timestep takes its states as inputs and gives their next values as outputs. An output
    is a state's next value if it has the state's shape and depends on it.""",
    nearest="output every state's next value, of the state's shape, or name pairs with states=; "
    "where that names all of them, inputs that are left are joined to one",
)
OUTPUTS_LEFT = rule(
    "outputs-left",
    Stage.IMPORT,
    "{what} once states are paired ({pairs}, the least certain is {least}); one is expected",
    why="What is no state's next value is the network's answer at this timestep, and there is one.",
    nearest="{nearest}",
)
STATE_TYPE = rule(
    "state-type",
    Stage.IMPORT,
    "state '{name}' is {type}, but its next value '{next}' is {next_type}",
    why="A state keeps its shape and element type from timestep to timestep.",
    nearest="the next value in the state's own shape",
)

# -- loops over time ------------------------------------------------------------------------------

SCAN_INPUTS = rule(
    "loop-inputs",
    Stage.IMPORT,
    "the model runs a Scan over time, but has {number} inputs: {names}",
    why="States start from zero at the beginning of every sample, so they are no inputs.",
    nearest="only the sequence may be an input; let the states start from zeros inside",
)
NAMED_STATES = rule(
    "named-states",
    Stage.IMPORT,
    "states= is for models of one timestep; the Scan names its own states",
    why="A loop says itself which of its values it carries.",
    nearest="leave states= out",
)
SCAN_COUNT = rule(
    "loop-signature",
    Stage.IMPORT,
    "Scan and its body differ in their numbers of inputs and outputs",
    why="""The body takes the states and a slice of each sequence, and gives as many states and
    slices.""",
    nearest="export the loop again",
)
BACKWARDS = rule(
    "backwards",
    Stage.IMPORT,
    "Scan runs backwards in time",
    why="The machine works while the input comes; it does not know the end before the beginning.",
    nearest="the machine runs forwards; a bidirectional network cannot run on a stream",
)
SCAN_CONSTANT = rule(
    "loop-over-constant",
    Stage.IMPORT,
    "Scan runs over a constant, or over values of different inputs",
    why="A loop over time takes slices of the network's input, or of what was made of it.",
    nearest="the sequence, or an earlier layer's output, as what the loop runs over",
)
WRONG_AXIS = rule(
    "loop-axis",
    Stage.IMPORT,
    "Scan runs over axis {axis}, which is not the time axis of the model's input",
    why="A loop over the batch, or over features, would make samples or neurons feed each other.",
    nearest="x must be [batch, time, inputs] or [time, batch, inputs], from the first timestep to "
    "the last",
)
COMPUTED_START = rule(
    "computed-start",
    Stage.IMPORT,
    "initial state '{name}' of the Scan is computed from the input",
    why="The machine clears its states before a sample, and has seen nothing of the input by then.",
    nearest="start from zeros",
)
STALE_STATE = rule(
    "stale-state",
    Stage.IMPORT,
    "initial state '{name}' of the Scan is not zero ({count} of {size} elements, up to {most:.4g})",
    why="""A model that ran before it was exported, and was not reset, keeps the states of its last
    sample as if they were weights. Most predictions stay the same, which hides it.""",
    nearest="reset the network's state before the export, or import with initial_states='keep'",
)
BATCHLESS_STATE = rule(
    "batchless-state",
    Stage.IMPORT,
    "state '{name}' of the Scan has shape {shape}, which lacks the batch axis",
    why="Every sample has states of its own, which start from zero when it starts.",
    nearest="an initial state with the batch axis of the input",
)
BROKEN_CARRY = rule(
    "broken-carry",
    Stage.IMPORT,
    "the next value of state '{name}' {shape} has shape {next_shape}",
    why="A state keeps its shape from timestep to timestep.",
    nearest="the next value in the state's own shape",
)
