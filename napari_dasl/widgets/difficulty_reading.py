"""What the project knows about the difficulty of its cases, read for the list. No Qt here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_dasl.widgets.difficulty_rows import Measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_dasl.project import Project
    from napari_dasl.project.records import Round
    from napari_dasl.rounds.correlating import Correlation


def blind_cases(cases: Iterable[Any], rounds: Sequence[Round]) -> frozenset[str]:
    """Return the unlabelled cases whose prediction nobody may see before drawing.

    Those of the guard set, and those that the newest drawing of lots set aside for a blind check.
    """
    audits = next((item.result["audits"] for item in reversed(rounds) if item.result.get("audits")), ())
    return frozenset(case.id for case in cases if not case.labelled and (case.guard or case.id in audits))


def read_hardness(project: Any, blind: frozenset[str], cases: Iterable[Any] = ()) -> dict[str, dict[str, Measured]]:
    """Return what each scorer measured of each case: case -> scorer -> measure; of *cases* of one slice areas.

    What was measured on a prediction is left out for *blind* cases: the size of what the network drew is a hint. What
    was measured on a label that is not the newest, or with a model that is not the active one, is there, and outdated.
    """
    flat = frozenset(case.id for case in cases if case.shape[0] == 1)
    active = project.active_model()
    newest = project.newest_labels()
    found: dict[str, dict[str, Measured]] = {}
    for one in project.difficulties():
        if one.source == "prediction" and one.case in blind:
            continue
        if one.revision is not None:
            # Of what networks were trained for, too, the label alone decides: see measure_trained.
            outdated = one.revision != newest.get(one.case)
        else:
            outdated = one.model is not None and (active is None or one.model != active.id)
        measured = Measured(one.value, one.source, one.revision, one.model, outdated, one.case in flat)
        found.setdefault(one.case, {})[one.scorer] = measured
    return found


def reading_of_correlations(project: Project) -> Callable[[], dict[str, Correlation]]:
    """Return what reads how each difficulty goes with the Dice that was reached; it may take long."""
    from napari_dasl.rounds.correlating import correlations

    return lambda: correlations(project)
