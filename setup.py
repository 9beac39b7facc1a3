"""Packaging of the three packages and the `dmpc` command.

Installing builds the simulator's compiled engine (isa/native/library.py) with the machine's C
compiler, or, where there is none, with the one in the Python package `ziglang`, which is then
fetched for the build alone.
"""

import shutil
import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

ZIG = ["ziglang==0.17.1"]
HAS_COMPILER = any(map(shutil.which, ("cc", "gcc", "clang")))


class BuildEngine(build_py):
    """Builds the engine beside its sources, and into what is installed."""

    def run(self) -> None:
        """Build."""
        super().run()
        here = Path(__file__).parent
        sys.path.insert(0, str(here))
        from isa.native.library import build, missing

        folder = here if self.editable_mode else Path(self.build_lib)
        if missing(folder / "isa" / "native"):
            build(folder / "isa" / "native")


class Compiled(Distribution):
    """What is built holds machine code: it belongs to a platform."""

    def has_ext_modules(self) -> bool:
        """Yes."""
        return True


AEDAT = ["aedat>=2.3,<3"]
PLOT = ["matplotlib>=3.8,<4"]
TRAIN = ["torch==2.13.0"]
EXAMPLES = ["scikit-learn>=1.5,<2", "scipy>=1.13,<2"]
DOCS = ["furo>=2024.8", "myst-parser>=4,<6", "sphinx>=8,<10"]
TEST = [
    *TRAIN,
    *EXAMPLES,
    *PLOT,
    *AEDAT,
    "debugpy>=1.8,<2",  # for the schema of the Debug Adapter Protocol
    "hypothesis>=6.100,<7",
    "jsonschema>=4.20,<5",
    "mypy==2.4.1",
    "norse==1.1.0",
    "onnxscript>=0.5,<1",
    "playwright>=1.50,<2",  # drives the system's Chromium, which the Makefile looks for
    "pre-commit>=4,<5",
    "pylibfst>=0.2,<1",
    "pytest>=8,<10",
    "pytest-xdist>=3.6,<4",
    "ruff==0.17.6",
    "snntorch==1.0.0",
    "spikingjelly==0.0.0.0.14",
    "torchvision==0.28.0",  # norse needs it; any other version would bring another torch
]

setup(
    name="dmpc",
    version="0.1.0",
    description="Compiler and instruction-set simulator for dual-memory-pathway spiking networks",
    python_requires=">=3.11",
    packages=find_packages(include=["dmpc*", "isa*", "runtime*"]),
    cmdclass={"build_py": BuildEngine},
    distclass=Compiled,
    setup_requires=[] if HAS_COMPILER else ZIG,
    package_data={
        "isa": ["*.lark", "native/*.c", "native/*.h", "targets/*.toml", "py.typed"],
        "dmpc": ["*.lark", "*/*.lark", "report/page.*", "report/vendor/*", "py.typed"],
        "runtime": ["py.typed"],
    },
    install_requires=[
        "click>=8.5,<9",
        "h5py>=3.10,<4",
        "lark>=1.2,<2",
        "networkx>=3.2,<4",
        "nir>=1.0.8,<2",
        "numpy>=2.0,<3",
        "onnx>=1.18,<2",
        "onnxruntime>=1.20,<2",
        "perfetto>=0.59,<1",
        "pydantic>=2.10,<3",
        "pyelftools>=0.31,<1",
        "pyvcd>=0.4,<1",
        "rich>=13,<16",
    ],
    extras_require={
        "aedat": AEDAT,
        "plot": PLOT,
        "docs": DOCS,
        "train": TRAIN,
        "examples": [*TRAIN, *EXAMPLES],
        "test": TEST,
    },
    entry_points={"console_scripts": ["dmpc = dmpc.__main__:run"]},
)
