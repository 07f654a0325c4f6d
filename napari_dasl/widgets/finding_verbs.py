"""What can be done with a finding: accept, reject, take the verdict back, edit; and adding one by a click.

What is accepted is copied into the label as one step of undo, into the background alone: what a person drew is never
overwritten. Nothing is saved by it, as with every stroke. A verdict is stored at once. Ctrl+Z over a copy takes the
verdict back too, and Ctrl+Y brings it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from napari_dasl.project.instances import HIGHEST_ID
from napari_dasl.widgets.drafts import DraftKeeper
from napari_dasl.widgets.finding_keeper import finding_keeper_for
from napari_dasl.widgets.finding_rows import DECIDABLE
from napari_dasl.widgets.hand_watch import HandWatch
from napari_dasl.widgets.jobs import Jobs
from napari_dasl.widgets.pieces import Piece, sphere
from napari_dasl.widgets.project_reading import account_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.errors import DaslError
    from napari_dasl.project.records import FindingVerdict
    from napari_dasl.widgets.finding_rows import FindingRow
    from napari_dasl.widgets.session import Session

_SETTLE_MS = 350


@dataclass(frozen=True, eq=False)
class Copied:
    """What was copied of a finding: *indices* (z, y, x) into the label, all with *value*, background before."""

    indices: tuple[NDArray[np.intp], ...]
    value: int


class FindingVerbs(QObject):
    """Acts on the findings of the session's open case.

    Parameters
    ----------
    session : Session
        Whose project, jobs and label layer are used.
    """

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.keeper = finding_keeper_for(session)
        self._jobs = session.findChild(Jobs)
        self._drafts = session.findChild(DraftKeeper)
        self._hand = session.findChild(HandWatch)
        self._copied: dict[int, Copied] = {}
        self._settle = QTimer(self)  # a stroke of undo redraws several times
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._after_undo)
        session.layers.redrawn.connect(self._settle.start)
        session.case_opened.connect(self._forget)
        session.prediction_changed.connect(self._prediction_changed)
        self._model = ""
        self._drafts.accepted_part = self._accepted_part

    # -- verbs ----------------------------------------------------------------------------------------------------

    def accept(self, row: FindingRow) -> bool:
        """Copy a finding into the label and note the verdict; False where it cannot be."""
        if row.state == "accepted" or not self._ready():
            return False
        if row.state != "labelled" and not self._copy(row):
            return False
        self._note(row, "accepted")
        return True

    def reject(self, row: FindingRow) -> bool:
        """Note that there is no lesion; what was copied of it, and not painted over since, goes from the label."""
        if row.state == "rejected" or not self._ready():
            return False
        taken = self._take_out(row)
        self._note(row, "rejected")
        if row.state in ("accepted", "labelled") and not taken:
            self._say(f"Finding {row.id} is rejected. Your label keeps what is drawn there.", "warning")
        return True

    def undo(self, row: FindingRow) -> bool:
        """Take the verdict back, and out of the label what it copied and nobody painted over since."""
        if row.state not in ("accepted", "rejected") or not self._ready():
            return False
        if row.state == "accepted" and not self._take_out(row):
            self._say(f"Finding {row.id} is to review again. Your label keeps what is drawn there.")
        self._note(row, "cleared")
        return True

    def edit(self, row: FindingRow) -> int | None:
        """Put a finding into the label, unless it is there, and take up the brush with its value; return that."""
        if not self._ready():
            return None
        value = self._value_at(row)
        if value is None:
            if row.state in DECIDABLE or row.state == "rejected":
                self.accept(row)
            else:  # accepted, and erased since
                self._copy(row)
            value = self._value_at(row)
        if value is not None:
            layers = self.session.layers
            layers.label.paint_with(value)
            layers["label"].mode = "paint"
        return value

    def add(self, point: Sequence[float], diameter: float) -> bool:
        """Draw a sphere of *diameter* mm around *point* (z, y, x in mm) into the background of the label."""
        layers, reference = self.session.layers, self.session.layers.reference
        if reference is None or self.session.opened is None:
            return False
        centre = [(at - low) / step for at, low, step in zip(point, reference.origin, reference.spacing, strict=True)]
        piece = sphere(reference.array.shape, reference.spacing, centre, diameter)
        if piece is None:
            self._say("That is outside the scan.")
            return False
        value = self._next_value() if layers.numbered else layers.label.paint_class or 1
        if self._draw(piece, value) is None:
            self._say("There is a lesion in your label already.")
            return False
        if layers.numbered:
            layers.label.paint_with(value)
        return True

    # -- the label ------------------------------------------------------------------------------------------------

    def _ready(self) -> bool:
        opened = self.session.opened
        return (
            self.session.project is not None
            and opened is not None
            and not opened.blind
            and self.keeper.snapshot.case == opened.case.id
        )

    def _copy(self, row: FindingRow) -> bool:
        piece = self.keeper.snapshot.pieces.get(row.id)
        if piece is None:
            self._say(f"Finding {row.id} has no outline of its own: it is covered by others.", "warning")
            return False
        opened = self.session.opened
        value = self._next_value() if self.session.layers.numbered else row.label
        origin = (opened.shown.model, opened.shown.round) if opened is not None and opened.shown is not None else None
        indices = self._draw(piece, value, origin)
        if indices is None:
            self._say(f"Your label already holds all of finding {row.id}.")
        else:
            self._copied[row.id] = Copied(indices, value)
        return True

    def _draw(
        self, piece: Piece, value: int, origin: tuple[str, int | None] | None = None
    ) -> tuple[NDArray[np.intp], ...] | None:
        """Write *value* where *piece* meets background; return where, None for nowhere."""
        layers = self.session.layers
        indices = piece.indices(layers.label.view()[piece.region] == 0)
        if not indices[0].size:
            return None
        layers.label.write(indices, value)
        self._changed(origin)
        return indices

    def _take_out(self, row: FindingRow) -> bool:
        copied = self._copied.pop(row.id, None)
        if copied is None:
            return False
        label = self.session.layers.label.view()
        still = label[copied.indices] == copied.value
        self.session.layers.label.write(tuple(axis[still] for axis in copied.indices), 0)
        self._changed(None)
        return bool(still.any())

    def _changed(self, origin: tuple[str, int | None] | None) -> None:
        self._drafts.drawn(origin)
        self._hand.settle()
        self.session.prediction_changed.emit()
        self.keeper.look()

    def _value_at(self, row: FindingRow) -> int | None:
        """Return the value that the label has at a finding: its class, or the number that covers most of it."""
        piece = self.keeper.snapshot.pieces.get(row.id)
        if piece is None:
            return None
        values = self.session.layers.label.view()[piece.region][piece.mask]
        if not self.session.layers.numbered:
            return row.label if (values == row.label).any() else None
        counts = np.bincount(values[values > 0].astype(np.intp)) if (values > 0).any() else None
        return None if counts is None else int(counts.argmax())

    def _next_value(self) -> int:
        return min(int(self.session.layers.label.view().max(initial=0)) + 1, HIGHEST_ID)

    def _accepted_part(self, mask: Any) -> Any:
        """Return what *Accept* of the whole prediction copies: all but what was rejected."""
        opened, found = self.session.opened, self.keeper.snapshot
        if opened is None or found.case != opened.case.id:
            return mask
        return found.without(mask, [row.id for row in self.keeper.rows if row.state == "rejected"])

    # -- undo of napari -------------------------------------------------------------------------------------------

    def _forget(self, *_: object) -> None:
        self._settle.stop()
        self._copied.clear()

    def _prediction_changed(self) -> None:
        opened = self.session.opened
        model = opened.shown.model if opened is not None and opened.shown is not None else ""
        if model != self._model:  # another model numbers its findings anew
            self._model = model
            self._copied.clear()

    def _after_undo(self) -> None:
        """Follow Ctrl+Z and Ctrl+Y: the verdict goes with the copy, and comes with it."""
        if not self._ready():
            return
        label = self.session.layers.label.view()
        rows = {row.id: row for row in self.keeper.rows}
        for number, copied in self._copied.items():
            row, values = rows.get(number), label[copied.indices]
            if row is None:
                continue
            if row.state == "accepted" and not values.any():
                self._note(row, "cleared")
            elif row.state in DECIDABLE and (values == copied.value).all():
                self._note(row, "accepted")

    # -- the project ----------------------------------------------------------------------------------------------

    def _note(self, row: FindingRow, verdict: FindingVerdict) -> None:
        project, found = self.session.project, self.keeper.snapshot
        self.keeper.expect(row.id, verdict)

        def work() -> None:
            project.review_finding(found.case, row.id, verdict, author=account_name(), model=found.model)

        def done(_: object) -> None:
            self._settle_note(found.case, row.id, stored=True)
            self.session.cases_changed.emit()

        def fail(error: DaslError) -> None:
            self._settle_note(found.case, row.id, stored=False)
            self._say(str(error), "error")

        self._jobs.write(work, done, fail)

    def _settle_note(self, case: str, number: int, *, stored: bool) -> None:
        if self.session.case_id == case:
            self.keeper.settle(number, stored=stored)

    def _say(self, words: str, severity: str = "info") -> None:
        self.session.message.emit(words, severity)
