"""The error of a user's samples, or of an image that cannot be run."""

from isa.errors import one_line


class RuntimeFailure(Exception):
    """Samples or an image that cannot be run; the message is one line."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))
