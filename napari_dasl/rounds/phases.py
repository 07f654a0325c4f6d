"""Which phase the next round is, and what it will take and ask: known before it starts, without torch.

A project's rounds follow ``[selfpaced] phases``, by default SPL, AL, SPL, and from the beginning again. An SPL phase
trains on human labels and on predictions taken as pseudo-labels; an AL phase waits until the cases that were asked for
are labelled or skipped, and trains on human labels. The first round of a project has no predictions to take: it is an
AL phase that asks for nothing.

Nothing is stored about where a project stands: :func:`fold` reads it off the rounds that are done and off the diary.
A round that the guard set turned down moves on in the sequence, but λ stays where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import InputError, ProjectError
from napari_dasl.rounds import pseudo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_dasl.project import Model, Project
    from napari_dasl.project.config import SelfpacedConfig
    from napari_dasl.project.records import LoggedEvent, Round
    from napari_dasl.rounds.plan import PhaseRequest, RoundPhase, RoundPlan

EVENT = "selfpaced"
"""Kind of the diary's lines that switch pseudo-labels on and off."""

FAILURES_TO_SWITCH_OFF = 2
FEWEST_FOR_GUARD = 6
"""Below so many labelled scans every one is worth more in training than as a judge."""

SMALLEST_GUARD = 2
TWO_FAILURES = "two rounds with them made the model worse on the guard set"
_NAMED = 5


@dataclass(frozen=True)
class Standing:
    """Where self-pacing stands after the rounds so far.

    Attributes
    ----------
    slot : int
        How many phases of the sequence are done.
    iteration : int
        t of Eq. 9 for the next SPL phase: how many SPL rounds took over.
    pace, quantile : float or None
        λ and quantile of the last of these; None before the first.
    failures : int
        SPL rounds in a row that the guard set turned down.
    off : str
        Why pseudo-labels are switched off; empty where they are not.
    """

    slot: int = 0
    iteration: int = 0
    pace: float | None = None
    quantile: float | None = None
    failures: int = 0
    off: str = ""


@dataclass(frozen=True)
class Decision:
    """What phase a round is, before anything is measured.

    Attributes
    ----------
    phase : {"spl", "al"}
        What will be done.
    slot : int or None
        Which phase of the sequence this is; None for one that was asked for out of turn, and for the first round.
    off_reason : str
        Why it takes no pseudo-labels although it is their turn, as a sentence.
    asks : tuple of str
        The cases that an AL phase asks for.
    waits_for : tuple of str
        Those of them that are neither labelled nor skipped yet.
    """

    phase: RoundPhase
    slot: int | None
    off_reason: str = ""
    asks: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhasePreview:
    """What the next round will take and ask, in numbers and in a sentence.

    Attributes
    ----------
    phase : {"spl", "al"}
    human, pseudo : int
        Labels, and pseudo-labels of weight above 0.
    mean_weight, effective : float or None, float
        Of the pseudo-labels: mean weight, and Σ v.
    pace, quantile : float or None
        λ, and the quantile that it is set by.
    accuracy : float or None
        η_t, guard Dice of the active model; None where the round measures it first.
    unpredicted : int
        Cases that the round predicts before it chooses; they may change the numbers.
    asks, waits_for, off_reason
        As in :class:`Decision`.
    sentence : str
        All of it for the annotator.
    """

    phase: RoundPhase
    human: int
    pseudo: int = 0
    mean_weight: float | None = None
    effective: float = 0.0
    pace: float | None = None
    quantile: float | None = None
    accuracy: float | None = None
    unpredicted: int = 0
    asks: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    off_reason: str = ""
    sentence: str = ""


def fold(rounds: Iterable[Round], events: Iterable[LoggedEvent]) -> Standing:
    """Return where self-pacing stands after the done *rounds* and the *events* of kind :data:`EVENT`."""
    happened = [(item.finished, 0, item.plan, item.result) for item in rounds if item.state == "done" and item.finished]
    happened += [(event.created, 1, event.payload, {}) for event in events if event.kind == EVENT]
    standing = Standing()
    for _, is_event, what, result in sorted(happened, key=lambda item: item[:2]):
        standing = _switched(standing, what) if is_event else after(standing, what, result)
    return standing


def after(standing: Standing, plan: Mapping[str, Any], result: Mapping[str, Any]) -> Standing:
    """Return where self-pacing stands after one more round with that plan and result."""
    slot = standing.slot + (plan.get("slot") is not None)
    standing = replace(standing, slot=slot)
    if result.get("phase") != "spl":
        return standing
    if result.get("promoted"):
        return replace(
            standing,
            iteration=standing.iteration + 1,
            pace=result.get("lambda"),
            quantile=result.get("quantile"),
            failures=0,
        )
    if (result.get("guard") or {}).get("dice") is None:
        return standing  # nobody judged it: that is no failure
    failures = standing.failures + 1
    return replace(standing, failures=failures, off=TWO_FAILURES if failures >= FAILURES_TO_SWITCH_OFF else "")


def _switched(standing: Standing, payload: Mapping[str, Any]) -> Standing:
    if payload.get("enabled"):
        return replace(standing, failures=0, off="")
    return replace(standing, off=str(payload.get("why") or "they were switched off"))


def standing(project: Project) -> Standing:
    """Return where self-pacing stands in *project*."""
    return fold(project.rounds(), project.events(EVENT))


def switch(project: Project, enabled: bool, why: str = "they were switched off by hand") -> None:
    """Switch pseudo-labels on or off from the next round on; a line in the diary, nothing else changes."""
    project.log_event(EVENT, {"enabled": True} if enabled else {"enabled": False, "why": why})


def scheduled(config: SelfpacedConfig, slot: int) -> RoundPhase:
    """Return the phase at a place of the sequence, which begins again when it ends."""
    phases: Sequence[RoundPhase] = config.phases
    return phases[slot % len(phases)]


def asks_next(config: SelfpacedConfig, now: Standing) -> bool:
    """Whether the round after *now* trains on human labels alone, so that it asks for some first."""
    return not config.enabled or bool(now.off) or scheduled(config, now.slot) == "al"


def decide(project: Project, request: PhaseRequest = "auto") -> Decision:
    """Return the phase of the next round from what is known before it starts."""
    return _decided(project, request)[0]


def _decided(project: Project, request: PhaseRequest) -> tuple[Decision, pseudo.Candidates | None]:
    """The phase of the next round, and the candidates where it was necessary to look for them."""
    config = project.config.selfpaced
    done = [item for item in project.rounds() if item.state == "done"]
    active = project.active_model()
    if active is None:
        return Decision("al", None), None
    now = fold(done, project.events(EVENT))
    turn = scheduled(config, now.slot)
    phase = turn if request == "auto" else request
    slot = now.slot if phase == turn else None
    reason, found = ("", None) if phase == "al" else _why_not(project, active, now)
    if phase == "spl" and not reason:
        return Decision("spl", slot), found
    asked = _asked(done)
    pool = {case.id for case in project.pool()} if asked else set()
    return Decision("al", slot, reason, asked, tuple(case for case in asked if case in pool)), found


def _asked(done: Sequence[Round]) -> tuple[str, ...]:
    return tuple(done[-1].result.get("asked") or ()) if done else ()


def _why_not(project: Project, active: Model, now: Standing) -> tuple[str, pseudo.Candidates | None]:
    """Why an SPL phase cannot run, as far as that is known before it starts ("" where it can), and the candidates."""
    config = project.config.selfpaced
    if not config.enabled:
        return "Pseudo-labels are off in the settings of the project.", None
    if now.off:
        return f"Pseudo-labels are off: {now.off}.", None
    if judged(project):
        reached = active.guard.get("dice")
        if reached is not None and reached < config.least_dice:
            return too_low(reached, config.least_dice, "on the guard set"), None
    elif len(project.training_cases()) + len(project.guard_cases()) < 2:
        return "Pseudo-labels need at least two labelled cases, to measure how good the model is.", None
    found = pseudo.find(project, active, config.view, empty_labels=empty_labels_known(project))
    if not found.losses and not found.unpredicted:
        return "There is no prediction that could be taken as a pseudo-label.", found
    return "", found


def too_low(reached: float, least: float, where: str) -> str:
    """Say that the model is not good enough yet to learn from what it drew itself."""
    return f"The model reaches Dice {reached:.2f} {where}; its predictions are taken as pseudo-labels from {least:.2f}."


def judged(project: Project) -> bool:
    """Whether there is a guard set, and enough labels altogether, to judge a round with pseudo-labels."""
    guard = len(project.guard_cases())
    return guard > 0 and guard + len(project.training_cases()) >= FEWEST_FOR_GUARD


def empty_labels_known(project: Project) -> bool:
    """Whether the last SPL round found that some human label is empty; what a preview may know without reading them."""
    rounds = [item.result.get("pseudo") or {} for item in project.rounds() if item.state == "done"]
    return next((bool(found["empty_labels"]) for found in reversed(rounds) if "empty_labels" in found), False)


def check(project: Project, plan: RoundPlan, decision: Decision) -> str:
    """Refuse to start an AL phase whose cases are not labelled or skipped yet.

    A round whose length was given in so many words starts all the same, so that a script never waits for a person, and
    so does one that asks for ``al`` by name.

    Returns
    -------
    str
        What is still open, for the log; empty where nothing is.

    Raises
    ------
    ProjectError
        It names the cases.
    """
    if not decision.waits_for:
        return ""
    count = len(decision.waits_for)
    said = f"{count} of the {len(decision.asks)} cases that were asked for {_are(count)} still open: "
    said += f"{named(decision.waits_for)}."
    if plan.phase != "auto" or plan.steps or plan.epochs or plan.minutes:
        return said
    raise ProjectError(said, "Label or skip them, or start with --phase al to train on what is labelled.")


def preview(project: Project, phase: PhaseRequest = "auto") -> PhasePreview:
    """Return what the next round will take and ask, from stored predictions; nothing is changed.

    Parameters
    ----------
    project : Project
    phase : {"auto", "spl", "al"}
        As in a round's plan.
    """
    decision, found = _decided(project, phase)
    human = _labels_to_learn_from(project)
    if decision.phase == "al":
        return _with_sentence(
            PhasePreview("al", human, asks=decision.asks, waits_for=decision.waits_for, off_reason=decision.off_reason)
        )
    active = project.active_model()
    assert active is not None
    assert found is not None
    config, now = project.config.selfpaced, standing(project)
    accuracy = active.guard.get("dice") if judged(project) else None
    pace = pseudo.pace_of(
        found.losses,
        config,
        before=now.pace,
        quantile_before=now.quantile,
        iteration=now.iteration,
        accuracy=accuracy,
    )
    try:
        choice = pseudo.choose(found.losses, pace, config)
    except InputError as problem:
        return _with_sentence(PhasePreview("al", human, off_reason=str(problem)))
    if not choice.taken and not found.unpredicted:
        return _with_sentence(PhasePreview("al", human, accuracy=accuracy, off_reason=nothing_taken(pace)))
    return _with_sentence(
        PhasePreview(
            "spl",
            human,
            pseudo=len(choice.taken),
            mean_weight=choice.mean_weight,
            effective=choice.effective,
            pace=pace.value if found.losses else None,
            quantile=pace.quantile,
            accuracy=accuracy,
            unpredicted=len(found.unpredicted),
        )
    )


def nothing_taken(pace: pseudo.Pace) -> str:
    """Say that no prediction was sure enough."""
    return f"No prediction is sure enough to be taken as a pseudo-label (pace λ {pace.value:.4g})."


def _labels_to_learn_from(project: Project) -> int:
    """How many labels the next round trains on: without those that become the guard set as it starts."""
    human = len(project.training_cases())
    share = project.config.guard
    if share > 0 and human >= FEWEST_FOR_GUARD and not project.guard_cases():
        return human - max(SMALLEST_GUARD, round(share * human))
    return human


def _with_sentence(found: PhasePreview) -> PhasePreview:
    return replace(found, sentence=_sentence(found))


def _sentence(found: PhasePreview) -> str:
    if not found.human:
        return "Nothing to learn from yet: label a few cases first."
    labels = f"{found.human} label{'s' * (found.human != 1)}"
    said = [found.off_reason] if found.off_reason else []
    if found.waits_for:
        asked, count = len(found.asks), len(found.waits_for)
        said.append(
            f"This round first asks for {asked} case{'s' * (asked != 1)}; {count} {_are(count)} still open: "
            f"{named(found.waits_for)}."
        )
    elif found.phase == "al":
        said.append(f"This round trains on your {labels}.")
    elif found.pseudo:
        plural = "s" * (found.pseudo != 1)
        said.append(
            f"This round takes {found.pseudo} prediction{plural} as pseudo-label{plural} "
            f"(mean weight {found.mean_weight:.2f}) beside your {labels}."
        )
    else:
        said.append(f"This round takes the surest predictions as pseudo-labels beside your {labels}.")
    if found.unpredicted:
        scans = f"{found.unpredicted} scan{'s' * (found.unpredicted != 1)}"
        said.append(f"It predicts {scans} first, which may change that.")
    return " ".join(said)


def named(cases: Sequence[str]) -> str:
    """Name a few cases, and say how many more there are."""
    shown = ", ".join(cases[:_NAMED])
    return shown if len(cases) <= _NAMED else f"{shown} and {len(cases) - _NAMED} more"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
