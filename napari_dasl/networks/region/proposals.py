"""Which regions a step teaches masks and better boxes on: the truth's own, moved a little, and what the network found.

A network taught on true boxes alone would meet, when it predicts, boxes as it never saw them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from napari_dasl.networks.region.boxes import decode, iou, nms, to_corners

_SHIFT, _SCALE = 0.1, 0.15
"""How far a true cube is moved (standard deviations): its centre in diameters, its diameter as a logarithm."""
_FOUND = 0.3
"""Overlap from which a found cube is one of its lesion (a cube 1.3 times as wide around the same centre has 0.46)."""
_POSITIVE, _NEGATIVE = 0.4, 0.25
_PROPOSALS = 64
_TWICE = 0.7


class Regions(NamedTuple):
    """Cubes, and what they are of.

    Attributes
    ----------
    cubes : torch.Tensor
        (R, D + 1), voxels.
    truths : torch.Tensor
        (R,) int64: row of the lesion, -1 for none.
    scores : torch.Tensor
        (R,): the network's; a jittered truth has none, and 0 stands there.
    """

    cubes: torch.Tensor
    truths: torch.Tensor
    scores: torch.Tensor


def jittered(cubes: torch.Tensor) -> torch.Tensor:
    """*cubes* (n, D + 1) each moved and scaled at random, from torch's state on the processor."""
    noise = torch.randn(cubes.shape).to(cubes)
    centres = cubes[:, :-1] + noise[:, :-1] * _SHIFT * cubes[:, -1:]
    return torch.cat((centres, cubes[:, -1:] * (noise[:, -1:] * _SCALE).exp()), dim=1)


def mask_regions(truths: torch.Tensor, found: Regions, limit: int = 8) -> Regions:
    """The regions of one sample to learn masks on: of each lesion one jittered, and the best one found.

    Parameters
    ----------
    truths : torch.Tensor
        (n, D + 1).
    found : Regions
        The decoded boxes of the anchors that learn a lesion.
    limit : int
        Most regions; drawn at random where there would be more.
    """
    cubes, rows = jittered(truths), torch.arange(len(truths), device=truths.device)
    if len(found.cubes):
        best = found.scores.argsort(descending=True, stable=True)
        overlap = iou(to_corners(found.cubes[best]), to_corners(truths))
        own = overlap.gather(1, found.truths[best, None])[:, 0]
        first = (found.truths[best][None] == rows[:, None]).int().argmax(dim=1)
        good = (found.truths[best][first] == rows) & (own[first] > _FOUND)
        cubes = torch.cat((cubes, found.cubes[best][first][good]))
        rows = torch.cat((rows, rows[good]))
    chosen = torch.randperm(len(cubes))[:limit].to(rows.device) if len(cubes) > limit else slice(None)
    cubes, rows = cubes[chosen], rows[chosen]
    return Regions(cubes, rows, cubes.new_zeros(len(cubes)))


def refine_regions(
    logits: torch.Tensor,
    deltas: torch.Tensor,
    anchors: torch.Tensor,
    truths: torch.Tensor,
    known: torch.Tensor | None = None,
    limit: int = 24,
) -> Regions:
    """The regions of one sample to teach the second stage on.

    The best-scored boxes of the first stage, and two jittered ones of each lesion; at most a third of *limit* with a
    lesion, and twice as many without as there may be with. Boxes that overlap a lesion middling well teach neither.

    Parameters
    ----------
    logits, deltas, anchors : torch.Tensor
        (A,), (A, D + 1), (A, D + 1) of the first stage.
    truths : torch.Tensor
        (n, D + 1).
    known : torch.Tensor, optional
        (2 D,) corners; found boxes centred outside are left out.
    limit : int
        Most regions.
    """
    scores, best = logits.topk(min(4 * _PROPOSALS, len(logits)))
    cubes = decode(deltas[best], anchors[best])
    kept = nms(to_corners(cubes), scores, _TWICE, limit=_PROPOSALS)
    cubes = cubes[kept]
    if known is not None:
        low, high = known.chunk(2)
        cubes = cubes[((cubes[:, :-1] >= low) & (cubes[:, :-1] < high)).all(dim=1)]
    cubes = torch.cat((cubes, jittered(truths), jittered(truths)))
    if len(truths):
        overlap, rows = iou(to_corners(cubes), to_corners(truths)).max(dim=1)
    else:
        overlap, rows = cubes.new_zeros(len(cubes)), torch.zeros(len(cubes), dtype=torch.int64, device=cubes.device)
    positive = _drawn(torch.nonzero(overlap >= _POSITIVE)[:, 0], limit // 3)
    # The proposals stand by falling score: the first without a lesion are the hardest.
    negative = torch.nonzero(overlap < _NEGATIVE)[:, 0][: limit - limit // 3]
    chosen = torch.cat((positive, negative))
    owners = torch.cat((rows[positive], torch.full_like(negative, -1)))
    return Regions(cubes[chosen], owners, cubes.new_zeros(len(chosen)))


def _drawn(rows: torch.Tensor, limit: int) -> torch.Tensor:
    """At most *limit* of *rows*, at random from torch's state on the processor."""
    return rows if len(rows) <= limit else rows[torch.randperm(len(rows))[:limit].to(rows.device)]
