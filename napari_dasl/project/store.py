"""``project.sqlite``: the tables of a project, opened so that the window and the engine can use it at the same time.

SQLite runs in WAL mode: readers never wait for a writer, and a committed row survives a killed process and a power cut.
Another database takes its place when ``project.toml`` names its SQLAlchemy URL.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from napari_dasl.errors import DaslError, ProjectError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
    from sqlalchemy.pool import ConnectionPoolEntry

FILE_NAME = "project.sqlite"
SCHEMA_VERSION = 5
BUSY_SECONDS = 15.0

metadata = sa.MetaData()

about = sa.Table("about", metadata, sa.Column("schema_version", sa.Integer, primary_key=True))

cases = sa.Table(
    "cases",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False, unique=True),
    sa.Column("series", sa.Text, nullable=False),
    sa.Column("geometry", sa.Text, nullable=False),
    sa.Column("guard", sa.Boolean, nullable=False, default=False),
    sa.Column("skipped", sa.Text),
    sa.Column("unreadable", sa.Text),
    sa.Column("created", sa.String, nullable=False),
)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("case_id", sa.ForeignKey("cases.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("model", sa.String),
    sa.Column("round", sa.Integer),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("image_sha256", sa.String, nullable=False),
    sa.Column("voxels_changed", sa.Integer),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("parent", sa.String),
    sa.Column("round", sa.Integer),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False, default=False),
    sa.Column("promoted", sa.Boolean, nullable=False),
    sa.Column("guard", sa.Text, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
)

scores = sa.Table(
    "scores",
    metadata,
    sa.Column("model", sa.String, primary_key=True),  # "" for a ranking made before there was a model
    sa.Column("case_id", sa.ForeignKey("cases.id"), primary_key=True),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("uncertainty", sa.Float),
    sa.Column("similarity", sa.Float),
    sa.Column("difficulty", sa.Float),
    sa.Column("parts", sa.Text, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("similar_cases", sa.Text),  # of version 2; NULL where version 1 wrote the row. SIMILAR is a word of SQL
)

pseudo_labels = sa.Table(
    "pseudo_labels",
    metadata,
    sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("case_id", sa.ForeignKey("cases.id"), primary_key=True),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("weight", sa.Float, nullable=False),
    sa.Column("loss", sa.Float, nullable=False),
    sa.Column("pace", sa.Float, nullable=False),
    sa.Column("created", sa.String, nullable=False),
)

pseudo_reviews = sa.Table(
    "pseudo_reviews",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("case_id", sa.ForeignKey("cases.id"), nullable=False, index=True),
    sa.Column("verdict", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("revision", sa.Integer),
    sa.Column("dice", sa.Float),
)

efforts = sa.Table(
    "efforts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("case_id", sa.ForeignKey("cases.id"), nullable=False, index=True),
    sa.Column("revision", sa.Integer),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("inspect_seconds", sa.Float, nullable=False),
    sa.Column("edit_seconds", sa.Float, nullable=False),
    sa.Column("strokes", sa.Integer, nullable=False),
    sa.Column("undos", sa.Integer, nullable=False),
    sa.Column("voxels_changed", sa.Integer),
    sa.Column("draft_model", sa.String),
    sa.Column("draft_round", sa.Integer),
    sa.Column("drawn_from_nothing", sa.Boolean, nullable=False),
    sa.Column("accepted_unchanged", sa.Boolean, nullable=False),
    sa.Column("blind", sa.Boolean, nullable=False),
    sa.Column("audit", sa.Boolean, nullable=False),
    sa.Column("opened", sa.String, nullable=False),
    sa.Column("first_edit", sa.String),
    sa.Column("saved", sa.String, nullable=False),
)

finding_reviews = sa.Table(  # of version 3
    "finding_reviews",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("case_id", sa.ForeignKey("cases.id"), nullable=False, index=True),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("instance", sa.Integer, nullable=False),
    sa.Column("verdict", sa.String, nullable=False),
    sa.Column("box", sa.Text, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("class_value", sa.Integer),  # of version 5; NULL where an earlier version wrote the row
)

difficulties = sa.Table(  # of version 4
    "difficulties",
    metadata,
    sa.Column("case_id", sa.ForeignKey("cases.id"), primary_key=True),
    sa.Column("scorer", sa.String, primary_key=True),
    sa.Column("value", sa.Float),  # NULL: measured, and there is nothing to measure
    sa.Column("source", sa.String, nullable=False),
    sa.Column("model", sa.String),
    sa.Column("revision", sa.Integer),
    sa.Column("created", sa.String, nullable=False),
)

rounds = sa.Table(
    "rounds",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("phase", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("finished", sa.String),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String, nullable=False, index=True),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("created", sa.String, nullable=False),
)


class Store:
    """The open database of one project; safe to use from several threads.

    Parameters
    ----------
    folder : Path
        The project folder.
    url : str
        Another database's SQLAlchemy URL; empty means ``project.sqlite`` in *folder*.
    create : bool
        Make the tables. Otherwise they must be there.

    Raises
    ------
    ProjectError
        The database is missing, is none, or was written by a newer version of this program.
    StorageError
        It cannot be opened for writing.
    """

    def __init__(self, folder: Path, url: str = "", *, create: bool = False) -> None:
        path = folder / FILE_NAME
        self.where = str(path) if not url else "the database of project.toml"
        if not url and not create and not path.is_file():
            raise ProjectError(f"The project {folder} has no {FILE_NAME}.", "Restore that file from a backup.")
        self._engine = _engine(url or sa.URL.create("sqlite", database=str(path)), self.where)
        try:
            if create:
                with self.write() as connection:
                    metadata.create_all(connection)
                    if connection.scalar(sa.select(about.c.schema_version)) is None:
                        connection.execute(sa.insert(about).values(schema_version=SCHEMA_VERSION))
                        _note_version(connection, SCHEMA_VERSION)
            with self.read() as connection:
                found = self._checked_version(connection)
            if found < SCHEMA_VERSION:
                self._migrate()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a connection that sees one moment of the database."""
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that no other writer can enter; it is undone when the block ends with an error."""
        with (
            self._translated(),
            self._engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def alone(self) -> Iterator[sa.Connection]:
        """Open a transaction that no other one of this kind can enter, whatever the database."""
        with self.write() as connection:
            # SQLite's writer is alone anyway; elsewhere the one row of this table is the token.
            connection.execute(sa.select(about.c.schema_version).with_for_update())
            yield connection

    def _migrate(self) -> None:
        """Bring an older database up to date, in one transaction; what another process did meanwhile stays."""
        with self.alone() as connection:
            if self._checked_version(connection) == SCHEMA_VERSION:
                return
            # Versions 2 to 5 only add. Each step looks first, for databases that cannot undo a CREATE or an ALTER.
            metadata.create_all(connection)
            for table, column in ((scores, scores.c.similar_cases), (finding_reviews, finding_reviews.c.class_value)):
                if column.name not in {has["name"] for has in sa.inspect(connection).get_columns(table.name)}:
                    kind = column.type.compile(dialect=connection.dialect)
                    connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")
            connection.execute(sa.update(about).values(schema_version=SCHEMA_VERSION))
            _note_version(connection, SCHEMA_VERSION)

    def _checked_version(self, connection: sa.Connection) -> int:
        found = _version(connection)
        if found == 0:
            raise ProjectError(f"{self.where} is not the database of a project.", "Restore that file from a backup.")
        if found > SCHEMA_VERSION:
            raise ProjectError(
                f"{self.where} was written by a newer napari-dasl (schema {found}; this one knows {SCHEMA_VERSION}).",
                "Update napari-dasl to open it.",
            )
        return found

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DaslError:
            raise
        except DBAPIError as error:
            raise _in_words(str(error.orig), self.where) from error


def encode(value: Any) -> str:
    """JSON text of *value*; ProjectError for what JSON cannot say (NaN is stored as null)."""
    try:
        return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise ProjectError(
            f"This cannot be stored in the project: {error}.", "Give numbers, texts, lists and dicts."
        ) from None


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _plain(value: Any) -> Any:
    """Take numpy's numbers and arrays, and paths."""
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r}")


def _engine(url: sa.URL | str, where: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_SECONDS} if sqlite else {})
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ProjectError(f"{where} cannot be opened: {error}.", "Change `database` in project.toml.") from None
    if sqlite:
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Take transactions into our own hands (sqlite3 would begin them late), and make commits survive a power cut."""
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _use_wal(cursor: DBAPICursor) -> None:
    """Keep the log beside the file; of two programs that ask for it at once, SQLite refuses one without a wait."""
    until = monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > until:
                raise
            sleep(0.02)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes the lock at once: one that reads first and writes later would be refused, not queued, by WAL.
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _version(connection: sa.Connection) -> int:
    if connection.dialect.name == "sqlite":
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar() or 0)
    if not sa.inspect(connection).has_table(about.name):
        return 0
    return int(connection.scalar(sa.select(about.c.schema_version)) or 0)


def _note_version(connection: sa.Connection, version: int) -> None:
    """Write the version into SQLite's header, where it is read without knowing any table."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version={version:d}")


def _in_words(reason: str, where: str) -> DaslError:
    """What SQLite says, for the user. The words are those of sqlite3_errstr."""
    text = reason.casefold()
    if "full" in text:
        return StorageError(f"The disk is full: {where} could not be written.", "Free some space and try again.")
    if "readonly" in text:
        return StorageError(
            f"{where} could not be written: the folder or the file is read-only.", "Give yourself write permission."
        )
    if "locked" in text or "busy" in text:
        return StorageError(f"{where} is in use by another program.", "Wait a moment and try again.")
    if "unable to open" in text:
        return StorageError(
            f"{where} cannot be opened.", "Check that the folder exists and that you may write into it."
        )
    if "not a database" in text or "malformed" in text:
        return ProjectError(
            f"{where} is damaged: {reason}.", "Restore that file from a backup; the labels folder is not touched."
        )
    if "no such table" in text or "no such column" in text:
        return ProjectError(f"{where} is not the database of a project: {reason}.", "Restore that file from a backup.")
    return StorageError(f"{where} could not be used: {reason}.", "Check the disk and try again.")
