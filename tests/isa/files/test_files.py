"""What a user names is written whole, into what stands there, and nothing is left beside it."""

import errno
import os
import stat
import threading

import pytest

from isa import files
from isa.files import discard, read_file, read_text, unfinished, write_file


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_an_old_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"older")
    old.chmod(0o600)
    before = os.umask(0o027)
    try:
        write_file(old, b"a")
        write_file(new, b"b")
    finally:
        os.umask(before)
    assert (old.read_bytes(), new.read_bytes()) == (b"a", b"b")
    assert (mode(old), mode(new)) == (0o600, 0o640)
    assert sorted(os.listdir(tmp_path)) == ["new", "old"]


@pytest.mark.parametrize("exists", [True, False])
def test_of_a_link_the_target_is_written(tmp_path, exists):
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    real.parent.mkdir()
    if exists:
        real.write_bytes(b"older")
    link.symlink_to("folder/real")
    write_file(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_fifo_is_written_into(tmp_path):
    path, read = tmp_path / "fifo", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_file(path, b"x" * 200_000)
    reader.join()
    assert read == [b"x" * 200_000]
    assert path.is_fifo()


def test_a_fifo_that_nobody_reads_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "READER_SECONDS", 0.05)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="nobody reads from it"):
        write_file(tmp_path / "fifo", b"x")


def test_a_device_is_written_into():
    write_file(os.devnull, b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(OSError, match="No space left"):
        write_file("/dev/full", b"x")


def test_a_name_may_be_as_long_as_names_can_be(tmp_path):
    path = tmp_path / ("a" * 255)
    write_file(path, b"x")
    write_file(path, b"y")
    assert path.read_bytes() == b"y"


def test_threads_may_write_one_file(tmp_path):
    path, failed = tmp_path / "a", []

    def write(content):
        try:
            for _ in range(50):
                write_file(path, content)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(bytes([i]) * 9999,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set(path.read_bytes())) == 1
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", errno.ENOENT),
        (".", errno.EISDIR),
        ("/", errno.EISDIR),
        ("folder", errno.EISDIR),
        ("new/", errno.EISDIR),
        ("missing/a", errno.ENOENT),
        ("file/a", errno.ENOTDIR),
        ("loop", errno.ELOOP),
        ("a" * 256, errno.ENAMETOOLONG),
        ("a\0b", errno.EINVAL),
        ("\ud800", errno.EINVAL),
    ],
)
def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, monkeypatch, name, code):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError) as caught:  # noqa: PT011  its number says which
        write_file(name, b"x")
    assert caught.value.errno == code
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "loop"]
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_what_is_unfinished_can_be_removed_before_the_process_ends(tmp_path):
    path = tmp_path / "half"
    path.write_bytes(b"x")
    unfinished.add(str(path))
    discard()
    assert not path.exists()
    assert not unfinished


def test_what_has_no_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"12345")
    monkeypatch.setattr("isa.files.MOST_PIPED", 4)
    assert read_file(tmp_path / "a") == b"12345"
    with pytest.raises(OSError, match="File too large"):
        read_file("/dev/zero")
    assert read_file("/dev/null") == b""
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf1\r\n2\n")
    assert read_text(tmp_path / "a") == "1\n2\n"


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have(name):
    with pytest.raises(OSError, match="no file can have such a name"):
        read_file(name)
