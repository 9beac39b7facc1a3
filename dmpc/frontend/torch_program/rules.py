"""What torch modules, their factories, weights and exported programs must keep to."""

from dmpc.rules import Severity, Stage, rule

# -- finding the module ---------------------------------------------------------------------------

NO_MODULE = rule(
    "no-module",
    Stage.FILE,
    "there is no module '{missing}'",
    why="A factory is named package.module:factory, and the package is imported as Python would.",
    nearest="{nearest}",
)
NO_ATTRIBUTE = rule(
    "no-attribute",
    Stage.FILE,
    "'{package}' holds no '{name}'",
    why="What stands after the colon is looked up in the module that stands before it.",
    nearest="{nearest}",
)
THEIR_ERROR = rule(
    "their-error",
    Stage.FILE,
    "{what}: {error}{line}",
    why="The user's own code raised an error while it was imported, or while it made the network.",
    nearest="run the factory in Python by itself",
)
NOT_A_MODULE = rule(
    "not-a-module",
    Stage.FILE,
    "the factory gives a {kind}, not a torch.nn.Module",
    why="A factory is a torch module, a class of one, or a function that returns one.",
    nearest="name a function without arguments that returns the network",
)
NO_EXAMPLE = rule(
    "no-example",
    Stage.FILE,
    "a torch module needs an example of its input",
    why="""torch traces a module by running it once; sizes and the number of timesteps come from
    there.""",
    nearest="--example-input x.npz",
)
EXAMPLE_SHAPE = rule(
    "example-shape",
    Stage.FILE,
    "the example input has shape {shape}, expected [samples, timesteps, inputs]",
    why="A sample is a sequence of vectors, and the first axis counts the samples.",
    nearest="an array of three axes, or more where inputs are pictures, none of them empty; "
    "one vector a sample, which the network repeats: x[:, None]",
)

# -- weights and saved programs -------------------------------------------------------------------

CODE_IN_WEIGHTS = rule(
    "code-in-weights",
    Stage.FILE,
    "holds no weights that can be read without running its code: {reason}",
    why="A pickled module runs code when it is read. Weights alone do not, and weights are enough.",
    nearest="save module.state_dict() with torch.save; --trust if you know who wrote the file",
)
NO_STATE_DICT = rule(
    "no-state-dict",
    Stage.FILE,
    "holds no state_dict; it holds {held}",
    why="""A state_dict maps names of parameters to tensors. It may stand anywhere in a checkpoint,
    under any key; tensors in a list have no names.""",
    nearest="save module.state_dict()",
)
SEVERAL_WEIGHTS = rule(
    "several-weights",
    Stage.FILE,
    "holds more than one set of weights that fits the module: {names}",
    why="Weights of every epoch, or averages of them, are other networks; nothing tells which.",
    nearest="save the one that is meant by itself",
)
WEIGHTS_TAKEN = rule(
    "weights-taken",
    Stage.FILE,
    "of the sets of weights that fit the module, {taken} is taken; left out: {left}",
    why="""Checkpoints hold averages of weights (EMA, SWA) beside the weights themselves. Those
    under the keys of training loops for a network itself are taken: state_dict, model, net.""",
    nearest="where another is meant, save it by itself",
    severity=Severity.NOTE,
)
OTHER_WEIGHTS = rule(
    "weights-misfit",
    Stage.FILE,
    "does not fit the module: {reason}",
    why="The weights come from a network with other layers or sizes than the factory makes.",
    nearest="the factory and the weights of the same run",
)
NO_PROGRAM = rule(
    "no-program",
    Stage.FILE,
    "this is no program that torch.export saved",
    why="A .pt2 file is what torch.export.save writes. torch.save and torch.jit.save write others.",
    nearest="torch.export.save(torch.export.export(module, (x,)), path)",
)

OLD_PROGRAM = rule(
    "old-program",
    Stage.FILE,
    "torch 2.7 or older saved this program, its weights pickled",
    why="Reading what is pickled can run code. Newer versions store weights as plain bytes.",
    nearest="save it again with torch 2.8 or newer; --trust if you know who wrote the file",
)
DAMAGED_PROGRAM = rule(
    "damaged-program",
    Stage.FILE,
    "the program cannot be read: {reason}",
    why="The file is an archive of parts that name each other. One is missing, cut off or changed.",
    nearest="torch.export.save writes it whole",
)
CODE_IN_PROGRAM = rule(
    "code-in-program",
    Stage.FILE,
    "{what} that only running the file's code could read",
    why="A model file is data. Pickled objects run code when they are read; tensors are plain.",
    nearest="save the program without it; --trust if you know who wrote the file",
)
UNSAFE_TEXT = rule(
    "unsafe-text",
    Stage.FILE,
    "'{field}' holds '{text}', which is not what belongs there",
    why="""torch evaluates parts of a program's description as Python: expressions of sizes, names,
    operations. Only what can be nothing else than that is given to it.""",
    nearest="torch.export.save writes it anew; --trust if you know who wrote the file",
)

# -- tracing --------------------------------------------------------------------------------------

STALE_MODULE = rule(
    "stale-module",
    Stage.IMPORT,
    "'{path}' still holds '{key}' of an earlier run, which would become its state before the first "
    "timestep",
    why="""Neurons of SpikingJelly, Sinabs and Rockpool keep their membranes from call to call.
    Traced like that, the membranes of the last sample become weights; most predictions stay the
    same, which hides it. A `forward` that clears them itself needs no reset.""",
    nearest="call {call} first, or in forward",
)
SCRIPTED = rule(
    "script-module",
    Stage.IMPORT,
    "this is a module of TorchScript, which torch.export does not take",
    why="""A module is traced as Python runs it. What `torch.jit` made of one is no Python any more;
    torch's older exporter of ONNX takes it.""",
    nearest="the module that it was made of; or torch.onnx.export(module, (x,), 'net.onnx', "
    "dynamo=False)",
)
OWN_INTERFACE = rule(
    "own-interface",
    Stage.IMPORT,
    "this is a module of Rockpool, which is not called as torch's are",
    why="""Rockpool's modules return their states beside the output, and its `parameters()` are a
    dict. `to_torch` gives the same network the ways of torch.""",
    nearest="module.to_torch()",
)
FORWARD_FAILS = rule(
    "forward-fails",
    Stage.IMPORT,
    "forward fails on an input {shape}: {error}",
    why="The module itself cannot be run on the example, before anything is traced.",
    nearest="[samples, timesteps, inputs], or with the timesteps first (--time-first), or in "
    "frames (--frame 2x34x34)",
)
TIME_LAST = rule(
    "time-last",
    Stage.IMPORT,
    "the module takes the timesteps last; samples are [samples, timesteps, inputs] all the same",
    why="""Samples have one order, whatever network reads them. The module is given each with its
    time axis moved behind the inputs.""",
    nearest="x.swapaxes(1, -1) of samples as the module takes them",
    severity=Severity.NOTE,
)
UNTRACEABLE = rule(
    "untraceable",
    Stage.IMPORT,
    "torch.export cannot trace it: {error}",
    why="""A program is one list of operations for every input; Python's branches run once, in
    tracing.""",
    nearest="control flow must not depend on the data, nor on tensors that the module holds",
)
WRITTEN_BUFFER = rule(
    "written-buffer",
    Stage.IMPORT,
    "the module writes into '{buffer}' and keeps it from call to call",
    why="An image starts every sample from zero; what a module keeps between calls would be lost.",
    nearest="start from a state made inside forward, or store it as a plain attribute that a reset "
    "clears",
)
MANY_RESULTS = rule(
    "many-results",
    Stage.IMPORT,
    "the module returns {number} tensors ({names})",
    why="An image answers with one vector of logits. Taps for training and plots are not computed.",
    nearest="say which is the answer: {options}",
)
RESULT_TYPE = rule(
    "result-type",
    Stage.IMPORT,
    "forward returns {kind}, into which torch.export cannot see",
    why="Tuples, lists and dicts of tensors are followed; objects of other classes are closed.",
    nearest="return a tensor, or a tuple or dict of tensors",
)
MANY_ARGUMENTS = rule(
    "many-arguments",
    Stage.IMPORT,
    "the module takes more than one input: '{first}' and '{second}'",
    why="""A sample is one sequence of vectors; two are one whose vectors are joined. States start
    from zero inside, masks and lengths are not known.""",
    nearest="dmpc.from_torch(module, (x, y)) with an example for each; or a module around it that "
    "takes one sequence, and splits it: x[..., :n], x[..., n:]",
)
INNER_FUNCTION = rule(
    "inner-function",
    Stage.IMPORT,
    "the module's code holds a function of its own (a branch or loop of torch)",
    why="""torch.cond, while_loop and scan keep Python functions inside the program. Loops over
    timesteps that Python runs are unrolled, and rolled up again.""",
    nearest="write the loop over timesteps in Python",
)
CONSTANT_RESULT = rule(
    "constant-result",
    Stage.IMPORT,
    "the output does not depend on the input",
    why="A network whose answer is always the same has nothing to run on the machine.",
    nearest="check what forward returns",
)
DIFFERS_BY_ITSELF = rule(
    "differs-by-itself",
    Stage.IMPORT,
    "run twice on the same input, the module is not the same: {what}",
    why="""A program is what one run did. Random numbers of NumPy or of Python, and states that are
    kept from call to call, are not seen in it: what they were becomes part of the weights.""",
    nearest="encode the input as spikes before it reaches the network, and start states in forward",
)
NARROW_FLOATS = rule(
    "narrow-floats",
    Stage.IMPORT,
    "the module's weights are {dtype}: it is imported in float32",
    why="""The values of the weights stay what they are. What the module computes with them is
    rounded less than in {dtype}; the compiler chooses its own integers.""",
    nearest="module.float() says the same",
    severity=Severity.NOTE,
)
NARROW_PROGRAM = rule(
    "narrow-program",
    Stage.IMPORT,
    "the program computes in {dtype}: '{name}' is one of its values",
    why="""What a saved program computes in is part of each of its operations. The network is
    imported in float32, and rounded to the machine's integers by the compiler alone.""",
    nearest="save module.float() on an example of float32: "
    "torch.export.export(module.float(), (x.float(),))",
)
QUANTIZED_MODULE = rule(
    "quantized-module",
    Stage.IMPORT,
    "{what} is quantized, or prepared for it ({kind})",
    why="""Scales, observers and integer kernels of a quantizer describe another machine. The
    compiler rounds the float weights to this one's integers, with scales for each neuron.""",
    nearest="give the float module, as it was before prepare or convert, with its weights; to "
    "train with the machine's rounding, dmpc.nn.QuantizedNetwork",
)
INTEGER_NETWORK = rule(
    "integer-network",
    Stage.IMPORT,
    "a QuantizedNetwork computes the machine's integers, and no operations of torch",
    why="""It runs the compiler and the integer graph in its forward pass. The weights under it are
    those of a float network; the ranges and widths it was trained with travel in its file.""",
    nearest="quantized.export_onnx(path), and compile the file; or its float part, "
    "quantized.network",
)
COMPLEX_RESULT = rule(
    "complex-result",
    Stage.IMPORT,
    "the output is complex",
    why="Complex numbers may stand inside a transform that is undone again; logits are real.",
    nearest="return the real part",
)
FORM = rule(
    "operation-form",
    Stage.IMPORT,
    "{what} is not supported",
    why="""The operation is known, but not in this form: the machine has no unit for it, and it has
    no equal among linear maps, rectifiers, comparisons and choices.""",
    nearest="{nearest}",
)
