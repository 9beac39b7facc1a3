"""Run with SpikingJelly 2.0 on the path: what dmpc makes of its networks, into a folder.

For each network of `networks`: the graph as text, and torch's own answer; the programs as .pt2.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch

import dmpc
from dmpc.frontend import open_model
from dmpc.frontend.torch_program.program import example_of, export, untouched
from dmpc.ir.printer import to_text
from tests.dmpc.frontend.torch_program import networks


def main(folder: Path) -> None:
    x = networks.currents()
    for name in (*networks.NODES, *networks.NODES2):
        module = networks.Spiking(name)
        model = dmpc.from_torch(module, x)
        (folder / f"{name}.dmpir").write_text(to_text(model.graph), "utf-8")
        with untouched(module):
            np.save(folder / f"{name}.npy", module(torch.from_numpy(x)).numpy())
    try:
        dmpc.from_torch(networks.TimeFirst(), x)
    except dmpc.DmpcError as error:
        (folder / "time_first.txt").write_text(str(error), "utf-8")
    network, x = networks.DualPathway(), networks.events()
    program = export(network, example_of(x, network, time_first=False), "network")
    torch.export.save(program, folder / "network.pt2")
    for name, model in {
        "module": dmpc.from_torch(network, x),
        "program": open_model(folder / "network.pt2"),
    }.items():
        (folder / f"{name}.dmpir").write_text(to_text(model.graph), "utf-8")
        assert model.reference is not None
        np.save(folder / f"{name}.npy", model.reference.logits(x))
    logits, spikes = networks.spikes_of(network, x)
    np.savez(folder / "network.npz", logits=logits, first=spikes[0], second=spikes[1])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
