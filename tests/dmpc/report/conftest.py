"""A report of a network with three layers, recurrence and delays, and of the run that it shows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dmpc import compile as compile_network
from dmpc.report.collect import Choice, Report, collect
from dmpc.report.page import page
from runtime import Program, Samples
from runtime.program import Result
from tests.networks import Layer, Shape, network, samples

DEEP = Shape(
    inputs=12,
    layers=(
        Layer(neurons=17, states=3),
        Layer(neurons=13, states=0, recurrent=True),
        Layer(neurons=9, states=2, delays=4),
    ),
    classes=3,
    samples=5,
    steps=12,
    density=0.4,
    seed=3,
)


@dataclass(frozen=True)
class Reported:
    """A report, what it is of, and its page."""

    program: Program
    result: Result
    report: Report
    path: Path


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    program = Program(compile_network(network(DEEP)).image, "deep.elf")
    given = Samples(samples(DEEP), np.array([0, 1, 2, 0, 1]))
    result = program.run(given.x, given.y)
    report = collect(program, given, result, Choice(samples=(0, 3)))
    path = tmp_path_factory.mktemp("report") / "deep.html"
    path.write_text(page(report), "utf-8")
    return Reported(program, result, report, path)
