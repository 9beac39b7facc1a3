"""What an import has to tell of a model that it could import: what it assumed, what it left out."""

from collections.abc import Iterator

from onnx import GraphProto

from dmpc.findings import finding, tell
from dmpc.rules import Severity, Stage, rule

MOST_NAMES = 4  # of weights, in a message

READOUT_ASSUMED = rule(
    "readout-assumed",
    Stage.IMPORT,
    "the model is one timestep and does not say how timesteps become the answer: the mean is taken",
    why="""A model of one timestep gives an output at each of them. Which mean, sum, maximum or last
    of them was trained is known to whoever trained it.""",
    nearest="say it: --readout mean, sum, max or last",
    severity=Severity.NOTE,
)
UNUSED_WEIGHTS = rule(
    "unused-weights",
    Stage.IMPORT,
    "{count} weights are read by no node: {names}",
    why="""Weights of a layer that is declared and never applied (a batch norm that the forward pass
    forgot) travel along in a file. They change nothing, in the model as in the image.""",
    nearest="check that every layer is applied; then leave the weights out",
    severity=Severity.NOTE,
)


INPUT_REPEATED = rule(
    "input-repeated",
    Stage.IMPORT,
    "the model shows '{name}' unchanged at each of {steps} timesteps: the network takes a "
    "sequence, and a sample of one timestep is shown {steps} times",
    why="""The machine takes its input timestep by timestep. The same vector is given to it again
    and again, as the model does; it may also be given a sequence.""",
    nearest="samples of one timestep: x [samples, 1, inputs]",
    severity=Severity.NOTE,
)


ACTIVATION_LEFT_OUT = rule(
    "activation-left-out",
    Stage.IMPORT,
    "the model ends in {functions}: left out, the image gives what goes into it",
    why="""Softmax, its logarithm or a sigmoid at the very end change no prediction: the largest of
    the logits stays the largest. The machine gives the logits.""",
    nearest="apply it to the logits of dmpc run, if probabilities are wanted",
    severity=Severity.NOTE,
)


def tell_repeated(where: str, name: str, steps: int) -> None:
    """Tell that a model shows one input at every timestep."""
    tell(finding(INPUT_REPEATED, where=where, nodes=(name,), name=name, steps=steps))


def tell_readout(where: str) -> None:
    """Tell that a readout was assumed."""
    tell(finding(READOUT_ASSUMED, where=where))


def tell_unused(graph: GraphProto, where: str) -> None:
    """Tell of weights in a file that nothing reads."""
    read = set(_read(graph))
    unused = [tensor.name for tensor in graph.initializer if tensor.name not in read]
    if unused:
        more = ", ..." if len(unused) > MOST_NAMES else ""
        names = ", ".join(unused[:MOST_NAMES]) + more
        nodes = tuple(unused)
        tell(finding(UNUSED_WEIGHTS, where=where, nodes=nodes, count=len(unused), names=names))


def _read(graph: GraphProto) -> Iterator[str]:
    """Every name that a graph or what is inside it reads or gives."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _read(attribute.g)
