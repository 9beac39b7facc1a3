"""What lies where in an image's memories: rows by symbol."""

from dataclasses import dataclass

from isa.image import Image
from isa.validity import MEMORY


@dataclass(frozen=True)
class Stretch:
    """Rows `first` .. `first + rows - 1` of a memory, and the symbol that holds them."""

    memory: str
    symbol: str
    first: int
    rows: int


def memory_map(image: Image) -> list[Stretch]:
    """Every symbol of the memories on the chip, in the order in which they lie."""
    return [
        Stretch(symbol.section.removeprefix(MEMORY), symbol.name, symbol.offset, symbol.size)
        for symbol in sorted(image.symbols, key=lambda s: (s.section, s.offset, s.name))
        if symbol.section.removeprefix(MEMORY) in image.target.memories
    ]
