"""A small network as an ONNX file, with samples and an image, and the command to use them with."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from dmpc.cli import main

INPUTS, NEURONS, STATES, CLASSES = 6, 9, 3, 4
STEPS, SAMPLES = 8, 12


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    a = random.normal(0, 1, (STATES, STATES))
    return {
        "fc.weight": random.normal(0.2, 0.6, (INPUTS, NEURONS)),
        "drive.weight": random.normal(0.2, 0.5, (INPUTS, 1)),
        "A": 0.8 * a / np.abs(np.linalg.eigvals(a)).max(),
        "B": random.normal(0, 1, (1, STATES)),
        "slow.weight": random.normal(0, 0.5, (STATES, NEURONS)),
        "beta": np.full(1, 0.5),
        "threshold": np.ones(1),
        "out.weight": random.normal(0, 1, (NEURONS, CLASSES)),
    }


def nodes() -> list[onnx.NodeProto]:
    """One timestep: a DMP layer that subtracts its threshold, and a linear readout."""
    spelt = [
        ("MatMul", ["x", "fc.weight"], "fast"),
        ("MatMul", ["x", "drive.weight"], "sum"),
        ("Relu", ["sum"], "drive"),
        ("MatMul", ["m", "A"], "kept"),
        ("MatMul", ["drive", "B"], "driven"),
        ("Add", ["kept", "driven"], "m_next"),
        ("MatMul", ["m_next", "slow.weight"], "slow"),
        ("Mul", ["u", "beta"], "leaked"),
        ("Add", ["leaked", "fast"], "half"),
        ("Add", ["half", "slow"], "charge"),
        ("GreaterOrEqual", ["charge", "threshold"], "above"),
        ("Cast", ["above"], "spikes"),
        ("Mul", ["spikes", "threshold"], "drop"),
        ("Sub", ["charge", "drop"], "u_next"),
        ("MatMul", ["spikes", "out.weight"], "logits"),
    ]
    made = [
        helper.make_node(kind, operands, [result], name=f"/{result}")
        for kind, operands, result in spelt
    ]
    cast = next(node for node in made if node.op_type == "Cast")
    cast.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    return made


def write_model(
    path: Path,
    *,
    change: Callable[[list[onnx.NodeProto]], None] | None = None,
    without: tuple[str, ...] = (),
    **changed: np.ndarray,
) -> Path:
    """The model, with nodes changed, inputs or outputs left out, or other weights (_ for .)."""
    made = nodes()
    if change:
        change(made)
    others = {name.replace("_", "."): value for name, value in changed.items()}
    stored = {**weights(), **others}
    sizes = {"x": INPUTS, "u": NEURONS, "m": STATES}
    results = {"logits": CLASSES, "u_next": NEURONS, "m_next": STATES}

    def declared(shapes: dict[str, int]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in shapes.items()
            if name not in without
        ]

    graph = helper.make_graph(
        made, "small", declared(sizes), declared(results),
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@dataclass(frozen=True)
class Files:
    """A folder with a model, samples, an image."""

    folder: Path
    model: Path
    data: Path
    image: Path

    def in_folder(self, folder: Path) -> "Files":
        """Copies that a test may damage."""
        for path in (self.model, self.data, self.image):
            (folder / path.name).write_bytes(path.read_bytes())
        return replace(
            self, folder=folder, model=folder / self.model.name, data=folder / self.data.name,
            image=folder / self.image.name,
        )  # fmt: skip


@dataclass(frozen=True)
class Command:
    """`dmpc` in this process."""

    def __call__(self, *arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="dmpc")

    def ok(self, *arguments: object) -> str:
        """Standard output of a run that must succeed without a word on standard error."""
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return result.stdout

    def fails(self, *arguments: object) -> str:
        """The message of a run that must fail: one line on standard error, exit code 1."""
        result = self(*arguments)
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == 1
        assert result.stderr.startswith("dmpc: error: ")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("dmpc: error: ").rstrip("\n")

    def misused(self, *arguments: object) -> str:
        """Standard error of a run that is a usage error."""
        result = self(*arguments)
        assert result.exit_code == 2, result.output
        return result.stderr


@pytest.fixture
def dmpc() -> Command:
    return Command()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files, made once; nothing may change them."""
    folder = tmp_path_factory.mktemp("cli")
    model = write_model(folder / "small.onnx")
    random = np.random.default_rng(1)
    x = random.random((SAMPLES, STEPS, INPUTS)) < 0.3
    np.savez(folder / "data.npz", x=x, y=random.integers(0, CLASSES, SAMPLES))
    made = Files(folder, model, folder / "data.npz", folder / "small.elf")
    Command().ok("compile", model, "--calibration", made.data)
    return made


@pytest.fixture
def files(shared: Files, tmp_path: Path) -> Files:
    """The files, to be damaged."""
    return shared.in_folder(tmp_path)
