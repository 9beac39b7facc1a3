"""Messages of the Debug Adapter Protocol: JSON behind a header that says how long it is."""

import json
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from runtime.errors import RuntimeFailure

MOST_BYTES = 1 << 24  # of a message


class Closed(Exception):
    """The other side has gone."""


class Frames:
    """Messages over two streams; any thread may send."""

    def __init__(self, read: BinaryIO, write: Callable[[bytes], object]) -> None:
        self._read, self._write = read, write
        self._sending = threading.Lock()
        self._sequence = 0

    def receive(self) -> dict[str, Any]:
        """The next message; Closed at the end, RuntimeFailure if it is none."""
        length = -1
        while line := self._read.readline(MOST_BYTES).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length" and value.strip().isdigit():
                length = int(value) if len(value) < 20 else MOST_BYTES + 1
        if length < 0:
            raise Closed
        if length > MOST_BYTES:
            raise RuntimeFailure(f"a message of {length} bytes; {MOST_BYTES} are taken")
        content = self._read.read(length)
        if len(content) < length:
            raise Closed
        try:
            message = json.loads(content)
        except ValueError as error:
            raise RuntimeFailure(f"a message that is no JSON: {error}") from error
        if not isinstance(message, dict):
            raise RuntimeFailure("a message that is no JSON object")
        return message

    def send(self, kind: str, **content: Any) -> None:
        """Send a message of a kind."""
        with self._sending:
            self._sequence += 1
            message = {"seq": self._sequence, "type": kind, **content}
            data = json.dumps(message).encode()
            self._write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))

    def event(self, name: str, **body: Any) -> None:
        """Tell that something happened."""
        self.send("event", event=name, body=body)
