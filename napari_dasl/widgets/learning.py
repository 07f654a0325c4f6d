"""*Learning*: start a round, watch it, and see what it brought; labelling goes on meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_dasl.rounds import phases
from napari_dasl.rounds.plan import RoundPlan
from napari_dasl.widgets.curriculum_settings import CurriculumSettings
from napari_dasl.widgets.curriculum_words import PROJECT
from napari_dasl.widgets.disclosure import Disclosure
from napari_dasl.widgets.history import HistoryTable
from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.learning_curve import LearningCurve
from napari_dasl.widgets.learning_words import (
    START,
    START_NOW,
    after_words,
    before_words,
    cost_words,
    plan_words,
    pseudo_words,
    start_tooltip,
    waits,
)
from napari_dasl.widgets.pseudo_settings import PseudoSettings
from napari_dasl.widgets.round_runner import memory_words, runner_for
from napari_dasl.widgets.session import session_for
from napari_dasl.widgets.settings_form import SettingsForm
from napari_dasl.widgets.snapshot import Snapshot, duration, snapshots_for
from napari_dasl.widgets.wrapped_label import wrapped_label

if TYPE_CHECKING:
    import napari.viewer  # napari passes the viewer to a widget whose annotation reads exactly like this

    from napari_dasl.errors import DaslError

SETTINGS = ("phase", "start", "steps", "minutes", "epochs", "device", "batch", "patch", "predict", "seed")
_NOTICE = "#E69F00"
_TROUBLE = "#D55E00"
_LOG_HEIGHT = 110


class LearningWidget(QWidget):
    """The panel; several of one viewer show the same round.

    Parameters
    ----------
    viewer : napari.Viewer
        Its session is shared with the other widgets.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session_for(viewer)
        self.keeper = snapshots_for(self.session)
        self.runner = runner_for(self.session)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._build()
        self._clock = QTimer(self)
        self._clock.setInterval(1000)
        self._clock.timeout.connect(self._show_progress)
        self.keeper.updated.connect(self._refresh)
        self.runner.changed.connect(self._refresh)
        self.runner.progressed.connect(self._show_progress)
        self.runner.logged.connect(self.log.appendPlainText)
        for line in self.runner.log:
            self.log.appendPlainText(line)
        self._refresh()

    # -- building -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 0, 6, 4)
        layout.setSpacing(4)
        self.words = wrapped_label(self)
        self.details = wrapped_label(self)
        self.details.setStyleSheet("color: #a0a0a0;")
        self.warning = wrapped_label(self)
        self.warning.setStyleSheet(f"color: {_TROUBLE};")
        self.bar = QProgressBar(self)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(10)
        self.left = QLabel(self)
        self.left.setStyleSheet("color: #a0a0a0;")
        self.curve = LearningCurve(self)
        self.off = wrapped_label(self)
        self.off.setStyleSheet(f"color: {_NOTICE};")
        self.advice = wrapped_label(self)
        self.advice.setToolTip("Advice from the last rounds, never an order: you decide.")
        for widget in (self.words, self.bar, self.left, self.warning, self.off):
            layout.addWidget(widget)
        layout.addLayout(self._build_buttons())
        self.way = CurriculumSettings(self)
        layout.addWidget(self.advice)
        layout.addWidget(self.curve)
        layout.addWidget(self.details)
        layout.addWidget(self.way)
        self.form = SettingsForm(
            RoundPlan,
            names=SETTINGS,
            choices={"device": ("auto", "cpu", "cuda")},
            titles={"epochs": "Passes over labels", "predict": "Predict afterwards"},
            parent=self,
        )
        self.form.set_value(RoundPlan())
        self.form.changed.connect(self._refresh)
        self.way.changed.connect(self._refresh)
        self.way.keep.connect(self._keep_way)
        self.log = QPlainTextEdit(self)
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(500)
        self.log.setFixedHeight(_LOG_HEIGHT)
        self.history = HistoryTable(self)
        self.history.use_model.connect(self._use_model)
        self.pseudo = PseudoSettings(self.session, self)
        self.settings_part = Disclosure("Settings of the next round", self.form, parent=self)
        self.way_part = Disclosure("Advanced: way of training", self.way.advanced, parent=self)
        self.pseudo_part = Disclosure("Advanced: pseudo-labels", self.pseudo, parent=self)
        self.history_part = Disclosure("Rounds and models", self.history, parent=self)
        self.log_part = Disclosure("Log", self.log, parent=self)
        self.parts = (self.history_part, self.settings_part, self.way_part, self.pseudo_part, self.log_part)
        for part in self.parts:
            layout.addWidget(part)
        layout.addStretch(1)

    def _build_buttons(self) -> QHBoxLayout:
        self.start = _button(self, START, "")
        self.start.clicked.connect(self._start)
        self.resume = _button(self, "Resume", "Go on with the round that was interrupted, from its saved state.")
        self.resume.clicked.connect(self._resume)
        self.smaller = _button(self, "Do that", "Start the round again with less memory.")
        self.smaller.clicked.connect(self._do_that)
        self.cancel = _button(self, "Cancel", "Stop after this step; the state is saved and Resume goes on from it.")
        self.cancel.clicked.connect(self._cancel)
        self.predict = _button(self, "Predict now", "Draw predictions with the active model and rank the list anew.")
        self.predict.clicked.connect(self._predict)
        self.again = _button(self, "Use pseudo-labels again", "From the next round on; only the guard set decides.")
        self.again.clicked.connect(self._use_pseudo_labels)
        line = QHBoxLayout()
        line.setSpacing(4)
        for button in (self.start, self.resume, self.smaller, self.cancel, self.predict, self.again):
            line.addWidget(button)
        line.addStretch(1)
        return line

    # -- what is shown --------------------------------------------------------------------------------------------

    def title(self) -> str:
        """Return the heading of the section: ``Learning · round 3``."""
        snapshot, runner = self.keeper.snapshot, self.runner
        if runner.active and runner.kind == "predict":
            return "Learning · predicting"
        if runner.active and snapshot is not None:
            numbers = [item.number for item in snapshot.rounds if item.state == "running"]
            number = max(numbers) if numbers else max((item.number for item in snapshot.rounds), default=0) + 1
            return f"Learning · round {number}"
        model = snapshot.active_model if snapshot is not None else None
        return "Learning" if model is None or model.round is None else f"Learning · model of round {model.round}"

    def buttons_bottom(self) -> int:
        """Return how far down (pixels) the buttons end that start, resume or stop a round."""
        shown = [button for button in (self.start, self.resume, self.cancel) if button.isVisible()]
        return max((button.geometry().bottom() + 8 for button in shown), default=0)

    def plan(self) -> RoundPlan:
        """Return the plan that the forms say.

        Raises
        ------
        ValueError
            If a field is refused.
        """
        return cast("RoundPlan", self.form.value()).model_copy(update=self.way.fields())

    def is_valid(self) -> bool:
        """Whether the forms say a plan."""
        return self.form.is_valid() and self.way.is_valid()

    def _refresh(self, *_: object) -> None:
        snapshot, runner = self.keeper.snapshot, self.runner
        self.setEnabled(snapshot is not None)
        self.way.show_snapshot(snapshot)
        self._show_words(snapshot)
        self._show_buttons(snapshot)
        self.warning.setText(runner.warning)
        self.warning.setVisible(bool(runner.warning))
        self.advice.setText("" if snapshot is None else snapshot.advice)
        self.advice.setVisible(bool(self.advice.text()) and not runner.active)
        if snapshot is not None:
            self.history.show_history(snapshot.models, snapshot.rounds)
            count = len(self.history.lines)
            self.history_part.set_title(f"Rounds and models ({count})" if count else "Rounds and models")
        if runner.active and not self._clock.isActive():
            self._clock.start()
        elif not runner.active:
            self._clock.stop()
        self._show_progress()

    def _show_words(self, snapshot: Snapshot | None) -> None:
        runner = self.runner
        trouble = runner.state in ("failed", "died")
        self.words.setStyleSheet(f"color: {_TROUBLE};" if trouble else "")
        if snapshot is None:
            self.words.setText("Open a project to train on it.")
            self.details.hide()
            return
        if runner.active:
            self.words.setText(runner.words)
            taken = "" if runner.taken == runner.words else runner.taken
            self.details.setText(f"{taken} Go on labelling meanwhile.".strip())
        else:
            plan = self.plan() if self.is_valid() else RoundPlan()
            before, unfinished = before_words(snapshot, plan.phase), snapshot.unfinished
            after = after_words(unfinished) if unfinished is not None else ""
            if runner.state in ("done", "cancelled", "failed", "died"):
                after = runner.words
            self.words.setText(after or before)
            self.details.setText(before if after else "")
            told = (plan_words(snapshot, plan), self.way.words(), cost_words(snapshot, plan))
            parts = (self.details.text(), *told)
            self.details.setText(" ".join(part for part in parts if part))
        self.details.setVisible(bool(self.details.text()))

    def _show_buttons(self, snapshot: Snapshot | None) -> None:
        runner = self.runner
        idle = snapshot is not None and not runner.active
        interrupted = snapshot is not None and snapshot.unfinished is not None
        self.start.setVisible(not runner.active)
        self.start.setEnabled(idle and self.is_valid() and snapshot is not None and snapshot.training > 0)
        if snapshot is not None:
            plan = self.plan() if self.is_valid() else RoundPlan()
            self.start.setText(START_NOW if waits(snapshot, plan) else START)
            self.start.setToolTip(start_tooltip(snapshot, plan))
        off = "" if snapshot is None else pseudo_words(snapshot)
        self.off.setText(off)
        told = snapshot is not None and snapshot.selfpaced_off in self.words.text() + self.details.text()
        self.off.setVisible(idle and bool(off) and not told)
        self.again.setVisible(idle and bool(off))
        self.resume.setVisible(idle and (interrupted or runner.state == "died") and runner.kind == "round")
        self.smaller.setVisible(idle and bool(runner.retry))
        self.smaller.setToolTip(f"Start the round again with {runner.retry_words()}." if runner.retry else "")
        self.cancel.setVisible(runner.active)
        stuck = runner.active and "not answering" in runner.warning
        self.cancel.setEnabled(runner.active and (runner.state != "cancelling" or stuck))
        self.cancel.setText("Stop it" if stuck else "Cancel")
        stale = snapshot.unscored if snapshot is not None else 0
        self.predict.setVisible(idle and stale > 0)
        self.predict.setText(f"Predict now ({stale})")
        self.way.setVisible(not runner.active)
        for part in (self.settings_part, self.way_part, self.pseudo_part):
            part.setEnabled(not runner.active)

    def _show_progress(self) -> None:
        runner = self.runner
        self.bar.setVisible(runner.active)
        self.left.setVisible(runner.active)
        self.curve.show_curves(runner.curves)
        if not runner.active:
            return
        progress = runner.progress
        if progress is None or progress.total <= 0:
            self.bar.setRange(0, 0)
        else:
            self.bar.setRange(0, progress.total)
            self.bar.setValue(progress.done)
        parts = []
        if progress is not None and progress.total > 0:
            parts.append(progress.text or f"{progress.done} of {progress.total}")
            if progress.eta is not None:
                parts.append(f"{duration(progress.eta)} left")
        parts.append(f"running {duration(time.monotonic() - runner.started_at)}")
        if runner.memory_mb:
            parts.append(memory_words(runner.memory_mb))
        self.left.setText(" · ".join(parts))

    # -- what is pressed ------------------------------------------------------------------------------------------

    def _keep_way(self) -> None:
        """Write the way of training to the project."""
        project, changes = self.session.project, self.way.unlike_project()
        if project is None or not changes:
            return

        def kept(_config: object) -> None:
            self.way.choose(PROJECT)
            self.session.cases_changed.emit()
            self.session.message.emit("Rounds of this project follow this way of training from now on.", "info")

        def failed(error: DaslError) -> None:
            self.session.message.emit(str(error), "error")

        run_in_background(self, lambda: project.update_config(**changes), kept, failed)

    def _start(self) -> None:
        snapshot = self.keeper.snapshot
        if snapshot is None or not self.is_valid():
            return
        plan = self.plan()
        # What the button says: it does not wait for the cases that were asked for.
        self.runner.start_round(plan.model_copy(update={"phase": "al"}) if waits(snapshot, plan) else plan)

    def _resume(self) -> None:
        self.runner.resume()

    def _do_that(self) -> None:
        self.runner.start_again_smaller()

    def _cancel(self) -> None:
        if "not answering" in self.runner.warning:
            self.runner.stop_now()
        else:
            self.runner.cancel()

    def _predict(self) -> None:
        self.runner.predict()

    def _use_pseudo_labels(self) -> None:
        project = self.session.project
        if project is None:
            return
        self.again.setEnabled(False)

        def done(_: object) -> None:
            self.again.setEnabled(True)
            self.session.cases_changed.emit()
            self.session.message.emit("Pseudo-labels are used again from the next round on.", "info")

        def failed(error: DaslError) -> None:
            self.again.setEnabled(True)
            self.session.message.emit(str(error), "error")

        run_in_background(self, lambda: phases.switch(project, enabled=True), done, failed)

    def _use_model(self, model: str) -> None:
        project = self.session.project
        if project is None:
            return
        if self.runner.active and self.runner.kind == "round":
            self.session.message.emit(
                "A round is running and will choose its model when it ends. Cancel it first, or wait.", "warning"
            )
            return
        self.history.setEnabled(False)

        def done(_: object) -> None:
            self.history.setEnabled(True)
            self.session.refresh_predictions()
            self.session.message.emit("The older model is active again. Its predictions and ranking are back.", "info")

        def failed(error: DaslError) -> None:
            self.history.setEnabled(True)
            self.session.message.emit(str(error), "error")

        run_in_background(self, lambda: project.use(model), done, failed)


def _button(parent: QWidget, text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text, parent)
    button.setToolTip(tooltip)
    return button
