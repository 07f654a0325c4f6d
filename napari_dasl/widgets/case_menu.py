"""What can be done with a case of the list: open, skip and bring back, show its files, look at earlier labels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QPoint, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QInputDialog, QMenu, QWidget

from napari_dasl.project.records import CaseState
from napari_dasl.widgets.jobs import run_in_background

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_dasl.errors import DaslError
    from napari_dasl.widgets.session import Session
    from napari_dasl.widgets.snapshot import Row


class CaseMenu(QObject):
    """The context menu of the list.

    Parameters
    ----------
    session : Session
        Whose cases they are.
    parent : QWidget
        Over which the menu and its dialogs show.
    """

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._widget = parent

    def actions(self, row: Row) -> list[tuple[str, Callable[[], object]]]:
        """Return what can be done with a case: (title, function)."""
        session = self._session
        actions: list[tuple[str, Callable[[], object]]] = []
        if row.readable:
            actions.append(("Open", partial(session.open_case, row.case)))
        if row.state is CaseState.SKIPPED:
            actions.append(("Put back into the list", partial(session.work.unskip, row.case)))
        elif row.readable and not row.labelled:
            actions.append(("Skip…", partial(self._ask_reason, row.case)))
        actions.append(("Show the scan in its folder", partial(self._show_folder, row.case)))
        if row.labelled:
            actions.append(("Earlier labels…", partial(self._show_history, row.case)))
        return actions

    def ask(self, row: Row, position: QPoint) -> None:
        """Show the menu of a case at a *position* of the screen, and do what is chosen."""
        menu = QMenu(self._widget)
        functions = {menu.addAction(title): function for title, function in self.actions(row)}
        chosen = menu.exec(position)
        if chosen is not None:
            functions[chosen]()

    def skip(self, case_id: str, reason: str) -> None:
        """Set a case aside, whether it is open or not."""
        session, project = self._session, self._session.project
        if project is None:
            return
        if case_id == session.case_id:
            session.work.skip(reason)
            return

        def failed(error: DaslError) -> None:
            session.message.emit(str(error), "error")

        run_in_background(self, lambda: project.skip(case_id, reason), lambda _: session.cases_changed.emit(), failed)

    def _ask_reason(self, case_id: str) -> None:
        reason, given = QInputDialog.getText(self._widget, f"Skip {case_id}", "Why is it set aside?")
        if given:
            self.skip(case_id, reason.strip() or "no reason given")

    def _show_folder(self, case_id: str) -> None:
        project = self._session.project
        if project is not None:
            path = project.case(case_id).reference
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path if path.is_dir() else path.parent)))

    def _show_history(self, case_id: str) -> None:
        from napari_dasl.widgets.label_history import LabelHistoryDialog

        LabelHistoryDialog(self._session, case_id, self._widget.window()).open()
