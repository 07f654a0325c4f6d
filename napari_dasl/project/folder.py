"""``Project``: one open project folder; the window, the command line, rounds and the engine read and write through it.

Everything here is safe against a killed process: files appear whole or not at all, and rows follow files. Several
processes and threads may have the same folder open.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy as np

from napari_dasl.errors import DaslError, GridMismatch, ProjectError, VolumeError
from napari_dasl.events import never, silent
from napari_dasl.project import adding, cases, drafts, importing, labels, scans, store
from napari_dasl.project import config as configuration
from napari_dasl.project.instances import ids_of
from napari_dasl.project.records import CaseState
from napari_dasl.project.reviewing import Reviewing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project.config import ProjectConfig
    from napari_dasl.project.records import (
        AddResult,
        Case,
        Draft,
        ImportResult,
        LabelSource,
        Revision,
    )
    from napari_dasl.volumes import Geometry, Volume

    Mask = NDArray[np.uint8] | NDArray[np.uint16]

_T = TypeVar("_T")

SMALLEST_GUARD = 2


class Project(Reviewing):
    """One open project folder; made by `create` or `open`, let go by `close` or at the end of a ``with`` block.

    ``folder`` is its absolute path and ``config`` is what ``project.toml`` says.
    """

    @classmethod
    def create(cls, folder: Path | str, config: ProjectConfig, *, copy_scans: bool = False) -> Self:
        """Make an empty project in *folder* (made if missing), which may hold other things but no project.

        Raises
        ------
        ProjectError
            There is a project already, or *folder* is a file.
        StorageError
            The folder cannot be written.
        """
        from napari_dasl.volumes.atomic import storage_error, write_bytes_atomic

        home = Path(folder).expanduser().resolve()
        toml = home / configuration.FILE_NAME
        if home.exists() and not home.is_dir():
            raise ProjectError(f"{home} is a file.", "Name a folder for the project.")
        if toml.exists() or (home / store.FILE_NAME).exists():
            raise ProjectError(f"There is a project in {home} already.", "Open it, or choose another folder.")
        config = config.model_copy(update={"copy_scans": True}) if copy_scans else config
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, home) from error
        database = store.Store(home, config.database, create=True)
        try:
            # The configuration comes last: a folder is a project once it has one.
            write_bytes_atomic(toml, configuration.dump(config).encode())
        except BaseException:
            database.close()
            (home / store.FILE_NAME).unlink(missing_ok=True)
            raise
        return cls(home, config, database)

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Open the project in *folder*.

        Raises
        ------
        ProjectError
            There is none, its configuration is wrong, or a newer program wrote it.
        StorageError
            The folder cannot be written.
        """
        home = Path(folder).expanduser().resolve()
        config = configuration.load(home / configuration.FILE_NAME)
        return cls(home, config, store.Store(home, config.database))

    def close(self) -> None:
        """Let go of the database; the object is of no use afterwards."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update_config(self, **changes: Any) -> ProjectConfig:
        """Change keys of ``project.toml`` (``__`` for a dot: ``ranking__query=5``) and keep the rest of its text."""
        from napari_dasl.volumes.atomic import write_bytes_atomic

        path = self.folder / configuration.FILE_NAME
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        config, text = configuration.updated(path, dotted)
        write_bytes_atomic(path, text.encode())
        self.config = config
        return config

    # -- cases ------------------------------------------------------------------------------------------------------

    def add_cases(self, paths: Sequence[Path], *, report: Report = silent, cancelled: CancelCheck = never) -> AddResult:
        """Add the scans under *paths* (files or folders in any layout of `discovery`).

        The first scans of a project decide its channels: where ``project.toml`` has the default and every case has the
        same several series, these are the channels.

        Raises
        ------
        ProjectError
            There is no scan that could be added.
        """
        found, skipped = adding.search(paths, self.config.modality, self.folder)
        has = self.cases()
        if not has and (channels := adding.derived_channels(found, self.config)) != self.config.channels:
            self.update_config(channels=channels)
        shelf = adding.Shelf(self.folder, self._store, self.config, has)
        result = adding.store_candidates(shelf, found, skipped, report, cancelled)
        if not has and not result.added:
            path, reason = result.skipped[0]
            raise ProjectError(
                f"None of the {len(found)} scans that were found could be added; {path}: {reason}",
                "Look at that scan, or at `channels` in project.toml.",
            )
        return result

    def cases(self) -> list[Case]:
        """All cases, in the order they were added."""
        return cases.every(self._store, self.folder)

    def pool(self) -> list[Case]:
        """Cases that may be labelled next: readable, no human label, not skipped, not guard."""
        return [c for c in self.cases() if c.readable and not (c.labelled or c.skipped or c.guard)]

    def training_cases(self) -> list[Case]:
        """Cases to learn from: readable, with a human label, not guard."""
        return [case for case in self.cases() if case.readable and case.labelled and not case.guard]

    def guard_cases(self) -> list[Case]:
        """Cases to judge models on: readable, with a human label, guard."""
        return [case for case in self.cases() if case.readable and case.labelled and case.guard]

    def counts(self) -> dict[str, int]:
        """Number of cases, annotated (by a human, guard included), pseudo, guard, pool, skipped, unreadable, drafts."""
        found = self.cases()
        return {
            "cases": len(found),
            "annotated": sum(case.labelled for case in found),
            "pseudo": sum(case.pseudo for case in found),
            "guard": sum(case.guard for case in found),
            "pool": sum(c.readable and not (c.labelled or c.skipped or c.guard) for c in found),
            "skipped": sum(case.state is CaseState.SKIPPED for case in found),
            "unreadable": sum(case.state is CaseState.UNREADABLE for case in found),
            "drafts": sum(case.state is CaseState.DRAFT for case in found),
        }

    def skip(self, case_id: str, reason: str = "") -> None:
        """Put a case aside; it leaves the pool."""
        cases.change(self._store, [self.case(case_id).id], skipped=reason)

    def unskip(self, case_id: str) -> None:
        """Take a skipped case back."""
        cases.change(self._store, [self.case(case_id).id], skipped=None)

    def choose_guard(self, fraction: float | None = None, seed: int | None = None) -> tuple[str, ...]:
        """Hold back a share of the human-labelled cases (at least 2) to judge models; a chosen guard never moves.

        The choice depends on the seed and each case's id only, not on the order in which cases were added.

        Returns
        -------
        tuple of str
            Ids of the guard; empty where it would take every labelled case, or the share is 0.
        """
        found = self.cases()
        guard = tuple(case.id for case in found if case.guard)
        fraction = self.config.guard if fraction is None else fraction
        labelled = [case.id for case in found if case.labelled and case.readable]
        if guard or fraction <= 0:
            return guard
        count = max(SMALLEST_GUARD, round(fraction * len(labelled)))
        if count >= len(labelled):
            return ()
        seed = self.config.seed if seed is None else seed
        by_lot = sorted(labelled, key=lambda name: hashlib.sha256(f"guard {seed} {name}".encode()).digest())
        cases.change(self._store, by_lot[:count], guard=True)
        return tuple(sorted(by_lot[:count], key=labelled.index))

    # -- scans ------------------------------------------------------------------------------------------------------

    def check_scan(self, case_id: str) -> str:
        """Say what happened to the scans of a case since they were added: "" or missing or changed, in words."""
        case = self.case(case_id)
        change, series = scans.refreshed(case)
        if series != case.series:
            cases.replace_series(self._store, self.folder, case.id, series)
        return change

    def read_image(self, case_id: str) -> list[Volume]:
        """Read every series of a case, the reference first, each on its own grid.

        Raises
        ------
        VolumeError
            A scan is missing or cannot be read; a case whose file is there but unreadable is marked so.
        """
        case = self.case(case_id)
        return self._noting(case, lambda: [scans.read_series(case, series) for series in case.series])

    def read_image_array(self, case_id: str) -> NDArray[np.float32]:
        """Read the project's channels as (C, z, y, x) float32 on the grid of the reference; errors as `read_image`."""
        case = self.case(case_id)
        return self._noting(case, lambda: scans.stack(case, self.config.channels))

    # -- labels -----------------------------------------------------------------------------------------------------

    def import_labels(
        self,
        folder: Path | str,
        cases: Sequence[str] | int | None = None,
        author: str = "import",
        *,
        seed: int | None = None,
        report: Report = silent,
        cancelled: CancelCheck = never,
    ) -> ImportResult:
        """Import label files as human labels of the cases they are named after; see `importing.import_labels`."""
        return importing.import_labels(
            Path(folder).expanduser().resolve(),
            self.cases(),
            cases,
            self.config.seed if seed is None else seed,
            lambda case_id, path: self.record_label(case_id, path, author=author, source="imported"),
            report,
            cancelled,
        )

    def record_label(
        self,
        case_id: str,
        mask: NDArray[Any] | Path | str,
        *,
        author: str,
        source: LabelSource = "human",
        seconds: float = 0.0,
        model: str | None = None,
        round: int | None = None,
    ) -> Revision:
        """Add a label as the newest revision of a case; older revisions and the draft stay as they are.

        Parameters
        ----------
        case_id : str
            The case.
        mask : array (z, y, x) or Path
            Whole numbers on the grid of the case's reference, or a mask file on that grid. In a project whose labels
            number the lesions, files are read as `read_label_file` does. The values of arrays, and of all files
            elsewhere, are kept as given.
        author, source, seconds, model, round
            As in `Revision`.

        Raises
        ------
        GridMismatch
            It does not lie on the grid of the scan.
        LabelError
            It holds a value that is no class, or no number of a lesion.
        StorageError
            It could not be stored. Nothing has changed.
        """
        case = self.case(case_id)
        if isinstance(mask, str | Path):
            mask = self.read_label_file(Path(mask), case.geometry)
        array = np.asarray(mask)
        label = labels.checked(array, case, self.config.classes, instances=self.config.instances)
        origin = labels.Origin(author, source, seconds, model, round, scans.current_sha256(case.series[0]))
        return labels.record(self._store, self.folder, case, label, origin)

    def read_label_file(self, path: Path, geometry: Geometry) -> Mask:
        """Read a mask file (z, y, x) as a label of this project, without recording it.

        Where labels number the lesions, a mask that tells none apart has its components numbered (`instances.ids_of`).

        Raises
        ------
        VolumeError, GridMismatch, LabelError
            It cannot be read, lies on another grid, or holds no label values.
        """
        from napari_dasl.volumes import read_mask

        mask = read_mask(path, geometry)
        return cast("Mask", ids_of(mask) if self.config.instances else mask)

    def labels(self, case_id: str) -> list[Revision]:
        """All label revisions of a case, oldest first."""
        return labels.history(self._store, self.folder, self.case(case_id).id)

    def read_label(self, case_id: str, number: int | None = None) -> Mask | None:
        """Read a revision (z, y, x), or the newest human one; None where there is none. Its content hash is checked.

        Raises
        ------
        LabelError
            There is no such revision, or its file was lost or changed.
        """
        case = self.case(case_id)
        revision = labels.chosen(labels.history(self._store, self.folder, case.id), case.id, number)
        return None if revision is None else labels.load(revision, case)

    def restore(self, case_id: str, number: int, author: str) -> Revision:
        """Make the content of an old revision the newest one; nothing is lost."""
        case = self.case(case_id)
        return labels.restore(self._store, self.folder, case, number, author, scans.current_sha256(case.series[0]))

    def save_draft(self, case_id: str, mask: NDArray[Any], *, meta: Mapping[str, Any]) -> None:
        """Keep an unfinished edit (z, y, x) with JSON *meta*, in place of the one before; errors as `record_label`."""
        case = self.case(case_id)
        label = labels.checked(np.asarray(mask), case, self.config.classes, instances=self.config.instances)
        drafts.write(self.folder, case.id, label, meta)

    def read_draft(self, case_id: str) -> Draft | None:
        """Read the unfinished edit of a case, or None; LabelError where it is damaged or on another grid."""
        case = self.case(case_id)
        draft = drafts.read(self.folder, case.id)
        if draft is not None:
            labels.checked(draft.mask, case, self.config.classes, instances=self.config.instances)
        return draft

    def discard_draft(self, case_id: str) -> None:
        """Delete the unfinished edit of a case, if there is one."""
        drafts.remove(self.folder, self.case(case_id).id)

    def _noting(self, case: Case, read: Callable[[], _T]) -> _T:
        """Read, and remember whether the scan could be read, so that no list offers a case that cannot be opened."""
        try:
            result = read()
        except GridMismatch:
            raise
        except VolumeError as error:
            if case.readable and case.reference.exists():
                with suppress(DaslError):
                    cases.change(self._store, [case.id], unreadable=str(error))
            raise
        if not case.readable:
            cases.change(self._store, [case.id], unreadable=None)
        return result
