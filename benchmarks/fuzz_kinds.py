"""The kinds of input that a campaign damages: for each, how one is made."""

import hashlib
import io
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np

from benchmarks import fuzz_bases as bases
from benchmarks.fuzz_bases import write
from benchmarks.fuzz_damage import (
    INTEGERS,
    NUMBERS,
    REALS,
    WORDS,
    damaged_bytes,
    damaged_json,
    damaged_text,
    damaged_zip,
    some,
)
from benchmarks.fuzz_data import DATA, damaged_npy
from benchmarks.fuzz_graphs import damaged_graph
from benchmarks.fuzz_hdf5 import damaged_hdf5, odd_array
from benchmarks.fuzz_judges import Case, Verdict, climbed, judged, same_bits
from benchmarks.fuzz_protobuf import damaged_model
from benchmarks.random_networks import network, random_shape, samples
from dmpc.cli.main import VERBS, main
from dmpc.ir.printer import to_text
from dmpc.ir.verify import problems
from isa import elf
from isa.elf import Section
from isa.target import target_names, target_text

Maker = Callable[[Random, Path], Case]


def _model(random: Random, path: Path, *more: str) -> Case:
    """A command that reads a model."""
    out = str(path.with_name("out.onnx"))
    verb = random.choice(
        (("check",), ("compile",), ("compile",), ("inspect",), ("export", "-o", out))
    )
    model = path if verb[0] == "compile" and path.suffix == ".onnx" else None
    return Case((*verb, str(path), *more), (path.name,), model)


def _samples(folder: Path) -> str:
    return str(write(folder / "samples.npz", bases.samples_bytes()))


def onnx_structure(random: Random, folder: Path) -> Case:
    """ONNX: fields of the protocol buffer, and nodes put in."""
    model = damaged_model(random, random.choice(bases.models()))
    return _model(random, write(folder / "model.onnx", model.SerializeToString()))


def onnx_bytes(random: Random, folder: Path) -> Case:
    """ONNX: bytes of the file."""
    data = random.choice(bases.models()).SerializeToString()
    return _model(random, write(folder / "model.onnx", damaged_bytes(random, data)))


def graph_text(random: Random, folder: Path) -> Case:
    """Graph text."""
    text = damaged_text(random, random.choice(bases.graph_texts()))
    return _model(random, write(folder / "graph.dmpir", _encoded(random, text)))


def graphs(random: Random, folder: Path) -> Verdict:
    """Random networks as graphs that are whole, but of which one thing or a few are others: what is
    compiled runs as its own integer graph says, every bit."""
    shape = random_shape(random)
    whole = network(shape)
    graph = next((g for _ in range(20) if not problems(g := damaged_graph(random, whole))), whole)
    found = judged(_model(random, write(folder / "graph.dmpir", to_text(graph).encode())))
    return found if found.outcome != "accepted" else same_bits(graph, samples(shape)) or found


def _encoded(random: Random, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return damaged_bytes(random, data) if random.random() < 0.05 else data


def assembly(random: Random, folder: Path) -> Case:
    """Assembly text."""
    text = damaged_text(random, random.choice(bases.assembly()))
    path = write(folder / "program.s", _encoded(random, text))
    return Case(("asm", str(path), "-o", str(folder / "out.elf")), (path.name,))


def image(random: Random, folder: Path) -> Case:
    """Images whose seal is repaired after the damage."""
    data = random.choice(bases.image_files())
    if random.random() < 0.3:
        data = damaged_bytes(random, data)
    else:
        sections, symbols = elf.read_elf(data)
        name = random.choice(list(sections))
        change = damaged_json if sections[name][:1] in b"{[" else _section
        sections[name] = change(random, sections[name])
        data = elf.elf_bytes([_plain(n, d) for n, d in sections.items()], symbols)
    path = write(folder / "program.elf", _sealed(data) if random.random() < 0.95 else data)
    verb = random.choice((
        ("inspect",), ("inspect", "--memory"), ("inspect", "--schedule"), ("disasm",),
        ("run", "--input", _samples(folder)), ("run", "--input", _samples(folder)),
    ))  # fmt: skip
    return Case((verb[0], str(path), *verb[1:]), (path.name,))


def _section(random: Random, data: bytes) -> bytes:
    try:
        return damaged_text(random, data.decode()).encode("utf-8", "replace")
    except UnicodeDecodeError:
        return damaged_bytes(random, data)


def _plain(name: str, data: bytes) -> Section:
    return Section(name, data, elf.NOTE if name.startswith(".note") else elf.PROGBITS)


def _sealed(data: bytes) -> bytes:
    at = slice(elf.HEADER_BYTES + 24, elf.HEADER_BYTES + 56)
    zeroed = data[: at.start] + bytes(32) + data[at.stop :]
    return data[: at.start] + hashlib.sha256(zeroed).digest() + data[at.stop :]


def nir(random: Random, folder: Path) -> Case:
    """NIR: groups and datasets of the HDF5 file, or its bytes."""
    data = random.choice(bases.nir_files())
    if random.random() < 0.3:
        data = damaged_bytes(random, data)
    path = write(folder / "graph.nir", data)
    if random.random() < 0.9:
        damaged_hdf5(random, path)
    return _model(random, path)


def npz(random: Random, folder: Path) -> Case:
    """Samples: arrays of other types and shapes, headers of arrays, the archive."""
    kept = dict(bases.arrays())
    if random.random() < 0.3:
        name = random.choice(list(kept))
        kept[name] = odd_array(random, kept[name])
    file = io.BytesIO()
    np.savez(file, **kept)
    path = write(folder / "data.npz", damaged_zip(random, file.getvalue(), damaged_npy))
    program = write(folder / "program.elf", bases.image_files()[0])
    model = write(folder / "model.onnx", bases.models()[0].SerializeToString())
    argv = random.choice((
        ("run", str(program), "--input", str(path)),
        ("compile", str(model), "--calibration", str(path)),
        ("check", str(model), "--calibration", str(path)),
        ("verify", str(model), str(program), "--input", str(path)),
    ))  # fmt: skip
    return Case(argv, (path.name,) if argv[0] != "verify" else (path.name, program.name))


def checkpoint(random: Random, folder: Path) -> Case:
    """Checkpoints: keys and values of a state_dict, or the file."""
    import torch

    state: dict[Any, Any] = dict(bases.module().state_dict())
    for _ in range(some(random) - (random.random() < 0.3)):
        _key(random, state)
    kept: Any = state
    if random.random() < 0.2:
        kept = random.choice(
            ({"model": state}, {"state_dict": state, "epoch": 3}, {"net": state}, [state], state, 3)
        )
    path, file = folder / "weights.pt", io.BytesIO()
    torch.save(kept, file)
    data = file.getvalue()
    write(path, damaged_zip(random, data) if random.random() < 0.4 else data)
    argv = ("check", bases.FACTORY, "--weights", str(path), "--example-input", _samples(folder))
    return Case(argv, (path.name, bases.FACTORY))


def _key(random: Random, state: dict[Any, Any]) -> None:
    import torch

    if not state:
        return
    key = random.choice(list(state))
    value = state[key]
    match random.randrange(6):
        case 0:
            del state[key]
        case 1:
            odd = random.choice((7, f"module.{key}", f"{key}x", None, (1, 2), ""))
            state[odd] = state.pop(key)
        case 2:
            state[key] = random.choice((None, "text", 1.0, [1, 2], {}, np.float64(1)))
        case 3:
            state[key] = torch.full_like(value, random.choice(REALS)) if _real(value) else value
        case 4 if _real(value):
            kinds = (torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.complex64)
            state[key] = value.to(random.choice(kinds))
        case _ if _real(value):
            state[key] = random.choice(
                (value[None], value.reshape(-1), value[..., :-1], value.to_sparse(), value[:0])
            )


def _real(value: Any) -> bool:
    import torch

    dense = isinstance(value, torch.Tensor) and value.layout == torch.strided
    return dense and value.ndim > 0 and value.dtype == torch.float32


def program(random: Random, folder: Path) -> Case:
    """Saved programs of torch.export: entries of the archive and the JSON in them."""

    def inner(random: Random, name: str, content: bytes) -> bytes:
        return (
            damaged_json(random, content)
            if name.endswith("json")
            else damaged_bytes(random, content)
        )

    data = damaged_zip(random, bases.program_file(), inner)
    return _model(random, write(folder / "program.pt2", data))


def toml(random: Random, folder: Path) -> Case:
    """Targets."""
    text = damaged_text(random, target_text(random.choice(target_names())))
    path = write(folder / "target.toml", _encoded(random, text))
    model = write(folder / "model.onnx", bases.models()[0].SerializeToString())
    verb = random.choice(("check", "compile"))
    return Case((verb, str(model), "--target", str(path)), (path.name, model.name))


TAKES = {
    "run": ("program.elf",), "disasm": ("program.elf",), "asm": ("program.s",),
    "inspect": ("model.onnx", "program.elf", "graph.dmpir"),
}  # fmt: skip
MODELS = ("model.onnx", "graph.dmpir", "graph.nir")


def command(random: Random, folder: Path) -> Case:
    """Command lines: verbs, files that fit and files that do not, options with odd values."""
    write(folder / "model.onnx", random.choice(bases.models()).SerializeToString())
    write(folder / "program.elf", random.choice(bases.image_files()))
    write(folder / "graph.dmpir", random.choice(bases.graph_texts()))
    write(folder / "program.s", random.choice(bases.assembly()))
    write(folder / "graph.nir", random.choice(bases.nir_files()))
    write(folder / "target.toml", target_text("pooled"))
    _samples(folder)
    verb = random.choice([name for name in VERBS if name != "reproduce"])
    found = main.get_command(click.Context(main), verb)
    assert found is not None
    argv, chance = [verb], random.choice((0.03, 0.15, 0.5))
    for parameter in found.params:
        if isinstance(parameter, click.Argument):
            fitting = TAKES.get(verb, MODELS) if parameter.name != "image" else ("program.elf",)
            value = str(folder / random.choice(fitting))
            argv.append(value if random.random() < 0.9 else _value(random, folder, parameter))
        elif parameter.required or random.random() < chance:
            argv.append(random.choice(parameter.opts))
            if not (isinstance(parameter, click.Option) and parameter.is_flag):
                argv += [_value(random, folder, parameter) for _ in range(max(parameter.nargs, 1))]
    return Case(tuple(argv))


FITTING = {
    "data": "samples.npz", "calibration": "samples.npz", "samples": "samples.npz",
    "example": "samples.npz", "target": "target.toml",
}  # fmt: skip
OUTPUTS = ("output", "json_path", "trace", "save", "plot")


def _value(random: Random, folder: Path, parameter: click.Parameter) -> str:
    """A value for a parameter, more often a fitting one."""
    if random.random() < 0.1:
        odd = random.choice((*WORDS, *NUMBERS, *map(str, INTEGERS)))
        return odd if "/" not in odd else "x"
    if isinstance(parameter.type, click.Choice):
        return str(random.choice(list(parameter.type.choices)))
    if not isinstance(parameter.type, click.types.StringParamType):
        return random.choice(("1", "2", "0", "-1", "8", "0.5", "1e-3", *NUMBERS))
    if random.random() < 0.15:
        return str(random.choice([folder, folder / "missing", *sorted(folder.iterdir())]))
    if parameter.name in OUTPUTS:
        return random.choice((str(folder / f"out{random.randrange(3)}"), "-"))
    fitting = FITTING.get(parameter.name or "")
    return str(folder / fitting) if fitting else random.choice(("a=b", "quantize", "place", "x"))


MAKERS: dict[str, Maker] = {
    "onnx": onnx_structure,
    "onnx-bytes": onnx_bytes,
    "dmpir": graph_text,
    "asm": assembly,
    "image": image,
    "nir": nir,
    "npz": npz,
    "pt": checkpoint,
    "pt2": program,
    "toml": toml,
    "options": command,
    **DATA,
}
JUDGES: dict[str, Callable[[Random, Path], Verdict]] = {
    "graphs": graphs,
    "networks": lambda random, folder: climbed(random_shape(random), random, folder),
}
"""Kinds that are judged by more than what a command says."""
KINDS = (*MAKERS, *JUDGES)


def tried(kind: str, seed: int, folder: Path) -> Verdict:
    """Make the input of a seed in an empty folder, and judge there what becomes of it."""
    random = Random(f"{kind}:{seed}")
    with chdir(folder):  # options of odd values name files, too
        return (
            JUDGES[kind](random, folder) if kind in JUDGES else judged(MAKERS[kind](random, folder))
        )
