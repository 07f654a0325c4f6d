"""Sections of lesions in neighbouring slices become lesions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from napari_dasl.inference.region.candidates import Finding, overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SHARED = 0.5
"""The share of the smaller of two sections' boxes that must lie in the larger: lesions taper, so their IoU may be
small."""

_FADING = 0.5
"""Sections at an end of a lesion whose score is below this share of its highest are no part of it."""


def link(sections: Sequence[Finding]) -> list[Finding]:
    """Join sections of one class whose boxes overlap from slice to slice.

    Each section continues at most one of the slice before, and is continued by at most one: the pairs with the largest
    sum of overlaps (IoU) are taken, so two lesions side by side stay two.

    Parameters
    ----------
    sections : sequence of Finding
        With one or more parts, all of one slice.

    Returns
    -------
    list of Finding
        By falling score, that of the best section.
    """
    found: list[Finding] = []
    for label in sorted({section.label for section in sections}):
        by_slice: dict[int, list[Finding]] = {}
        for section in sections:
            if section.label == label and section.parts[0].slice is not None:
                by_slice.setdefault(section.parts[0].slice, []).append(section)
        found += [_lesion(track) for track in _tracks(by_slice)]
    return sorted(found, key=lambda one: -one.score)


def _tracks(by_slice: dict[int, list[Finding]]) -> list[list[Finding]]:
    """Chains of sections, one of each of several neighbouring slices."""
    tracks: list[list[Finding]] = []
    open_tracks: list[list[Finding]] = []
    previous = None
    for number in sorted(by_slice):
        here = by_slice[number]
        if previous is None or number != previous + 1:
            open_tracks = []
        pairs = _pairs([track[-1] for track in open_tracks], here)
        following = []
        for index, section in enumerate(here):
            if index in pairs:
                track = open_tracks[pairs[index]]
                track.append(section)
            else:
                track = [section]
                tracks.append(track)
            following.append(track)
        open_tracks, previous = following, number
    return tracks


def _pairs(before: Sequence[Finding], here: Sequence[Finding]) -> dict[int, int]:
    """Which section of the slice before each section continues."""
    if not before or not here:
        return {}
    gains = np.zeros((len(before), len(here)))
    theirs = np.stack([_flat(one) for one in here])
    for row, one in enumerate(before):
        iou, own, other = overlaps(_flat(one), theirs)
        gains[row] = np.where(np.maximum(own, other) >= _SHARED, iou, 0)
    rows, columns = linear_sum_assignment(-gains)
    return {int(c): int(r) for r, c in zip(rows, columns, strict=True) if gains[r, c] > 0}


def _flat(section: Finding) -> NDArray[np.float64]:
    """The box (y0, x0, y1, x1) of a section."""
    return section.corners()[[1, 2, 4, 5]]


def _lesion(track: Sequence[Finding]) -> Finding:
    """One lesion of a chain, without ends that fade out."""
    scores = np.array([section.score for section in track])
    good = np.flatnonzero(scores >= _FADING * scores.max())
    chosen = track[good[0] : good[-1] + 1]
    return Finding(track[0].label, float(scores.max()), tuple(part for one in chosen for part in one.parts))
