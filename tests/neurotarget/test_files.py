"""Whole files or none: what is checked before the work, what a failed write leaves, who may write to a folder."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurotarget import files
from neurotarget.files import OutputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    files.write_bytes(path, b"old")
    files.write_text(path, "µ \udcff")
    assert path.read_bytes() == "µ \\udcff".encode()
    files.write_npz(tmp_path / "a.npz", {"x": np.arange(3)})
    assert np.array_equal(np.load(tmp_path / "a.npz")["x"], [0, 1, 2])
    assert names(tmp_path) == ["a.npz", "a.txt"]


def test_hdf5_is_made_in_memory(tmp_path):
    content = files.hdf5(lambda file: file.create_dataset("x", data=[1, 2]))
    (tmp_path / "a.h5").write_bytes(content)
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file["x"]) == [1, 2]


@pytest.mark.parametrize("fails", ["write", "rename"])
def test_a_full_disk_leaves_all_old_files_and_names_the_users_path(tmp_path, monkeypatch, fails):
    first, second = tmp_path / "first", tmp_path / "second"
    files.write_together({first: b"1", second: b"2"})

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "something.part")

    if fails == "write":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_together({first: b"3", second: b"4"})
    assert caught.value.filename == str(first) and caught.value.errno == errno.ENOSPC
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert names(tmp_path) == ["first", "second"]


def test_no_file_gets_its_name_before_all_are_on_the_disk(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: written.append(names(tmp_path)))
    files.write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert len(written) == 2 and all(name.endswith(".part") for seen in written for name in seen)
    assert names(tmp_path) == ["a", "b"]


def test_an_interruption_while_files_get_their_names_comes_too_late(tmp_path, monkeypatch):
    replace = Path.replace

    def interrupted(temporary, path):
        os.kill(os.getpid(), signal.SIGINT)
        return replace(temporary, path)

    monkeypatch.setattr(Path, "replace", interrupted)
    files.write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert names(tmp_path) == ["a", "b"]
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        files.write_together({tmp_path / "a": b"3", tmp_path / "b": b"4"})
    assert names(tmp_path) == ["a", "b"] and (tmp_path / "a").read_bytes() == b"1"


def test_what_a_killed_process_left_of_a_file_is_removed_and_no_other(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    stale, alive = f"a.{dead.stdout.decode().strip()}.part", f"a.{os.getppid()}.part"
    for name in (stale, alive, "a.x.part", f"b.{stale[2:]}", f"a.{10**30}.part"):
        (tmp_path / name).write_text("half")
    files.write_bytes(tmp_path / "a", b"whole")
    assert names(tmp_path) == sorted(["a", alive, "a.x.part", f"b.{stale[2:]}"])


@pytest.mark.parametrize(
    ("path", "words"),
    [("missing/a.nir", "there is no folder .*missing; make it"), ("folder", "is a folder"), ("file/a", "no folder")],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path, path, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    files.check_output(None, tmp_path / "folder" / "a.nir")
    with pytest.raises(OutputError, match=words):
        files.check_output(tmp_path / path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    files.check_folder(tmp_path / "new" / "newer")
    files.check_folder(tmp_path)
    for path in ("file", "file/run"):
        with pytest.raises(OutputError, match=r"file is not a folder|it is not a folder"):
            files.check_folder(tmp_path / path)
    monkeypatch.setattr(os, "access", lambda *arguments: False)  # tests may run as root, who may write anywhere
    with pytest.raises(OutputError, match="cannot be written to"):
        files.check_folder(tmp_path / "new")
    with pytest.raises(OutputError, match="cannot be written to"):
        files.check_output(tmp_path / "a.nir")
    assert names(tmp_path) == ["file"]


def test_one_process_writes_to_a_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ckpt.pt.1.part").write_text("half")
    with files.only_writer(tmp_path / "run"):
        assert names(tmp_path / "run") == []
        with pytest.raises(OutputError, match="run: another process is writing there"):
            files.only_writer(tmp_path / "run").__enter__()
    with files.only_writer(tmp_path / "run"):
        pass


def test_the_lock_goes_with_its_holder(tmp_path):
    program = f"""
import os
from pathlib import Path
from neurotarget import files
holder = files.only_writer(Path({str(tmp_path)!r}))
holder.__enter__()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    with files.only_writer(tmp_path):
        pass
