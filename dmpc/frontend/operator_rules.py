"""What single operators of a model must keep to."""

from dmpc.rules import Stage, rule

TRAINING = rule(
    "training-mode",
    Stage.IMPORT,
    "{op} is in training mode",
    why="""While a model is trained, dropout drops at random and batch normalisation takes its
    statistics from the batch. In inference both are constants, and are folded into weights.""",
    nearest="call model.eval() before export",
)
RANDOM_NUMBERS = rule(
    "random-numbers",
    Stage.IMPORT,
    "{op} draws random numbers",
    why="""The machine draws none. Numbers drawn while a model is imported would become weights,
    the same for every sample ever after.""",
    nearest="encode the input as spikes before it reaches the network; in the place of layers that "
    "draw in inference as well (DropConnect), what they draw on average",
)
SHAPE_MISFIT = rule(
    "shape-misfit",
    Stage.IMPORT,
    "shapes {shapes} do not fit together",
    why="The operands of an operator must have shapes that broadcast, or that multiply.",
    nearest="check the sizes of weights and states against the input's",
)
NOT_FINITE = rule(
    "not-finite",
    Stage.IMPORT,
    "weight '{weight}' holds {value} ({bad} of {size} elements are not finite)",
    why="""Not a number and infinity have no integer. They come from training that diverged, or from
    a division by zero when weights were folded.""",
    nearest="did training diverge?",
)
NOT_REAL = rule(
    "not-real",
    Stage.IMPORT,
    "weight '{weight}' holds {kind}",
    why="Weights, thresholds and leaks are real numbers.",
    nearest="real numbers; complex ones as their real and imaginary parts",
)
BENT_CHARGE = rule(
    "bent-charge",
    Stage.IMPORT,
    "what neurons are charged with, or what they keep, is bent: {op} of computed values",
    why="""A membrane is multiplied by a constant leak, and spikes and slow states by constant
    weights. Between them no unit bends a number: no activation, no exponential of a membrane, no
    gate that opens as a sigmoid of other values does.""",
    nearest="u' = beta u + currents, with constant leaks and weights; layers of spikes need no "
    "activation between them",
)
BENT_ANSWER = rule(
    "bent-answer",
    Stage.IMPORT,
    "the answer is bent: {op} of what is read out of the last neurons",
    why="""A readout is a linear map of spikes, added up over time, or what leaks of one. A function
    at the very end that keeps the order of classes, such as a sigmoid or a softmax, is left out;
    others are no part of a readout.""",
    nearest="leave it to whoever reads the logits",
)
COMPUTED_PRODUCT = rule(
    "computed-product",
    Stage.IMPORT,
    "a product of two computed values is not supported",
    why="""The machine multiplies activations by weights that it holds. Attention, gates that depend
    on the input and squared activations multiply activations by each other.""",
    nearest="one must be a constant",
)
MIXED_SAMPLES = rule(
    "mixed-samples",
    Stage.IMPORT,
    "mixes values of different samples or timesteps",
    why="""Samples of a batch have nothing to do with each other, and a timestep sees earlier ones
    through states alone.""",
    nearest="check which axis is the batch and which is time: a reshape or a squeeze may swap them",
)
UNEVEN = rule(
    "uneven-samples",
    Stage.IMPORT,
    "samples or timesteps are treated differently from each other",
    why="""The machine runs one program for every timestep of every sample. Weights that change over
    time, or that depend on the place in the batch, would need one for each.""",
    nearest="the same weights at every timestep; reshapes that keep samples apart",
)
ONLY_RELU = rule(
    "only-relu",
    Stage.IMPORT,
    "{op} of two computed values: one of them must be a constant",
    why="""A membrane may have a floor and a ceiling, which are parameters of its neurons, and the
    scalar drive of a slow state is cut off at zero. A limit that is computed has no unit.""",
    nearest="a constant limit, or Relu",
)
CAST = rule(
    "cast",
    Stage.IMPORT,
    "Cast of a {from_} value to {to} is not supported",
    why="""Scales and widths are chosen by the compiler. Casts to half precision or to integers
    would round in the middle of the network.""",
    nearest="the network is imported in float32; only spikes may be truth values",
)
APART_IN_TIME = rule(
    "apart-in-time",
    Stage.IMPORT,
    "Concat joins values that do not belong together in time",
    why="What is joined to one vector must exist at the same timestep of the same sample.",
    nearest="join values of one timestep, before any reduction over time",
)
STEERED = rule(
    "steered",
    Stage.IMPORT,
    "{op} is steered by a computed value",
    why="""Which element goes where is wired, or stored as weights. Indices that a network computes
    would be an instruction of their own.""",
    nearest="constant indices, axes and shapes",
)
OVER_CLASSES = rule(
    "over-classes",
    Stage.IMPORT,
    "{op} runs over the {size} features (classes) of a timestep, not over time",
    why="""After the loop over time, what is left to reduce is time. The reduction's axis counts
    from the left, so an axis that got lost on the way makes it hit the classes: the model then
    gives one number for each timestep instead of one for each class.""",
    nearest="a squeeze without an axis drops the batch axis of a model exported with batch 1",
)
OVER_SOME_TIME = rule(
    "over-some-time",
    Stage.IMPORT,
    "{op} runs over {what}",
    why="""A readout is the mean or sum of all timesteps, or of those from one on, or the largest or
    last of all: the readout unit works while the sequence runs, knows when to begin adding up, and
    ends with the sample.""",
    nearest="reduce over the whole time axis and no other, or add up from a timestep to the end, "
    "and train so; the last value of a readout that leaks forgets the first timesteps by itself",
)
WRONG_AXES = rule(
    "wrong-axes",
    Stage.IMPORT,
    "{op} over axes {axes} of a tensor with {rank} axes",
    why="An axis is counted from 0, or from -1 backwards.",
    nearest="axes that the tensor has",
)
MIXED_READOUTS = rule(
    "mixed-readouts",
    Stage.IMPORT,
    "combines values that are reduced over time in different ways",
    why="There is one readout, and it takes one mean, sum, maximum or last over time.",
    nearest="one reduction over time, of the sum of what is read out",
)
AFTER_REDUCTION = rule(
    "after-reduction",
    Stage.IMPORT,
    "{op} follows the {reduction} over time, with which it does not commute",
    why="""The machine adds up over time last of all. What follows the reduction in the model is
    moved before it where that gives the same result: linear maps, not thresholds or rectifiers.""",
    nearest="compute it at every timestep, before the reduction; leave out softmax and argmax",
)
AFTER_SUM = rule(
    "after-sum",
    Stage.IMPORT,
    "adds a constant after the sum over time",
    why="""A bias of the readout is added at every timestep. After a sum it would have to be divided
    by the number of timesteps, which is known at run time only.""",
    nearest="use the mean over time, or add it at every timestep",
)
DIVIDED_BY_READOUT = rule(
    "divided-by-readout",
    Stage.IMPORT,
    "divides by a value that is reduced over time",
    why="The machine multiplies and adds; it has no unit that divides.",
    nearest="leave normalisation by the total out: it changes no prediction",
)
EINSUM = rule(
    "einsum",
    Stage.IMPORT,
    "Einsum '{equation}' {problem}",
    why="An Einsum is read as a product of one computed value with one matrix of weights.",
    nearest="MatMul",
)
CONV = rule(
    "conv",
    Stage.IMPORT,
    "Conv {problem}",
    why="""A kernel is [outputs, inputs / groups, taps, ...] and no longer than what it moves over,
    with the zeros around that. Along time it is a slow state, or a delay, and part of the program;
    over the lines and columns of a timestep it stays a kernel, which all positions share.""",
    nearest="a kernel that fits its input; along time, the constant kernel of a slow state",
)
JOINED_CONSTANTS = rule(
    "joined-constants",
    Stage.IMPORT,
    "{op} joins computed values with constants",
    why="""Zeros before the first timestep make a delay, and numbers beside the values of a timestep
    are constants of it. Joined to samples or to timesteps they would be some of their own.""",
    nearest="join numbers to the values of each timestep, the same for all samples",
)
