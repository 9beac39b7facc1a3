"""Decodes an AEDAT4 file: `python aedat_decoder.py FILE`, in a process of its own.

On some damaged files the library does not raise an error, but ends the process that it runs in.
Standard output holds a line of whole numbers (streams of events, width, height), and then the rows
t, x, y and polarity as int64.
"""

import sys

import aedat
import numpy as np

FIELDS = ("t", "x", "y", "on")


def main(path: str) -> None:
    """Write what a file holds."""
    decoder = aedat.Decoder(path)
    streams = decoder.id_to_stream()
    packets = [packet for packet in decoder if "events" in packet]
    used = {packet["stream_id"] for packet in packets}
    stream = streams[min(used)] if used else {"width": 0, "height": 0}
    parts = [packet["events"] for packet in packets] if len(used) == 1 else []
    rows = [[part[name].astype(np.int64) for part in parts] or [np.zeros(0)] for name in FIELDS]
    events = np.array([np.concatenate(row) for row in rows], np.int64)
    head = f"{len(used)} {int(stream['width'])} {int(stream['height'])}\n"
    sys.stdout.buffer.write(head.encode() + events.tobytes())


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except BaseException as error:  # a panic is no Exception
        sys.exit(str(error))
