import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SPOKEN, GREY, SHAPES = (EXAMPLES / n for n in ("spoken_digits", "grey_digits", "moving_shapes"))


def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as arrays:
        return arrays["x"], arrays["y"]


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("model", "data", "accuracy"),
    [
        (SPOKEN / "model.onnx", SPOKEN / "test.npz", 0.975),
        (SPOKEN / "model_256.onnx", SPOKEN / "test.npz", 0.985),
        (GREY / "model.onnx", GREY / "test.npz", 0.97),
        (GREY / "model_permuted.onnx", GREY / "test_permuted.npz", 0.935),
        (SHAPES / "model.onnx", SHAPES / "test.npz", 0.98),
    ],
    ids=["spoken", "spoken-256", "grey", "grey-permuted", "shapes"],
)
def test_committed_models_reach_their_accuracy(model: Path, data: Path, accuracy: float) -> None:
    x, y = load(data)
    (logits,) = session(model).run(["logits"], {"x": x.astype(np.float32)})
    assert (logits.argmax(axis=1) == y).mean() >= accuracy


def test_spoken_digits_one_timestep_at_a_time_gives_the_same_logits() -> None:
    x = load(SPOKEN / "test.npz")[0][:64].astype(np.float32)
    (expected,) = session(SPOKEN / "model.onnx").run(None, {"x": x})
    step = session(SPOKEN / "model_step.onnx")
    _, *states = step.get_inputs()
    values = [np.zeros((64, state.shape[1]), np.float32) for state in states]
    readouts = []
    for k in range(x.shape[1]):
        feed = {state.name: value for state, value in zip(states, values, strict=True)}
        y, *values = step.run(None, {"x": x[:, k], **feed})
        readouts.append(y)
    np.testing.assert_allclose(np.mean(readouts, axis=0), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "samples"), [("train", 3000), ("test", 1000)])
def test_spoken_digits_are_sparse_events_of_balanced_classes(name: str, samples: int) -> None:
    x, y = load(SPOKEN / f"{name}.npz")
    assert x.shape == (samples, 100, 140)
    assert x.dtype == np.bool_
    assert 0.03 <= x.mean() <= 0.08
    assert np.bincount(y).tolist() == [samples // 20] * 20
    assert x.any(axis=(0, 1)).all(), "a band never fires"


def test_the_permuted_pixels_are_the_ordered_ones_in_one_fixed_order() -> None:
    for name, samples in (("train", 1297), ("test", 500)):
        x, y = load(GREY / f"{name}.npz")
        permuted, labels = load(GREY / f"{name}_permuted.npz")
        assert x.shape == permuted.shape == (samples, 64, 1)
        assert x.dtype == np.float32
        assert (y == labels).all()
        order = np.random.default_rng(0).permutation(64)
        assert (permuted == x[:, order]).all()
        assert (permuted != x).any()


def script(path: Path) -> ModuleType:
    """An example's script as a module, whose globals a test may change."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A data class looks its own module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_grey_digits_data_is_what_the_script_makes(tmp_path: Path) -> None:
    made = CliRunner().invoke(script(GREY / "make_data.py").main, ["--out", str(tmp_path)])
    assert made.exit_code == 0, made.output
    assert len(list(tmp_path.iterdir())) == 4
    for data in tmp_path.iterdir():
        assert data.read_bytes() == (GREY / data.name).read_bytes(), data.name


def test_moving_shapes_are_what_the_script_makes_at_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script(SHAPES / "make_data.py")
    ours = module.made(module.TRAIN_PER_CLASS, 16, np.random.default_rng(0))
    for name, theirs in zip("xy", load(SHAPES / "train.npz"), strict=True):
        np.testing.assert_array_equal(ours[name], theirs)
    assert ours["x"].shape == (800, 60, 2 * 16 * 16)
    assert np.bincount(ours["y"]).tolist() == [80] * 10
    for per_class in ("TRAIN_PER_CLASS", "TEST_PER_CLASS"):
        monkeypatch.setattr(module, per_class, 1)
    CliRunner().invoke(module.main, ["--out", str(tmp_path), "--size", "32"])
    x = load(tmp_path / "test.npz")[0].reshape(10, 60, 2, 32, 32)
    assert 0.01 < x.mean() < 0.05


def test_a_shape_that_moves_to_the_right_is_brighter_on_its_right() -> None:
    module = script(SHAPES / "make_data.py")
    draw = np.random.default_rng(1)
    found = module.events(module.brightness(0, 16, draw), draw)[10:50]
    columns = np.arange(16)
    brighter, darker = (found[:, p].sum(axis=(0, 1)) @ columns for p in (0, 1))
    assert brighter / found[:, 0].sum() > darker / found[:, 1].sum()


# In one epoch of so few samples the layers are silent still.
@pytest.mark.filterwarnings("ignore::dmpc.nn.TrainingWarning")
@pytest.mark.parametrize("example", [SPOKEN, GREY, SHAPES], ids=["spoken", "grey", "shapes"])
def test_training_scripts_train_and_export(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in example.glob("*.npz"):
        x, y = load(data)
        np.savez(tmp_path / data.name, x=x[:64], y=y[:64])
    module = script(example / "train.py")
    monkeypatch.setattr(module, "HERE", tmp_path)
    given = ["--out", str(tmp_path), "--epochs", "1"]
    if example == SHAPES:  # others read what lies beside them
        given += ["--data", str(tmp_path)]
    try:
        trained = CliRunner().invoke(module.main, given)
    finally:
        torch.set_flush_denormal(False)
    assert trained.exit_code == 0, trained.output
    assert trained.stderr == ""
    assert "accuracy" in trained.stdout
    models = sorted(model.name for model in tmp_path.glob("*.onnx"))
    by_default = {model.name for model in example.glob("*.onnx")} - {"model_256.onnx"}
    assert models == sorted(by_default)
    for model in models:
        ours, committed = (session(folder / model) for folder in (tmp_path, example))
        shapes = [[i.shape for i in each.get_inputs()] for each in (ours, committed)]
        assert shapes[0] == shapes[1]


def test_a_tone_becomes_events_of_its_band() -> None:
    data = script(SPOKEN / "make_data.py")
    tone = np.sin(2 * np.pi * 1000 * np.arange(6615) / data.SAMPLE_RATE)
    events = data.encode(data.band_power(tone, data.mel_filters()), onset=5)
    assert events.shape == (100, 140)
    assert not events[:5].any()
    assert not events[60:].any()  # 0.3 s last 43 timesteps
    rates = events.mean(axis=0)
    # 1000 Hz is 1000 mel; bands are 20.1 mel apart from 141.8 on: the tone is at band 42.7.
    assert abs(rates @ np.arange(140) / rates.sum() - 42.7) < 1
    assert rates[:20].max() == rates[90:].max() == 0


def test_a_missing_espeak_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = CliRunner().invoke(script(SPOKEN / "make_data.py").main, ["--out", str(tmp_path)])
    assert refused.exit_code == 1
    assert "apt install espeak-ng" in refused.stderr
    assert not list(tmp_path.iterdir())
