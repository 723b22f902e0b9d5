"""Outputs that are no files: devices, pipes, sockets, links, open descriptors; and those that cannot be written."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mrigan.errors import OutputError
from mrigan.files import Output, atomic_write, write_text


def device(path: Path, minor: int) -> Path:
    """A character device of memory: minor 3 = null, 7 = full."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        with open(path, "wb"):
            pass
    except PermissionError:
        pytest.skip("making devices needs root")
    return path


def test_a_device_is_written_into(tmp_path: Path) -> None:
    null = device(tmp_path / "null", 3)
    write_text(null, "x")
    assert stat.S_ISCHR(null.stat().st_mode)
    full = device(tmp_path / "full", 7)
    with pytest.raises(OSError, match="No space left"):
        write_text(full, "x")
    assert stat.S_ISCHR(full.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["full", "null"]


def test_a_file_that_is_mounted_by_itself(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    outside, inside = tmp_path / "outside.json", tmp_path / "inside" / "v.json"
    outside.write_text("old, and longer than the new one")
    inside.touch()
    if subprocess.run(["mount", "--bind", outside, inside], check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        write_text(inside, "new")
        assert outside.read_text() == "new"
        assert os.listdir(tmp_path / "inside") == ["v.json"]
    finally:
        subprocess.run(["umount", inside], check=True)


def test_a_private_file_stays_private(tmp_path: Path) -> None:
    (tmp_path / "v.json").touch(0o600)
    write_text(tmp_path / "v.json", "x")
    assert stat.S_IMODE((tmp_path / "v.json").stat().st_mode) == 0o600


def test_a_pipe_is_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    output = Output(tmp_path / "pipe").try_write()  # a trial leaves no trace in it
    with output.writing() as file:
        file.write(b"12345")
        file.seek(1)
        file.write(b"-")
    reader.join()
    assert read == [b"1-345"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    monkeypatch.setattr("mrigan.files.MAX_READER_DELAY", 0.0)
    with pytest.raises(OutputError, match="no process reads from this pipe"):
        Output(tmp_path / "pipe")


def test_nothing_goes_into_a_pipe_before_all_is_there(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()

    def fail_halfway() -> None:
        with atomic_write(tmp_path / "pipe") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    reader.join()
    assert read == [b""]


def test_a_socket_is_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        server.listen()
        write_text("s", "hello")
        assert server.accept()[0].recv(9) == b"hello"
    with pytest.raises(OutputError, match="refused"):
        Output("s")


def test_the_target_of_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/file")
    (tmp_path / "far" / "file").write_text("old")
    inode = (tmp_path / "far" / "file").stat().st_ino
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "file").read_text() == "new"
    assert (tmp_path / "far" / "file").stat().st_ino != inode
    (tmp_path / "to come").symlink_to("far/later")
    write_text(tmp_path / "to come", "there")
    assert (tmp_path / "far" / "later").read_text() == "there"
    assert sorted(os.listdir(tmp_path / "far")) == ["file", "later"]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_keeps_what_was_printed(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = (
        "from mrigan.files import Output, write_text\n"
        f"print('before'); write_text({name!r}, 'json\\n'); print('after')\n"
        f"assert Output({name!r}).is_standard_output"
    )
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, cwd=tmp_path, check=True)
    assert (tmp_path / "out").read_text() == "before\njson\nafter\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=True)
    assert done.stdout == b"before\njson\nafter\n"


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    (tmp_path / "circle").symlink_to("circle")
    with open(tmp_path / "file", "rb") as reading:
        for path, what in (
            (tmp_path / "folder", "Is a directory"),
            (tmp_path / "circle", "symbolic links"),
            (tmp_path / "file" / "below", "Not a directory"),
            (tmp_path / ("x" * 300), "name too long"),
            (Path(f"/dev/fd/{reading.fileno()}"), "only for reading"),
            (Path("/dev/fd/9999"), "Bad file descriptor"),
            (Path("/proc/v.json"), "o such file"),  # a folder that takes no file
        ):
            with pytest.raises(OutputError, match=what) as error:
                Output(path).try_write()
            assert str(path) in str(error.value)
            assert "to do: " in str(error.value)
    assert sorted(os.listdir(tmp_path)) == ["circle", "file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_full_disk_is_known_before(tmp_path: Path) -> None:
    """A limit on a file's size stands for the full disk: the kernel refuses the write in the same way."""
    code = (
        "import resource, signal, sys; from mrigan.files import Output\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "Output(sys.argv[1]).try_write()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "v.json"], capture_output=True, text=True, check=False
    )
    assert "OutputError: cannot be written: File too large" in done.stderr
    assert not list(tmp_path.iterdir())


def test_missing_folders_are_made_and_a_trial_changes_nothing(tmp_path: Path) -> None:
    Output(tmp_path / "a" / "b" / "v.json").try_write()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "old").write_text("old")
    Output(tmp_path / "old").try_write()
    assert (tmp_path / "old").read_text() == "old"
    assert not Output(tmp_path / "old").is_standard_output
