"""The panel of a case: why it is here, what is on the screen, and the verbs: accept, save, skip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_dasl.project.records import CaseState
from napari_dasl.widgets import keys
from napari_dasl.widgets.case_facts import Facts, label_words, prediction_words, read_facts, why
from napari_dasl.widgets.clock import in_words
from napari_dasl.widgets.disclosure import Disclosure
from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.map_key import MapKey
from napari_dasl.widgets.paint_bar import PaintBar
from napari_dasl.widgets.session import session_for
from napari_dasl.widgets.why_numbers import WhyNumbers
from napari_dasl.widgets.worklist_model import SIGNS

if TYPE_CHECKING:
    import napari.viewer  # napari passes the viewer to a widget whose annotation reads exactly like this
    from qtpy.QtGui import QShowEvent

SKIP_REASONS = ("Image quality too poor", "Not the disease of this study", "I am not sure: ask a colleague", "Other …")
_SETTLE_MS = 80
_NOTICE = "QLabel { background: rgba(230, 159, 0, 45); border-left: 3px solid #E69F00; padding: 4px 6px; }"


class CaseWidget(QWidget):
    """The panel of the selected case.

    Parameters
    ----------
    viewer : napari.Viewer
        Its session is shared with the other widgets.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session_for(viewer)
        self.facts: Facts | None = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._read)
        self._build()
        session = self.session
        for signal in (
            session.selection_changed,
            session.case_opened,
            session.cases_changed,
            session.project_changed,
            session.draft_changed,
            session.saved,
        ):
            signal.connect(self._refresh_soon)
        session.prediction_changed.connect(self._refresh_soon)
        session.elapsed.connect(self._show_time)
        session.case_opened.connect(self._enable)
        session.draft_changed.connect(self._enable)
        session.prediction_changed.connect(self._enable)
        self._enable()
        self._read()

    # -- building -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 4)
        layout.setSpacing(5)
        self.title = _text(bold=True)
        self.time = QLabel("", self)
        self.time.setToolTip("Active time on this case. Pauses of more than 20 seconds do not count.")
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.time)
        layout.addLayout(head)
        self.notice = _text()
        self.notice.setStyleSheet(_NOTICE)
        self.notice.linkActivated.connect(lambda _: self.session.work.discard_draft())
        layout.addWidget(self.notice)
        self.reason = _text()
        layout.addWidget(self.reason)
        layout.addLayout(self._build_buttons())
        self.paint = PaintBar(self.session, self)
        layout.addWidget(self.paint)
        self.map_key = MapKey(self.session, self)
        layout.addWidget(self.map_key)
        self.prediction = _text(faint=True)
        self.label = _text(faint=True)
        layout.addWidget(self.prediction)
        layout.addWidget(self.label)
        self.numbers = WhyNumbers(self)
        self.numbers.chosen.connect(self.session.open_case)
        self.disclosure = Disclosure("Why, in numbers", self.numbers, parent=self)
        self.parts = (self.disclosure, self.numbers.every)
        layout.addWidget(self.disclosure)
        layout.addStretch(1)

    def _build_buttons(self) -> QGridLayout:
        self.open = _button("Open this case", "Show its scan", self._open)
        self.accept = _button("Accept  K", "Copy the prediction into the label. Nothing is saved yet.", self._accept)
        self.save_next = _button("Save && next  N", "Save the label and open the next case", self._save_and_next)
        self.skip = _button("Skip…", "Set this case aside and say why", None)
        self.save = _button("Save  Q", "Save the label and stay here", self._save)
        self.save_next.setStyleSheet("QPushButton { font-weight: bold; }")
        menu = QMenu(self)
        for reason in SKIP_REASONS:
            menu.addAction(reason)
        menu.triggered.connect(self._skip)
        self.skip.setMenu(menu)
        self.more = QToolButton(self)
        self.more.setText("⋯")
        self.more.setToolTip("Earlier labels, draft, keys")
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.more.setMinimumWidth(30)
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        more = QMenu(self)
        self.history = more.addAction("Earlier labels…", self._show_history)
        self.discard = more.addAction("Discard the draft", self.session.work.discard_draft)
        more.addSeparator()
        more.addAction("Next uncertain region  U", self.session.next_region)
        more.addAction("Next grey-value window  W", self.session.layers.next_window)
        more.addAction("Previous case  J", self.session.previous_case)
        more.addSeparator()
        more.addAction("Keys  ?", self.show_keys)
        self.more.setMenu(more)
        grid = QGridLayout()
        grid.setSpacing(4)
        grid.addWidget(self.open, 0, 0, 1, 3)
        grid.addWidget(self.accept, 1, 0)
        grid.addWidget(self.save_next, 1, 1, 1, 2)
        grid.addWidget(self.skip, 2, 0)
        grid.addWidget(self.save, 2, 1)
        grid.addWidget(self.more, 2, 2)
        grid.setColumnStretch(0, 5)
        grid.setColumnStretch(1, 5)
        return grid

    # -- verbs ----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self.session.selected_id is not None:
            self.session.open_case(self.session.selected_id)

    def _accept(self) -> None:
        if self.session.work.can_undo_accept:
            self.session.work.undo_accept()
        else:
            self.session.work.accept()

    def _save(self) -> None:
        self.session.work.save()

    def _save_and_next(self) -> None:
        self.session.work.save_and_next()

    def _skip(self, action: Any) -> None:
        reason, given = action.text(), True
        if reason == SKIP_REASONS[-1]:
            reason, given = QInputDialog.getText(self, "Skip this case", "Why is it set aside?")
        if given:
            self.session.work.skip(reason.strip() or "no reason given")

    def _show_history(self) -> None:
        from napari_dasl.widgets.label_history import LabelHistoryDialog

        if self.session.selected_id is not None:
            LabelHistoryDialog(self.session, self.session.selected_id, self.window()).open()

    def show_keys(self) -> None:
        """Show the list of keys."""
        keys.show(self)

    # -- showing --------------------------------------------------------------------------------------------------

    def buttons_bottom(self) -> int:
        """Return how far down (pixels) the last of the buttons that are pressed for every scan ends."""
        shown = [
            button for button in (self.open, self.accept, self.save_next, self.skip, self.save) if button.isVisible()
        ]
        return max((button.geometry().bottom() + 8 for button in shown), default=0)

    def showEvent(self, event: QShowEvent) -> None:
        """Join the main window, where keys and its end come from."""
        super().showEvent(event)
        self.session.watch(self.window())

    def _refresh_soon(self, *_: object) -> None:
        self._settle.start()

    def _read(self) -> None:
        project, case_id = self.session.project, self.session.selected_id
        if project is None or case_id is None:
            self._show(None)
            return

        def show(facts: Facts) -> None:
            if self.session.project is project and self.session.selected_id == case_id:
                self._show(facts)

        run_in_background(self, lambda: read_facts(project, case_id), show, lambda _: self._show(None))

    def _show(self, facts: Facts | None) -> None:
        self.facts = facts
        for part in (self.title, self.prediction, self.label, self.disclosure):
            part.setVisible(facts is not None)
        if facts is None:
            nothing = (
                "No project is open." if self.session.project is None else "Open a case from the worklist, or press N."
            )
            self.reason.setText(nothing)
            self.notice.hide()
            self._enable()
            return
        opened = self.session.opened
        here = opened is not None and opened.case.id == facts.case.id
        sign = SIGNS[CaseState.DRAFT if here and opened.has_draft else facts.case.state]
        scans = " + ".join(series.channel for series in facts.case.series if series.channel != "image")
        self.title.setText(
            f"{facts.case.id}{f' · {scans}' if scans else ''}"
            f"&nbsp;&nbsp;<span style='color:{sign.colour}; font-weight:normal'>{sign.symbol} {sign.word}</span>"
        )
        blind = here and opened.audit
        self.reason.setText(why(facts, blind=blind))
        self.prediction.setText(prediction_words(facts, blind=blind))
        self.label.setText(label_words(facts))
        self.numbers.show_facts(facts, blind=blind)
        self._enable()

    def _enable(self, *_: object) -> None:
        """Show what can be done now."""
        session = self.session
        opened = session.opened if session.case_id is not None else None
        here = opened is not None and session.selected_id == session.case_id
        selected = session.project is not None and session.selected_id is not None
        readable = self.facts is None or self.facts.case.readable
        self.open.setVisible(selected and not here and readable)
        for button in (self.accept, self.save_next, self.skip, self.save, self.more, self.paint):
            button.setVisible(here)
        self.accept.setEnabled(session.work.can_accept or session.work.can_undo_accept)
        self.accept.setText("Undo accept" if session.work.can_undo_accept else "Accept  K")
        self.save.setEnabled(not session.work.saving)
        self.time.setVisible(here)
        draft = here and opened is not None and opened.has_draft
        self.discard.setEnabled(draft)
        self.history.setEnabled(bool(self.facts and self.facts.revisions))
        words = []
        if draft and opened is not None and opened.draft_saved is not None:
            words.append(
                f"Your unsaved edit of {opened.draft_saved.astimezone():%d %b, %H:%M} is back. "
                "<a href='discard' style='color:#E69F00'>Discard it</a>"
            )
        if here and opened is not None:
            words += opened.notices()
        self.notice.setText("<br>".join(words))
        self.notice.setVisible(bool(words))

    def _show_time(self, seconds: float) -> None:
        self.time.setText(in_words(seconds))


def _text(*, bold: bool = False, faint: bool = False) -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
    label.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    if bold:
        label.setStyleSheet("QLabel { font-weight: bold; }")
    elif faint:
        label.setStyleSheet("QLabel { color: #8F8F8F; }")  # read on napari's dark and light theme alike
    return label


def _button(text: str, tip: str, action: Any) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keyboard stays with the picture
    if action is not None:
        button.clicked.connect(lambda: action())
    return button
