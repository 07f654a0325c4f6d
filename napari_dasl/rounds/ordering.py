"""How hard the cases of a round are, and how large its scans, as a curriculum needs them before training begins.

Human labels are scored as they were when the round was settled. Sizes, contrasts and intensities are read off them; a
network's own answers come from the active model; and for ``bootstrapping`` and ``gradient`` networks are trained in
the folder of the round, unless the project holds a number for the very same label.

Pseudo-labelled cases are arranged among themselves, by the loss of the network against its own answer that made them
pseudo-labels, and then spread evenly among the human labels: another kind of number must not put all of them first or
last. Cases of which nothing is known come last.
"""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum.difficulty import SCORERS, difficulty
from napari_dasl.errors import Cancelled
from napari_dasl.events import Log, Phase, Progress
from napari_dasl.networks.families import patch_divisor
from napari_dasl.project import Difficulty
from napari_dasl.project.curriculum_config import TRAINED
from napari_dasl.rounds.curricula import Sizes, sizes_of
from napari_dasl.training import Cache, estimate_memory_mb, train
from napari_dasl.training import device as devices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.events import Event
    from napari_dasl.project.curriculum_config import CurriculumConfig
    from napari_dasl.rounds.stage import Stage
    from napari_dasl.training.cases import CaseData

    Values = NDArray[np.float64]

FOLDER = "scoring"
_READ = ("size", "contrast", "intensity", "agreement")


def difficulties_of(stage: Stage, cases: Sequence[CaseData], config: CurriculumConfig) -> Values | None:
    """How hard each case is, rising with hardness, NaN where it is not known; None where nothing can say it.

    Parameters
    ----------
    stage : Stage
    cases : sequence of CaseData
        As training is given them: human labels, pseudo-labels, and cases of which only places are known.
    config : CurriculumConfig
        With a scorer.

    Returns
    -------
    array (n,) or None
        The log says why there is none.

    Raises
    ------
    Cancelled
        What was trained is kept in the folder of the round.
    """
    human = [index for index, case in enumerate(cases) if case.human and case.id in stage.round.plan["train"]]
    values = np.full(len(cases), np.nan)
    measured, why_not = _measured(stage, [cases[index] for index in human], config)
    if measured is None or np.isnan(measured).all():
        title = SCORERS[config.scorer].title
        reason = why_not or f"{title} is known of none of the labelled cases (is there a lesion?)"
        stage.report(Log(level="warning", text=f"{reason}: this round takes all cases from the beginning."))
        return None
    values[human] = difficulty(measured, config.scorer)
    losses = {row.case: row.loss for row in stage.project.pseudo_labels(stage.round.number)}
    others = [index for index, case in enumerate(cases) if not case.human and case.id in losses]
    values[others] = spread(values[human], np.array([losses[cases[index].id] for index in others]))
    unknown = int(np.count_nonzero(np.isnan(values[human])))
    if unknown:
        stage.report(Log(text=f"How hard {unknown} of {len(human)} labelled cases are is not known; they come last."))
    return values


def spread(reference: Values, others: Values) -> Values:
    """Numbers on another scale, brought to that of *reference* rank by rank.

    Parameters
    ----------
    reference : array (n,)
        NaN where not known; at least one is.
    others : array (m,)

    Returns
    -------
    array (m,)
        The quantile of *reference* that each one's rank among *others* stands for.
    """
    if not len(others):
        return others
    known = reference[~np.isnan(reference)]
    rank = np.empty(len(others))
    rank[np.argsort(others, kind="stable")] = (np.arange(len(others)) + 0.5) / len(others)
    # An actual value, never a mean of two: contrast may be infinite.
    return np.asarray(np.quantile(known, rank, method="inverted_cdf"))


def room_for(stage: Stage, cases: Sequence[CaseData]) -> Sizes:
    """The sizes of lesions and scans; where memory is too short for a whole scan, as much of one as it holds."""
    cache = Cache(stage.project.folder / "cache", stage.plan)
    stage.report(Phase(name="prepare", text="Measuring the scans and the lesions in them."))
    found = []
    for done, case in enumerate(cases):
        _check(stage)
        found.append(cache.case(case))
        stage.report(Progress(name="prepare", done=done + 1, total=len(cases), text=case.id))
    sizes = sizes_of(found, stage.plan)
    batch = max((stage.request.curriculum.whole_batch if stage.request.curriculum else 0), stage.plan.least_batch)
    whole = _within_memory(stage, sizes.whole, batch)
    if whole != sizes.whole:
        text = f"A whole scan of {_shape(sizes.whole)} voxels does not fit into the memory: stages of whole scans take "
        stage.report(Log(level="warning", text=f"{text}parts of {_shape(whole)}."))
    return Sizes(sizes.tumour, whole)


def _measured(stage: Stage, cases: Sequence[CaseData], config: CurriculumConfig) -> tuple[Values | None, str]:
    """The scorer's own number of each labelled case, or None and why."""
    scorer = config.scorer
    if scorer in TRAINED:
        return _trained(stage, cases, config)
    if scorer in _READ:
        stage.report(Phase(name="prepare", text="Measuring how hard the labelled cases are."))
        return np.array([_read(stage, case, scorer) for case in cases]), ""
    if stage.parent is None:
        if scorer == "self-paced":
            return _out_of_fold(stage, cases, config, "prediction")
        return None, "There is no model yet that could be unsure of a case"
    return _asked(stage, cases, scorer, stage.parent.folder), ""


def _read(stage: Stage, case: CaseData, scorer: str) -> float:
    """What the label of the round says of a case."""
    from napari_dasl.scoring import label_scores

    _check(stage)
    label, lesions = case.label(), stage.plan.lesion_values
    if label is None:
        return math.nan
    if scorer == "agreement":
        return label_scores(scorer, None, label, case.spacing, _readers(stage, case.id), lesions=lesions)
    image = None if scorer == "size" else case.image()
    return label_scores(scorer, image, label, case.spacing, lesions=lesions)


def _readers(stage: Stage, case: str) -> list[NDArray[Any]]:
    """The newest label of each person who drew one, up to the revision of the round."""
    newest: dict[str, int] = {}
    for one in stage.project.labels(case):
        if one.human and one.number <= stage.round.plan["train"][case]:
            newest[one.author] = one.number
    found = (stage.project.read_label(case, number) for number in newest.values())
    return [label for label in found if label is not None]


def _asked(stage: Stage, cases: Sequence[CaseData], scorer: str, model: Path) -> Values:
    """What the active model says of each case: how far it is from its own answer, or how unsure it is."""
    from napari_dasl.rounds.measuring import measure
    from napari_dasl.rounds.models import predictor
    from napari_dasl.scoring import case_losses

    stage.report(Phase(name="prepare", text="Asking the active model how hard the labelled cases are."))
    network = predictor(model, stage.device)
    if scorer == "self-paced":
        return case_losses(network, cases, against="prediction", report=stage.report, cancelled=stage.cancelled)
    key = f"uncertainty_{stage.project.config.ranking.region}"
    values = []
    for done, case in enumerate(cases):
        _check(stage)
        image = case.image()
        found = network.predict(image, case.spacing, cancelled=stage.cancelled)
        values.append(float(measure(found.probability, image, case.spacing)[key]))
        stage.report(Progress(name="prepare", done=done + 1, total=len(cases), text=case.id))
    return np.array(values)


def _trained(stage: Stage, cases: Sequence[CaseData], config: CurriculumConfig) -> tuple[Values | None, str]:
    """What networks that are trained to find out say; at once where the project has it of these very labels."""
    stored = _stored(stage, cases, config.scorer)
    if stored is not None:
        title = SCORERS[config.scorer].title.lower()
        stage.report(Log(text=f"Taking the {title} of every case as it was measured before on the same labels."))
        return stored, ""
    if config.scorer == "bootstrapping":
        values, why_not = _out_of_fold(stage, cases, config, "target")
    else:
        values, why_not = _gained(stage, cases, config), ""
    if values is not None:
        revisions = stage.round.plan["train"]
        rows = [
            Difficulty(case.id, config.scorer, float(value), "model", revision=revisions[case.id])
            for case, value in zip(cases, values, strict=True)
        ]
        stage.project.set_difficulties(rows)
        shutil.rmtree(stage.round.folder / FOLDER, ignore_errors=True)
    return values, why_not


def _stored(stage: Stage, cases: Sequence[CaseData], scorer: str) -> Values | None:
    """What the project holds, where it holds a number for the label of every case."""
    revisions = stage.round.plan["train"]
    held = {
        row.case: row.value for row in stage.project.difficulties(scorer) if row.revision == revisions.get(row.case)
    }
    known = all(case.id in held for case in cases)
    return np.array([held[case.id] for case in cases]) if known else None


def _out_of_fold(
    stage: Stage, cases: Sequence[CaseData], config: CurriculumConfig, against: Any
) -> tuple[Values | None, str]:
    """The loss of networks that have not seen a case."""
    from napari_dasl.scoring import bootstrapping

    if len(cases) < 2:
        return None, "One labelled case cannot be scored by a network that has not seen it"
    values = bootstrapping(
        stage.plan,
        cases,
        stage.round.folder / FOLDER,
        cache=Cache(stage.project.folder / "cache", stage.plan),
        budget=stage.budget(config.effort),
        against=against,
        device=stage.device,
        report=stage.report,
        cancelled=stage.cancelled,
    )
    return values, ""


def _gained(stage: Stage, cases: Sequence[CaseData], config: CurriculumConfig) -> Values:
    """What a trained network still learns from each case; the active model where it is of the same network."""
    from napari_dasl.rounds.models import WEIGHTS
    from napari_dasl.rounds.planning import same_network
    from napari_dasl.scoring import gradient

    folder = stage.round.folder / FOLDER
    cache, budget = Cache(stage.project.folder / "cache", stage.plan), stage.budget(config.effort)
    if stage.parent is not None and same_network(stage.plan, stage.parent.folder):
        weights = stage.parent.folder / WEIGHTS
    else:
        weights = folder / WEIGHTS
        if not weights.exists():
            stage.report(
                Phase(name="prepare", text="Training a first network, to see what each case still teaches it.")
            )

            def only_progress(event: Event) -> None:
                # Its curves and phases would look like those of the round.
                if isinstance(event, Progress):
                    stage.report(event)

            folder.mkdir(parents=True, exist_ok=True)
            train(
                stage.plan,
                cases,
                folder,
                cache=cache,
                resume=(folder / "state").exists(),
                budget=budget,
                device=stage.device,
                report=only_progress,
                cancelled=stage.cancelled,
            )
    return gradient(
        stage.plan,
        cases,
        folder,
        cache=cache,
        weights=weights,
        budget=budget,
        device=stage.device,
        report=stage.report,
        cancelled=stage.cancelled,
    )


def _within_memory(stage: Stage, whole: tuple[int, int, int], batch: int) -> tuple[int, int, int]:
    """The size of a whole scan, made smaller along its longest side until memory holds it, but not below the patch."""
    plan, place = stage.plan, devices.choose(stage.device)
    step = patch_divisor(plan.network, plan.network_options)
    least = [-(-int(n) // m) * m for n, m in zip(plan.patch, step, strict=True)]
    sides = [-(-int(n) // m) * m for n, m in zip(whole, step, strict=True)]
    room = devices.available_memory_mb(place)
    shrunk = False
    while any(n > m for n, m in zip(sides, least, strict=True)):
        tried = plan.model_copy(update={"patch": (sides[0], sides[1], sides[2]), "batch": batch})
        if estimate_memory_mb(tried, place) <= room:
            break
        shrunk = True
        axis = max((k for k in range(3) if sides[k] > least[k]), key=lambda k: sides[k])
        sides[axis] = max(least[axis], (sides[axis] * 3 // 4) // step[axis] * step[axis])
    return (sides[0], sides[1], sides[2]) if shrunk else whole


def _check(stage: Stage) -> None:
    if stage.cancelled():
        raise Cancelled("Stopped while the cases were scored.", "Resume goes on from there.")


def _shape(patch: Sequence[int]) -> str:
    return "×".join(str(side) for side in patch)
