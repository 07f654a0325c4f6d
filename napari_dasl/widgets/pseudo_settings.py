"""The self-paced settings of the project, under *Advanced*: each change goes to ``project.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_dasl.project.config import SelfpacedConfig
from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.settings_form import SettingsForm
from napari_dasl.widgets.snapshot import Snapshot, snapshots_for

if TYPE_CHECKING:
    from napari_dasl.errors import DaslError
    from napari_dasl.widgets.session import Session

SHOWN = ("enabled", "view", "regularizer", "quantile")
TITLES = {
    "enabled": "Use them",
    "view": "Compare with",
    "regularizer": "Weights",
    "quantile": "First share",
}
VALUES = {
    "own": "its own label (paper)",
    "previous": "the model before",
    "teacher": "the averaged teacher",
    "rescaled": "falling from 1",
    "linear": "linear (paper)",
    "hard": "all or nothing",
    "logarithmic": "logarithmic",
    "mixture": "full, then falling",
}
TIPS = {
    "enabled": "The network may also learn from its own surest predictions of scans that nobody labelled. They are "
    "kept apart from your labels, weigh less, and are made anew each time; your label always wins. Off: it learns from "
    "people's labels only.",
    "view": "A prediction is taken when it agrees with another look at the same scan. Its own label asks only whether "
    "the network is sure of itself. The model before asks whether the prediction stayed the same over a round. The "
    "averaged teacher asks whether a slower, steadier copy of the network agrees.",
    "regularizer": "How much a prediction counts: the less it agrees, the less it weighs. Falling: the surest one "
    "weighs 1, those at the limit 0. All or nothing: each weighs 1 or 0. Linear is the paper's formula (Eq. 8).",
    "quantile": "Share of the unlabelled scans that the first round with pseudo-labels takes, the surest first; the "
    "share grows as the network gets better on the guard set.",
}
_SOON_MS = 400


class PseudoSettings(QWidget):
    """A form for ``[selfpaced]`` of the open project.

    Parameters
    ----------
    session : Session
        Whose project is changed.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.keeper = snapshots_for(session)
        self.form = SettingsForm(SelfpacedConfig, names=SHOWN, titles=TITLES, values=VALUES, tips=TIPS, parent=self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form)
        self._saved = SelfpacedConfig()
        self._soon = QTimer(self)  # a number is typed digit by digit
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self._save)
        self.form.changed.connect(self._soon.start)
        self.keeper.updated.connect(self._show)
        self._show(self.keeper.snapshot)

    def _show(self, snapshot: Snapshot | None) -> None:
        if snapshot is not None and not self._soon.isActive() and snapshot.selfpaced != self._saved:
            self._saved = snapshot.selfpaced
            self.form.set_value(snapshot.selfpaced)
            self._soon.stop()  # setting a value is no wish to change it

    def _save(self) -> None:
        project = self.session.project
        if project is None or not self.form.is_valid():
            return
        wanted = cast("SelfpacedConfig", self.form.value())
        changes = {f"selfpaced.{name}": value for name in SHOWN if (value := getattr(wanted, name)) != self._of(name)}
        if not changes:
            return
        self._saved = wanted

        def failed(error: DaslError) -> None:
            self.session.message.emit(str(error), "error")

        run_in_background(
            self, lambda: project.update_config(**changes), lambda _: self.session.cases_changed.emit(), failed
        )

    def _of(self, name: str) -> object:
        return getattr(self._saved, name)
