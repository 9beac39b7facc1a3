"""What placement and emission must agree on: which constants share rows, which bank holds what."""

from dmpc.ir.graph import Graph, Op
from dmpc.ir.registry import op_def
from isa.layout import Layout
from isa.limits import PERIOD
from isa.target import EXTERNAL, Target

REGISTERS = ("events", "values")
PARAMETERS = ("threshold", "bias", "reset", "beta", "shift")
PARAMETRIC = (
    "lif_step", "leak", "integrate_values", "fire", "accumulate_logits", "total_logits",
)  # fmt: skip


def parameters_of(graph: Graph, op: Op) -> list[str]:
    """Names of the constants of an op that lie in the parameter memory."""
    bound = op_def(op.kind).bind(op.operands)
    return [name for slot in PARAMETERS for name in bound.get(slot, ()) if name in graph.constants]


def bank_of(op: Op, target: Target) -> int:
    """The bank in which a product's weights lie."""
    bank = op.attrs.get("bank")
    return bank if isinstance(bank, int) else target.bank_for(str(op.attrs["path"]))


def share_of(op: Op) -> tuple[int, int]:
    """First phase and sixteenths of a product's rows in its bank; all of them without a share."""
    share = op.attrs.get("share", (0, PERIOD))
    assert isinstance(share, tuple)
    first, size = share
    assert isinstance(first, int)
    assert isinstance(size, int)
    return first, size


def layout_of(graph: Graph, op: Op, target: Target) -> Layout:
    """Which rows a product has in its bank."""
    neurons, inputs = graph.types[op.operands[1]].shape
    return Layout(inputs, -(-neurons // target.lanes), *share_of(op))


def section_of(target: Target, memory: str, row: int) -> tuple[str, int]:
    """The part of an image that holds a row of a memory, and which row is that part's first."""
    limit = target.memories[memory].rows
    return (memory, 0) if row < limit else (EXTERNAL + memory, limit)
