"""A curriculum and the ways of training on offer, in a radiologist's words. No Qt here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_dasl.curriculum import SCORERS
from napari_dasl.networks.families import FAMILIES
from napari_dasl.project import presets
from napari_dasl.project.curriculum_config import TRAINED
from napari_dasl.rounds.curricula import of_preset, pacing_of

if TYPE_CHECKING:
    from napari_dasl.project.curriculum_config import CurriculumConfig, Recipe
    from napari_dasl.widgets.snapshot import Snapshot

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_FIRST = {"easy": "Easy cases first", "hard": "Hard cases first", "random": "Cases in random order"}
_STAGES = {
    "three-stage": "whole scans, then lesions close up, then whole scans again",
    "whole-patch": "whole scans, then lesions close up",
    "patch-whole": "lesions close up, then whole scans",
    "whole": "whole scans throughout",
    "random-patch": "pieces of a size that is drawn by lot",
}
PROJECT = ""
"""Stands for the project's own settings among the ways of training."""


class Way(NamedTuple):
    """One way of training on offer.

    Attributes
    ----------
    name : str
        The preset's, or `PROJECT`.
    title, sentence, paper : str
        As they are read.
    curriculum, recipe
        What it sets.
    """

    name: str
    title: str
    sentence: str
    paper: str
    curriculum: CurriculumConfig
    recipe: Recipe


def ways(snapshot: Snapshot) -> tuple[Way, ...]:
    """Return what a round may follow: the project's own settings first, then every preset."""
    own = "As this project says"
    title = presets.about(snapshot.preset).title if snapshot.preset in presets.names() else snapshot.preset
    told = curriculum_words(snapshot.curriculum) or "All labels at once."
    return (
        Way(PROJECT, f"{own} ({title})", told, "", snapshot.curriculum, snapshot.recipe),
        *(_way(name, snapshot.network) for name in presets.names()),
    )


def _way(name: str, network: str) -> Way:
    about = presets.about(name)
    curriculum, recipe = of_preset(name, network if network in FAMILIES else "")
    sentence = about.sentence
    if curriculum.plain and not recipe.given and name != presets.names()[0]:
        # What a preset says of lists and pseudo-labels is the project's alone.
        sentence += " It is a way of choosing cases: a round trains as usual, and lists stay as the project says."
    if about.network and about.network != network:
        theirs, ours = (FAMILIES[one].title if one in FAMILIES else one for one in (about.network, network))
        sentence += f" The paper used another network ({theirs}); this round keeps yours ({ours})."
    return Way(name, about.title, sentence, about.paper, curriculum, recipe)


def curriculum_words(config: CurriculumConfig) -> str:
    """Return in which order a round learns: ``Easy cases first, by contrast; six groups.``; empty for all at once."""
    parts = []
    if config.ordered:
        by = f", by {_inside(SCORERS[config.scorer].title)}" if _compares(config) else ""
        parts.append(f"{_FIRST[config.order]}{by}")
        parts.append(_pacing_words(config))
    if config.stages != "constant":
        parts.append(_stages_words(config))
    words = "; ".join(part for part in parts if part)
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def cost_of(config: CurriculumConfig) -> str:
    """Return that measuring the cases takes time of its own; empty where it does not."""
    if not (config.compares and config.scorer in TRAINED):
        return ""
    return "To measure the cases it first trains several networks; the round takes clearly longer."


def _compares(config: CurriculumConfig) -> bool:
    return config.order != "random" and config.scorer != "none"


def _pacing_words(config: CurriculumConfig) -> str:
    pacing = pacing_of(config)
    if config.pacing in ("quantile-groups", "equal-steps"):
        number = _NUMBERS[pacing.groups] if pacing.groups < len(_NUMBERS) else str(pacing.groups)
        return f"{number} {'group' if pacing.groups == 1 else 'groups'}"
    if config.pacing == "single-step":
        return f"{pacing.start:.0%} of them to begin with, then all"
    grow = {
        "fixed-exponential": "more and more at a time",
        "varied-exponential": "more and more at a time",
        "linear": "steadily more",
        "root": "quickly more at the beginning",
    }[config.pacing]
    return f"{pacing.start:.0%} of them to begin with, then {grow}"


def _stages_words(config: CurriculumConfig) -> str:
    if config.stages == "growth":
        aim = "in less time" if config.mode == "resource" else "in larger batches"
        return f"small pieces of the scans first, then larger ones, {aim}"
    return _STAGES[config.stages]


def _inside(title: str) -> str:
    """Return a title as it stands inside a sentence."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]
