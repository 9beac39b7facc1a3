"""Local heaps of HDF5 files, which hold the names in a group: libraries follow their lists blindly.

A heap lists its free blocks, each of which says where the next one is. In a damaged file the list
may come back to where it was; the HDF5 library then takes memory until the process is killed.
"""

import mmap
import os
import struct
from pathlib import Path

SIGNATURE = b"HEAP\0\0\0\0"
HEADER = struct.Struct("<8sQQQ")  # signature and version; size of the data, first free block, data
BLOCK = struct.Struct("<QQ")  # offset of the next free block, size of this one
ENDLESS = "the names of a group: their list of free places has no end"
END = 1  # an offset that no block has


def endless_list(path: Path | str) -> bool:
    """Whether a file holds a local heap whose list of free blocks has no end."""
    if not os.path.getsize(path):
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(SIGNATURE)
        while 0 <= at <= len(data) - HEADER.size:
            if _circles(data, *HEADER.unpack_from(data, at)[1:]):
                return True
            at = data.find(SIGNATURE, at + 1)
    return False


def _circles(data: mmap.mmap, size: int, block: int, start: int) -> bool:
    seen: set[int] = set()
    while block != END and block + BLOCK.size <= size and start + block + BLOCK.size <= len(data):
        if block in seen:
            return True
        seen.add(block)
        block, _ = BLOCK.unpack_from(data, start + block)
    return False
