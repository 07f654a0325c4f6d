"""The newest pseudo-labels of the session's project, read beside the window and shared by every view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dasl.widgets.project_reader import ProjectReader
from napari_dasl.widgets.pseudo_rows import PseudoSnapshot, read_pseudo

if TYPE_CHECKING:
    from napari_dasl.widgets.session import Session


class PseudoKeeper(ProjectReader):
    """Keeps the newest :class:`PseudoSnapshot`; an empty one while no project is open."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, lambda project: lambda: read_pseudo(project), PseudoSnapshot())


def pseudo_keeper_for(session: Session) -> PseudoKeeper:
    """Return the one keeper of *session*, made at the first call."""
    found = session.findChild(PseudoKeeper)
    return found if found is not None else PseudoKeeper(session)
