"""A file is replaced in one step or not at all, and failures are said in words."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from napari_dasl.errors import StorageError
from napari_dasl.volumes.atomic import TEMPORARY_PREFIX, atomic_path, sweep, write_bytes_atomic


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(TEMPORARY_PREFIX)]


def test_the_new_content_takes_the_place_of_the_old(tmp_path):
    target = tmp_path / "mask.nii.gz"
    write_bytes_atomic(target, b"old")
    write_bytes_atomic(target, b"new")
    assert target.read_bytes() == b"new"
    assert leftovers(tmp_path) == []


def test_the_temporary_file_lies_beside_the_target_and_ends_like_it(tmp_path):
    with atomic_path(tmp_path / "mask.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith("mask.nii.gz")
        assert not (tmp_path / "mask.nii.gz").exists()


def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.json"
    write_bytes_atomic(target, b"old")

    def interrupted() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        interrupted()
    assert target.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "read-only"),
        (errno.EIO, "does not answer"),
        (errno.EMFILE, os.strerror(errno.EMFILE)),
    ],
)
def test_every_failure_of_the_disk_is_one_sentence_with_a_hint(tmp_path, monkeypatch, number, words):
    target = tmp_path / "a.bin"
    write_bytes_atomic(target, b"old")

    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError) as caught:
        write_bytes_atomic(target, b"new")
    assert words in caught.value.message
    assert str(target) in caught.value.message
    assert caught.value.hint
    assert target.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(StorageError, match="missing"):
        write_bytes_atomic(tmp_path / "gone" / "a.bin", b"x")


def test_a_read_only_folder_is_refused(tmp_path):
    if os.geteuid() == 0:
        # The superuser ignores permissions, so the refusal is made by the place: nothing can be created in /proc.
        with pytest.raises(StorageError):
            write_bytes_atomic(Path("/proc/self/a.bin"), b"x")
        return
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="read-only"):
        write_bytes_atomic(tmp_path / "a.bin", b"x")


def test_a_real_limit_of_the_system_leaves_the_old_file(tmp_path):
    """The kernel refuses to let the file grow, as it does on a full disk, and the writer survives."""
    target = tmp_path / "a.bin"
    write_bytes_atomic(target, b"old")
    code = f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        from napari_dasl.errors import StorageError
        from napari_dasl.volumes.atomic import write_bytes_atomic
        try:
            write_bytes_atomic({str(target)!r}, bytes(100_000))
        except StorageError as error:
            raise SystemExit(0 if "full" in error.message else 1)
        raise SystemExit(2)
    """
    assert subprocess.run([sys.executable, "-B", "-c", textwrap.dedent(code)], check=False).returncode == 0
    assert target.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.bin"
    write_bytes_atomic(target, b"old")
    code = f"""
        import os, signal
        from napari_dasl.volumes.atomic import atomic_path
        with atomic_path({str(target)!r}) as temporary:
            temporary.write_bytes(b"half of the new")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False).returncode == -9
    assert target.read_bytes() == b"old"


def test_the_mode_of_the_old_file_is_kept(tmp_path):
    target = tmp_path / "a.bin"
    write_bytes_atomic(target, b"old")
    target.chmod(0o640)
    write_bytes_atomic(target, b"new")
    assert target.stat().st_mode & 0o777 == 0o640


def test_sweeping_removes_what_was_left_a_day_ago_and_nothing_else(tmp_path):
    for name in (".part-old", ".part-old-folder/maps", ".part-new", "0001.nii.gz", ".annex/label"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".part-gone").symlink_to(tmp_path / "nothing")
    days_ago = time.time() - 2 * 24 * 3600
    for name in (".part-old", ".part-old-folder", "0001.nii.gz", ".annex"):
        os.utime(tmp_path / name, (days_ago, days_ago))
    sweep(tmp_path)
    sweep(tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".annex",
        ".part-gone",
        ".part-new",
        "0001.nii.gz",
    ]
