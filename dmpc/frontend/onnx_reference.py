"""The user's own ONNX file in onnxruntime: the top of the ladder of oracles."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dmpc.errors import DmpcError
from dmpc.frontend.answers import sample_axis
from dmpc.frontend.boundary import one_line
from dmpc.frontend.models import Model, held, one_timestep
from dmpc.frontend.tensors import Traced
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret, over_time
from dmpc.ir.registry import Tensor
from isa.files.apart import Ended, apart

if TYPE_CHECKING:
    from onnx import ModelProto

    from dmpc.frontend.onnx_import import Signature

FATAL = 4
"""The severity from which on onnxruntime writes a log; what it raises is told once, as an error."""
SECONDS = 60.0  # of processor time that two samples may take
LEAST = 2
"""Samples that run at once: a squeeze without an axis would take that of a single one away."""
TYPES: Mapping[str, type[np.generic]] = {
    "tensor(bool)": np.bool_, "tensor(double)": np.float64, "tensor(float)": np.float32,
    "tensor(float16)": np.float16, "tensor(int16)": np.int16, "tensor(int32)": np.int32,
    "tensor(int64)": np.int64, "tensor(int8)": np.int8, "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32, "tensor(uint64)": np.uint64, "tensor(uint8)": np.uint8,
}  # fmt: skip
"""Types of inputs and states by onnxruntime's names."""


Series = dict[str, Tensor]
"""Values of every timestep, [samples, timesteps, ...], by name."""


@dataclass(frozen=True)
class FileTensor:
    """A tensor of the file, the node that makes it, and its values by graph and by onnxruntime."""

    name: str
    node: str
    ours: Tensor
    theirs: Tensor


def open_onnx(
    path: str | os.PathLike[str],
    *,
    states: Mapping[str, str],
    readout: str | None = None,
    output: str | None = None,
) -> Model:
    """The model of an ONNX file, with the file itself as its reference; see `import_onnx`."""
    from dmpc.frontend import onnx_import

    options = onnx_import.Options(dict(states), readout, "zero", output)
    graph, signature = onnx_import.import_onnx(path, options)
    reference = OnnxReference(path, signature, str(graph.attrs["readout"]))
    return Model(os.fspath(path), graph, reference)


def _fixed(size: object) -> int | None:
    """The size of an axis, unless it is open: a name, nothing, or no size at all."""
    return size if isinstance(size, int) and size > 0 else None


class OnnxReference:
    """An ONNX model, one timestep or a whole sequence, run in float32 by onnxruntime.

    `readout` makes the answer of outputs per timestep. The file is loaded when it is first run.
    """

    name = "onnxruntime"

    def __init__(self, path: str | os.PathLike[str], signature: "Signature", readout: str) -> None:
        self.path, self.signature, self.readout = os.fspath(path), signature, readout

    @cached_property
    def session(self) -> Any:
        """The file in onnxruntime; raises DmpcError if it cannot be run at all."""
        as_it_is = not (self.signature.finish.functions or self.signature.joined)
        source = self.path if as_it_is else self._model()
        if not self.signature.usual:
            try:
                apart(lambda: self._try(source), SECONDS)
            except Ended as ended:
                raise DmpcError(
                    f"onnxruntime cannot run the model: it {ended}", where=self.path
                ) from None
        return self._load(source)

    def _try(self, source: "str | ModelProto") -> None:
        """Run a file on two samples of zeros, in this process; what cannot be run is told later."""
        with suppress(DmpcError):
            self.session = self._load(source)
            shape = self.inputs[self.signature.input].shape
            features = [_fixed(size) or 1 for size in shape[len(shape) - self._tail_axes() :]]
            self.logits(np.zeros((LEAST, self.steps or LEAST, math.prod(features))))

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """The model's inputs by name."""
        return {item.name: item for item in self.session.get_inputs()}

    @property
    def type(self) -> type[np.generic]:
        """The type in which the file takes its input."""
        return TYPES.get(self.inputs[self.signature.input].type, np.float32)

    @property
    def steps(self) -> int | None:
        """The number of timesteps that the file insists on, if any."""
        if self.signature.time is None or self.signature.repeats is not None:
            return self.signature.repeats
        return _fixed(self.inputs[self.signature.input].shape[self.signature.time])

    @property
    def batch(self) -> int | None:
        """The number of samples that the file insists on, if any."""
        shape = self.inputs[self.signature.input].shape
        axis = 0 if self.signature.time is None else 1 - self.signature.time
        if self.signature.repeats is not None:
            axis = sample_axis(shape)
        elif len(shape) - self._tail_axes() <= axis:
            return 1
        return _fixed(shape[axis])

    def logits(self, x: Tensor) -> Tensor:
        """Logits [samples, classes] of samples `x` [samples, timesteps, inputs].

        Raises DmpcError with onnxruntime's reason if the file cannot be run on them.
        """
        return self._answers(self.session, (), x)[0]

    def logits_and_spikes(self, nodes: Iterable[str], x: Tensor) -> tuple[Tensor, Series]:
        """Logits as above, and what those of some nodes that are comparisons give, by node.

        [samples, timesteps, neurons], as far as they can be seen: not those of unrolled timesteps.
        """
        from dmpc.frontend.watched import watched

        model = self._model()
        found = watched(model, nodes, inside=self.signature.time is not None)
        session = self._load(model)
        logits, *series = self._answers(session, tuple(found.values()), x)
        shape = len(logits), x.shape[1]
        return logits, {
            node: array.reshape(*shape, -1)
            for node, array in zip(found, series, strict=True)
            if array.shape[:2] == shape
        }

    def _answers(self, session: Any, names: tuple[str, ...], x: Tensor) -> list[Tensor]:
        """Logits, and tensors that have every timestep, of all samples."""
        together = self.batch or max(LEAST, len(x))
        starts = range(0, len(x), together)
        parts = [self._answer(session, names, x[i : i + together], together) for i in starts]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def tensors(self, imported: Graph, x: Tensor) -> Iterator[FileTensor]:
        """The file's tensors outside of loops, in order, and what the imported graph computes."""
        import onnx

        traced = {
            name: tensor
            for name, tensor in self.signature.tensors.items()
            if isinstance(tensor, Traced) and not tensor.reduced and tensor.value in imported.types
        }
        if not traced:
            return
        model = self._joined() or onnx.load(self.path)
        makers = {name: node.name for node in model.graph.node for name in node.output}
        names = [name for name in makers if name in traced]
        present = {value.name for value in model.graph.output}
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in names if name not in present
        )
        domain = traced[names[0]].domain
        samples, steps = domain.size // domain.steps, domain.steps
        x = np.resize(x, (samples, steps if domain.time is not None else x.shape[1], x.shape[2]))
        theirs = self._run(self._load(model), names, x)
        traces = interpret(imported, x, trace={traced[name].value for name in names}).traces
        for name, array in zip(names, theirs, strict=True):
            ours = _arranged(traces[traced[name].value], traced[name])
            if ours.shape == array.shape:  # a name of an unrolled file may be that of one timestep
                yield FileTensor(name, makers[name] or name, ours, array.astype(np.float64))

    def _model(self) -> "ModelProto":
        """The file's model as it was imported.

        It gives what goes into functions at its very end, and takes inputs joined, if there are.
        """
        import onnx

        from dmpc.frontend.finish import shows
        from dmpc.frontend.onnx_file import read_model

        if not self.signature.finish.functions:
            return self._joined() or onnx.load(self.path)
        model = self._joined() or read_model(self.path, self.path)[0]
        return shows(model, self.signature.output)

    def _joined(self) -> "ModelProto | None":
        if not self.signature.joined:
            return None
        from dmpc.frontend.joined import joined
        from dmpc.frontend.onnx_file import read_model

        found = joined(read_model(self.path, self.path)[0], tuple(self.signature.states))
        return found[0] if found else None

    def _load(self, source: "str | ModelProto") -> Any:
        import onnx
        import onnxruntime

        onnxruntime.set_default_logger_severity(FATAL)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL
        options.intra_op_num_threads = 1
        # The file as it stands: optimised, the product of a transposed matrix with a vector is
        # another (onnxruntime 1.32).
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
        try:
            if isinstance(source, str) and not _is_utf8(source):  # a name that it cannot take
                source = onnx.load(source)
            given = source if isinstance(source, str) else source.SerializeToString()
            return onnxruntime.InferenceSession(given, options)
        except Exception as error:  # onnxruntime raises classes of its own without a common base
            raise self._cannot(error) from error

    def _cannot(self, error: Exception) -> DmpcError:
        reason = one_line(error).rpartition("Status Message: ")[2]
        return DmpcError(f"onnxruntime cannot run the model: {reason}", where=self.path)

    def _tail_axes(self) -> int:
        """Axes of the input that are features of a timestep."""
        rank = len(self.inputs[self.signature.input].shape)
        if self.signature.repeats is not None:
            return rank - 1
        return rank - min(rank - 1, 1 if self.signature.time is None else 2)

    def _answer(
        self, session: Any, names: tuple[str, ...], x: Tensor, together: int
    ) -> list[Tensor]:
        count = len(x)
        x = np.concatenate([x, np.repeat(x[-1:], together - count, axis=0)])
        output, *series = self._run(session, [self.signature.output, *names], x)
        if self.signature.time is None:
            flat = output.reshape(*output.shape[:2], -1)
            return [over_time(self.readout, flat)[:count], *(one[:count] for one in series)]
        logits = self.signature.axes.logits(output, self.readout)
        one_sample = len(self.inputs[self.signature.input].shape) == self._tail_axes() + 1
        turned = (one[None] if one_sample else one.swapaxes(0, 1) for one in series)
        return [logits[:count], *(one[:count] for one in turned)]

    def _run(self, session: Any, names: list[str], x: Tensor) -> list[Tensor]:
        """Tensors of the file for `x` [samples, timesteps, inputs]; see `_steps`."""
        shape = self.inputs[self.signature.input].shape
        x = held(x, self.type).astype(self.type)
        if self.signature.repeats is not None:
            return self._once(session, names, one_timestep(x, self.path)[:, 0])
        x = x.reshape(*x.shape[:2], *shape[len(shape) - self._tail_axes() :])
        try:
            if self.signature.time is None:
                return self._steps(session, names, x)
            if len(shape) == self._tail_axes() + 1:
                x = x[0]
            elif self.signature.time == 0:
                x = x.swapaxes(0, 1)
            result: list[Tensor] = session.run(names, {self.signature.input: x})
            return result
        except Exception as error:  # see _load
            raise self._cannot(error) from error

    def _once(self, session: Any, names: list[str], x: Tensor) -> list[Tensor]:
        """Tensors of a file that takes one vector a sample, `x` [samples, inputs]."""
        shape = self.inputs[self.signature.input].shape
        sizes = [size if isinstance(size, int) else 1 for size in shape]
        sizes[sample_axis(shape)] = len(x)
        try:
            result: list[Tensor] = session.run(names, {self.signature.input: x.reshape(sizes)})
            return result
        except Exception as error:  # see _load
            raise self._cannot(error) from error

    def _steps(self, session: Any, names: list[str], x: Tensor) -> list[Tensor]:
        """Tensors of a one-timestep file, [samples, timesteps, ...]."""
        signature, shapes = self.signature, {n: self.inputs[n].shape for n in self.inputs}
        batched = len(shapes[signature.input]) > 1
        states = {
            name: np.zeros(
                [len(x), *shapes[name][1:]] if batched else shapes[name],
                TYPES.get(self.inputs[name].type, np.float32),
            )
            for name in signature.states
        }
        wanted = list(dict.fromkeys([*signature.states.values(), *names]))
        series = []
        for step in range(x.shape[1]):
            now = x[:, step] if batched else x[0, step]
            found = dict(
                zip(wanted, session.run(wanted, {**states, signature.input: now}), strict=True)
            )
            states = {name: found[next_] for name, next_ in signature.states.items()}
            series.append(found if batched else {name: a[None] for name, a in found.items()})
        return [np.stack([found[name] for found in series], axis=1) for name in names]


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _arranged(trace: Tensor, tensor: Traced) -> Tensor:
    """A trace [samples, timesteps, features] of a tensor's value, in the tensor's own shape.

    Of a one-timestep file: [samples, timesteps, ...].
    """
    domain = tensor.domain
    if domain.time is None:
        one = len(tensor.shape) == 1
        steps = [trace[:, step].reshape(-1)[tensor.index] for step in range(trace.shape[1])]
        return np.stack([step[None] if one else step for step in steps], axis=1)
    ordered = trace.swapaxes(0, 1) if domain.time == 0 else trace
    return np.asarray(ordered.reshape(-1)[tensor.index])
