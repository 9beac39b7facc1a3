"""Programs of torch.export whose parts run code where torch itself reads them.

Every file is a sound program with one part changed. The payload creates a file, by which tests tell
whether it ran.
"""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

T, M, CLASSES = 4, 3, 2
Edit = Callable[[dict[str, bytes], str], None]


class Net(torch.nn.Module):
    """A linear map, a buffer, a constant: every kind of part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = torch.nn.Linear(M, CLASSES)
        self.register_buffer("offset", torch.ones(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = torch.einsum("bti,oi->bto", x, self.fc.weight)
        return (made + self.fc.bias + self.offset + torch.tensor([1.0, 2.0])).mean(1)


class Runs:
    """Unpickled, it creates a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def program(path: Path) -> None:
    """Write the sound program."""
    made = torch.export.export(Net().eval(), (torch.zeros(2, T, M),))
    torch.export.save(made, path)


def parts(path: Path) -> dict[str, bytes]:
    """A file's parts by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: dict[str, bytes]) -> None:
    """A file of parts."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def named(content: dict[str, bytes], ending: str) -> str:
    """The one part whose name ends so."""
    (name,) = (name for name in content if name.endswith(ending))
    return name


def _pickled(marker: str) -> bytes:
    buffer = io.BytesIO()
    torch.save((Runs(marker),), buffer)
    return buffer.getvalue()


def _description(edit: Callable[[Any, str], None]) -> Edit:
    def apply(content: dict[str, bytes], marker: str) -> None:
        name = named(content, "models/model.json")
        told = json.loads(content[name])
        edit(told, marker)
        content[name] = json.dumps(told).encode()

    return apply


def _config(
    folder: str, edit: Callable[[Any], None], part: str, data: Callable[[str], bytes]
) -> Edit:
    def apply(content: dict[str, bytes], marker: str) -> None:
        name = named(content, f"data/{folder}/model_{folder}_config.json")
        told = json.loads(content[name])
        edit(told["config"])
        content[name] = json.dumps(told).encode()
        root = name.partition("/")[0]
        content[f"{root}/data/{folder}/{part}"] = data(marker)

    return apply


def _code(marker: str) -> str:
    return f"__import__('os').mkdir({marker!r})"


def _sample_inputs(content: dict[str, bytes], marker: str) -> None:
    content[named(content, "data/sample_inputs/model.pt")] = _pickled(marker)


def _pickled_weight(config: Any) -> None:
    config["fc.bias"].update(use_pickle=True, path_name="weight_9")


def _object(path_name: str) -> Callable[[Any], None]:
    meta = {"path_name": path_name, "is_param": False, "use_pickle": True, "tensor_meta": None}
    return lambda config: config.update(thing=meta)


def _expression(told: Any, marker: str) -> None:
    sizes = told["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
    sizes[0] = {"as_expr": {"expr_str": _code(marker), "hint": {"as_int": 2}}}


def _hidden_expression(told: Any, marker: str) -> None:
    sizes = told["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
    text = f"Add(Symbol('s0', positive=True), Integer({_code(marker)} or 2))"
    sizes[0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 2}}}


def _placeholder(told: Any, marker: str) -> None:
    """A name that ends the generated function's head and goes on with code."""
    graph, name = told["graph_module"]["graph"], f"x=[{_code(marker)}]"
    graph["inputs"][-1] = {"as_tensor": {"name": name}}
    graph["tensor_values"][name] = graph["tensor_values"].pop("x")


def _callable(told: Any, marker: str) -> None:
    told["graph_module"]["graph"]["nodes"][0].update(
        target="torch.os.mkdir",
        inputs=[{"name": "", "arg": {"as_string": marker}, "kind": 1}],
    )


def _file(told: Any, marker: str) -> None:
    """An operation of torch that creates a file of its own."""
    told["graph_module"]["graph"]["nodes"][0].update(
        target="torch.ops.aten.from_file.default",
        inputs=[
            {"name": "filename", "arg": {"as_string": marker}, "kind": 1},
            {"name": "shared", "arg": {"as_bool": True}, "kind": 1},
            {"name": "size", "arg": {"as_int": 8}, "kind": 1},
        ],
    )


def _containers(told: Any, marker: str) -> None:
    """A context that torch imports a module for."""
    folder = Path(marker).parent
    (folder / "imported_by_a_model.py").write_text(f"import os; os.mkdir({marker!r})", "utf-8")
    context = json.dumps({"__enum__": True, "fqn": "imported_by_a_model:E", "name": "A"})
    tree = {"type": "builtins.tuple", "context": context, "children_spec": []}
    told["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])


def _guards(told: Any, marker: str) -> None:
    told["guards_code"] = [_code(marker)]


def _argument_names(told: Any, marker: str) -> None:
    signature = told["graph_module"]["module_call_graph"][0]["signature"]
    signature["forward_arg_names"] = [f"x=[{_code(marker)}]"]


# How each kind of part is changed, and what is said of it; or, where it is not needed, nothing.
REFUSED: dict[str, tuple[Edit, str]] = {
    "pickled weight": (
        _config("weights", _pickled_weight, "weight_9", _pickled),
        "data/weights/weight_9: a pickled weight that only running the file's code",
    ),
    "opaque constant": (
        _config(
            "constants", _object("opaque_obj_0"), "opaque_obj_0", lambda m: pickle.dumps(Runs(m))
        ),
        "data/constants/opaque_obj_0: an object that only running",
    ),
    "object of a library": (
        _config(
            "constants", _object("custom_obj_0"), "custom_obj_0", lambda m: pickle.dumps(Runs(m))
        ),
        "data/constants/custom_obj_0: an object that only running",
    ),
    "expression": (_description(_expression), "models/model.json: 'expr_str' holds '__import__"),
    "expression in a sum": (
        _description(_hidden_expression),
        "models/model.json: 'expr_str' holds",
    ),
    "name in generated code": (_description(_placeholder), "models/model.json: 'name' holds 'x=["),
    "any function": (_description(_callable), "'target' holds 'torch.os.mkdir'"),
    "operation on files": (
        _description(_file),
        "'target' holds 'torch.ops.aten.from_file.default'",
    ),
    "context of a container": (
        _description(_containers),
        "no tensors, tuples, lists or dictionaries",
    ),
}
IGNORED: dict[str, Edit] = {
    "sample inputs": _sample_inputs,
    "guards": _description(_guards),
    "names of arguments": _description(_argument_names),
}
