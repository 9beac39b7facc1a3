"""The user's own ONNX file in onnxruntime: the top of the ladder of oracles."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from dmpc.compiler import Options
from dmpc.errors import DmpcError
from dmpc.ir.interpret import over_time
from dmpc.ir.registry import Tensor

COUNTERS: Mapping[str, type[np.generic]] = {
    "tensor(int64)": np.int64, "tensor(int32)": np.int32,
}  # fmt: skip
"""Types of states that count timesteps; all others are float32."""


class OnnxReference:
    """An ONNX model, one timestep or a whole sequence, run in float32 by onnxruntime."""

    name = "onnxruntime"

    def __init__(self, path: str | os.PathLike[str], options: Options) -> None:
        import onnxruntime

        from dmpc.frontend import onnx_import

        self.path = os.fspath(path)
        chosen = onnx_import.Options(dict(options.states), options.readout, "zero")
        graph, self.signature = onnx_import.import_onnx(path, chosen)
        self.readout = str(graph.attrs["readout"])
        session_options = onnxruntime.SessionOptions()
        session_options.log_severity_level = 3
        session_options.intra_op_num_threads = 1
        # The file as it stands: 1.30 optimises Transpose, MatMul with a vector to another product.
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session_options.graph_optimization_level = level
        self.session = onnxruntime.InferenceSession(self.path, session_options)
        self.inputs = {item.name: item for item in self.session.get_inputs()}

    def logits(self, x: Tensor) -> Tensor:
        """Logits [samples, classes] of samples `x` [samples, timesteps, inputs]."""
        together = self._batch() or len(x)
        parts = [self._run(x[i : i + together], together) for i in range(0, len(x), together)]
        return np.concatenate(parts)

    def _batch(self) -> int | None:
        """The batch size that the file insists on, if any."""
        shape = self.inputs[self.signature.input].shape
        if self.signature.time is None:
            return None if len(shape) > 1 and not isinstance(shape[0], int) else _fixed(shape)
        if len(shape) < 3:
            return 1
        size = shape[1 - self.signature.time]
        return size if isinstance(size, int) else None

    def _run(self, x: Tensor, together: int) -> Tensor:
        count = len(x)
        x = np.concatenate([x, np.repeat(x[-1:], together - count, axis=0)]).astype(np.float32)
        try:
            outputs = self._steps(x) if self.signature.time is None else self._sequence(x)
        except Exception as error:  # onnxruntime raises classes of its own without a common base
            raise DmpcError(
                f"onnxruntime cannot run the model: {error}", where=self.path
            ) from error
        return outputs[:count]

    def _sequence(self, x: Tensor) -> Tensor:
        if len(self.inputs[self.signature.input].shape) < 3:
            x = x[0]
        elif self.signature.time == 0:
            x = x.transpose(1, 0, 2)
        (output,) = self._session([self.signature.output], {self.signature.input: x})
        if output.ndim == 1:
            return output[None]
        if output.ndim == 3:
            steps_first = self.signature.time == 0
            return over_time(self.readout, output.transpose(1, 0, 2) if steps_first else output)
        return output

    def _steps(self, x: Tensor) -> Tensor:
        signature, shapes = self.signature, {n: self.inputs[n].shape for n in self.inputs}
        batched = len(shapes[signature.input]) > 1
        states = {
            name: np.zeros(
                [len(x) if batched else 1, *_tail(shapes[name], batched)],
                COUNTERS.get(self.inputs[name].type, np.float32),
            )
            for name in signature.states
        }
        wanted = [signature.output, *signature.states.values()]
        outputs = []
        for step in range(x.shape[1]):
            feed = {**states, signature.input: x[:, step]}
            if not batched:
                feed = {name: value[0] for name, value in feed.items()}
            output, *news = self._session(wanted, feed)
            if not batched:
                output, news = output[None], [new[None] for new in news]
            outputs.append(output)
            states = dict(zip(signature.states, news, strict=True))
        return over_time(self.readout, np.stack(outputs, axis=1))

    def _session(self, wanted: list[str], feed: dict[str, Tensor]) -> list[Tensor]:
        result: list[Tensor] = self.session.run(wanted, feed)
        return result


def _fixed(shape: list[Any]) -> int:
    return shape[0] if len(shape) > 1 else 1


def _tail(shape: list[int], batched: bool) -> list[int]:
    return list(shape[1:]) if batched else list(shape)
