"""Hand-written ONNX models that show one vector at every timestep, unrolled."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.dmpc.frontend.spellings import value

M, N, C, T = 4, 5, 3, 6  # inputs, neurons, classes, timesteps


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {"w": (M, N), "r": (N, N), "o": (N, C), "odd": (M, N)}
    made = {name: rng.integers(-16, 24, shape) / 16 for name, shape in shapes.items()}
    made |= {"beta": np.array(0.5), "theta": np.array(1.0), "one": np.array(1.0)}
    return {name: array.astype(np.float32) for name, array in made.items()}


@dataclass
class Unrolled:
    """A network of two layers, unrolled, that shows its input in some way at every timestep."""

    kind: str
    shape: tuple[int | str, ...] = ("batch", M)
    odd: int = -1  # a timestep with weights of its own
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: dict[str, np.ndarray] = field(default_factory=weights)

    def add(self, op: str, *operands: str, **attributes: object) -> str:
        name = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, operands, [name], f"/{name}", **attributes))
        return name

    def constant(self, *numbers: int) -> str:
        name = f"n{'_'.join(map(str, numbers))}"
        self.stored[name] = np.array(numbers, np.int64)
        return name

    def vector(self) -> str:
        """The input as [batch, inputs]."""
        plain = len(self.shape) == 2
        return "x" if plain else self.add("Reshape", "x", self.constant(-1, M))

    def currents(self) -> list[str]:
        """The first layer's current at each timestep."""
        vector = self.vector()
        if self.kind == "read again":
            names = ["odd" if step == self.odd else "w" for step in range(T)]
            return [self.add("MatMul", vector, name) for name in names]
        if self.kind == "computed once":
            return [self.add("MatMul", vector, "w")] * T
        if self.kind == "repeated along time":
            one = self.add("Unsqueeze", vector, self.constant(1))
            every = self.add("Tile", one, self.constant(1, T, 1))
            sliced = [self.at(every, step, 1) for step in range(T)]
            return [self.add("MatMul", now, "w") for now in sliced]
        if self.kind == "stacked":
            one = self.add("Unsqueeze", vector, self.constant(0))
            every = self.add("Concat", *[one] * T, axis=0)
            return [self.at(self.add("MatMul", every, "w"), step, 0) for step in range(T)]
        assert self.kind == "current repeated"
        one = self.add("Unsqueeze", self.add("MatMul", vector, "w"), self.constant(0))
        every = self.add("Expand", one, self.constant(T, 1, 1))
        return [self.at(every, step, 0) for step in range(T)]

    def at(self, name: str, step: int, axis: int) -> str:
        self.stored[f"at{step}"] = np.array(step, np.int64)
        return self.add("Gather", name, f"at{step}", axis=axis)

    def layer(self, current: str, membrane: str | None) -> tuple[str, str]:
        if membrane is not None:
            current = self.add("Add", self.add("Mul", membrane, "beta"), current)
        spikes = self.add("Cast", self.add("GreaterOrEqual", current, "theta"), to=1)
        return spikes, self.add("Mul", current, self.add("Sub", "one", spikes))

    def model(self) -> onnx.ModelProto:
        below, above, total = None, None, None
        for current in self.currents():
            spikes, below = self.layer(current, below)
            spikes, above = self.layer(self.add("MatMul", spikes, "r"), above)
            logits = self.add("MatMul", spikes, "o")
            total = logits if total is None else self.add("Add", total, logits)
        assert total is not None
        self.nodes[-1].output[0] = "y"
        batch = next(size for size in self.shape if size != 1)
        graph = helper.make_graph(
            self.nodes,
            "g",
            [value("x", *self.shape)],
            [value("y", batch, C)],
            [numpy_helper.from_array(array, name) for name, array in self.stored.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(made, full_check=True)
        return made
