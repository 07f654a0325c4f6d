"""The parts of a score in a radiologist's words: a name, the number as one reads it, and what it means. No Qt here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_dasl.project import Score


class Part(NamedTuple):
    """One number behind a case's place in the list.

    Attributes
    ----------
    name, value : str
        As they are read.
    meaning : str
        What it is, for the tooltip.
    detail : bool
        Whether it is of interest only to those who want every number.
    """

    name: str
    value: str
    meaning: str
    detail: bool = False


class _Words(NamedTuple):
    name: str
    meaning: str
    write: Callable[[float], str]


def _plain(value: float) -> str:
    return f"{value:.3g}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _above(value: float) -> str:
    if 0.5 <= value < 99.5:
        return f"more than {value:.0f} %"
    return "more than all" if value > 50 else "less than all"


def _count(value: float) -> str:
    return f"{value:.0f}"


def _yes(value: float) -> str:
    return "yes" if value else "no"


def _volume(millilitres: float) -> str:
    return f"{millilitres:.2f} ml" if millilitres >= 0.1 else f"{millilitres * 1000:.0f} mm³"


_HALF = "0 is certain; 0.5 is a coin toss between two answers."
_MAPS = {
    "uncertainty": ("Unsure", "How unsure the network is, voxel by voxel: one minus the probability of its answer."),
    "entropy": ("Undecided", "How evenly the network spreads its belief over the answers (entropy); 0 is certain."),
    "mutual_information": (
        "Torn",
        "How much the network disagrees with itself when parts of it are switched off at random (mutual information). "
        "High where more labels would help; low where the picture itself is unclear.",
    ),
}
_REGIONS = {
    "": ("", ""),
    "volume": (" · whole scan", "The mean over the whole scan, air included (Eq. 2 of the paper)."),
    "body": (" · inside the body", "The mean inside the body, so that air around the patient does not count."),
    "lesion": (
        " · around findings",
        "The mean over what it drew and its near surroundings, so that size matters less.",
    ),
    "foreground": (" · around findings", "The mean over what it drew and its near surroundings."),
    "per_foreground": (" · per finding", "The sum, divided by the volume of what it drew."),
    "per_class": (" · worst class", "The mean around each class; the least sure class counts."),
    "topq": (" · least sure voxels", "The mean over the small share of voxels that it is least sure of."),
}

_PARTS: dict[str, _Words] = {
    "empty": _Words("Nothing found", "The network drew nothing. Either it missed something or there is nothing.", _yes),
    "max_foreground": _Words(
        "Surest voxel", "The highest probability of a finding anywhere; low means the network saw nothing it trusts.",
        _percent,
    ),
    "regions": _Words("Separate findings", "Regions that the network drew and that do not touch.", _count),
    "uncertain_regions": _Words(
        "Unsure edges", "Findings whose outline the network is unsure of. Press U to jump from one to the next.", _count
    ),
    "undecided_spots": _Words(
        "Spots left out", "Places that the network nearly drew. Press U to look at them.", _count
    ),
    "largest_region_ml": _Words("Largest finding", "Volume of the largest region that the network drew.", _volume),
    "like_unlabelled": _Words(
        "Like the unlabelled scans",
        "Resembles the scans that nobody labelled yet more than this share of them do. A typical scan teaches the "
        "network something about many others.",
        _above,
    ),
    "like_labelled": _Words(
        "Like the labelled scans",
        "Resembles what you labelled so far more than this share of the unlabelled scans does. Low means new to it.",
        _above,
    ),
    "similarity": _Words(
        "Similarity to the others",
        "Mean similarity of what the network sees here to what it sees in the other unlabelled scans, −1 to 1.", _plain,
    ),
    "difficulty": _Words("Difficulty", "How hard the case is said to be.", _plain),
    "self_loss": _Words(
        "Loss on its own answer",
        "How far the network's probabilities are from its own drawing. Small means easy for it; easy scans are the "
        "first to become pseudo-labels.",
        _plain,
    ),
    "loss_previous": _Words(
        "Loss on the previous drawing",
        "How far the network's probabilities are from what the model before it drew. Small means the answer is stable.",
        _plain,
    ),
    "loss_teacher": _Words(
        "Loss on the averaged network", "How far the network's last state is from its own running average here.", _plain
    ),
    "agreement_previous": _Words(
        "Agrees with the previous model",
        "Overlap (Dice) of this drawing with that of the model before; 1 is the same, 0 shares no voxel.", _plain,
    ),
    "pairwise_dice": _Words(
        "Agrees with itself",
        "Mean overlap (Dice) of drawings made with parts of the network switched off at random; 1 is always the same.",
        _plain,
    ),
    "factor": _Words(
        "Similarity counted as", "What the uncertainty was multiplied by for being typical of the other scans (Eq. 3).",
        _plain,
    ),
    "noise": _Words(
        "Chance", "A random number that was added, so that the list does not hold many scans of one kind.", _plain
    ),
    "exponent": _Words(
        "Weight of the network's doubt", "How strongly doubt counts against chance; it grows from round to round.",
        _plain,
    ),
    "stratum": _Words("Drawn for class", "The class that this scan was drawn for; 0 is any.", _count),
    "explored": _Words("Drawn by chance", "This case is in the list by chance, to keep the sample fair.", _yes),
    "foreground_ml": _Words("Drawn volume", "Volume of all that the network drew.", _volume),
    "pass_disagreement": _Words(
        "Disagrees with itself",
        "One minus the mean overlap of drawings made with parts of the network switched off at random.", _plain,
    ),
}  # fmt: skip


_PLAIN_TALK = (
    "explored", "stratum", "empty", "max_foreground", "regions", "foreground_ml", "largest_region_ml",
    "uncertain_regions", "undecided_spots", "agreement_previous", "like_unlabelled", "like_labelled", "similarity",
    "factor", "mutual_information", "pass_disagreement", "difficulty",
)  # fmt: skip
"""What is shown at once, in this order; everything else is a detail, but for the uncertainty that decided."""


def part(name: str, value: float) -> Part:
    """Return the part *name* of a score in words; a name without words of its own is shown as it is."""
    words = _PARTS.get(name) or _of_map(name) or _of_class(name)
    if words is None:
        return Part(
            name.replace("_", " ").capitalize(), _plain(value), f"“{name}” of the ranking; see the documentation."
        )
    return Part(words.name, words.write(value), words.meaning)


def _of_map(name: str) -> _Words | None:
    """Return the words of a voxel map that was summed up over a region, such as ``uncertainty_lesion``."""
    for key, (title, meaning) in _MAPS.items():
        if name == key or name.startswith(f"{key}_"):
            region = _REGIONS.get(name[len(key) + 1 :])
            if region is None:
                return None
            scale = f" {_HALF}" if key == "uncertainty" else ""
            return _Words(f"{title}{region[0]}", f"{meaning}{scale} {region[1]}".rstrip(), _plain)
    return None


def _of_class(name: str) -> _Words | None:
    """Return the words of one class's share, such as ``class_score_2`` or ``volume_ml_1``."""
    kind, _, number = name.rpartition("_")
    if kind == "class_score":
        return _Words(f"Doubt about class {number}", "How unsure the network is of this class alone.", _plain)
    if kind == "volume_ml":
        return _Words(f"Volume of class {number}", "Volume of what the network drew of this class.", _volume)
    return None


def parts(score: Score, waiting: int) -> Iterator[Part]:
    """Yield every number behind a case's place in the list, the place itself first.

    Parameters
    ----------
    score : Score
    waiting : int
        Cases in the list.
    """
    yield Part("Place in the list", f"{score.rank} of {waiting}", "Number 1 is the one that should teach most.")
    if score.score is not None:
        yield Part("Score", _plain(score.score), "What the order is made from; larger is labelled sooner.")
    named = {"similarity": score.similarity, "difficulty": score.difficulty}
    known = {name: value for name, value in named.items() if value is not None}
    told = set()
    for name, value in sorted({**score.parts, **known}.items(), key=lambda one: _place(one[0])):
        decisive = score.uncertainty is not None and f"{value:.6g}" == f"{score.uncertainty:.6g}"
        detail = name not in _PLAIN_TALK and not (decisive and _is_map(name))
        found = part(name, value)
        if found.name not in told and not (name == "uncertainty" and _named_by_region(score, value)):
            told.add(found.name)
            yield found._replace(detail=detail)


def _place(name: str) -> int:
    """Return where a part is listed: what can be seen in the scan first, then what was measured."""
    return _PLAIN_TALK.index(name) if name in _PLAIN_TALK else len(_PLAIN_TALK)


def _is_map(name: str) -> bool:
    return any(name == key or name.startswith(f"{key}_") for key in _MAPS)


def _named_by_region(score: Score, value: float) -> bool:
    """Whether the same number is there again under the name of its region."""
    others = (other for name, other in score.parts.items() if name.startswith("uncertainty_"))
    return any(f"{other:.6g}" == f"{value:.6g}" for other in others)
