"""Random networks at level layers, as hypothesis draws them: `networks()` is a strategy."""

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import reject
from hypothesis import strategies as st

import dmpc
from benchmarks.random_networks import FLAVOURS, READOUTS, Layer, Shape, network, samples
from dmpc.errors import CompileError
from dmpc.ir.types import TensorType
from dmpc.passes.layer_rules import MANY_PRODUCTS

__all__ = [
    "Layer",
    "Shape",
    "banks_hold_them",
    "compile_network",
    "integer_type",
    "layers",
    "network",
    "networks",
    "samples",
]

layers = st.builds(
    Layer,
    neurons=st.integers(1, 13),
    states=st.just(0) | st.integers(1, 12),
    hard=st.booleans(),
    strict=st.booleans(),
    bias=st.booleans(),
    flavour=st.sampled_from(FLAVOURS),
    legendre=st.booleans(),
    dilation=st.sampled_from((1, 2, 3, 5)),
    recurrent=st.booleans(),
    delays=st.sampled_from((0, 0, 1, 4)),
    echo=st.sampled_from((0, 0, 3)),
    again=st.sampled_from((0, 0, 1, 2)),
    heard=st.sampled_from((0, 0, 1, 2)),
    current=st.sampled_from(("", "", "now", "late")),
    adapts=st.sampled_from(("", "", "threshold", "current")),
    clamped=st.sampled_from(("", "", "below", "above", "both")),
    other=st.sampled_from(("", "now", "late")),
    straight=st.sampled_from((False, False, True)),
    times=st.sampled_from((1, 1, 2, 3)),
    starts=st.sampled_from((False, False, True)),
    drives=st.sampled_from((1, 1, 1, 2, 3)),
    linear=st.sampled_from((False, False, True)),
    hears=st.sampled_from((False, False, True)),
    rests=st.sampled_from((0, 0, 1, 4)),
)


def networks(*, graded: bool | None = None) -> st.SearchStrategy[Shape]:
    """Shapes of one to three layers; binary or graded input unless said."""
    return st.builds(
        Shape,
        inputs=st.integers(1, 10),
        layers=st.lists(layers, min_size=1, max_size=3).map(tuple),
        classes=st.integers(1, 6),
        readout=st.sampled_from(READOUTS),
        since=st.sampled_from((0, 0, 1, 3)),
        leaks=st.sampled_from((0, 0, 1, 2)),
        besides=st.sampled_from((0, 0, 1, 2)),
        late=st.sampled_from((0, 0, 1, 3)),
        graded=st.booleans() if graded is None else st.just(graded),
        density=st.sampled_from((0.0, 0.1, 0.5, 1.0)),
        samples=st.integers(1, 4),
        steps=st.integers(1, 8),
        seed=st.integers(0, 2**32 - 2),
    )


def integer_type(bits: int, *shape: int) -> TensorType:
    """An integer type without a scale."""
    return TensorType(f"i{bits}", shape)


@contextmanager
def banks_hold_them() -> Iterator[None]:
    """Networks with more products in a bank than it can wait for are refused, and no examples."""
    try:
        yield
    except CompileError as error:
        if error.rule is MANY_PRODUCTS:
            reject()
        raise


compile_network = banks_hold_them()(dmpc.compile)
