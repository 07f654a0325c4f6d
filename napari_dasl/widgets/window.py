"""A napari window with the dock on a project: what ``napari-dasl open`` and the demo show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari

from napari_dasl.widgets.session import session_for

if TYPE_CHECKING:
    from pathlib import Path

    from napari_dasl.widgets.dock import DaslDock

PLUGIN = "napari-dasl"


def open_window(folder: Path | None = None, *, show: bool = True) -> tuple[napari.Viewer, DaslDock]:
    """Open napari with the dock; the project in *folder* and its next case are opened as soon as they are read.

    Parameters
    ----------
    folder : Path, optional
        Without it the dock starts on its empty page.
    show : bool
        Show the window at once.
    """
    viewer = napari.Viewer(title="napari-dasl", show=show)
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "DASL")
    if folder is not None:
        session = session_for(viewer)

        def first(project: Any) -> None:
            session.project_changed.disconnect(first)
            if project is not None:
                session.next_case()

        session.project_changed.connect(first)
        session.open_project(folder)
    return viewer, dock


def run(folder: Path | None = None) -> None:
    """Open the window and stay in it until it is closed."""
    open_window(folder)
    napari.run()
