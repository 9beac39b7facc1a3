"""Models by the name of a factory: finding it, its weights, its errors, and the command line."""

import argparse
import json
import sys

import numpy as np
import pytest
import torch

from dmpc import from_torch
from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import open_model
from dmpc.frontend.models import is_factory, stem
from dmpc.frontend.torch_program.convert import to_onnx
from dmpc.frontend.torch_program.modules import from_factory
from dmpc.frontend.torch_program.program import example_of, export
from dmpc.frontend.torch_program.weights import load_weights
from tests.dmpc.frontend.torch_program.test_spikingjelly import with_version2

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, size=3):
        super().__init__()
        self.fc = nn.Linear(size, 2)

    def forward(self, x):
        return self.fc(x).mean(1)

class Makers:
    factory = staticmethod(lambda: Net())

made = Net()
text = "no module"

def broken():
    raise ValueError("no such dataset")

def wants_arguments(size):
    return Net(size)
"""


@pytest.fixture
def users_folder(tmp_path, monkeypatch):
    """A folder with a user's package, the current directory of the test."""
    (tmp_path / "users_net.py").write_text(SOURCE, "utf-8")
    (tmp_path / "fails.py").write_text("import torch\n1 / 0\n", "utf-8")
    (tmp_path / "older.py").write_text("import json.older\n", "utf-8")
    (tmp_path / "needs.py").write_text("import no_such_library\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("users_net", "fails", "older", "needs"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


X = np.zeros((1, 4, 3), np.float32)


def test_names_of_factories():
    assert is_factory("package.module:make.network")
    assert not any(map(is_factory, ["a/b:c", "model.onnx", "C:\\x", ":x", "x:", "1a:b"]))
    assert stem("package.module:network") == "network"
    assert stem("some/where/net.pt2") == "net"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users_nett:Net", "there is no module 'users_nett' (run dmpc where it can be imported)"),
        ("needs:Net", "there is no module 'no_such_library' (install no_such_library)"),
        ("older:Net", "there is no module 'json.older' (another version of json may have it)"),
        ("fails:Net", "importing fails fails: ZeroDivisionError: division by zero (fails.py:2)"),
        ("users_net:made_", "'users_net' holds no 'made_' (did you mean made?)"),
        ("users_net:broken", "the factory fails: ValueError: no such dataset (users_net.py:"),
        ("users_net:wants_arguments", "the factory fails: TypeError: "),
        ("users_net:text", "the factory gives a str, not a torch.nn.Module"),
    ],
)
@pytest.mark.usefixtures("users_folder")
def test_errors_of_the_users_code_are_one_line(name, message):
    with pytest.raises(ImportFailure) as info:
        open_model(name, example=X)
    assert str(info.value).startswith(f"{name}: {message}")
    assert "\n" not in str(info.value)


@pytest.mark.usefixtures("users_folder")
def test_a_factory_needs_an_example_of_its_input():
    with pytest.raises(ImportFailure, match="--example-input"):
        open_model("users_net:Net")
    with pytest.raises(ImportFailure, match=r"\[4, 3\], expected \[samples, timesteps, inputs\]"):
        open_model("users_net:Net", example=X[0])


TWO = (("a", 1), ("b", 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fc.weight": torch.zeros(2, 3)}, 'does not fit the module: Missing key.*"fc.bias"'),
        (
            {"fc.weight": torch.zeros(2, 4), "fc.bias": torch.zeros(2)},
            "size mismatch for fc.weight",
        ),
        ([1, 2], "holds no state_dict; it holds a list of 2, without names"),
        ({"epoch": 1, "lr": 0.1}, r"it holds 'epoch' \(int\), 'lr' \(float\)"),
        (
            {0: torch.zeros(2, 3), 1: torch.zeros(2)},
            r"holds no state_dict; it holds '0' \(Tensor\)",
        ),
        ({"net": {"fc.weight": torch.zeros(2, 3)}}, 'does not fit the module: Missing.*"fc.bias"'),
        (
            {"fc.weight": torch.zeros(2, 3) + 1j, "fc.bias": torch.zeros(2)},
            "does not fit the module: fc.weight is complex in the file",
        ),
        (
            {k: {"fc.weight": v * torch.ones(2, 3), "fc.bias": torch.ones(2)} for k, v in TWO},
            "more than one set of weights that fits the module: 'a', 'b'",
        ),
        (np.zeros(3), "holds no state_dict; it holds a ndarray"),
        (None, "no such file"),
    ],
)
@pytest.mark.usefixtures("users_folder")
def test_weights_that_do_not_fit_are_refused(content, message):
    if content is not None:
        torch.save(content, "state.pt")
    with pytest.raises(ImportFailure, match=rf"^state\.pt: .*({message})") as info:
        open_model("users_net:Net", example=X, weights="state.pt")
    assert "\n" not in str(info.value)


@pytest.mark.usefixtures("users_folder")
def test_a_saved_module_is_not_unpickled():
    """Code in a file of weights does not run."""
    torch.save(torch.nn.Linear(3, 2), "module.pt")
    with pytest.raises(ImportFailure, match="without running its code"):
        open_model("users_net:Net", example=X, weights="module.pt")


def _wrapped(prefix):
    return lambda state: {f"{prefix}{key}": value for key, value in state.items()}


WRAPS = {
    "plain": dict,
    "checkpoint": lambda state: {"state_dict": state, "epoch": 3},
    **{
        f"under {key}": lambda state, key=key: {key: state, "epoch": 3, "optimizer": {"state": {}}}
        for key in ("net", "network", "state", "params", "weights", "anything")
    },
    "deep": lambda state: {"runs": [{"best": {"w": state}}], "loss": 0.1},
    "arguments": lambda state: {"net": state, "args": argparse.Namespace(lr=np.float64(0.1))},
    "usual before others": lambda state: {
        "ema": {k: 2 * v for k, v in state.items()},
        "net": state,
    },
    "twice the same": lambda state: {"last": state, "best": dict(state)},
    "parallel": _wrapped("module."),
    "compiled": _wrapped("_orig_mod."),
    "compiled in parallel": _wrapped("module._orig_mod."),
    "compiled part": lambda state: {k.replace("fc.", "fc._orig_mod."): v for k, v in state.items()},
    "part of a larger module": lambda state: {**_wrapped("net.")(state), "loss.w": torch.ones(3)},
    "bfloat16": lambda state: {key: value.bfloat16() for key, value in state.items()},
    "arrays": lambda state: {key: value.numpy() for key, value in state.items()},
    "with words": lambda state: {**state, "version": "3", 7: 8},
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.usefixtures("users_folder")
def test_weights_as_they_are_saved(wrap):
    state = {"fc.weight": torch.full((2, 3), 0.5), "fc.bias": torch.ones(2)}
    torch.save(wrap(state), "state.pt")
    module = from_factory("users_net:Makers.factory")
    load_weights(module, "state.pt")
    assert torch.equal(module.fc.weight, state["fc.weight"])


@pytest.mark.usefixtures("users_folder")
def test_what_is_left_out_of_a_checkpoint_is_told():
    state = {"fc.weight": torch.full((2, 3), 0.5), "fc.bias": torch.ones(2)}
    double, half = ({key: by * value for key, value in state.items()} for by in (2, 0.5))
    torch.save({"model": state, "ema": {"module": double}, "swa": half, "again": state}, "state.pt")
    with listening() as told:
        load_weights(from_factory("users_net:Makers.factory"), "state.pt")
    (note,) = told
    assert note.rule == "weights-taken"
    assert note.where == "state.pt"
    assert note.message.endswith("the module, 'model' is taken; left out: 'ema.module', 'swa'")


def test_without_torch_one_is_told_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("users_net:Net", "net.pt2"):
        with pytest.raises(ImportFailure, match=rf"^{name}: PyTorch is needed .*pip install torch"):
            open_model(name, example=X)


def test_files_that_hold_no_program(users_folder):
    (users_folder / "text.pt2").write_text("hello", "utf-8")
    with pytest.raises(ImportFailure, match=r"^text\.pt2: this is no program that torch\.export"):
        open_model("text.pt2")
    with pytest.raises(ImportFailure, match=r"^none\.pt2: no such file"):
        open_model("none.pt2")
    with pytest.raises(ImportFailure, match=r"known: .onnx, .nir, .h5, .pt2, .dmpir, package"):
        open_model("net.txt")
    with pytest.raises(ImportFailure, match=r"weights belong to a module: .* --weights"):
        open_model("net.pth")
    with pytest.raises(ImportFailure, match="a file holds its own"):
        open_model("net.onnx", weights="state.pt")


class OverClasses(torch.nn.Module):
    """The squeeze drops a batch of one; the mean then runs over classes."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x.squeeze()).mean(dim=1)


def test_a_module_is_traced_on_more_than_one_sample():
    """One sample, and a squeeze without an axis: the export would have run over classes."""
    module, x = OverClasses(), np.random.default_rng(0).random((1, 5, 3)).astype(np.float32)
    model = to_onnx(export(module, example_of(x, module, time_first=False), "net"), "net")
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [2, 2]
    assert example_of(np.zeros((1, 2, 3)), module, time_first=True).shape == (2, 3, 3)


def test_compile_verify_and_inspect_by_the_name_of_a_factory(tmp_path):
    """One command from a factory to counted cycles, with SpikingJelly 2's fused neurons."""
    random = np.random.default_rng(0)
    x = random.random((6, 12, 5)) < 0.4
    np.savez(tmp_path / "x.npz", x=x, y=random.integers(0, 3, 6))
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "from spikingjelly.activation_based import neuron\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fast, self.out = nn.Linear(5, 8), nn.Linear(8, 3)\n"
        "        self.lif = neuron.LIFNode(step_mode='m')\n"
        "    def forward(self, x):\n"
        "        s = self.lif(3 * self.fast(x))\n"
        "        return self.out(s).mean(0)\n",
        "utf-8",
    )
    (tmp_path / "save.py").write_text(
        "import mine, torch\ntorch.manual_seed(0)\nnet = mine.Net()\n"
        "torch.save(net.state_dict(), 'state.pt')\n"
        "with torch.no_grad():\n"
        "    program = torch.export.export(net.eval(), (torch.zeros(12, 2, 5),))\n"
        "torch.export.save(program, 'net.pt2')\n",
        "utf-8",
    )
    model = ["mine:Net", "--weights", "state.pt", "--time-first"]
    verbs = [
        ["compile", *model, "--calibration", "x.npz"],
        ["verify", *model[:1], "Net.elf", *model[1:], "--input", "x.npz", "--json", "found.json"],
        ["compile", "net.pt2", "--calibration", "x.npz", "-o", "program.elf"],
        ["verify", "net.pt2", "program.elf", "--input", "x.npz", "--max-drop", "100"],
        ["inspect", *model, "--example-input", "x.npz"],
    ]
    program = (
        "import sys; sys.path.insert(0, '.'); import save; from dmpc.cli import main\n"
        "for verb in __import__('json').load(open('verbs.json')): main(verb, standalone_mode=False)"
    )
    (tmp_path / "verbs.json").write_text(json.dumps(verbs), "utf-8")
    run = with_version2("-c", program, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "cycles per timestep" in run.stdout
    assert 'graph "Net" level layers' in run.stdout
    first = json.loads((tmp_path / "found.json").read_text("utf-8"))["rungs"][0]
    assert first["name"] == "torch ~ float graph"
    assert first["figures"]["samples_beyond_tolerance"] == 0
    images = [(tmp_path / name).stat().st_size for name in ("Net.elf", "program.elf")]
    assert min(images) > 0


class Loop(torch.nn.Module):
    """One layer, looped over an axis of choice."""

    def __init__(self, time: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.time, self.fc, self.out = time, torch.nn.Linear(5, 6), torch.nn.Linear(6, 3)

    def forward(self, x):
        v, total = torch.zeros(x.shape[1 - self.time], 6), 0.0
        for now in x.unbind(self.time):
            v = 0.5 * v + 3 * self.fc(now)
            s = (v >= 1).float()
            v = torch.where(s > 0, 0.0, v)
            total = total + self.out(s)
        return total / x.shape[self.time]


@pytest.mark.parametrize("time", [0, 1])
def test_the_order_of_samples_and_timesteps_is_named_where_it_is_wrong(time):
    x = (np.random.default_rng(0).random((2, 9, 5)) < 0.4).astype(np.float32)
    assert from_torch(Loop(time), x, time_first=time == 0).reference.logits(x).shape == (2, 3)
    wanted = rf"runs over axis {time} .* was given \[.*\({('say', 'without')[time]} --time-first\)"
    with pytest.raises(ImportFailure, match=wanted):
        from_torch(Loop(time), x, time_first=time == 1)


@pytest.mark.parametrize("time", [0, 1])
@pytest.mark.parametrize("time_first", [False, True])
def test_samples_that_come_timesteps_first_are_told_so(time, time_first):
    """As the module takes them, that is: `x` is [samples, timesteps, inputs] whatever it takes."""
    x = (np.random.default_rng(0).random((9, 2, 5)) < 0.4).astype(np.float32)
    also = {0: ", say --time-first", 1: ", without --time-first"}[time]
    with pytest.raises(ImportFailure) as caught:
        from_torch(Loop(time), x, time_first=time_first)
    assert str(caught.value).endswith(
        ": x is read as 9 samples of 2 timesteps, whatever the module takes first; the other way "
        f"round it is a network (x.swapaxes(0, 1){'' if time_first == (time == 0) else also})"
    )


class Last(Loop):
    """A network that takes [samples, inputs, timesteps]."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2))


def test_a_module_may_take_the_timesteps_last():
    x = (np.random.default_rng(0).random((2, 9, 5)) < 0.4).astype(np.float32)
    module = Last(1)
    wanted = module(torch.from_numpy(x).transpose(1, 2)).detach()
    with listening() as told:
        model = from_torch(module, x)
    assert [one.rule for one in told] == ["time-last"]
    np.testing.assert_allclose(model.reference.logits(x), wanted, rtol=1e-5)
    with pytest.raises(ImportFailure, match=r"samples of 5 timesteps, .* \(x\.swapaxes\(1, -1\)"):
        from_torch(module, x.swapaxes(1, -1))


class Box(dict):
    """A dict of the user's own class, into which torch does not see."""


class Returning(Loop):
    """A network that returns more than its answer."""

    def __init__(self, make) -> None:
        super().__init__(1)
        self.make = make

    def forward(self, x):
        return self.make(x, super().forward(x))


def test_the_answer_is_chosen_among_what_a_module_returns(tmp_path):
    x = (np.random.default_rng(0).random((2, 4, 5)) < 0.4).astype(np.float32)
    network = Returning(lambda x, y: (x.mean(), {"logits": [None, y]}))
    with pytest.raises(ImportFailure, match=r"2 tensors .*: --output 0 or --output 1\.logits\.1\)"):
        from_torch(network, x)
    with pytest.raises(ImportFailure, match="the model has no output 'spikes'"):
        from_torch(network, x, output="spikes")
    found = from_torch(network, x, output="1.logits.1")
    wanted = Loop(1)(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(found.reference.logits(x), wanted, rtol=1e-6)
    program = torch.export.export(network, (torch.from_numpy(x),), strict=False)
    torch.export.save(program, tmp_path / "net.pt2")
    saved = open_model(tmp_path / "net.pt2", output="1.logits.1")
    np.testing.assert_allclose(saved.reference.logits(x), wanted, rtol=1e-6)
    only = from_torch(Returning(lambda _, y: [None, y, 3]), x)
    np.testing.assert_allclose(only.reference.logits(x), wanted, rtol=1e-6)


def test_objects_that_torch_does_not_take_apart_are_named():
    with pytest.raises(ImportFailure, match="forward returns a Box, into which"):
        from_torch(Returning(lambda _, y: Box(logits=y)), np.zeros((1, 3, 5)))


class Shown(torch.nn.Module):
    """Shows one vector at every timestep, and takes no sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop(1)

    def forward(self, x):
        return self.loop(x[:, None].repeat(1, 4, 1))


def test_a_module_of_one_vector_is_traced_on_the_first_timestep(tmp_path):
    x = (np.random.default_rng(0).random((2, 7, 5)) < 0.4).astype(np.float32)
    found = from_torch(Shown(), x)
    assert found.graph.attrs["repeats"] == 4
    wanted = Shown()(torch.from_numpy(x[:, 0])).detach()
    np.testing.assert_allclose(found.reference.logits(x[:, :1]), wanted, rtol=1e-6)
    program = torch.export.export(Shown(), (torch.from_numpy(x[:, 0]),), strict=False)
    torch.export.save(program, tmp_path / "net.pt2")
    saved = open_model(tmp_path / "net.pt2")
    np.testing.assert_allclose(saved.reference.logits(x[:, :1]), wanted, rtol=1e-6)


class TwoSequences(torch.nn.Module):
    def forward(self, x, other):
        return x + other


def test_two_sequences_are_one_that_the_module_splits():
    with pytest.raises(ImportFailure, match=r"input: 'x' and 'other' \(.*x\[\.\.\., :n\]"):
        from_torch(TwoSequences(), np.zeros((2, 4, 3), np.float32))


class Named(torch.nn.Linear):
    """A module whose input has a name, and no place."""

    def forward(self, *, x, scale=None):
        u, spikes = 0, 0
        for t in range(x.shape[1]):
            u = 0.9 * u + super().forward(x[:, t])
            fired = (u > 0.5).to(u) * (1 if scale is None else scale)
            u, spikes = u * (1 - fired), spikes + fired
        return spikes / x.shape[1]


class NamedTwice(Named):
    def forward(self, x, *, mask):
        return super().forward(x=x * mask)


def test_an_input_that_is_given_by_its_name_alone(tmp_path):
    x = np.random.default_rng(0).random((3, 7, 4)).astype(np.float32)
    module = Named(4, 2)
    model = from_torch(module, x)
    expected = module(x=torch.from_numpy(x)).detach()
    np.testing.assert_allclose(model.reference.logits(x), expected, atol=1e-6)
    path = tmp_path / "named.pt2"
    torch.export.save(torch.export.export(module, (), {"x": torch.from_numpy(x)}), path)
    np.testing.assert_allclose(open_model(path).reference.logits(x), expected, atol=1e-6)
    with pytest.raises(ImportFailure, match="more than one input: 'x' and 'mask'"):
        from_torch(NamedTwice(4, 2), x)
