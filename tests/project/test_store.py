"""The database: its version, its damages, and two programs that have it open at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from napari_dasl.errors import ProjectError, StorageError
from napari_dasl.project import Project, store


def sqlite(project, statement):
    with sqlite3.connect(project.folder / "project.sqlite") as connection:
        return connection.execute(statement).fetchall()


def test_commits_survive_crashes_and_readers_do_not_wait(project):
    assert sqlite(project, "PRAGMA journal_mode") == [("wal",)]
    assert sqlite(project, "PRAGMA user_version") == [(store.SCHEMA_VERSION,)]
    with project._store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_newer_project_is_not_opened(project):
    project.close()
    sqlite(project, "PRAGMA user_version = 99")
    with pytest.raises(ProjectError, match=r"newer napari-dasl \(schema 99; this one knows 5\)\. Update"):
        Project.open(project.folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "has no project.sqlite"),
        (lambda path: path.write_bytes(b"no database at all " * 100), "damaged"),
        (lambda path: path.write_bytes(b""), "not the database of a project"),
    ],
)
def test_a_lost_or_damaged_database_is_one_clear_error(project, spoil, words):
    project.close()
    spoil(project.folder / "project.sqlite")
    with pytest.raises(ProjectError, match=words):
        Project.open(project.folder)


def test_a_database_url_that_cannot_be_used_is_named(project):
    project.close()
    toml = project.folder / "project.toml"
    toml.write_text(toml.read_text().replace('database = ""', 'database = "nonsense"'))
    with pytest.raises(ProjectError, match=r"Change `database` in project\.toml"):
        Project.open(project.folder)


def test_a_reader_sees_what_a_writer_finished_and_nothing_else(project):
    with Project.open(project.folder) as other:
        with project._store.write() as connection:
            connection.execute(
                store.events.insert().values(kind="a", payload="{}", created="2026-01-01T00:00:00+00:00")
            )
            assert other.events() == []
        assert len(other.events()) == 1


def test_an_error_inside_a_transaction_undoes_it(project):
    def spoil():
        with project._store.write() as connection:
            connection.execute(store.cases.delete())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spoil()
    assert len(project.cases()) == 12


def test_a_writer_that_never_ends_is_named_and_not_waited_for_forever(project, monkeypatch):
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.05)
    with (
        Project.open(project.folder) as other,
        project._store.write(),
        pytest.raises(StorageError, match="in use by another program"),
    ):
        other.log_event("x")


WRITER = """
import sys, numpy as np
from napari_dasl.project import Project
with Project.open(sys.argv[1]) as project:
    for number in range(8):
        mask = np.zeros(project.case("p1").shape, np.uint8)
        mask.flat[number] = int(sys.argv[2])
        project.record_label("p1", mask, author=sys.argv[2], seconds=number)
        project.log_event("wrote", {"who": sys.argv[2], "number": number})
"""


def test_two_processes_write_at_the_same_time_and_nothing_is_lost(project):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(project.folder), who]) for who in ("1", "2")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    revisions = project.labels("p1")
    assert [revision.number for revision in revisions] == list(range(1, 17))
    for who in ("1", "2"):
        own = [revision for revision in revisions if revision.author == who]
        assert [revision.seconds for revision in own] == list(range(8))
        for revision in own:
            mask = project.read_label("p1", revision.number)
            assert (np.count_nonzero(mask), mask.flat[int(revision.seconds)]) == (1, int(who))
    assert len(project.events("wrote")) == 16


def test_numpy_numbers_paths_and_nan_become_json(tmp_path):
    text = store.encode({"a": np.float32(0.5), "b": np.arange(3), "c": tmp_path, "d": float("nan"), 4: (np.inf, True)})
    assert text == f'{{"a": 0.5, "b": [0, 1, 2], "c": "{tmp_path}", "d": null, "4": [null, true]}}'
