"""`.pt2` files, read as data: nothing that is stored in one is run.

The description of the program is vetted first (`vetting`); raw weights are taken as bytes; pickled
ones are read by what cannot run code, or refused; sample inputs and compiled code are not read.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dmpc.errors import ImportFailure
from dmpc.frontend.boundary import one_line
from dmpc.frontend.torch_program.rules import (
    CODE_IN_PROGRAM,
    DAMAGED_PROGRAM,
    NO_PROGRAM,
    OLD_PROGRAM,
)
from dmpc.frontend.torch_program.tensor_names import TensorNames
from dmpc.frontend.torch_program.vetting import identifier, structure, vet

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

MODELS, WEIGHTS, CONSTANTS = "models/", "data/weights/", "data/constants/"
PICKLED_OBJECTS = ("custom_obj", "opaque_obj")
SHOWN = ("stack_trace", "nn_module_stack")  # of what a file says of a node, what errors show
# A call with one tensor, by whatever name and in whatever container the module took it.
ONE_TENSOR = (
    '[1, {"type": "builtins.tuple", "context": "null", "children_spec": ['
    '{"type": "builtins.tuple", "context": "null", "children_spec": '
    '[{"type": null, "context": null, "children_spec": []}]}, '
    '{"type": "builtins.dict", "context": "[]", "children_spec": []}]}]'
)
DIALECTS = ("ATEN", "TRAINING")
ENCRYPTED = 1  # a flag of zip entries


@dataclass
class Archive:
    """The parts of a file by their names, without the folder that all of them are in."""

    where: str
    file: zipfile.ZipFile
    names: Mapping[str, zipfile.ZipInfo] = field(init=False)

    def __post_init__(self) -> None:
        entries = self.file.infolist()
        root = entries[0].filename.partition("/")[0] + "/" if entries else ""
        self.names = {entry.filename.removeprefix(root): entry for entry in entries}

    def read(self, name: str) -> bytes:
        """A part; raises ImportFailure if there is none, or if it would unpack to more."""
        if name not in self.names:
            raise ImportFailure.of(DAMAGED_PROGRAM, where=self.where, reason=f"it has no {name}")
        entry = self.names[name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & ENCRYPTED:
            reason = f"{name} is compressed or encrypted, which torch saves none"
            raise ImportFailure.of(DAMAGED_PROGRAM, where=self.where, reason=reason)
        with _unzipping(self.where):
            return self.file.read(entry)

    def json(self, name: str) -> Any:
        """A part that is JSON; raises ImportFailure if it is not."""
        try:
            return json.loads(self.read(name).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            reason = f"{name} is no JSON: {error}"
            raise ImportFailure.of(DAMAGED_PROGRAM, where=self.where, reason=reason) from None

    def part(self, name: str) -> str:
        """What errors call a part."""
        return f"{self.where}: {name}"


def read_program(where: str) -> ExportedProgram:
    """The program in a `.pt2` file, of which nothing is run.

    Raises ImportFailure that names the part if it is no such file, is damaged, or holds what could
    be read by running it alone. Raises what torch's reader raises on what it cannot build.
    """
    if not zipfile.is_zipfile(where):
        raise ImportFailure.of(NO_PROGRAM, where=where)
    with _opened(where) as archive:
        return _program(archive)


def operations(where: str) -> set[str]:
    """The operations that a program calls; none if the file does not say them."""
    try:
        with _opened(where) as archive:
            told = archive.json(f"{MODELS}model.json")
            return {str(node["target"]) for node in told["graph_module"]["graph"]["nodes"]}
    except (ImportFailure, LookupError, TypeError):
        return set()


@contextmanager
def _opened(where: str) -> Iterator[Archive]:
    with _unzipping(where):
        file = zipfile.ZipFile(where)
    with file:
        yield Archive(where, file)


@contextmanager
def _unzipping(where: str) -> Iterator[None]:
    """Whatever zipfile raises on a damaged file, some ten kinds of exceptions, is ImportFailure."""
    try:
        yield
    except Exception as error:
        raise ImportFailure.of(DAMAGED_PROGRAM, where=where, reason=one_line(error)) from None


def _program(archive: Archive) -> ExportedProgram:
    from torch._export.serde import schema
    from torch._export.serde.serialize import ExportedProgramDeserializer

    if "serialized_exported_program.json" in archive.names or "version" in archive.names:
        raise ImportFailure.of(OLD_PROGRAM, where=archive.where)
    if "archive_format" not in archive.names:
        raise ImportFailure.of(NO_PROGRAM, where=archive.where)
    name = f"{MODELS}model.json"
    told = _typed(archive, name, schema.ExportedProgram)
    part = archive.part(name)
    module, names = told.graph_module, TensorNames()
    names.within(module.signature)
    for value, kind, of in (
        (module.graph, schema.Graph, "graph"),
        (module.signature, schema.GraphSignature, "signature"),
        (told.range_constraints, dict[str, schema.RangeConstraint], "range_constraints"),
    ):
        vet(value, kind, of, part)
    for node in module.graph.nodes:
        node.metadata = {key: node.metadata[key] for key in SHOWN if key in node.metadata}
    vetted = schema.ExportedProgram(
        graph_module=schema.GraphModule(module.graph, module.signature, _root(module, part)),
        opset_version={},
        range_constraints=told.range_constraints,
        schema_version=told.schema_version,
        verifiers=[each for each in told.verifiers if each in DIALECTS] or ["TRAINING"],
    )
    program: ExportedProgram = ExportedProgramDeserializer().deserialize(
        vetted,
        _tensors(archive, WEIGHTS, "model_weights_config.json", names),
        _tensors(archive, CONSTANTS, "model_constants_config.json", names),
    )
    return program


def _typed(archive: Archive, name: str, kind: Any) -> Any:
    """A part as one of torch's records, of which the texts are not looked at yet."""
    from torch._export.serde import serialize

    told, typed = archive.json(name), vars(serialize)["_dict_to_dataclass"]
    try:
        return typed(kind, told)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"{name} is not as torch writes it ({type(error).__name__}: {error})"
        raise ImportFailure.of(DAMAGED_PROGRAM, where=archive.where, reason=reason) from None


def _root(module: Any, part: str) -> list[Any]:
    """How the program is called: its containers of arguments and results."""
    from torch._export.serde import schema

    root = next((entry for entry in module.module_call_graph if entry.fqn == ""), None)
    given = root.signature if root is not None else None
    kinds = [str.__str__(spec.type) for spec in module.signature.input_specs]
    takes = [kind for kind in kinds if kind in ("user_input", "constant_input")]
    called = ONE_TENSOR if takes == ["user_input"] else getattr(given, "in_spec", "")
    if given is None or not (structure(called) and structure(given.out_spec, data=True)):
        reason = "its arguments or results are no tensors, tuples, lists or dictionaries"
        raise ImportFailure.of(DAMAGED_PROGRAM, where=part, reason=reason)
    names = None if called is ONE_TENSOR else given.forward_arg_names
    names = names if names and all(map(identifier, names)) else None
    signature = schema.ModuleCallSignature([], [], called, given.out_spec, names)
    return [schema.ModuleCallEntry("", signature)]


def _tensors(
    archive: Archive, folder: str, config: str, names: TensorNames
) -> dict[str, torch.Tensor]:
    """The tensors that a list names, by the program's names for them."""
    from torch._export.serde import schema

    payloads = _typed(archive, folder + config, schema.PayloadConfig)
    found = {}
    for name, payload in payloads.config.items():
        path = folder + str(payload.path_name)
        if str(payload.path_name).startswith(PICKLED_OBJECTS) or payload.tensor_meta is None:
            raise ImportFailure.of(CODE_IN_PROGRAM, where=archive.part(path), what="an object")
        vet(payload, schema.PayloadMeta, "config", archive.part(folder + config))
        made = _unpickled(archive, path) if payload.use_pickle else _raw(archive, path, payload)
        found[names.of(name)] = _as_parameter(made) if payload.is_param else made
    return found


def _unpickled(archive: Archive, path: str) -> torch.Tensor:
    """A pickled tensor, if it can be read without running code."""
    import torch

    try:
        found = torch.load(io.BytesIO(archive.read(path)), map_location="cpu", weights_only=True)
    except ImportFailure:
        raise
    except Exception:  # torch raises many classes on what it does not unpickle
        found = None
    if not isinstance(found, torch.Tensor):
        raise ImportFailure.of(CODE_IN_PROGRAM, where=archive.part(path), what="a pickled weight")
    return found


def _raw(archive: Archive, path: str, payload: Any) -> torch.Tensor:
    """A tensor of raw bytes, of the shape and strides that the list gives."""
    import torch
    from torch._export.serde.serialize import deserialize_scalar_type

    meta, data = payload.tensor_meta, bytearray(archive.read(path))
    try:
        dtype = deserialize_scalar_type(meta.dtype)
        sizes, strides = ([int(n.as_int) for n in each] for each in (meta.sizes, meta.strides))
        if 0 in sizes:
            return torch.zeros(sizes, dtype=dtype)
        flat = torch.frombuffer(data, dtype=dtype)
        return torch.as_strided(flat, sizes, strides, int(meta.storage_offset.as_int))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        reason = f"{path} is not what the list of weights says ({str(error).splitlines()[0]})"
        raise ImportFailure.of(DAMAGED_PROGRAM, where=archive.where, reason=reason) from None


def _as_parameter(tensor: torch.Tensor) -> torch.Tensor:
    from torch import nn

    return nn.Parameter(tensor, requires_grad=False)
