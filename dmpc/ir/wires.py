"""Which node depends on which: directed graphs, as the compiler asks them.

NetworkX has all of this and much more, and takes longer to load than a small network to compile.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Any, Generic, Self, TypeVar

Node = TypeVar("Node", bound=Hashable)


class Ring(Exception):
    """Nodes depend on each other: `nodes`, each before the next and the last before the first."""

    def __init__(self, nodes: list[Any]) -> None:
        super().__init__(nodes)
        self.nodes = nodes


class Wires(Generic[Node]):
    """Nodes, in the order in which they came, and the wires between them.

    `after` holds the nodes to which wires run from each, `before` those from which they come.
    """

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self.after: dict[Node, dict[Node, None]] = {}
        self.before: dict[Node, dict[Node, None]] = {}
        for node in nodes:
            self.add(node)

    def __contains__(self, node: object) -> bool:
        return node in self.after

    def __iter__(self) -> Iterator[Node]:
        return iter(self.after)

    def add(self, node: Node) -> None:
        """Add a node that may be there already."""
        self.after.setdefault(node, {})
        self.before.setdefault(node, {})

    def wire(self, source: Node, target: Node) -> None:
        """Run a wire from a node to another, which need not be there yet."""
        self.add(source)
        self.add(target)
        self.after[source][target] = self.before[target][source] = None

    def unwire(self, source: Node, target: Node) -> None:
        """Take away the wire from a node to another."""
        del self.after[source][target], self.before[target][source]

    def cut(self, node: Node) -> None:
        """Take away the wires that run from a node."""
        for target in self.after[node]:
            del self.before[target][node]
        self.after[node] = {}

    def remove(self, nodes: Iterable[Node]) -> None:
        """Take away nodes with their wires."""
        for node in nodes:
            self.cut(node)
            for source in self.before.pop(node):
                del self.after[source][node]
            del self.after[node]

    def copy(self) -> Self:
        """Other wires, the same."""
        made = type(self)()
        made.after = {node: dict(nodes) for node, nodes in self.after.items()}
        made.before = {node: dict(nodes) for node, nodes in self.before.items()}
        return made

    def below(self, node: Node) -> set[Node]:
        """What depends on a node, without itself."""
        return reached(self.after, [node]) - {node}

    def above(self, node: Node) -> set[Node]:
        """What a node depends on, without itself."""
        return reached(self.before, [node]) - {node}

    def ordered(self, key: Callable[[Node], Any]) -> list[Node]:
        """The nodes, each after all that it depends on, of those that could come next the least.

        Raises Ring.
        """
        waits = {node: len(sources) for node, sources in self.before.items()}
        number = {node: at for at, node in enumerate(self)}
        ready = [(key(node), number[node], node) for node, count in waits.items() if not count]
        heapify(ready)
        found = []
        while ready:
            node = heappop(ready)[2]
            found.append(node)
            for target in self.after[node]:
                waits[target] -= 1
                if not waits[target]:
                    heappush(ready, (key(target), number[target], target))
        if len(found) < len(waits):
            raise Ring(self._ring(found))
        return found

    def distances(self, start: Node, cost: Callable[[Node], int]) -> dict[Node, int]:
        """What the cheapest way from a node to each that depends on it costs: a sum over nodes."""
        found: dict[Node, int] = {}
        number = {node: at for at, node in enumerate(self)}
        ways = [(0, number[start], start)]
        while ways:
            so_far, _, node = heappop(ways)
            if node in found:
                continue
            found[node] = so_far
            for target in self.after[node]:
                heappush(ways, (so_far + cost(target), number[target], target))
        return found

    def _ring(self, free: Collection[Node]) -> list[Node]:
        """A ring among the nodes that are not free of any, from the first of its nodes on."""
        left = dict.fromkeys(self)
        for node in free:
            del left[node]
        way: dict[Node, None] = {}
        node = next(iter(left))
        while node not in way:  # each of them waits for another of them
            way[node] = None
            node = next(source for source in self.before[node] if source in left)
        back = list(way)
        ring = back[back.index(node) :][::-1]
        first = ring.index(next(node for node in left if node in ring))
        return ring[first:] + ring[:first]

    def cells(self, nodes: Collection[Node]) -> list[list[Node]]:
        """Some nodes in cells of those that depend on each other, each after what it depends on.

        Wires to and from others count for nothing.
        """
        search = _Cells(self.before, nodes)
        for node in self:
            if node in nodes and node not in search.number:
                search.go(node)
        return search.found


class _Cells:
    """Tarjan's algorithm, without recursion: graphs are deep."""

    def __init__(self, steps: Mapping[Any, Iterable[Any]], nodes: Collection[Any]) -> None:
        self.steps, self.nodes = steps, nodes
        self.number: dict[Any, int] = {}
        self.lowest: dict[Any, int] = {}
        self.open: dict[Any, None] = {}
        self.found: list[list[Any]] = []

    def go(self, start: Any) -> None:
        """Find the cells of all that can be reached from a node."""
        way = [self._enter(start)]
        while way:
            node, rest = way[-1]
            new = next((other for other in rest if self._is_new(node, other)), None)
            if new is not None:
                way.append(self._enter(new))
                continue
            way.pop()
            if way:
                self._lower(way[-1][0], self.lowest[node])
            if self.lowest[node] == self.number[node]:
                cell = [self.open.popitem()[0]]
                while cell[-1] != node:
                    cell.append(self.open.popitem()[0])
                self.found.append(cell)

    def _enter(self, node: Any) -> tuple[Any, Iterator[Any]]:
        self.number[node] = self.lowest[node] = len(self.number)
        self.open[node] = None
        return node, iter(self.steps[node])

    def _is_new(self, node: Any, other: Any) -> bool:
        if other in self.open:
            self._lower(node, self.number[other])
        return other in self.nodes and other not in self.number

    def _lower(self, node: Any, number: int) -> None:
        self.lowest[node] = min(self.lowest[node], number)


def reached(
    steps: Mapping[Any, Iterable[Any]], starts: Iterable[Any], cut: Collection[Any] = ()
) -> set[Any]:
    """What can be reached from some nodes, not through others."""
    found: set[Any] = set()
    work = list(starts)
    while work:
        new = [node for node in steps[work.pop()] if node not in found and node not in cut]
        found.update(new)
        work += new
    return found
