"""The machine of the paper's figures, with memories as large as its network needs."""

from dmpc.reproduce import sized_target
from isa.target import load_target, parse_target


def test_a_sized_machine_differs_in_lanes_and_rows_alone():
    paper = load_target("paper")
    assert parse_target(sized_target("paper", 4), "sized") == paper
    used = {"spike": 1000, "neuron": 40, "parameter": 69, "partial": 32, "axon": 3}
    sized = parse_target(sized_target("paper", 8, used), "sized")
    rows = {name: memory.rows for name, memory in sized.memories.items()}
    assert {n: r for n, r in rows.items() if r != 16} == {
        "spike": 1000, "neuron": 69, "parameter": 69, "partial": 32,
    }  # fmt: skip
    assert sized.lanes == 8
    assert sized.energy == paper.energy
