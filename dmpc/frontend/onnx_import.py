"""ONNX models as model-level graphs: one timestep with states, or a Scan over the sequence."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto

from dmpc.errors import CompileError, DmpcError, ImportFailure
from dmpc.frontend.answers import NO_AXES, Axes, axes_of, sample_axis
from dmpc.frontend.boundary import boundary, check_size
from dmpc.frontend.builder import Builder
from dmpc.frontend.causes import CONSEQUENCES, first_causes
from dmpc.frontend.chosen import answers_of, many_outputs, tell_left_out, unchosen, with_answer
from dmpc.frontend.context import Context
from dmpc.frontend.excerpt import located
from dmpc.frontend.finish import NOTHING, Finish, check_finish, tell_finish, without_finish
from dmpc.frontend.joined import joined, tell_joined
from dmpc.frontend.model_rules import (
    BATCH_AXES,
    DEAD_OUTPUT,
    INPUT_AXES,
    NAMED_STATES,
    NO_INPUT,
    NO_TIME,
    PARTIAL_OUTPUT,
    PARTIAL_TIME,
    READOUT_CONFLICT,
    REPEATED_INPUT,
    SCAN_INPUTS,
    SIZE_DEPENDENT,
    STALE_STATE,
    UNKNOWN_SIZE,
)
from dmpc.frontend.models import stem
from dmpc.frontend.normalise import CONTROL, is_usual, normalise, sequences
from dmpc.frontend.normalise.kept import with_lists
from dmpc.frontend.normalise.whole_parts import with_whole_parts
from dmpc.frontend.notes import tell_readout, tell_repeated, tell_unused
from dmpc.frontend.onnx_file import Source, initializers, read_model
from dmpc.frontend.operators import OPERATORS
from dmpc.frontend.responses import Systems
from dmpc.frontend.staircases import check_staircases
from dmpc.frontend.stand_ins import STAND_INS, Sizes, longer_stand_ins
from dmpc.frontend.states import pair
from dmpc.frontend.steps import check_steps
from dmpc.frontend.tensors import Domain, Known, Mixed, Tensor, Traced, distinct, whole
from dmpc.frontend.unsettled import unsettled
from dmpc.ir.graph import Graph
from dmpc.ir.prune import prune
from dmpc.ir.verify import READOUTS, verify
from dmpc.passes.recognise import Recognise

Initial = Literal["zero", "keep"]


@dataclass(frozen=True)
class Options:
    """What a user may add to a model file."""

    states: Mapping[str, str]
    readout: str | None
    initial_states: Initial
    output: str | None = None


MOST_LATE = 8
"""Timesteps by which a last answer may come late: layers that lag, one behind the other."""


@dataclass(frozen=True)
class Signature:
    """How to run the file itself, by the names of its inputs and outputs.

    A whole sequence has a `time` axis in its input; one timestep has none, and `states` maps each
    state input to the output that holds its next value. `axes` are the axes of the output of a
    answer. `tensors` is what the import made of the file's tensors, outside of loops.
    A file that takes one vector a sample, and shows it at `repeats` timesteps, is taken for one of
    a sequence. `finish` is what the file makes of the output at its very end. `joined` is true if
    the file has several inputs, of which `input` is made (`dmpc.frontend.joined`). Unless it is
    `usual`, a library may end the process on it (`dmpc.frontend.normalise.pipeline.is_usual`).
    """

    input: str
    output: str
    time: int | None
    states: Mapping[str, str]
    tensors: Mapping[str, Tensor] = field(compare=False, repr=False)
    axes: Axes = NO_AXES
    repeats: int | None = None
    finish: Finish = NOTHING
    joined: bool = False
    usual: bool = True

    @property
    def every_step(self) -> bool:
        """Whether the output has an answer for every timestep."""
        return self.time is None or self.axes.steps is not None


def import_onnx(
    source: Source, options: Options, *, name: str | None = None, finish: Finish = NOTHING
) -> tuple[Graph, Signature]:
    """See `dmpc.frontend.import_onnx`; also tells how to run the file.

    `source` is a file or the model itself, which is then called `name` in errors; the graph bears
    the name without its directory and suffix. The default is the file's own name. `finish` is what
    was left out of its end already.
    """
    if options.readout is not None and options.readout not in READOUTS:
        raise ImportFailure(
            f"unknown readout '{options.readout}'", hint=f"one of {', '.join(READOUTS)}"
        )
    if name is None:
        name = "model" if isinstance(source, ModelProto) else os.fspath(source)
    model, opset = read_model(source, name)
    try:
        return _import_model(model, opset, options, name, finish)
    except ImportFailure as error:
        found = _import_joined(model, opset, options, name, finish, error)
        if found is None:
            raise
        return found


def _import_joined(
    model: ModelProto,
    opset: int,
    options: Options,
    name: str,
    finish: Finish,
    error: ImportFailure,
) -> tuple[Graph, Signature] | None:
    """A model of several inputs, which are made one; None if it is none such.

    Of a timestep the states are told from the inputs by the user.
    """
    try:
        with boundary():
            found = joined(model, tuple(options.states))
    except ImportFailure:  # what cannot be looked at has been told
        return None
    if found is None:
        return None
    one, parts = found
    try:
        graph, signature = _import_model(one, opset, options, name, finish)
    except ImportFailure:
        if error.rule is SCAN_INPUTS:  # what is wrong beside that there are several
            raise
        return None
    if (signature.time is None) != bool(options.states):
        return None
    tell_joined(name, parts)
    return graph, replace(signature, joined=True)


def _import_model(
    model: ModelProto, opset: int, options: Options, name: str, finish: Finish
) -> tuple[Graph, Signature]:
    """The same, of a model that was read."""
    systems, usual = Systems(), is_usual(model)
    try:
        with boundary():
            model = with_answer(model, options.output, options.states, name)
            if not finish.functions:
                model, output, finish = without_finish(model, options.output)
                options = replace(options, output=output)
            first, signature = _of_any_size(model, opset, options, systems)
            check_finish(finish, signature.axes, str(first.attrs["readout"]), signature.every_step)
            first.name = stem(name)
            verify(first)
            tell_unused(model.graph, name)
            tell_finish(name, finish)
            if signature.time is None:
                states = signature.states.values()
                outputs = [one.name for one in model.graph.output if one.name not in states]
                tell_left_out(name, signature.output, outputs)
            if signature.repeats is not None:
                tell_repeated(name, signature.input, signature.repeats)
            if signature.time is None and options.readout is None:
                tell_readout(name)
    except ImportFailure as error:
        if unchosen(model, options.output):  # what is wrong may be so with one that is left out
            raise many_outputs(answers_of(model)).inside(name) from None
        try:
            with boundary():
                cause = first_causes(
                    error, model, opset, partial(_lenient, model, opset, options, stem(name))
                )
        except ImportFailure as found:  # what cannot even be looked at is the first cause
            cause = found
        raise located(cause, model.graph).inside(name) from None
    except DmpcError as error:
        raise ImportFailure(error.message, hint=error.hint).inside(name) from None
    return first, replace(signature, finish=finish, usual=usual)


def _of_any_size(
    model: ModelProto, opset: int, options: Options, systems: Systems
) -> tuple[Graph, Signature]:
    """As `_import`, of a model that shows that its sizes make no difference where they are open."""
    longer = longer_stand_ins(model) if _open(model) else None
    try:
        return _of_sizes(model, opset, options, STAND_INS, systems)
    except ImportFailure as error:
        if longer is None:
            raise
        try:
            return _of_sizes(model, opset, options, longer, systems)
        except ImportFailure:
            raise error from None


def _of_sizes(
    model: ModelProto, opset: int, options: Options, sizes: tuple[Sizes, Sizes], systems: Systems
) -> tuple[Graph, Signature]:
    first, signature = _either(model, opset, options, sizes[0], systems)
    if _open(model) and _either(model, opset, options, sizes[1], systems)[0] != first:
        raise ImportFailure.of(SIZE_DEPENDENT)
    return first, signature


def _either(
    model: ModelProto, opset: int, options: Options, sizes: tuple[int, int], systems: Systems
) -> tuple[Graph, Signature]:
    """As `_import`, or if that fails, of a model that shows one vector at every timestep."""
    try:
        return _import(model, opset, options, sizes, systems)
    except ImportFailure as error:
        resting = _resting(model, opset, options, sizes, error)
        return resting or _repeated(model, opset, options, sizes, error)


def _resting(
    model: ModelProto, opset: int, options: Options, sizes: tuple[int, int], error: ImportFailure
) -> tuple[Graph, Signature] | None:
    """A model whose states start from where they rest, such as a threshold that adapts; None if
    that is not what is wrong, or some of its layers' states do not start from zero."""
    if {one.rule for one in error.every} != {STALE_STATE}:
        return None
    keeping = replace(options, initial_states="keep")
    graph, signature = _import(model, opset, keeping, sizes, Systems())
    try:
        layers = Recognise().run(graph)
    except CompileError:
        return None
    starts = (layers.constants[state.init] for state in layers.states if state.init)
    return None if any(start.any() for start in starts) else (graph, signature)


def _repeated(
    model: ModelProto, opset: int, options: Options, sizes: tuple[int, int], error: ImportFailure
) -> tuple[Graph, Signature]:
    """The network of a model whose one input is no sequence; raises `error` if it is none such."""
    stored = initializers(model.graph)
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise error
    failed = None
    for found in sequences(model, opset, inputs[0].name, _vector_shape(inputs[0], sizes[0])):
        try:
            graph, signature = _import(found.model, opset, options, sizes, Systems())
        except ImportFailure as other:
            failed = failed or other
            continue
        graph.attrs["repeats"] = found.steps
        return graph, replace(signature, repeats=found.steps, tensors={})
    if failed is None or error.rule is not NO_TIME:
        raise error
    if failed.rule and failed.rule.name not in CONSEQUENCES:
        raise failed
    raise ImportFailure.of(REPEATED_INPUT, name=inputs[0].name, reason=failed.message)


def _lenient(model: ModelProto, opset: int, options: Options, name: str, proved: bool) -> Graph:
    """The graph of a model, whatever its states start from, and unless it is `proved` whatever its
    first timesteps compute; only good for looking at."""
    keeping = replace(options, initial_states="keep")
    with boundary():
        graph, _ = _import(model, opset, keeping, STAND_INS[0], Systems(), proved=proved)
    graph.name = name
    return graph


def _import(
    model: ModelProto,
    opset: int,
    options: Options,
    sizes: tuple[int, int],
    systems: Systems,
    *,
    proved: bool = True,
) -> tuple[Graph, Signature]:
    model = with_whole_parts(model)
    stored = initializers(model.graph)
    inputs = [value for value in model.graph.input if value.name not in stored]
    ctx = Context(
        opset, Builder("model"), OPERATORS, options.initial_states == "keep", systems=systems
    )
    if not inputs:
        raise ImportFailure.of(NO_INPUT)
    if len(inputs) == 1:
        shape = _sequence_shape(inputs[0], sizes)
        model = normalise(model, opset, {inputs[0].name: shape}, proved=proved)
    elif any(node.op_type in CONTROL for node in model.graph.node):
        shapes = {value.name: _shape(value, sizes[:1]) for value in inputs}
        model = normalise(model, opset, shapes, sequence=False)
    if any(node.op_type == "Scan" for node in model.graph.node):
        if len(inputs) == 1:
            longer = longer_stand_ins(model) or STAND_INS
            steps = max(*_sequence_shape(inputs[0], sizes)[:2], longer[0][1])
            model = with_lists(model, opset, steps)
        return _sequence(model, inputs, ctx, options, sizes)
    if len(inputs) == 1:
        return _of_filters(model, inputs, ctx, options, sizes)
    return _timestep(model, inputs, ctx, options, sizes[0])


def _of_filters(
    model: ModelProto,
    inputs: list[ValueInfoProto],
    ctx: Context,
    options: Options,
    sizes: tuple[int, int],
) -> tuple[Graph, Signature]:
    """A sequence without a loop: all states are those of filters over time."""
    with suppress(ImportFailure):
        graph, signature = _sequence(model, inputs, ctx, options, sizes)
        if signature.time is not None and graph.states:
            return graph, signature
    raise ImportFailure.of(NO_TIME, name=inputs[0].name)


def _shape(value: ValueInfoProto, stand_ins: tuple[int, ...]) -> tuple[int, ...]:
    """An input's shape; the first axes may be known at run time only."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or tensor.elem_type == TensorProto.UNDEFINED:
        raise ImportFailure(f"input '{value.name}' has no type or shape", hint="export it anew")
    shape = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            shape.append(dim.dim_value)
        elif axis < len(stand_ins):
            shape.append(stand_ins[axis])
        else:
            raise ImportFailure.of(UNKNOWN_SIZE, name=value.name, axis=axis)
    check_size(shape, value.name)
    return tuple(shape)


def _open(model: ModelProto) -> bool:
    """Whether a size of an input is known at run time only."""
    shapes = [value.type.tensor_type.shape for value in model.graph.input]
    return any(dim.dim_value <= 0 for shape in shapes for dim in shape.dim)


def _sequence_shape(value: ValueInfoProto, sizes: tuple[int, int]) -> tuple[int, ...]:
    """[batch, time, inputs], [time, batch, inputs] or [time, inputs]."""
    rank = len(value.type.tensor_type.shape.dim)
    if rank < 2:
        raise ImportFailure.of(INPUT_AXES, name=value.name, rank=rank)
    return _shape(value, sizes[: min(rank - 1, 2)])


def _vector_shape(value: ValueInfoProto, samples: int) -> tuple[int, ...]:
    """[batch, inputs], [batch, 1, inputs] or [1, batch, inputs]; sizes may be left open."""
    dims = value.type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in dims]
    axis = sample_axis(sizes)
    return tuple(size or (samples if at == axis else 1) for at, size in enumerate(sizes))


def _timestep(
    model: ModelProto, inputs: list[ValueInfoProto], ctx: Context, options: Options, batch: int
) -> tuple[Graph, Signature]:
    """One timestep with explicit states: every input [batch, n], or all of them [n]."""
    shapes = {value.name: _shape(value, (batch,)) for value in inputs}
    batched = all(len(shape) > 1 for shape in shapes.values())
    samples = {shape[0] for shape in shapes.values()} if batched else {1}
    if len(samples) != 1:
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ImportFailure.of(BATCH_AXES, shapes=listed)
    domain = Domain((samples.pop(),))
    tensors: dict[str, Tensor] = {}
    values: dict[str, str] = {}
    for name, shape in shapes.items():
        features = int(np.prod(shape[1:] if batched else shape))
        values[name] = ctx.builder.input(name, features)
        tensors[name] = whole(values[name], shape, domain, 1 if batched else 0)
    tensors = ctx.run_model(model.graph, tensors)
    outputs = {
        value.name: _vector(ctx, tensors, value.name, domain) for value in model.graph.output
    }
    graph = ctx.builder.graph
    pairing = pair(graph, values, outputs, options.states, options.output)
    for state, target in pairing.states.items():
        ctx.builder.make_state(values[state], outputs[target])
    graph.outputs = [outputs[pairing.output]]
    graph.attrs["readout"] = options.readout or "mean"
    answer = tensors[pairing.output]
    assert isinstance(answer, Traced)  # see _vector
    axes = axes_of(answer)
    return _pruned(ctx), Signature(
        pairing.input, pairing.output, None, pairing.states, tensors, axes
    )


def _vector(ctx: Context, tensors: Mapping[str, Tensor], name: str, domain: Domain) -> str:
    """The graph value behind an output of the model."""
    tensor = tensors.get(name)
    if not isinstance(tensor, Traced):
        raise ImportFailure.of(DEAD_OUTPUT, name=name)
    value, whole_ = ctx.builder.vector(tensor, (name,))
    if distinct(whole_.positions) != domain.size:
        raise ImportFailure.of(PARTIAL_OUTPUT, name=name)
    return value


def _sequence(
    model: ModelProto,
    inputs: list[ValueInfoProto],
    ctx: Context,
    options: Options,
    sizes: tuple[int, int],
) -> tuple[Graph, Signature]:
    """The whole sequence: x [batch, time, inputs], [time, batch, inputs] or [time, inputs]."""
    if len(inputs) != 1:
        raise ImportFailure.of(
            SCAN_INPUTS, number=len(inputs), names=", ".join(value.name for value in inputs)
        )
    if options.states:
        raise ImportFailure.of(NAMED_STATES)
    name = inputs[0].name
    shape = _sequence_shape(inputs[0], sizes)
    axes = min(len(shape) - 1, 2)
    domain = Domain(shape[:axes])
    ctx.of_sequence = True
    value = ctx.builder.input(name, int(np.prod(shape[axes:])))
    tensors = ctx.run_model(model.graph, {name: whole(value, shape, domain, axes)})
    outputs = [value.name for value in model.graph.output]
    answers = [name for name in outputs if name not in ctx.finals] or outputs
    if len(answers) != 1:
        raise many_outputs(answers)
    answer = tensors.get(answers[0], Known(np.zeros(0)))
    found = _answer(ctx, answer, answers[0], domain, options.readout)
    return _pruned(ctx), Signature(name, answers[0], domain.time, {}, tensors, found)


def _pruned(ctx: Context) -> Graph:
    """The graph without what has no influence; raises ImportFailure for half spikes that have."""
    graph = prune(ctx.builder.graph)
    check_steps(ctx.builder, graph)
    check_staircases(ctx.builder, graph)
    return graph


def _answer(ctx: Context, tensor: Tensor, name: str, domain: Domain, wanted: str | None) -> Axes:
    """Make a tensor the graph's output, and find how it is read out over time; returns its axes."""
    if isinstance(tensor, Mixed):
        raise unsettled(ctx.systems, tensor, f"output '{name}'")
    if not isinstance(tensor, Traced) or tensor.domain is not domain:
        raise ImportFailure.of(DEAD_OUTPUT, name=name)
    value, vector = ctx.builder.vector(tensor, (name,))
    sample, step = domain.split(vector.positions)
    steps, samples = np.unique(step), np.unique(sample)
    if len(samples) * domain.steps != domain.size:
        raise ImportFailure.of(PARTIAL_OUTPUT, name=name)
    found = tensor.reduced
    late = domain.steps - 1 - int(steps[0])
    if found is None and len(steps) == 1 and domain.steps > 1 and late <= MOST_LATE:
        found = "last"
        for _ in range(late):
            value = ctx.builder.previous(value, (name,))
    elif found is None and len(steps) != domain.steps:
        raise ImportFailure.of(PARTIAL_TIME, name=name, found=len(steps), steps=domain.steps)
    if found is not None and wanted not in (None, found):
        raise ImportFailure.of(READOUT_CONFLICT, found=found, wanted=wanted)
    ctx.builder.graph.outputs = [value]
    ctx.builder.graph.attrs["readout"] = found or wanted or "mean"
    if tensor.since:
        ctx.builder.graph.attrs["since"] = tensor.since
    return axes_of(tensor)
