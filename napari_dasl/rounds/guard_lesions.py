"""Guard lesions one by one: which of them two models find, and whether that settles which model stays.

What counts is what each model draws at its own threshold. A lesion is found where the drawing covers some of it
(:mod:`napari_dasl.metrics.lesions`); a false finding is a drawn piece that touches no found lesion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_dasl.rounds.plan import CaseLesions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_dasl.metrics.cases import CaseMetrics

FALSE_A_SCAN = 1.0
"""More false findings a scan that a new model may make: one key strikes each out."""

_NAMED = 3


@dataclass(frozen=True)
class Tally:
    """The lesions of some scans: how many there are and were found, and how many false findings there are."""

    scans: int
    lesions: int
    found: int
    false: int

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), by which thresholds are chosen too; 1 where nothing is there and nothing found."""
        counted = self.lesions + self.found + self.false
        return 2 * self.found / counted if counted else 1.0


def lesions_of(row: CaseMetrics) -> CaseLesions:
    """Return the lesions of all classes of a case, in the order of its classes."""
    matches = [one.lesions for one in row.classes]
    return CaseLesions(
        found=tuple(dice is not None for match in matches for dice in match.dice),
        volumes_ml=tuple(volume for match in matches for volume in match.volumes_ml),
        false=sum(match.false_positives for match in matches),
    )


def tally(cases: Mapping[str, CaseLesions]) -> Tally:
    """Return the figures of all *cases* together."""
    return Tally(
        scans=len(cases),
        lesions=sum(len(one.found) for one in cases.values()),
        found=sum(sum(one.found) for one in cases.values()),
        false=sum(one.false for one in cases.values()),
    )


def counts(guard: Mapping[str, Any]) -> tuple[str, str]:
    """Return ``14 of 15 guard lesions`` and ``0.3 false a scan`` of a result as JSON; twice "" of other networks."""
    cases = {case: CaseLesions.model_validate(one) for case, one in (guard.get("lesions") or {}).items()}
    if not cases:
        return "", ""
    now = tally(cases)
    found = f"{now.found} of {now.lesions} guard lesion{'s' * (now.lesions != 1)}"
    return found, f"{now.false / now.scans:.1f} false a scan"


def allowance(lesions: int, tolerance: float) -> float:
    """How many of *lesions* may come or go without meaning anything.

    One, because chance decides about a single lesion, whose score is near the threshold; where there are so many that
    the share *tolerance* of them is more than one, that many.
    """
    return max(1.0, tolerance * lesions)


def gained(new: Mapping[str, CaseLesions], before: Mapping[str, CaseLesions], tolerance: float) -> bool:
    """Whether the new model finds clearly more: beyond the `allowance`, on balance, and its F1 rose."""
    now, then = _paired(new, before)
    return now.found - then.found > allowance(now.lesions, tolerance) and now.f1 > then.f1


def why_lost(new: Mapping[str, CaseLesions], before: Mapping[str, CaseLesions], tolerance: float) -> str:
    """Say what the new model lost in lesions; "" where it may take over.

    It lost where its F1 fell, and it finds fewer lesions, beyond the `allowance`, or makes more than
    :data:`FALSE_A_SCAN` more false findings a scan. F1 has its say because a threshold may move along one and the same
    curve: a few lesions less for far fewer false findings is no loss.
    """
    now, then = _paired(new, before)
    if now.f1 >= then.f1:
        return ""
    found = f"{now.found} of {now.lesions} guard lesions, the old one {then.found}"
    if then.found - now.found > allowance(now.lesions, tolerance):
        return f"The new model finds {found}; lost: {_named(new, before)}."
    if now.false - then.false > FALSE_A_SCAN * now.scans:
        more = f"{now.false / now.scans:.1f} false findings a guard scan, the old one {then.false / then.scans:.1f}"
        return f"The new model makes {more}, and finds {found}."
    return ""


def _paired(new: Mapping[str, CaseLesions], before: Mapping[str, CaseLesions]) -> tuple[Tally, Tally]:
    """The figures of both models on the scans in which both were asked for the same lesions."""
    both = _shared(new, before)
    return tally({case: new[case] for case in both}), tally({case: before[case] for case in both})


def _shared(new: Mapping[str, CaseLesions], before: Mapping[str, CaseLesions]) -> list[str]:
    # The lesions of one label are others once a project numbers them.
    return [case for case in sorted(new.keys() & before.keys()) if len(new[case].found) == len(before[case].found)]


def _named(new: Mapping[str, CaseLesions], before: Mapping[str, CaseLesions]) -> str:
    """The lesions that only the old model finds, by scan: ``2 in P-014 (3.2 ml, 0.04 ml) and 1 in P-020 (1.1 ml)``."""
    lost = {}
    for case in _shared(new, before):
        pairs = zip(before[case].found, new[case].found, before[case].volumes_ml, strict=True)
        volumes = sorted((volume for then, now, volume in pairs if then and not now), reverse=True)
        if volumes:
            lost[case] = volumes
    parts = [f"{len(volumes)} in {case} ({_sizes(volumes)})" for case, volumes in lost.items()]
    more = len(parts) - _NAMED
    return ", ".join(parts[:_NAMED]) + (f" and more in {more} other scan{'s' * (more > 1)}" if more > 0 else "")


def _sizes(volumes: list[float]) -> str:
    told = ", ".join(f"{volume:.2g} ml" if volume < 1 else f"{volume:.1f} ml" for volume in volumes[:_NAMED])
    return told + (", …" if len(volumes) > _NAMED else "")
