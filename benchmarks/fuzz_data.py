"""Kinds of input that hold samples, and scripts of the debugger, and how they are damaged."""

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import dmpc
from benchmarks import fuzz_bases as bases
from benchmarks.fuzz_bases import write
from benchmarks.fuzz_damage import damaged_bytes, damaged_text, damaged_zip
from benchmarks.fuzz_hdf5 import damaged_hdf5, odd_array
from benchmarks.fuzz_judges import Case
from benchmarks.random_networks import Layer, Shape, network
from dmpc.backend.onnx_writer import to_onnx
from isa.image import image_bytes

CAMERA = Path(__file__).parents[1] / "tests" / "runtime" / "data" / "small.aedat4"
UNITS = {"h5": 7, "nir-data": 6, "npy": 6, "events": 12, "aedat": 384}
"""Inputs of the networks that samples of each kind are for."""
BINNED = {"h5": ("--channels", "7"), "nir-data": (), "events": (), "aedat": ()}
WIDTHS = ("10ms", "1ms", "1us", "1s", "0ms", "1e9s", "nan", "")


@cache
def _files(inputs: int) -> tuple[bytes, bytes]:
    """A model of so many inputs, and its image."""
    graph = network(Shape(inputs, (Layer(4),), bases.CLASSES, seed=5))
    return to_onnx(graph).SerializeToString(), image_bytes(dmpc.compile(graph).image)


def _read(random: Random, folder: Path, kind: str, path: Path) -> Case:
    """A command that reads samples, mostly with options that fit."""
    model, image = _files(UNITS[kind])
    program = str(write(folder / "program.elf", image))
    network = str(write(folder / "model.onnx", model))
    options: list[str] = []
    if kind in BINNED and random.random() < 0.95:
        width = "10ms" if random.random() < 0.9 else random.choice(WIDTHS)
        options = ["--bin", width, *BINNED[kind]]
        if random.random() < 0.4:
            options += ["--steps", random.choice(("1", "5", "30", "0", "100000"))]
    argv = random.choice((
        ("run", program, "--input", str(path)),
        ("run", program, "--input", str(path)),
        ("profile", program, "--input", str(path)),
        ("compile", network, "--calibration", str(path)),
        ("check", network, "--calibration", str(path)),
        ("verify", network, program, "--input", str(path)),
    ))  # fmt: skip
    return Case((*argv, *options), (path.name, program) if argv[0] == "verify" else (path.name,))


def _hdf5_case(random: Random, folder: Path, kind: str, path: Path) -> Case:
    if random.random() < 0.3:
        write(path, damaged_bytes(random, path.read_bytes()))
    if random.random() < 0.85:
        damaged_hdf5(random, path)
    return _read(random, folder, kind, path)


def heidelberg(random: Random, folder: Path) -> Case:
    """SHD and SSC: lists of times and units in HDF5."""
    import h5py

    path, made = folder / "digits.h5", np.random.default_rng(random.randrange(8))
    with h5py.File(path, "w") as file:
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            rows = file.create_dataset(f"spikes/{name}", (3,), h5py.vlen_dtype(kind))
            for number in range(3):
                values = (
                    np.sort(made.random(9) * 0.09) if name == "times" else made.integers(0, 700, 9)
                )
                rows[number] = values.astype(kind)
        file["labels"] = np.arange(3, dtype=np.uint16)
    return _hdf5_case(random, folder, "h5", path)


def nir_data(random: Random, folder: Path) -> Case:
    """NIRData: events or timesteps of a node, in HDF5."""
    import nir

    path, made = folder / "data.h5", np.random.default_rng(random.randrange(8))
    if random.random() < 0.7:
        times = np.sort(made.random((2, 6)) * 0.08)
        one: Any = nir.EventData(made.integers(0, 6, (2, 6)), times, 6, 0.08)
    else:
        one = nir.TimeGriddedData(made.random((2, 8, 6)) < 0.3, 0.01)
    node = nir.NIRNodeData({"spikes": one})
    nir.write_data(path, nir.NIRGraphData({"input": node, "lif": nir.NIRNodeData({})}))
    return _hdf5_case(random, folder, "nir-data", path)


def npy(random: Random, folder: Path) -> Case:
    """One array as NumPy saves it."""
    x = bases.arrays()["x"]
    file = io.BytesIO()
    np.save(file, odd_array(random, x) if random.random() < 0.4 else x)
    data = file.getvalue()
    path = write(
        folder / "x.npy", damaged_npy(random, "x", data) if random.random() < 0.8 else data
    )
    return _read(random, folder, "npy", path)


def damaged_npy(random: Random, name: str, data: bytes) -> bytes:
    """The header of an array, which is text, or its elements."""
    del name
    if random.random() < 0.3 or len(data) < 80:
        return damaged_bytes(random, data)
    size = int.from_bytes(data[8:10], "little")
    text = damaged_text(random, data[10 : 10 + size].decode("latin1"))[:60000]
    header = text.encode("latin1", "replace")
    if random.random() < 0.9:
        return data[:8] + len(header).to_bytes(2, "little") + header + data[10 + size :]
    return data[:10] + header + data[10 + size :]


def events(random: Random, folder: Path) -> Case:
    """Lists of events in `.npz`."""
    made = np.random.default_rng(random.randrange(8))
    number = 40
    kept: dict[str, Any] = {
        "t": np.sort(made.integers(0, 90_000, number)), "x": made.integers(0, 3, number),
        "y": made.integers(0, 2, number), "p": made.integers(0, 2, number),
        "size": np.array([3, 2]),
    }  # fmt: skip
    if random.random() < 0.6:
        kept |= {"sample": made.integers(0, 3, number), "labels": np.arange(3)}
    for _ in range(random.choice((0, 1, 1, 2))):
        name = random.choice(list(kept))
        kept[name] = odd_array(random, kept[name])
    file = io.BytesIO()
    np.savez(file, **kept)
    data = file.getvalue()
    whole = random.random() < 0.5
    path = write(folder / "events.npz", data if whole else damaged_zip(random, data, damaged_npy))
    return _read(random, folder, "events", path)


def camera(random: Random, folder: Path) -> Case:
    """AEDAT4: bytes of a camera's file."""
    path = write(folder / "camera.aedat4", damaged_bytes(random, CAMERA.read_bytes()))
    return _read(random, folder, "aedat", path)


COMMANDS = """break layer1
break pc 3
break cycle 40
break saturation
break
delete 1
continue
step 3
timestep
timestep 2
cycle 5
where
list
list 4
names
registers
queues
print layer1.spikes
print x 0:4
print e0
print memory_a 0:2
restart 1
continue
where
help break
quit
"""


def debug(random: Random, folder: Path) -> Case:
    """Scripts of the debugger."""
    lines = COMMANDS.splitlines()
    if random.random() < 0.5:
        lines = random.choices(lines, k=random.randrange(1, 12))
    text = "\n".join(lines)
    text = damaged_text(random, text) if random.random() < 0.9 else text
    script = write(folder / "script.txt", text.encode("utf-8", "replace"))
    program = write(folder / "program.elf", random.choice(bases.image_files()))
    samples = write(folder / "samples.npz", bases.samples_bytes())
    more = random.choice(((), (), ("--json", "-"), ("--engine", "fast"), ("--sample", "2")))
    argv = ("debug", str(program), "--input", str(samples), "--script", str(script), *more)
    return Case(argv, (script.name, program.name, samples.name))


DATA: Mapping[str, Callable[[Random, Path], Case]] = {
    "h5": heidelberg,
    "nir-data": nir_data,
    "npy": npy,
    "events": events,
    "aedat": camera,
    "debug": debug,
}
