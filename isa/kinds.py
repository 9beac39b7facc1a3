"""What a file is by its first bytes, for errors about files that were given where others belong."""

from pathlib import Path

_MAGIC = (
    (b"\x7fELF", "an ELF file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"MATLAB 7.3", "a MATLAB file of version 7.3, which is HDF5"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"\x93NUMPY", "an .npy file"),
    (b"\x80", "a pickle"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"#!AER-DAT", "an AEDAT file"),
)
_ZIP, _HEAD = b"PK", 4096


def kind_of(head: bytes) -> str:
    """What the file that starts with `head` is, with its article; "" where that is unknown."""
    if not head:
        return "an empty file"
    if head.startswith(_ZIP):
        torch = b"/data.pkl" in head or b"archive/" in head
        return "a file of torch.save" if torch else "a zip archive"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return "text" if _is_text(head) else ""


def kind_of_file(path: Path | str) -> str:
    """`kind_of` the file at a path; "" where it cannot be read, too."""
    try:
        if not Path(path).is_file():
            return ""
        with Path(path).open("rb") as file:
            return kind_of(file.read(_HEAD))
    except (OSError, ValueError):
        return ""


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", errors="ignore")
    return len(text.encode()) > len(head) - 4 and all(
        c.isprintable() or c in "\r\n\t" for c in text
    )
