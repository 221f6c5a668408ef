"""Where an import reads from: files, globs, pipes, standard input; compressed or not, whole or broken."""

import bz2
import gzip
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from import_parts import combined, imported, write

from replay.capture.inputs import BROKEN_STREAM, Head, Input, find_inputs, find_paths, input_of
from replay.capture.spool import Spool
from replay.errors import InputError

NOBODY = 65534
COMPRESS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "Zstandard": zstandard.compress}


def contents(file: Input) -> bytes:
    with file.open() as stream:
        return stream.read()


def pieces_of(path: Path) -> Iterator[bytes]:
    with input_of(path).open() as stream:
        while piece := stream.read1(4096):
            yield piece


@pytest.mark.parametrize("how", COMPRESS)
@settings(deadline=None, max_examples=30)
@given(pieces=st.lists(st.binary(max_size=2000), max_size=4), sizes=st.lists(st.integers(1, 5000), min_size=1))
def test_what_is_compressed_is_read_as_it_was(how, pieces, sizes, tmp_path_factory):
    """Also where it was compressed in several parts, and whatever sizes are asked for."""
    path = write(tmp_path_factory.mktemp("inputs") / "file", b"".join(COMPRESS[how](piece) for piece in pieces))
    whole = b"".join(pieces)
    if how == "plain" and whole.startswith((b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd")):
        return
    file = input_of(path)
    assert contents(file) == contents(file) == whole
    assert file.head.data == whole[: 64 * 1024]
    found = bytearray()
    with file.open() as stream:
        for size in sizes * (1 + len(whole)):
            piece = stream.read(size)
            found += piece
            if not piece:
                break
    assert found == whole


@pytest.mark.parametrize("how", [how for how in COMPRESS if how != "plain"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_compressed_file_that_breaks_off_or_is_damaged_never_passes_for_whole(how, data, tmp_path_factory):
    whole = hashlib.shake_256(b"").digest(3000) + b"a" * 300_000
    packed = COMPRESS[how](whole)
    cut = data.draw(st.integers(4, len(packed) - 1))
    path = write(tmp_path_factory.mktemp("inputs") / "file", packed[:cut])
    pieces: list[bytes] = []
    with pytest.raises(BROKEN_STREAM):
        pieces.extend(pieces_of(path))
    assert whole.startswith(b"".join(pieces))


def test_globs_and_paths_each_file_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    for name in ("b.log", "a.log", "c.txt", "we[i]rd*.log"):
        write(tmp_path / "logs" / name, "x")
    (tmp_path / "logs" / "link.log").symlink_to("a.log")
    names = [file.name for file in find_inputs(["logs/*.log", "./logs/a.log", str(tmp_path / "logs" / "c.txt")])]
    assert names == ["logs/a.log", "logs/b.log", "logs/we[i]rd*.log", str(tmp_path / "logs" / "c.txt")]
    assert [file.name for file in find_inputs(["logs/we[i]rd*.log"])] == ["logs/we[i]rd*.log"]
    assert [str(path) for path in find_paths(["**/*.txt"])] == ["logs/c.txt"]
    with pytest.raises(InputError, match=r"There is no file logs/\*\.har"):
        find_inputs(["logs/*.har"])
    with pytest.raises(InputError, match="There is no file nothing"):
        find_inputs(["nothing"])


def test_a_folder_is_refused_with_a_hint(tmp_path):
    with pytest.raises(InputError, match="is a folder, and no capture") as refused:
        find_inputs([str(tmp_path)])
    assert refused.value.hint == f"Name the files in it: '{tmp_path}/*'."


def test_devices_are_refused(tmp_path):
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(InputError, match=f"{device} is a device, and no file"):
            find_inputs([device])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(InputError, match="is a device, and no file"):
            find_inputs([str(tmp_path / "socket")])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def as_nobody() -> Iterator[None]:
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield
    if is_root:
        os.seteuid(0)


@pytest.fixture
def locked_file(open_folder: Path) -> Path:
    path = write(open_folder / "a.log", combined(1))
    path.chmod(0)
    return path


@pytest.fixture
def locked_pipe(open_folder: Path) -> Path:
    os.mkfifo(open_folder / "pipe", 0)
    return open_folder / "pipe"


def test_what_may_not_be_read_is_named(locked_file, locked_pipe, as_nobody):  # noqa: ARG001 - in this order
    for path in (locked_file, locked_pipe):
        with pytest.raises(InputError, match=r"cannot be read: Permission denied\.$"):
            _ = input_of(path).head


def test_a_pipe_is_read_twice(tmp_path):
    """As `<(zcat access.log.gz)` is one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = gzip.compress("".join(combined(second, f"/{second}") for second in range(5000)).encode())
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    file = input_of(pipe)
    writer.join()
    assert contents(file) == contents(file) == gzip.decompress(data)
    assert file.size_bytes == len(data)


def test_what_comes_through_a_pipe_is_on_disk_only_encrypted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open(write(tmp_path / "a", b"hush-hush-42 " * 5000), "rb") as stream:  # noqa: PTH123 - as standard input is
        spool = Spool(stream)
    kept = os.pread(spool._file.fileno(), 100_000, 0)
    assert len(kept) == spool.size_bytes == 65_000
    assert b"hush" not in kept
    with spool.open() as reader:
        assert reader.read(26) == b"hush-hush-42 hush-hush-42 "
    assert [one.name for one in tmp_path.iterdir()] == ["a"]  # it has no name, and is gone with the process


def test_how_much_was_read_is_told(tmp_path):
    data = "".join(combined(second) for second in range(50_000)).encode()
    file = input_of(write(tmp_path / "a.gz", gzip.compress(data)))
    told: list[int] = []
    file.on_read = told.append
    assert contents(file) == data
    assert sum(told) == file.size_bytes


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(b"", "utf-8"), (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")],
)
def test_a_byte_order_mark_is_no_text(mark, encoding, tmp_path):
    text = "".join(combined(second, f"/é{second}") for second in range(9))
    data = mark + text.encode(encoding)
    assert Head("a", data).text == text
    assert imported(tmp_path / "out", write(tmp_path / "a.log", data)).manifest.exchanges == 9


def test_standard_input_that_is_closed_is_said(tmp_path):
    command = ["sh", "-c", f"{sys.executable} -m replay import - --out '{tmp_path / 'out'}' <&-"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "Error: Standard input is closed.\n"


def test_a_head_has_whole_lines_only():
    lines = [f"{number:07d}\n".encode() for number in range(20_000)]
    head = Head("a", b"".join(lines)[: 64 * 1024])
    assert head.lines == tuple(f"{number:07d}" for number in range(50))
    assert Head("a", b" \n\t\n").is_empty
    assert Head("a", b"x\n\n\ny").lines == ("x", "y")


def test_an_empty_file_is_refused(tmp_path):
    for number, data in enumerate([b"", b"\n \n", gzip.compress(b"")]):
        with pytest.raises(InputError, match="is empty"):
            imported(tmp_path / "out", write(tmp_path / str(number), data))


def test_a_file_that_is_compressed_no_further_than_its_first_bytes(tmp_path):
    for number, data in enumerate([b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"\x1f\x8bnonsense", b"BZhnonsense"]):
        with pytest.raises(InputError, match="cannot be read"):
            imported(tmp_path / "out", write(tmp_path / str(number), data))
        assert not Path(tmp_path / "out").exists()
