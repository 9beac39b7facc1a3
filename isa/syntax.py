"""Assembly text to a tree of its lines, and errors that say where in the text they are."""

import json
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib import resources

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from isa.errors import IsaError

Node = Tree[Token]

_WORDS = {
    "_NL": "the end of the line", "NAME": "a name", "STRING": "a quoted name", "COLON": "':'",
    "COMMA": "','", "EQUAL": "'='", "VALUE": "a value", "DATA": "numbers", "LINE": "a '|' line",
    "_ISA": "'.isa'", "_TARGET": "'.target'", "_IO": "'.io'", "_TEXT": "'.text'", "_MEM": "'.mem'",
    "_NOTE": "'.note'", "_END": "'.end'", "$END": "the end of the file",
    "<END-OF-FILE>": "the end of the file",
}  # fmt: skip


@cache
def _grammar() -> Lark:
    grammar = (resources.files("isa") / "assembly.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", maybe_placeholders=False, propagate_positions=True)


def parse(text: str, origin: str) -> Node:
    """The tree of assembly `text`, as `assembly.lark` names its nodes; IsaError says where not."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise IsaError(f"{origin}: not text: {error}") from error
    try:
        return _grammar().parse(text.replace("\r\n", "\n") + "\n")
    except UnexpectedInput as error:
        found, expected = "this", set[str]()
        if isinstance(error, UnexpectedCharacters):
            found, expected = repr(error.char), set(error.allowed)
        elif isinstance(error, UnexpectedToken):
            found = _WORDS.get(error.token.type, "") if not error.token.strip() else ""
            found = found or repr(str(error.token))
            expected = set(error.expected)
        words = ", ".join(sorted(_WORDS.get(name, name) for name in expected))
        at = f"{origin}:{error.line}:{error.column}"
        raise IsaError(f"{at}: {found} where one of these belongs: {words}") from error


def tokens(node: Node) -> list[Token]:
    """The tokens right below `node`."""
    return [child for child in node.children if isinstance(child, Token)]


def nodes(node: Node) -> list[Node]:
    """The nodes right below `node`."""
    return [child for child in node.children if isinstance(child, Tree)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Help for a name that nobody knows: the closest of those known, or all of them."""
    known = list(known)
    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}"


class Source:
    """Where a text comes from, for its errors."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def fault(self, at: Token | Node, message: str) -> IsaError:
        """An error at a token or node: `origin:line:column: message`."""
        place = at if isinstance(at, Token) else at.meta
        return IsaError(f"{self.origin}:{place.line}:{place.column}: {message}")

    def name(self, token: Token) -> str:
        """A name, of which a quoted one is a JSON string."""
        if token.type != "STRING":
            return str(token)
        try:
            name = str(json.loads(token))
            name.encode()  # half a surrogate pair, which JSON can spell, is no text
        except ValueError as error:
            raise self.fault(token, f"{token} is not a quoted name: {error}") from error
        return name

    def numbers(self, token: Token) -> list[int]:
        """Numbers apart by blanks or commas, in Python's notation."""
        try:
            return [int(part, 0) for part in token.replace(",", " ").split()]
        except ValueError as error:
            raise self.fault(token, f"{str(token).strip()!r} are not numbers") from error

    def lines(self, found: Iterable[Token]) -> str:
        """The text that `|` lines hold: one space after the bar belongs to the bar."""
        return "\n".join(line[1:].removeprefix(" ") for line in found)
