"""Rounds and models of the project, newest first: guard Dice and its change, what was learned from, one click back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_dasl.rounds.guard_lesions import counts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from napari_dasl.project.records import Model, Round

_COLUMNS = ("Round", "When", "Guard Dice", "Labels", "")
_STATES = {"running": "unfinished", "cancelled": "stopped", "failed": "failed", "done": ""}
_HEIGHT_ROWS = 6


@dataclass(frozen=True)
class HistoryLine:
    """One line: a model, or a round that made none. *model* is its id, empty where there is none.

    *dice* is on the guard set, *change* the difference to the model that was active before.
    """

    title: str
    when: datetime
    dice: float | None
    change: float | None
    labels: str
    model: str
    active: bool
    note: str
    tooltip: str

    @property
    def title_words(self) -> str:
        """What the button does, and what kind of model it is."""
        use = "Predictions and the ranking come from this model from now on."
        return f"A candidate: it did not take over when it was made. {use}" if self.note == "candidate" else use


def history_lines(models: Sequence[Model], rounds: Sequence[Round]) -> list[HistoryLine]:
    """Return the lines of the history, newest first: every model, and every round that ended without one."""
    by_number = {item.number: item for item in rounds}
    lines = []
    for model in models:
        made_in = by_number.get(model.round) if model.round is not None else None
        trained = (made_in.result.get("trained_on") or {}) if made_in is not None else {}
        labels = " + ".join(str(trained[key]) for key in ("human", "pseudo") if trained.get(key))
        result = made_in.result if made_in is not None else {}
        note = "active" if model.active else "" if model.promoted else "candidate"
        told = (
            str(result.get("sentence", "")),
            _change_words(model.guard),
            _pseudo_words(result),
            f"Model {model.id}",
            _per_class(model.guard),
        )
        lines.append(
            HistoryLine(
                str(model.round) if model.round is not None else model.id,
                model.created,
                _number(model.guard, "dice"),
                _change(model.guard),
                labels,
                model.id,
                model.active,
                note,
                "\n".join(part for part in told if part),
            )
        )
    with_model = {model.round for model in models}
    lines += [
        HistoryLine(
            str(item.number), item.started, None, None, "", "", False, _STATES.get(item.state, item.state), _why(item)
        )
        for item in rounds
        if item.number not in with_model and item.state != "running"
    ]
    return sorted(lines, key=lambda line: line.when, reverse=True)


def _number(values: dict[str, Any], name: str) -> float | None:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) else None


def _change(guard: dict[str, Any]) -> float | None:
    """Return what the model gained on the guard set over the one that was active before."""
    dice, before = _number(guard, "dice"), _number(guard, "before")
    return None if dice is None or before is None else dice - before


def _change_words(guard: dict[str, Any]) -> str:
    """Return the change on the guard set with its interval and the case that lost most; of a detector the lesions."""
    found, false = counts(guard)
    lesions = f"Found {found}, {false}." if found else ""
    change, interval, worst = _change(guard), guard.get("interval"), guard.get("worst")
    if change is None:
        return lesions
    words = f"Guard Dice changed by {change:+.3f}"
    if isinstance(interval, list | tuple) and len(interval) == 2:
        words += f" (95 % of resamples between {interval[0]:+.3f} and {interval[1]:+.3f})"
    if isinstance(worst, list | tuple) and len(worst) == 2 and worst[1] < 0:
        words += f"; most lost: {worst[0]}, {worst[1]:+.3f}"
    return f"{words}. {lesions}".strip()


def _pseudo_words(result: dict[str, Any]) -> str:
    """Return what the round took as pseudo-labels, in numbers."""
    pseudo, pace = result.get("pseudo") or {}, result.get("lambda")
    if not pseudo or pace is None:
        return ""
    words = f"Pseudo-labels: {pseudo.get('taken', 0)} of {pseudo.get('candidates', 0)}"
    weight = pseudo.get("mean_weight")
    words += f", mean weight {weight:.2f}" if isinstance(weight, int | float) else ""
    return f"{words}, pace λ {pace:.4g}."


def _per_class(guard: dict[str, object]) -> str:
    classes = guard.get("per_class")
    if not isinstance(classes, dict) or len(classes) < 2:
        return ""
    return ", ".join(f"{name} {value:.3f}" for name, value in classes.items() if value is not None)


def _why(item: Round) -> str:
    told = item.result
    return str(
        told.get("message") or told.get("reason") or told.get("sentence") or f"Round {item.number} {item.state}."
    )


def _dice_text(line: HistoryLine) -> str:
    if line.dice is None:
        return ""
    return f"{line.dice:.3f}" if line.change is None else f"{line.dice:.3f}  {line.change:+.3f}".replace("-", "−")


class HistoryTable(QWidget):
    """The table; `use_model` is emitted with a model's id when its button is pressed."""

    use_model = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: list[HistoryLine] = []
        self.table = QTableWidget(0, len(_COLUMNS), self)
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.horizontalHeaderItem(0).setToolTip("◇ a candidate: kept, but it did not take over.")
        self.table.horizontalHeaderItem(2).setToolTip("Mean Dice on the guard set, and the change to the model before.")
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.verticalHeader().setDefaultSectionSize(self.table.fontMetrics().height() + 10)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(len(_COLUMNS) - 1, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)

    def show_history(self, models: Sequence[Model], rounds: Sequence[Round]) -> None:
        """Show the history; nothing is redrawn when it is the same."""
        lines = history_lines(models, rounds)
        if lines == self.lines:
            return
        self.lines = lines
        self.table.setRowCount(0)
        self.table.setRowCount(len(lines))
        for number, line in enumerate(lines):
            texts = (
                f"◇ {line.title}" if line.note == "candidate" else line.title,
                f"{line.when.astimezone():%d %b %H:%M}",
                _dice_text(line),
                line.labels,
            )
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(line.tooltip)
                self.table.setItem(number, column, item)
            if line.model and not line.active:
                button = QPushButton("Use", self.table)
                button.setToolTip(f"{line.title_words}\n{line.tooltip}")
                button.setStyleSheet("QPushButton { padding: 1px 6px; }")
                button.clicked.connect(partial(self._use, line.model))
                self.table.setCellWidget(number, len(_COLUMNS) - 1, button)
            else:
                note = QTableWidgetItem(f"● {line.note}" if line.active else line.note)
                note.setToolTip(line.tooltip)
                self.table.setItem(number, len(_COLUMNS) - 1, note)
        rows = min(max(len(lines), 1), _HEIGHT_ROWS)
        height = self.table.horizontalHeader().sizeHint().height()
        self.table.setFixedHeight(height + rows * self.table.verticalHeader().defaultSectionSize() + 6)

    def _use(self, model: str, _checked: bool = False) -> None:
        self.use_model.emit(model)
