"""Masks of regions on the scan's own voxels, and what every reader of a probability may rely on."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.inference.region.candidates import Finding, Grid, Part
from napari_dasl.inference.region.pasting import EDGE, LIMIT, assemble, paste, sample
from napari_dasl.inference.region.thresholds import Thresholds

SAME = Grid((32, 32, 32), (32, 32, 32), (1.0, 1.0, 1.0))


def ball(centre, radius, score=0.9, label=1, cells=24, softness=1.0):
    """A finding whose mask is a ball, 1/2 at its surface."""
    side = 3.0 * radius
    start = np.asarray(centre, dtype=float) - side / 2
    steps = (np.arange(cells) + 0.5) * side / cells - side / 2
    z, y, x = np.meshgrid(steps, steps, steps, indexing="ij", sparse=True)
    depth = radius - np.sqrt(z**2 + y**2 + x**2)
    mask = 1 / (1 + np.exp(-4 * depth / softness))
    return Finding(label, score, (Part(start, side, mask.astype(np.float32)),))


def block(start, side, score=0.9, label=1, value=1.0):
    return Finding(label, score, (Part(np.asarray(start, dtype=float), side, np.full((4,) * 3, value, np.float32)),))


def kept_where(made, label):
    """Voxels at which a kept finding of the class has a mask of at least 1/2, from the findings themselves."""
    where = np.zeros(made.ids.shape, dtype=bool)
    for number, finding in enumerate(made.findings, start=1):
        if number in made.kept and finding.label == label:
            box, mask = paste(finding, SAME)
            where[box] |= mask >= 0.5
    return where


@pytest.mark.parametrize(
    ("scan", "spacing"),
    [((32, 32, 32), (1.0, 1.0, 1.0)), ((13, 64, 64), (32 / 13, 0.5, 0.5)), ((40, 20, 50), (0.8, 1.6, 0.64))],
)
def test_a_ball_comes_back_where_it_was_on_any_grid(scan, spacing):
    grid = Grid((32, 32, 32), scan, spacing)
    made = assemble([ball((14.0, 17.5, 12.0), 6.0)], grid, 1, Thresholds())
    # Centres of the scan's voxels in voxels of the network's grid, which are 1 mm.
    z, y, x = np.meshgrid(*[(np.arange(n) + 0.5) * s for n, s in zip(scan, spacing, strict=True)], indexing="ij")
    truth = (z - 14) ** 2 + (y - 17.5) ** 2 + (x - 12) ** 2 <= 36
    drawn = made.ids == 1
    assert 2 * (drawn & truth).sum() / (drawn.sum() + truth.sum()) > 0.97
    corners = grid.to_mm(made.findings[0].corners())
    middle = (corners[:3] + corners[3:]) / 2
    assert middle == pytest.approx(np.array([14, 17.5, 12]) - np.array(spacing) / 2, abs=0.1)


def test_a_mask_is_linear_between_its_cells_and_nothing_outside():
    part = Part(np.array([4.0]), 4.0, np.array([0.0, 1.0, 0.0, 1.0], dtype=np.float32))
    at = [np.array([3.9, 4.0, 4.5, 5.0, 5.5, 7.9, 8.0])]
    assert sample(part, at) == pytest.approx([0, 0, 0, 0.5, 1, 1, 0])


def test_probabilities_add_up_and_their_argmax_is_what_is_kept():
    rng = np.random.default_rng(1)
    found = sorted(
        (
            ball(rng.uniform(4, 28, 3), rng.uniform(2, 6), float(rng.uniform(0.2, 1)), int(rng.integers(1, 4)))
            for _ in range(25)
        ),
        key=lambda one: -one.score,
    )
    for score in (0.3, 0.5, 0.8):
        made = assemble(found, SAME, 3, Thresholds(score=score))
        np.testing.assert_allclose(made.probability.sum(axis=0), 1, atol=1e-6)
        assert made.probability.dtype == np.float32
        best = made.probability.argmax(axis=0)
        anything = np.zeros(best.shape, dtype=bool)
        for label in (1, 2, 3):
            where = kept_where(made, label)
            assert (where[best == label]).all()
            anything |= where
        assert ((best > 0) == anything).all()
        # The numbers of kept findings say the same, and stored probabilities, in steps of 1/2048, too.
        labels = np.array([0, *(f.label if n in made.kept else 0 for n, f in enumerate(made.findings, start=1))])
        assert (labels[made.ids] == best).all()
        assert ((np.round(made.probability * 2048)).argmax(axis=0) == best).all()


def test_of_one_class_every_voxel_follows_the_formula():
    one, other = ball((16, 16, 12), 5, 0.8), ball((16, 16, 18), 5, 0.3)
    thresholds = Thresholds(score=0.4)
    made = assemble([one, other], SAME, 1, thresholds)
    expected = np.zeros((32, 32, 32))
    for finding, kept in ((one, True), (other, False)):
        box, mask = paste(finding, SAME)
        value = np.minimum(mask, thresholds.confidence(finding.score))
        drawn = kept & (mask >= 0.5)
        value = np.where(drawn, np.maximum(value, EDGE), np.minimum(value, 1 - EDGE))
        expected[box] = np.maximum(expected[box], value)
    np.testing.assert_allclose(made.probability[1], expected, atol=1e-6)
    assert made.kept == {1}


def test_a_finding_exactly_at_the_threshold_is_kept():
    made = assemble([block((4, 4, 4), 8, score=0.5)], SAME, 1, Thresholds(score=0.5))
    assert (made.probability.argmax(axis=0) == 1).sum() == 8**3
    assert made.kept == {1}


def test_a_finding_that_does_not_count_has_a_number_and_no_label():
    made = assemble([block((4, 4, 4), 8, score=0.49)], SAME, 1, Thresholds(score=0.5))
    assert made.kept == frozenset()
    assert (made.ids == 1).sum() == 8**3
    assert (made.probability.argmax(axis=0) == 0).all()


def test_what_counts_lies_above_what_does_not():
    made = assemble([block((4, 4, 4), 4, 0.9), block((4, 4, 4), 8, 0.3)], SAME, 1, Thresholds())
    assert (made.ids == 1).sum() == 4**3
    assert (made.ids == 2).sum() == 8**3 - 4**3


def test_of_two_that_touch_each_voxel_goes_to_the_better_mask():
    made = assemble([ball((16, 16, 11), 5, 0.95), ball((16, 16, 20), 5, 0.6)], SAME, 1, Thresholds())
    assert made.ids[16, 16, 11] == 1
    assert made.ids[16, 16, 20] == 2
    assert made.ids[16, 16, 14] == 1
    assert made.ids[16, 16, 17] == 2
    assert 0.8 < (made.ids == 2).sum() / (made.ids == 1).sum() < 1.2


def test_one_that_lies_wholly_under_another_is_gone_and_the_rest_move_up():
    found = [block((4, 4, 4), 8, 0.9), block((6, 6, 6), 2, 0.8), block((20, 20, 20), 4, 0.7)]
    made = assemble(found, SAME, 1, Thresholds())
    assert [one.score for one in made.findings] == [0.9, 0.7]
    assert set(np.unique(made.ids)) == {0, 1, 2}
    assert len(made.masks) == 2


def test_one_smaller_than_a_voxel_keeps_the_voxel_where_it_is_likeliest():
    coarse = Grid((32, 32, 32), (8, 8, 8), (4.0, 4.0, 4.0))
    made = assemble([ball((13.0, 13.0, 13.0), 1.8, softness=1.0)], coarse, 1, Thresholds())
    assert np.argwhere(made.ids).tolist() == [[3, 3, 3]]
    assert made.probability[:, 3, 3, 3].argmax() == 1


def test_one_between_all_voxels_or_outside_the_scan_is_none():
    thin = Grid((32, 32, 32), (4, 32, 32), (8.0, 1.0, 1.0))  # slices at 4, 12, 20, 28
    for finding in (block((5, 8, 8), 3), block((40, 8, 8), 5)):
        assert paste(finding, thin) is None
    made = assemble([block((5, 8, 8), 3)], thin, 1, Thresholds())
    assert made.findings == ()
    assert not made.ids.any()
    assert (made.probability[0] == 1).all()


def test_parts_of_one_finding_are_one():
    parts = block((4, 4, 4), 8).parts + block((4, 4, 10), 8).parts
    made = assemble([Finding(1, 0.9, parts)], SAME, 1, Thresholds())
    assert (made.ids == 1).sum() == 8 * 8 * 14


def test_sections_fill_their_own_slice_alone():
    grid = Grid((10, 32, 32), (10, 64, 64), (5.0, 0.5, 0.5))
    parts = tuple(Part(np.array([8.0, 8.0]), 8.0, np.ones((4, 4), np.float32), slice=z) for z in (3, 4, 6))
    made = assemble([Finding(1, 0.9, parts)], grid, 1, Thresholds())
    assert np.flatnonzero(made.ids.any(axis=(1, 2))).tolist() == [3, 4, 6]
    assert (made.ids[3] == 1).sum() == 16 * 16


def test_a_scan_with_more_than_anyone_looks_through_keeps_the_best():
    grid = Grid((8, 40, 40), (8, 40, 40), (1.0, 1.0, 1.0))
    found = [block((z, y, x), 2, 0.9 - i * 1e-4) for i, (z, y, x) in enumerate(np.ndindex(2, 15, 15))]
    made = assemble(found, grid, 1, Thresholds(score=0.95))
    assert len(made.findings) <= LIMIT < len(found)
    assert made.findings[0].score == 0.9


def test_what_counts_is_never_left_out():
    grid = Grid((8, 40, 40), (8, 40, 40), (1.0, 1.0, 1.0))
    found = [block((3 * z, 2 * y, 2 * x), 2, 0.9 - i * 1e-4) for i, (z, y, x) in enumerate(np.ndindex(2, 15, 15))]
    made = assemble(found, grid, 1, Thresholds(score=0.5))
    assert len(made.kept) == len(found) == 450 > LIMIT
    assert made.ids.max() == 450
    assert made.probability[1].max() > 0.5
