"""One number for a scan, and which of them a larger field of view leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.active import aggregations, entropy_map, least_confident, least_confident_map, region_mask
from napari_dasl.errors import InputError

SPACING = (2.0, 1.0, 0.7)


def scan(classes: int = 3) -> np.ndarray:
    """Two soft blobs in certain background, away from the border."""
    z, y, x = np.mgrid[:20, :24, :30]
    blobs = [
        0.9 / (1 + np.exp(np.sqrt((z - 10) ** 2 + (y - 11) ** 2 + (x - 9 - 11 * k) ** 2) - 3.5))
        for k in range(classes - 1)
    ]
    front = np.stack(blobs)
    front[:, front.sum(axis=0) < 0.02] = 0
    return np.concatenate([1 - front.sum(axis=0, keepdims=True), front]).astype(np.float32)


def padded(probability: np.ndarray, width: int) -> np.ndarray:
    wide = np.pad(probability, [(0, 0), *[(width, width)] * 3])
    wide[0][np.pad(np.zeros(probability.shape[1:], bool), width, constant_values=True)] = 1
    return wide


def numbers(probability: np.ndarray) -> dict[str, float]:
    u, h = least_confident_map(probability), entropy_map(probability)
    drawn = int((probability.argmax(axis=0) > 0).sum())
    return {
        "region": aggregations.within(u, region_mask(probability, None, "lesion", SPACING)),
        "region entropy": aggregations.within(h, region_mask(probability, None, "lesion", SPACING)),
        "per foreground": aggregations.per_foreground(u, probability),
        "top q": aggregations.top_q(u, drawn),
        **{f"class {k + 1}": v for k, v in enumerate(aggregations.per_class(h, probability).tolist())},
    }


@pytest.mark.parametrize("classes", [2, 3])
def test_a_larger_field_of_view_changes_no_region_aggregation_but_dilutes_the_mean(classes):
    small, large = scan(classes), padded(scan(classes), 12)
    assert numbers(large) == pytest.approx(numbers(small), rel=1e-5)
    ratio = least_confident(large) / least_confident(small)
    assert ratio == pytest.approx(small[0].size / large[0].size, rel=1e-4)


def test_the_formulas_written_out():
    p = scan()
    u, h = 1 - p.max(axis=0), entropy_map(p)
    assert aggregations.whole(u) == pytest.approx(least_confident(p), rel=1e-5)
    assert aggregations.per_foreground(u, p) == pytest.approx(u.sum() / (1 - p[0]).sum(), rel=1e-4)
    assert aggregations.top_q(u, 7) == pytest.approx(np.sort(u.ravel())[-7:].mean(), rel=1e-5)
    expected = [(p[c] * h).sum() / p[c].sum() for c in (1, 2)]
    assert aggregations.per_class(h, p) == pytest.approx(expected, rel=1e-5)
    assert aggregations.foreground_mass(p) == pytest.approx((1 - p[0]).sum(), rel=1e-5)


def test_a_scan_without_foreground_stays_finite():
    p = np.stack([np.ones((4, 4, 4)), np.zeros((4, 4, 4))]).astype(np.float32)
    u = least_confident_map(p)
    assert aggregations.per_foreground(u, p) == 0
    assert aggregations.per_class(u, p).tolist() == [0.0]
    assert aggregations.top_q(u, 0) == 0
    assert aggregations.top_q(u + np.arange(64).reshape(4, 4, 4), 0) == 63


def test_an_empty_region_is_refused():
    with pytest.raises(InputError, match="0 voxels"):
        aggregations.within(np.zeros((2, 2, 2)), np.zeros((2, 2, 2), bool))
