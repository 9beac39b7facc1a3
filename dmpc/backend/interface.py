"""What goes into a graph of integers, and what comes out."""

from dmpc.ir.graph import Graph
from dmpc.ir.interpret import repeats_of, since_in
from isa.interface import Input, Interface, Output


def interface_of(graph: Graph) -> Interface:
    """The input and output of a graph of integers, as its image describes them."""
    source, output = graph.types[graph.inputs[0]], graph.types[graph.outputs[0]]
    return Interface(
        name=graph.name,
        input=Input(
            kind="events" if source.dtype == "event" else "values",
            size=source.shape[0],
            bits=source.bits,
            scale=_number(source.scale),
            repeats=repeats_of(graph),
        ),
        output=Output(
            size=output.shape[0],
            scale=_number(output.scale),
            average=bool(graph.attrs["average"]),
            since=since_in(graph) or None,
        ),
    )


def _number(scale: float | str | None) -> float:
    assert not isinstance(scale, str)
    return 1.0 if scale is None else scale
