"""Spikes of a library's own network against those of the graph that is imported from it."""

import numpy as np
import torch

from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

STEPS, SAMPLES = 30, 4


def events(seed: int, inputs: int) -> torch.Tensor:
    """Random spikes [timesteps, samples, inputs], float64."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(STEPS, SAMPLES, inputs, generator=generator) < 0.5).double()


def assert_same_spikes(graph: Graph, x: torch.Tensor, wanted: torch.Tensor) -> None:
    """The graph as imported and as recognised give the spikes [timesteps, samples, n]."""
    spikes = wanted.detach().numpy().transpose(1, 0, 2)
    assert 0.02 < (spikes > 0).mean() < 0.98, "a network that shows nothing"
    for each in (graph, apply(Recognise(), graph)):
        found = interpret(each, x.numpy().transpose(1, 0, 2)).outputs
        np.testing.assert_allclose(found, spikes, rtol=0, atol=1e-9)
