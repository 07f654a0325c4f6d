"""What a project has learned: models, predictions, scores, rounds and the diary of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import GridMismatch, LabelError, ProjectError
from napari_dasl.project import cases, difficulties, labels, ledger, locking, predictions, store
from napari_dasl.project.records import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.project.config import ProjectConfig
    from napari_dasl.project.difficulties import Difficulty
    from napari_dasl.project.instances import Instance
    from napari_dasl.project.predictions import Prediction
    from napari_dasl.project.records import LoggedEvent, Round, RoundState, Score


class Learning:
    """The half of `Project` that rounds write: models, predictions, scores, rounds, events.

    Attributes
    ----------
    folder : Path
        Absolute.
    config : ProjectConfig
        What ``project.toml`` says.
    """

    def __init__(self, folder: Path, config: ProjectConfig, database: store.Store) -> None:
        self.folder = folder
        self.config = config
        self._store = database

    def model_folder(self, model_id: str) -> Path:
        """Folder for the weights of a model, made if missing; ProjectError where the id is no safe folder name."""
        from napari_dasl.volumes.atomic import storage_error

        home = ledger.model_home(self.folder, model_id)
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, home) from error
        return home

    def add_model(
        self,
        model_id: str,
        *,
        parent: str | None = None,
        round: int | None = None,
        promoted: bool = False,
        active: bool = False,
        guard: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Model:
        """Register a model whose files are in `model_folder`; ProjectError where the id is taken."""
        home = self.model_folder(model_id)
        model = Model(
            model_id, parent, round, store.now(), active, promoted, dict(guard or {}), dict(config or {}), home
        )
        ledger.add_model(self._store, model)
        return model

    def models(self) -> list[Model]:
        """All models, oldest first."""
        return ledger.models(self._store, self.folder)

    def model(self, model_id: str) -> Model:
        """One model; ProjectError for an unknown id."""
        found = self.models()
        for model in found:
            if model.id == model_id:
                return model
        known = [model.id for model in found]
        raise ProjectError(f"The project has no model {model_id}.", cases.near_miss(model_id, known, "models"))

    def active_model(self) -> Model | None:
        """The model that predictions come from; None before the first round."""
        return next((model for model in self.models() if model.active), None)

    def use(self, model_id: str) -> None:
        """Make a model the active one (again)."""
        ledger.activate(self._store, self.model(model_id).id)

    def save_prediction(
        self,
        case_id: str,
        model_id: str,
        probability: NDArray[Any],
        signature: NDArray[Any],
        scores: Mapping[str, Any],
        instances: Sequence[Instance] | None = None,
        ids: NDArray[Any] | None = None,
    ) -> None:
        """Store what a model said about a case, in place of what it said before; see `predictions.write`.

        Raises
        ------
        GridMismatch, LabelError
            *probability* is not (1 + classes, z, y, x) on the grid of the scan, or *ids* and *instances* do not
            belong to it.
        StorageError
            It could not be stored; an older prediction is untouched.
        """
        case = cases.one(self._store, self.folder, case_id)
        home = ledger.model_home(self.folder, model_id)
        if probability.shape[1:] != case.shape:
            raise GridMismatch(
                f"The prediction of {case.id} has shape {probability.shape[1:]}, its scan {case.shape} (z, y, x).",
                "Resample the prediction onto the grid of the scan.",
            )
        if probability.shape[0] != 1 + len(self.config.classes):
            raise LabelError(
                f"The prediction of {case.id} has {probability.shape[0]} channels, not background and each of the "
                f"{len(self.config.classes)} classes.",
                "Train a new model for these classes.",
            )
        predictions.write(self.folder, case.id, home.name, probability, signature, scores, instances, ids)

    def prediction(self, case_id: str, model_id: str | None = None) -> Prediction | None:
        """What a model (the active one) said about a case; None for nothing, StorageError where it is damaged."""
        if model_id is None:
            active = self.active_model()
            model_id = active.id if active else None
        found = None if model_id is None else predictions.find(self.folder, case_id, model_id)
        return found and replace(found, spacing=cases.one(self._store, self.folder, case_id).spacing)

    def predicted(self, model_id: str) -> frozenset[str]:
        """Ids of the cases that a model predicted, by one look into a folder."""
        return predictions.predicted(self.folder, model_id)

    def save_scores(self, model_id: str, scores: Sequence[Score]) -> None:
        """Replace the scores that a model gave to the pool; the model "" stands for a ranking before the first one."""
        ledger.save_scores(self._store, self.model(model_id).id if model_id else "", scores)

    def scores(self, model_id: str | None = None) -> list[Score]:
        """Scores of a model by rank; with None those of the active one, or of "" where there is none yet."""
        if model_id is None:
            active = self.active_model()
            model_id = active.id if active else ""
        return ledger.scores(self._store, model_id)

    def set_difficulties(self, rows: Sequence[Difficulty]) -> None:
        """Store how hard cases are, each in place of what the same scorer said about the case; see `difficulties`.

        Raises
        ------
        ProjectError
            A row names no case of the project, no scorer, or an unknown source.
        """
        difficulties.save(self._store, rows)

    def difficulties(self, scorer: str | None = None) -> list[Difficulty]:
        """How hard each case is, as it was last measured: by one scorer or by all, in the order of scorer and case."""
        return difficulties.newest(self._store, scorer)

    def newest_labels(self) -> dict[str, int]:
        """The newest human label revision of every case that has one."""
        return labels.newest_human(self._store)

    # -- rounds and the diary ---------------------------------------------------------------------------------------

    def new_round(self, phase: str, plan: Mapping[str, Any]) -> Round:
        """Open the next round, with its folder and ``plan.json``."""
        return ledger.new_round(self._store, self.folder, phase, plan)

    def training_lock(self) -> AbstractContextManager[locking.Holder]:
        """Hold the project for training in a ``with`` block; ProjectError where another process does, see `locking`."""
        return locking.held(self._store, self.folder)

    def resume_round(self, number: int) -> None:
        """Mark a round as running again."""
        ledger.set_round(self._store, number, "running", None, None)

    def finish_round(self, number: int, state: RoundState, result: Mapping[str, Any]) -> None:
        """Close a round as done, cancelled or failed; ProjectError where there is no such round."""
        ledger.set_round(self._store, number, state, result, store.now())

    def rounds(self) -> list[Round]:
        """All rounds, oldest first."""
        return ledger.rounds(self._store, self.folder)

    def last_unfinished_round(self) -> Round | None:
        """The last round, unless it is done: what `--resume` goes on with."""
        last = next(reversed(self.rounds()), None)
        return None if last is None or last.state == "done" else last

    def log_event(self, kind: str, payload: Mapping[str, Any] | None = None) -> None:
        """Add a line to the project's diary."""
        ledger.log_event(self._store, kind, payload or {})

    def events(self, kind: str | None = None) -> list[LoggedEvent]:
        """The diary, oldest first; of one kind, or all."""
        return ledger.events(self._store, kind)
