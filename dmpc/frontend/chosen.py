"""Which of a model's outputs is its answer; the others are left out, and said to be."""

import shlex
from collections.abc import Iterable, Mapping, Sequence

from onnx import ModelProto, NodeProto, ValueInfoProto

from dmpc.errors import ImportFailure
from dmpc.findings import finding, tell
from dmpc.frontend.model_rules import LEFT_OUT, MANY_OUTPUTS, NO_SUCH_OUTPUT
from dmpc.frontend.onnx_file import live
from dmpc.ir.registry import did_you_mean

MOST_NAMES = 4  # of outputs, in a message


def options(names: Iterable[str]) -> str:
    """The options that would choose each of some outputs, as they are typed."""
    every = [f"--output {shlex.quote(name)}" for name in names]
    more = f", or one of {len(every) - MOST_NAMES} more" if len(every) > MOST_NAMES else ""
    return " or ".join(every[:MOST_NAMES]) + more


def check_named(wanted: str | None, names: Sequence[str]) -> None:
    """Refuse the name of an output that there is not."""
    if wanted is not None and wanted not in names:
        near = did_you_mean(wanted, names)
        raise ImportFailure.of(NO_SUCH_OUTPUT, name=wanted, nearest=near)


def tell_left_out(where: str, answer: str, names: Iterable[str]) -> None:
    """Tell which outputs were left out, if any were."""
    left = [name for name in names if name != answer]
    if left:
        tell(finding(LEFT_OUT, where=where, nodes=(answer,), answer=answer, left=", ".join(left)))


def with_answer(
    model: ModelProto, wanted: str | None, states: Mapping[str, str], where: str
) -> ModelProto:
    """A file's model without the outputs that are not its answer, as far as is known beforehand.

    That is so for a sequence, whose one input says that it is one, and for a timestep of which
    every state is paired by hand.
    """
    names = [value.name for value in model.graph.output]
    check_named(wanted, names)
    answers = answers_of(model)
    if inputs_of(model) - len(states) != 1 or (wanted is None and (len(answers) != 1 or states)):
        return model
    answer = wanted or answers[0]
    if not states:
        tell_left_out(where, answer, answers)
    kept = {answer, *states.values()}
    return with_outputs(model, [name for name in names if name in kept])


def answers_of(model: ModelProto) -> list[str]:
    """The outputs of a sequence that may be its answer: final states, if others are there, not."""
    names = [value.name for value in model.graph.output]
    finals = {name for node in model.graph.node for name in _finals(node)}
    return [name for name in names if name not in finals] or names


def unchosen(model: ModelProto, wanted: str | None) -> bool:
    """Whether a sequence has several answers, and none is wanted."""
    return wanted is None and inputs_of(model) == 1 and len(answers_of(model)) > 1


def inputs_of(model: ModelProto) -> int:
    """How many inputs a model has that are no weights."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return sum(value.name not in stored for value in model.graph.input)


def many_outputs(names: Sequence[str]) -> ImportFailure:
    """The error for a model that has several answers."""
    listed = ", ".join(names)
    return ImportFailure.of(MANY_OUTPUTS, number=len(names), names=listed, options=options(names))


def _finals(node: NodeProto) -> list[str]:
    """The outputs of a loop that hold its states after the last iteration."""
    counts = {
        "Scan": sum(a.i for a in node.attribute if a.name == "num_scan_inputs"),
        "Loop": 2,
    }
    if node.op_type not in counts:
        return []
    return list(node.output[: max(0, len(node.input) - counts[node.op_type])])


def with_outputs(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """A model that gives the tensors of some names, and the nodes that they depend on."""
    known = {value.name: value for value in model.graph.output}
    if names == list(known):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(known.get(name, ValueInfoProto(name=name)) for name in names)
    nodes = live(copy.graph)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
