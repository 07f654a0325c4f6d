"""A napari that paints and then waits to be killed: run by test_session_killed.py in a process of its own."""

import sys

import napari
from qtpy.QtCore import QTimer

from napari_dasl.widgets import drafts
from napari_dasl.widgets.case_panel import CaseWidget
from napari_dasl.widgets.session import session_for


def main(folder: str) -> None:
    """Open P-0 of the project in *folder*, paint a stroke, and say when its draft is on the disk."""
    drafts.AUTOSAVE_MS = 200
    viewer = napari.Viewer(show=False)
    viewer.window.add_dock_widget(CaseWidget(viewer))
    session = session_for(viewer)

    def paint(_: object) -> None:
        label = session.layers["label"]
        label.brush_size = 4
        label.paint((6, 10, 10), 1)
        label.paint((6, 12, 10), 2)
        QTimer.singleShot(100, look)

    def look() -> None:
        draft = session.project.read_draft("P-0")
        if draft is None:
            QTimer.singleShot(100, look)
            return
        sys.stdout.write(f"draft {int(draft.mask.sum())} {session.layers.label.view().tobytes().hex()}\n")
        sys.stdout.flush()

    session.project_changed.connect(lambda _: session.open_case("P-0"))
    session.case_opened.connect(paint)
    session.open_project(folder)
    napari.run(force=True)


main(sys.argv[1])
