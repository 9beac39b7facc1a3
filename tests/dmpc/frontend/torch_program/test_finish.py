"""Functions at the very end of a module that keep the order of its logits are left out."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from dmpc import from_torch
from dmpc.compiler import Options, to_layers
from dmpc.errors import DmpcError, ImportFailure
from dmpc.findings import listening
from dmpc.frontend import open_model
from dmpc.frontend.finish import Finish
from dmpc.frontend.proof import prove
from dmpc.frontend.torch_program.finish import Watch

X = (np.random.default_rng(0).random((4, 4, 5)) < 0.4).astype(np.float32)


class Net(torch.nn.Module):
    """One layer, looped over time, and what a test puts at its end."""

    def __init__(self, end=None):
        super().__init__()
        torch.manual_seed(0)
        self.end, self.fc, self.out = end, torch.nn.Linear(5, 6), torch.nn.Linear(6, 3)

    def forward(self, x):
        v, total = torch.zeros(x.shape[0], 6), 0.0
        for now in x.unbind(1):
            v = 0.5 * v + 3 * self.fc(now)
            s = (v >= 1).float()
            v = torch.where(s > 0, 0.0, v)
            total = total + self.out(s)
        logits = total / x.shape[1]
        return self.end(logits) if self.end else logits


PLAIN = Net()(torch.from_numpy(X)).detach()
ENDS = {
    "log_softmax": lambda y: functional.log_softmax(y, 1),
    "softmax and log": lambda y: y.softmax(-1).log(),
    "softmax": lambda y: torch.nn.Softmax(dim=1)(y).contiguous().clone(),
    "sigmoid": lambda y: y.sigmoid_(),
    "log_sigmoid": lambda y: functional.logsigmoid(y).transpose(0, 1).transpose(0, 1),
    "softmax and a factor and a factor and an offset": lambda y: 100 * y.softmax(1) / 2.5 + 1,
    "tanh": lambda y: {"answer": torch.tanh(y.view(-1, y.shape[1]))},
}


@pytest.mark.parametrize(("name", "end"), ENDS.items())
def test_what_ends_a_module_is_left_out(name, end):
    with listening() as told:
        found = from_torch(Net(end), X)
    said = [one.message for one in told if one.rule == "activation-left-out"]
    assert said == [f"the model ends in {name}: left out, the image gives what goes into it"]
    np.testing.assert_array_equal(found.reference.logits(X), PLAIN)


def test_the_proof_compares_what_goes_into_the_end():
    opened = from_torch(Net(ENDS["log_softmax"]), X)
    assert prove(opened, to_layers(opened.graph, Options()), X).holds


def test_a_saved_program_ends_as_its_module_does(tmp_path):
    program = torch.export.export(Net(ENDS["softmax and log"]), (torch.from_numpy(X),))
    torch.export.save(program, tmp_path / "net.pt2")
    found = open_model(tmp_path / "net.pt2").reference.logits(X)
    np.testing.assert_array_equal(found, PLAIN)


def test_a_softmax_over_samples_or_in_the_middle_is_refused():
    with pytest.raises(ImportFailure, match="softmax over axis 0, which is not"):
        from_torch(Net(lambda y: y.softmax(0)), X)
    with pytest.raises(ImportFailure, match=r"softmax .* operator softmax is not supported"):
        from_torch(Net(lambda y: y.softmax(1) * y), X)


def test_what_torch_does_not_show_is_no_number():
    with pytest.raises(DmpcError, match="does not show what goes into softmax"):
        Watch(Finish()).before(PLAIN, Finish(("softmax",), 1), "net")
