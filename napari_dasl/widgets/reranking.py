"""Letting another strategy order the list: at once where the stored predictions hold what it goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.round_runner import runner_for
from napari_dasl.widgets.snapshot import COLD_START

if TYPE_CHECKING:
    from napari_dasl.errors import DaslError
    from napari_dasl.widgets.session import Session

LATER = "This order needs more than one look at each scan; it comes when the work under way is done."


def rank_by(session: Session, strategy: str) -> None:
    """Rank the project of *session* by *strategy* from now on, and in every round to come.

    Where the predictions lack what it goes by, such as several looks at each scan, they are made anew.
    """
    project = session.project
    if project is None:
        return

    def rank() -> str:
        from napari_dasl import rounds

        project.update_config(**{"ranking.strategy": strategy})
        return str(rounds.rank(project).strategy)

    def ranked(used: str) -> None:
        session.cases_changed.emit()
        runner = runner_for(session)
        if used in (strategy, COLD_START):
            return
        if runner.active:
            session.message.emit(LATER, "info")
        else:
            runner.predict()

    def failed(error: DaslError) -> None:
        session.message.emit(str(error), "error")
        session.cases_changed.emit()

    run_in_background(session, rank, ranked, failed)
