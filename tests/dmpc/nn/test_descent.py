"""The descent of training takes the steps of torch's AdamW and OneCycleLR, to the last bit."""

import copy

import pytest
import torch
from torch import nn

from dmpc.nn.descent import Descent


@pytest.mark.parametrize("batches", [1, 2, 7, 20])
def test_steps_are_those_of_torch(batches: int) -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    theirs = copy.deepcopy(ours)
    (place, *weights), (_, *own) = list(theirs.parameters()), list(ours.parameters())
    optimizer = torch.optim.AdamW(
        [{"params": weights}, {"params": [place], "weight_decay": 0.0}], lr=0.02, weight_decay=0.03
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.02, total_steps=batches, pct_start=0.15
    )
    descent = Descent(ours, [next(ours.parameters())], batches, 0.02, 0.03)
    for batch in range(batches):
        x = torch.randn(8, 6)
        descent.forget()
        optimizer.zero_grad()
        for network in (ours, theirs):
            network(x).square().sum().backward()
        if batch % 3 == 1:  # a parameter that a batch has no part in
            weights[0].grad = own[0].grad = None
        descent.step()
        optimizer.step()
        schedule.step()
    for mine, one in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, one)
