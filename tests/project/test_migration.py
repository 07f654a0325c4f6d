"""A project of an earlier version opens, keeps every row, and takes what it could not hold before."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from napari_dasl.errors import ProjectError
from napari_dasl.project import CaseState, Difficulty, Project, PseudoLabel, Score, store

# As version 1 made them; never to be changed.
VERSION_1 = """
CREATE TABLE about (schema_version INTEGER NOT NULL, PRIMARY KEY (schema_version));
CREATE TABLE cases (id VARCHAR NOT NULL, position INTEGER NOT NULL, series TEXT NOT NULL, geometry TEXT NOT NULL,
    guard BOOLEAN NOT NULL, skipped TEXT, unreadable TEXT, created VARCHAR NOT NULL,
    PRIMARY KEY (id), UNIQUE (position));
CREATE TABLE models (id VARCHAR NOT NULL, parent VARCHAR, round INTEGER, created VARCHAR NOT NULL,
    active BOOLEAN NOT NULL, promoted BOOLEAN NOT NULL, guard TEXT NOT NULL, config TEXT NOT NULL, PRIMARY KEY (id));
CREATE TABLE rounds (number INTEGER NOT NULL, phase VARCHAR NOT NULL, state VARCHAR NOT NULL, "plan" TEXT NOT NULL,
    result TEXT NOT NULL, started VARCHAR NOT NULL, finished VARCHAR, PRIMARY KEY (number));
CREATE TABLE events (id INTEGER NOT NULL, kind VARCHAR NOT NULL, payload TEXT NOT NULL, created VARCHAR NOT NULL,
    PRIMARY KEY (id));
CREATE INDEX ix_events_kind ON events (kind);
CREATE TABLE revisions (case_id VARCHAR NOT NULL, number INTEGER NOT NULL, sha256 VARCHAR NOT NULL,
    author VARCHAR NOT NULL, source VARCHAR NOT NULL, model VARCHAR, round INTEGER, seconds FLOAT NOT NULL,
    created VARCHAR NOT NULL, image_sha256 VARCHAR NOT NULL, voxels_changed INTEGER,
    PRIMARY KEY (case_id, number), FOREIGN KEY(case_id) REFERENCES cases (id));
CREATE TABLE scores (model VARCHAR NOT NULL, case_id VARCHAR NOT NULL, rank INTEGER NOT NULL, score FLOAT,
    uncertainty FLOAT, similarity FLOAT, difficulty FLOAT, parts TEXT NOT NULL, words TEXT NOT NULL,
    PRIMARY KEY (model, case_id), FOREIGN KEY(case_id) REFERENCES cases (id));
INSERT INTO about VALUES (1);
PRAGMA user_version = 1;
"""
# What version 2 added; never to be changed.
VERSION_2 = """
ALTER TABLE scores ADD COLUMN similar_cases TEXT;
CREATE TABLE pseudo_labels (round INTEGER NOT NULL, case_id VARCHAR NOT NULL, model VARCHAR NOT NULL,
    weight FLOAT NOT NULL, loss FLOAT NOT NULL, pace FLOAT NOT NULL, created VARCHAR NOT NULL,
    PRIMARY KEY (round, case_id), FOREIGN KEY(case_id) REFERENCES cases (id));
CREATE TABLE pseudo_reviews (id INTEGER NOT NULL, case_id VARCHAR NOT NULL, verdict VARCHAR NOT NULL,
    author VARCHAR NOT NULL, created VARCHAR NOT NULL, round INTEGER NOT NULL, model VARCHAR NOT NULL,
    revision INTEGER, dice FLOAT, PRIMARY KEY (id), FOREIGN KEY(case_id) REFERENCES cases (id));
CREATE INDEX ix_pseudo_reviews_case_id ON pseudo_reviews (case_id);
CREATE TABLE efforts (id INTEGER NOT NULL, case_id VARCHAR NOT NULL, revision INTEGER, author VARCHAR NOT NULL,
    inspect_seconds FLOAT NOT NULL, edit_seconds FLOAT NOT NULL, strokes INTEGER NOT NULL, undos INTEGER NOT NULL,
    voxels_changed INTEGER, draft_model VARCHAR, draft_round INTEGER, drawn_from_nothing BOOLEAN NOT NULL,
    accepted_unchanged BOOLEAN NOT NULL, blind BOOLEAN NOT NULL, audit BOOLEAN NOT NULL, opened VARCHAR NOT NULL,
    first_edit VARCHAR, saved VARCHAR NOT NULL, PRIMARY KEY (id), FOREIGN KEY(case_id) REFERENCES cases (id));
CREATE INDEX ix_efforts_case_id ON efforts (case_id);
UPDATE about SET schema_version = 2;
PRAGMA user_version = 2;
"""
# What version 3 added; never to be changed.
VERSION_3 = """
CREATE TABLE finding_reviews (id INTEGER NOT NULL, case_id VARCHAR NOT NULL, model VARCHAR NOT NULL,
    instance INTEGER NOT NULL, verdict VARCHAR NOT NULL, box TEXT NOT NULL, author VARCHAR NOT NULL,
    created VARCHAR NOT NULL, PRIMARY KEY (id), FOREIGN KEY(case_id) REFERENCES cases (id));
CREATE INDEX ix_finding_reviews_case_id ON finding_reviews (case_id);
UPDATE about SET schema_version = 3;
PRAGMA user_version = 3;
"""
# What version 4 added; never to be changed.
VERSION_4 = """
CREATE TABLE difficulties (case_id VARCHAR NOT NULL, scorer VARCHAR NOT NULL, value FLOAT, source VARCHAR NOT NULL,
    model VARCHAR, revision INTEGER, created VARCHAR NOT NULL, PRIMARY KEY (case_id, scorer),
    FOREIGN KEY(case_id) REFERENCES cases (id));
UPDATE about SET schema_version = 4;
PRAGMA user_version = 4;
"""
OLD_TABLES = ("cases", "models", "rounds", "events", "revisions", "scores")


@pytest.fixture(params=(1, 2, 3, 4))
def version(request):
    """The version that a project was made with."""
    return request.param


@pytest.fixture
def old(project, mask_of, version):
    """The folder of an old project: twelve cases, two labels, a pseudo-label of version 1, a model, scores, a round."""
    made = project.add_model("r0001-ab", round=1, promoted=True, active=True, guard={"dice": 0.5})
    project.record_label("p1", mask_of(project, "p1"), author="Anna", seconds=30)
    project.record_label("p2", mask_of(project, "p2"), author="network")
    project.save_scores(
        made.id, [Score("p3", made.id, 1, 0.9, 0.8, 0.7, words="unsure"), Score("p4", made.id, 2, *[None] * 3)]
    )
    project.finish_round(project.new_round("al", {"steps": 3}).number, "done", {"promoted": True})
    project.log_event("note", {"text": "of old"})
    project.skip("p5", "blurred")
    project.close()
    path = project.folder / store.FILE_NAME
    now = sqlite3.connect(path)
    rows = {table: now.execute(f"SELECT * FROM {table}").fetchall() for table in OLD_TABLES}
    now.close()
    for name in (path, *project.folder.glob(f"{store.FILE_NAME}-*")):
        name.unlink()
    with sqlite3.connect(path) as then:
        then.executescript(VERSION_1)
        for table in OLD_TABLES:
            columns = len(then.execute(f"PRAGMA table_info({table})").fetchall())
            then.executemany(
                f"INSERT INTO {table} VALUES ({','.join('?' * columns)})", [row[:columns] for row in rows[table]]
            )
        then.execute("UPDATE revisions SET source = 'pseudo' WHERE case_id = 'p2'")
        for added in (VERSION_2, VERSION_3, VERSION_4)[: version - 1]:
            then.executescript(added)
    then.close()
    return project.folder


def dump(folder):
    connection = sqlite3.connect(folder / store.FILE_NAME)
    try:
        return {
            table: connection.execute(f"SELECT * FROM {table}").fetchall()
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        }
    finally:
        connection.close()


def test_every_old_row_is_there(old, mask_of):
    before = dump(old)
    with Project.open(old) as project:
        assert len(project.cases()) == 12
        assert [(one.author, one.seconds) for one in project.labels("p1")] == [("Anna", 30)]
        assert np.array_equal(project.read_label("p1"), mask_of(project, "p1"))
        assert project.active_model().guard == {"dice": 0.5}
        assert [(score.case, score.words, score.similar) for score in project.scores()] == [
            ("p3", "unsure", ()),
            ("p4", "", ()),
        ]
        assert [(one.number, one.state) for one in project.rounds()] == [(1, "done")]
        assert project.events("note")[0].payload == {"text": "of old"}
        assert project.case("p5").state is CaseState.SKIPPED
        assert (project.pseudo_labels(), project.efforts(), project.pseudo_reviews()) == ([], [], [])
    after = dump(old)
    assert after["about"] == [(store.SCHEMA_VERSION,)]
    for table in OLD_TABLES:
        assert [row[: len(was)] for row, was in zip(after[table], before[table], strict=True)] == before[table]


def test_a_pseudo_label_of_then_is_read_but_is_neither_a_human_label_nor_counts(old, mask_of):
    with Project.open(old) as project:
        assert [one.source for one in project.labels("p2")] == ["pseudo"]
        assert np.array_equal(project.read_label("p2", 1), mask_of(project, "p2"))
        assert project.read_label("p2") is None
        case = project.case("p2")
        assert (case.labelled, case.pseudo, case.state) == (False, False, CaseState.UNLABELLED)
        assert case.id in {one.id for one in project.pool()}
        project.record_label("p2", mask_of(project, "p2", 2), author="Anna")
        assert project.case("p2").labelled


def test_what_is_new_can_be_stored(old):
    similar = (("p1", 0.93, True), ("p6", 0.5, False))
    with Project.open(old) as project:
        project.save_scores("r0001-ab", [Score("p3", "r0001-ab", 1, 0.9, 0.8, 0.7, similar=similar)])
        project.save_prediction("p3", "r0001-ab", np.full((3, 7, 6, 5), 1 / 3), np.zeros(3), {})
        project.save_pseudo_labels(2, [PseudoLabel("p3", 2, "r0001-ab", 0.5, 0.1, 0.2, datetime.now(UTC))])
        project.reject_pseudo("p3", author="Anna")
    with Project.open(old) as project:
        assert project.scores()[0].similar == similar
        assert [(one.case, one.verdict) for one in project.pseudo_labels()] == [("p3", "rejected")]


def test_findings_can_be_judged(old):
    with Project.open(old) as project:
        probability = np.zeros((3, 7, 6, 5))
        probability[0] = 1
        probability[:2, 2:4, 2:4, 1:3] = [[[[0.25]]], [[[0.75]]]]
        project.save_prediction("p3", "r0001-ab", probability, np.zeros(3), {})
        assert project.finding_reviews() == []
        project.review_finding("p3", 1, "rejected", author="Anna")
    with Project.open(old) as project:
        assert [one.state for one in project.findings("p3")] == ["rejected"]


def test_difficulties_can_be_kept(old):
    with Project.open(old) as project:
        assert project.difficulties() == []
        project.set_difficulties([Difficulty("p1", "size", 12.5, "label", revision=1)])
    with Project.open(old) as project:
        assert [(one.case, one.value, one.revision) for one in project.difficulties("size")] == [("p1", 12.5, 1)]


@pytest.mark.parametrize("version", [3, 4], indirect=True)
def test_verdicts_on_findings_of_version_3_stay(old):
    row = (1, "p3", "r0001-ab", 1, "rejected", "[0, 0, 0, 3, 3, 3]", "Anna", "2027-03-05T12:00:00+00:00")
    with sqlite3.connect(old / store.FILE_NAME) as then:
        then.execute(f"INSERT INTO finding_reviews VALUES ({','.join('?' * len(row))})", row)
    then.close()
    with Project.open(old) as project:
        assert [(one.case, one.verdict, one.label) for one in project.finding_reviews()] == [("p3", "rejected", None)]
        assert project.rejected_boxes("p3") == ((0, 0, 0, 3, 3, 3),)
    assert dump(old)["finding_reviews"] == [(*row, None)]


@pytest.mark.parametrize("version", [2, 3, 4], indirect=True)
def test_rows_of_version_2_stay(old):
    moment = "2026-11-20T12:00:00+00:00"
    with sqlite3.connect(old / store.FILE_NAME) as then:
        then.execute("UPDATE scores SET similar_cases = ? WHERE case_id = 'p3'", ('[["p1", 0.5, true]]',))
        then.execute("INSERT INTO pseudo_labels VALUES (2, 'p3', 'r0001-ab', 0.5, 0.1, 0.2, ?)", (moment,))
        then.execute(
            "INSERT INTO pseudo_reviews VALUES (1, 'p3', 'rejected', 'Anna', ?, 2, 'm', NULL, NULL)", (moment,)
        )
        work = ("p1", 1, "Anna", 5.0, 25.0, 3, 1, None, None, None, 1, 0, 0, 0, moment, moment, moment)
        then.execute(f"INSERT INTO efforts VALUES (1, {','.join('?' * len(work))})", work)
    then.close()
    before = dump(old)
    with Project.open(old) as project:
        assert project.scores()[0].similar == (("p1", 0.5, True),)
        assert [(one.case, one.weight, one.verdict) for one in project.pseudo_labels()] == [("p3", 0.5, "rejected")]
        assert [(one.case, one.seconds) for one in project.efforts()] == [("p1", 30.0)]
    after = dump(old)
    assert {table: after[table] for table in before if table != "about"} == {
        table: rows for table, rows in before.items() if table != "about"
    }
    assert (after["about"], after["finding_reviews"], after["difficulties"]) == ([(store.SCHEMA_VERSION,)], [], [])


def test_it_has_the_tables_of_a_new_project(old, make):
    Project.open(old).close()
    new = make("new")
    new.close()
    tables = []
    for folder in (old, new.folder):
        engine = sa.create_engine(f"sqlite:///{folder / store.FILE_NAME}")
        look = sa.inspect(engine)
        tables.append(
            {
                name: (
                    {(c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(name)},
                    sorted(index["name"] for index in look.get_indexes(name)),
                )
                for name in look.get_table_names()
            }
        )
        engine.dispose()
    assert tables[0] == tables[1]


def test_a_program_that_stopped_in_the_middle_left_the_version_before(old, monkeypatch):
    before = dump(old)

    def stop(connection, version):
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(store, "_note_version", stop)
        with pytest.raises(ZeroDivisionError):
            Project.open(old)
    assert dump(old) == before
    with Project.open(old) as project:
        assert len(project.cases()) == 12


OPENER = """
import sys
from napari_dasl.project.folder import Project
print("ready", flush=True)
sys.stdin.readline()
with Project.open(sys.argv[1]) as project:
    project.log_event("opened")
    print(len(project.cases()), len(project.scores()), flush=True)
"""


def test_two_programs_that_open_it_at_once_both_can(old):
    command = [sys.executable, "-c", OPENER, str(old)]
    openers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [opener.stdout.readline() for opener in openers] == ["ready\n"] * 2
    for opener in openers:
        opener.stdin.write("go\n")
        opener.stdin.flush()
    assert [opener.communicate(timeout=60)[0].split() for opener in openers] == [["12", "2"]] * 2
    with Project.open(old) as project:
        assert len(project.events("opened")) == 2


def test_a_refusal_of_sqlite_at_the_very_same_moment_is_waited_out(old, monkeypatch):
    """Measured: of 600 programs that opened an old database in pairs, two were told 'locked' within a millisecond."""
    refusals = iter([sqlite3.OperationalError("database is locked")] * 3)

    class Refusing(sqlite3.Cursor):
        def execute(self, statement, *more):
            if "journal_mode" in statement and (refusal := next(refusals, None)):
                raise refusal
            return super().execute(statement, *more)

    class Connection(sqlite3.Connection):
        def cursor(self, factory=Refusing):
            return super().cursor(factory)

    monkeypatch.setattr(store.sqlite3.dbapi2, "connect", partial(sqlite3.connect, factory=Connection))
    with Project.open(old) as project:
        assert len(project.cases()) == 12
    assert next(refusals, None) is None


def test_a_program_that_had_it_open_before_goes_on(old):
    then = sqlite3.connect(old / store.FILE_NAME)
    with then, Project.open(old) as project:
        then.execute(
            "INSERT INTO scores (model, case_id, rank, parts, words) VALUES ('', 'p6', 1, ?, '')", (json.dumps({}),)
        )
        then.commit()
        assert project.scores("")[0].similar == ()
    then.close()


def test_a_newer_one_is_left_alone(old):
    connection = sqlite3.connect(old / store.FILE_NAME)
    connection.execute("PRAGMA user_version = 6")
    connection.close()
    before = dump(old)
    with pytest.raises(ProjectError, match=r"newer napari-dasl \(schema 6; this one knows 5\)"):
        Project.open(old)
    assert dump(old) == before


@pytest.mark.parametrize(
    ("column", "kind"), [(store.scores.c.similar_cases, "TEXT"), (store.finding_reviews.c.class_value, "INTEGER")]
)
def test_an_added_column_is_a_plain_word_in_every_database(column, kind):
    assert column.type.compile(dialect=postgresql.dialect()) == kind
    assert postgresql.dialect().identifier_preparer.quote(column.name) == column.name
