"""How what the nodes of a NIR graph put out stands, before any of it is computed.

Neurons of a loop are read before they fire, and files are sparing with shapes: parameters may be
one number for all neurons or for a channel, and a convolution may not say what it reads. So shapes
are carried along the edges, from the inputs on.
"""

from collections import deque
from math import prod

from dmpc.errors import ImportFailure
from dmpc.frontend.nir_format.network import Net, Node
from dmpc.frontend.nir_format.pictures import (
    CONVOLUTIONS,
    POOLS,
    Picture,
    convolution,
    declared,
    summed_up,
)

Shape = tuple[int, ...]


def shapes(net: Net) -> dict[str, Shape]:
    """What each node puts out, [n] or [channels, lines, columns]; none where nothing tells."""
    readers: dict[str, list[str]] = {name: [] for name in net.nodes}
    for name, sources in net.sources.items():
        for source in sources:
            readers[source].append(name)
    found = {node.name: node.shape for node in net.inputs()}
    waiting = deque(found)
    while waiting:
        name = waiting.popleft()
        for reader in readers[name]:
            made = () if reader in found else _put_out(net.nodes[reader], found[name])
            if made:
                found[reader] = made
                waiting.append(reader)
    return found


def _put_out(node: Node, fed: Shape) -> Shape:
    """What a node makes of a value; none where it cannot, which is said where it is computed."""
    if node.kind in ("Affine", "Linear"):
        return (node.size,) if node.size else ()
    if node.kind in (*CONVOLUTIONS, *POOLS):
        try:
            return _in_space(node, fed)
        except ImportFailure:
            return ()
    return node.shape if prod(node.shape) == prod(fed) and len(node.shape) > len(fed) else fed


def _in_space(node: Node, fed: Shape) -> Shape:
    picture = Picture.of(fed)
    if node.kind in POOLS:
        made = summed_up(node, picture)[0] if picture else None
    else:
        made = convolution(node, declared(node, picture, prod(fed)))[0]
    return (made.outputs, *made.positions) if made else ()
