"""One round or prediction at a time, for one session: what it is doing, what it said, and how it ended.

:class:`RoundRunner` stands between the engine's process and every *Learning* widget of a viewer, so that a second
widget, or one opened late, shows the same curve. States::

    idle -> starting -> running -> (cancelling) -> done | cancelled | failed | died
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError
from qtpy.QtCore import QObject, Signal

from napari_dasl.engine import messages
from napari_dasl.events import Log, Metric, Phase, Progress
from napari_dasl.rounds.plan import RoundPlan, RoundResult
from napari_dasl.widgets.engine_process import SAFE, EngineProcess

if TYPE_CHECKING:
    from napari_dasl.widgets.session import Session

State = Literal["idle", "starting", "running", "cancelling", "done", "cancelled", "failed", "died"]
Kind = Literal["round", "predict"]
ACTIVE: tuple[State, ...] = ("starting", "running", "cancelling")
LOG_LINES = 500
PHASE_WORDS: dict[str, str] = {
    "prepare": "Preparing the scans.",
    "train": "Training.",
    "guard": "Comparing on the guard set.",
    "predict": "Predicting the unlabelled scans.",
    "rank": "Ranking the list.",
    "save": "Saving.",
}
_MB_PER_GB = 1024


class RoundRunner(QObject):
    """Runs the engine for one session.

    Attributes
    ----------
    state : str
        See the module.
    words : str
        The sentence to show: the phase while it runs, the outcome after.
    taken : str
        What the running round took as pseudo-labels, in a sentence; empty where it took none.
    curves : dict
        Name of a metric -> list of (step, value).
    retry : dict
        Fields of a plan that may work after a failure, such as ``{"batch": 1}``; empty where none is offered.

    Notes
    -----
    Signals: ``changed()``: the state or the sentence; ``progressed()``: progress, curve or memory; ``logged(str)``.
    """

    changed = Signal()
    progressed = Signal()
    logged = Signal(str)

    def __init__(self, session: Session, *, silence: float | None = None) -> None:
        super().__init__(session)
        self.session = session
        self.state: State = "idle"
        self.kind: Kind = "round"
        self.words = ""
        self.warning = ""
        self.taken = ""
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.progress: Progress | None = None
        self._phase = ""
        self.memory_mb: float | None = None
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.retry: dict[str, Any] = {}
        self.result: RoundResult | None = None
        self.started_at = 0.0
        self._plan = RoundPlan()
        self._predicted: dict[str, Any] = {}
        self._folder = ""
        self._silence = silence
        self._engine: EngineProcess | None = None
        session.project_changed.connect(self._project_changed)

    @property
    def active(self) -> bool:
        """Whether something runs."""
        return self.state in ACTIVE

    @property
    def engine(self) -> EngineProcess | None:
        """The process client, once one was needed."""
        return self._engine

    def start_round(self, plan: RoundPlan) -> None:
        """Train as *plan* says."""
        self._plan = plan
        self._begin("round", messages.RoundStart(project=self._project_folder(), plan=plan))

    def resume(self) -> None:
        """Go on with the round that was interrupted."""
        self._begin("round", messages.RoundResume(project=self._project_folder()))

    def predict(self) -> None:
        """Predict what has no prediction of the active model, and rank."""
        self._begin("predict", messages.PredictStart(project=self._project_folder()))

    def start_again_smaller(self) -> None:
        """Start the failed round again with what the engine advised."""
        self.start_round(self._plan.model_copy(update=_plan_fields(self.retry)))

    def cancel(self) -> None:
        """Stop with the state saved."""
        if self._engine is None or not self.active:
            return
        self._say("cancelling", "Stopping after this step and saving the state …")
        self._engine.cancel()

    def stop_now(self) -> None:
        """End a process that does not answer."""
        if self._engine is not None:
            self._say("cancelling", "Ending the training process …")
            self._engine.force_stop()

    def shutdown(self) -> None:
        """End the engine within two seconds; for the end of the window."""
        if self._engine is not None:
            self._engine.shutdown()

    def retry_words(self) -> str:
        """Return what `start_again_smaller` would change: ``a smaller patch (96 × 96 × 96)``."""
        parts = []
        if self.retry.get("patch"):
            parts.append(f"a smaller patch ({' × '.join(str(size) for size in self.retry['patch'])})")
        if self.retry.get("batch"):
            count = self.retry["batch"]
            parts.append(f"{count} patch{'es' if count != 1 else ''} at a time")
        rest = [f"{key} {value}" for key, value in self.retry.items() if key not in ("patch", "batch")]
        return " and ".join(parts + rest)

    def _project_folder(self) -> str:
        return str(self.session.project.folder) if self.session.project is not None else ""

    def _begin(self, kind: Kind, request: messages.RequestParams) -> None:
        if self.active or self.session.project is None:
            return
        self.kind = kind
        self._folder = self._project_folder()
        self.curves, self.progress, self.result = {}, None, None
        self.retry, self.warning, self.taken, self._predicted = {}, "", "", {}
        self.log.clear()
        self.started_at = time.monotonic()
        waking = self._engine is None or not self._engine.running
        self._say("starting", "Starting the training process …" if waking else "Preparing …")
        self._engine_for_project().request(request)

    def _engine_for_project(self) -> EngineProcess:
        assert self.session.project is not None
        command = tuple(self.session.project.config.engine.command) or None
        if self._engine is not None and (command is None or self._engine.command == command):
            return self._engine
        if self._engine is not None:
            self._engine.shutdown()
            self._engine.deleteLater()
        options = {} if self._silence is None else {"silence": self._silence}
        engine = EngineProcess(command, self, **options)
        engine.started.connect(self._started)
        engine.reported.connect(self._event)
        engine.finished.connect(self._finished)
        engine.failed.connect(self._failed)
        engine.cancelled.connect(self._cancelled)
        engine.died.connect(self._died)
        engine.heartbeat.connect(self._heartbeat)
        engine.answering.connect(self._answering)
        self._engine = engine
        return engine

    def _started(self, _job: int) -> None:
        if self.state == "starting":
            self._say("running", self.words)

    def _event(self, event: Phase | Progress | Metric | Log) -> None:
        match event:
            case Phase(name=name, text=text):
                self._write(text)
                self.progress = None
                self._phase = name
                if name == "prepare" and "pseudo-label" in text:
                    self.taken = text
                if self.state in ("starting", "running"):
                    self._say("running", text)
            case Progress(name=name):
                self.progress = event
                if name != self._phase and self.state == "running":
                    # Preparing and training overlap: the sentence follows what makes progress.
                    self._phase = name
                    self._say("running", PHASE_WORDS[name])
                self.progressed.emit()
            case Metric(name=name, step=step, value=value):
                self.curves.setdefault(name, []).append((step, value))
                self.progressed.emit()
            case Log(level=level, text=text):
                self._write(text)
                if level == "warning":
                    self.warning = text
                    self.changed.emit()

    def _heartbeat(self, beat: dict[str, Any]) -> None:
        self.memory_mb = beat.get("memory_mb")
        self.progressed.emit()

    def _answering(self, answers: bool) -> None:
        self.warning = "" if answers else "The training process is not answering. Wait, or stop it: the state is kept."
        self.changed.emit()

    def _finished(self, result: dict[str, Any]) -> None:
        if self.kind == "predict" and not self._predicted and self._engine is not None:
            # New predictions move cases in the list: rank them before saying that it is done.
            self._predicted = result
            self._engine.request(messages.RankStart(project=self._folder))
            return
        words = self._outcome(self._predicted or result)
        self._end("done", words)
        self.session.refresh_predictions()

    def _outcome(self, result: dict[str, Any]) -> str:
        if self.kind == "predict":
            count, failed = len(result.get("predicted", ())), result.get("failed") or {}
            words = f"{count} prediction{'s' if count != 1 else ''} refreshed."
            if failed:
                first, reason = next(iter(failed.items()))
                words += f" {len(failed)} could not be made; {first}: {reason}"
            return words
        try:
            self.result = RoundResult.model_validate(result)
        except ValidationError:
            return "The round is done."
        return self.result.sentence or f"Round {self.result.round} is done."

    def _failed(self, kind: str, message: str, hint: str, retry: dict[str, Any] | None) -> None:
        self.retry = dict(retry or {}) if _plan_fields(retry or {}) and self.kind == "round" else {}
        safe = "" if "labels are safe" in message + hint else SAFE
        if self.retry:
            hint = f"Start the round again with {self.retry_words()}:"
        self._end("failed", " ".join(part for part in (message, safe, hint) if part))
        self._write(f"{kind}: {message} {hint}")
        self.session.cases_changed.emit()

    def _cancelled(self, message: str) -> None:
        self._end("cancelled", message or "Stopped; the state is saved.")
        self.session.cases_changed.emit()

    def _died(self, words: str) -> None:
        if self._engine is not None:
            for line in self._engine.stderr:
                self._write(line)
        if not self.active:
            return
        self._end("died", words if SAFE in words else f"{words} {SAFE}")
        self.session.cases_changed.emit()

    def _project_changed(self, _project: object) -> None:
        """A round belongs to its project: leaving the project stops it; *Resume* goes on when it is opened again."""
        if self.active and self._folder != self._project_folder():
            self.cancel()
        elif not self.active and self._folder != self._project_folder():
            self._folder = self._project_folder()
            self.curves, self.progress, self.result, self.retry, self.warning = {}, None, None, {}, ""
            self._say("idle", "")

    def _end(self, state: State, words: str) -> None:
        self.progress = None
        self.warning = "" if state != "done" else self.warning
        self._say(state, words)
        self._write(words)
        if self._folder != self._project_folder():
            # The words are about a project that is no longer open.
            self._say("idle", "")

    def _say(self, state: State, words: str) -> None:
        self.state, self.words = state, words
        self.changed.emit()

    def _write(self, text: str) -> None:
        self.log.append(text)
        self.logged.emit(text)


def _plan_fields(retry: dict[str, Any]) -> dict[str, Any]:
    """Keep of *retry* what a plan has, as the plan's own types."""
    known = {key: value for key, value in retry.items() if key in RoundPlan.model_fields and value is not None}
    try:
        plan = RoundPlan.model_validate(known)
    except ValidationError:
        return {}
    return {key: getattr(plan, key) for key in known}


def memory_words(megabytes: float) -> str:
    """Return ``812 MB`` or ``3.4 GB``."""
    return f"{megabytes:.0f} MB" if megabytes < _MB_PER_GB else f"{megabytes / _MB_PER_GB:.1f} GB"


def runner_for(session: Session) -> RoundRunner:
    """Return the one runner of *session*, made at the first call."""
    for child in session.children():
        if isinstance(child, RoundRunner):
            return child
    return RoundRunner(session)
