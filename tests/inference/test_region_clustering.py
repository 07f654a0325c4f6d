"""What overlapping windows say of one place becomes one finding; what lies apart stays apart."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from napari_dasl.inference.region.candidates import Part, overlaps, to_corners, trust
from napari_dasl.inference.region.clustering import FEW, MEMBERS, MOST, SHOWN, cluster, wanted

WHOLE = [(0, 0, 0, 64, 64, 64)]
PAIR = [(0, 0, 0, 64, 64, 40), (0, 0, 24, 64, 64, 64)]  # overlap from 24 to 40


def cube_of(finding):
    part = finding.parts[0]
    return np.append(part.start + part.side / 2, part.side / 1.5)


def slow_iou(a, b):
    inside = volume_a = volume_b = 1.0
    for axis in range(3):
        low = max(a[axis] - a[3] / 2, b[axis] - b[3] / 2)
        high = min(a[axis] + a[3] / 2, b[axis] + b[3] / 2)
        inside *= max(0.0, high - low)
        volume_a, volume_b = volume_a * a[3], volume_b * b[3]
    return inside / (volume_a + volume_b - inside)


def slow_weight(centre, window):
    total = 0.0
    for axis in range(3):
        side = window[axis + 3] - window[axis]
        total += ((centre[axis] - window[axis] - side / 2) / (side / 8)) ** 2
    return max(math.exp(-total / 2), 1e-3)


def test_the_overlaps_of_two_boxes_are_shares_of_both_of_one_and_of_the_other():
    one, other = to_corners(np.array([[2.0, 2.0, 4.0], [3.0, 2.0, 4.0]]))
    assert [float(x[0]) for x in overlaps(one, other[None])] == pytest.approx([12 / 20, 12 / 16, 12 / 16])
    small = to_corners(np.array([[2.0, 2.0, 2.0]]))
    assert [float(x[0]) for x in overlaps(one, small)] == pytest.approx([4 / 16, 4 / 16, 1.0])


def test_a_window_is_trusted_by_a_gaussian_around_its_middle():
    assert trust(np.array([32.0, 32, 32]), np.array(WHOLE, dtype=float)) == pytest.approx(1)
    assert trust(np.array([24.0, 32, 32]), np.array(WHOLE, dtype=float)) == pytest.approx(math.exp(-0.5))
    assert trust(np.array([0.0, 0, 0]), np.array(WHOLE, dtype=float)) == pytest.approx(1e-3)


def test_one_candidate_is_the_finding(candidates):
    found = cluster(candidates([(0, (20, 30, 40, 8), 0.7, 1)], WHOLE), 0.3)
    assert len(found) == 1
    assert found[0].label == 2
    assert found[0].score == pytest.approx(0.7)
    assert cube_of(found[0]) == pytest.approx([20, 30, 40, 8])


def test_two_windows_agree_by_their_weights(candidates):
    rows = [(0, (32, 32, 30, 8), 0.9, 0), (1, (32, 32, 31, 8), 0.5, 0)]
    (found,) = cluster(candidates(rows, PAIR), 0.3)
    away = [(30 - 20) / 5, (31 - 44) / 5]  # of the middles of the windows, in standard deviations
    weights = [max(math.exp(-(a**2) / 2), 1e-3) for a in away]
    share = [weights[0] * 1, weights[1] * slow_iou(rows[0][1], rows[1][1])]
    assert found.score == pytest.approx((share[0] * 0.9 + share[1] * 0.5) / sum(share))
    pull = [share[0] * 0.9, share[1] * 0.5]
    assert cube_of(found)[2] == pytest.approx((pull[0] * 30 + pull[1] * 31) / sum(pull))


def test_a_silent_window_counts_by_how_well_it_saw_the_place(candidates):
    one = [(0, (32, 32, 34, 8), 0.9, 0)]
    (found,) = cluster(candidates(one, PAIR), 0.3)
    spoke, silent = slow_weight(one[0][1], PAIR[0]), slow_weight(one[0][1], PAIR[1])
    assert silent > spoke / 2
    assert found.score == pytest.approx(0.9 * spoke / (spoke + silent))
    # Outside the other window nobody was silent.
    (alone,) = cluster(candidates([(0, (32, 32, 20, 8), 0.9, 0)], PAIR), 0.3)
    assert alone.score == pytest.approx(0.9)


def test_of_one_window_only_the_best_counts(candidates):
    rows = [(0, (32, 32, 32, 8), 0.9, 0), (0, (32, 32, 33, 8), 0.2, 0)]
    (found,) = cluster(candidates(rows, WHOLE), 0.3)
    assert found.score == pytest.approx(0.9)
    assert cube_of(found) == pytest.approx([32, 32, 32, 8])


def test_classes_and_places_stay_apart(candidates):
    rows = [
        (0, (32, 32, 32, 8), 0.9, 0),
        (0, (32, 32, 32, 8), 0.8, 1),
        (0, (32, 32, 40.5, 8), 0.7, 0),
        (0, (10, 10, 10, 8), 0.6, 0),
    ]
    found = cluster(candidates(rows, WHOLE), 0.3)
    assert [one.label for one in found] == [1, 2, 1, 1]
    assert [one.score for one in found] == pytest.approx([0.9, 0.8, 0.7, 0.6])


def test_it_equals_the_formula_written_out(candidates):
    rng = np.random.default_rng(3)
    starts = list(itertools.product((0, 24), repeat=3))
    windows = [(*start, *(s + 40 for s in start)) for start in starts]
    lesions = rng.uniform(20, 44, (10, 3))
    rows = []
    for number, window in enumerate(windows):
        for centre in lesions:
            seen = centre + rng.normal(0, 0.7, 3)
            cube = (*seen, rng.uniform(5, 7))
            inside = all(window[a] + 5 <= cube[a] < window[a + 3] - 5 for a in range(3))  # so that none is cut off
            if inside and rng.random() < 0.8:
                rows.append((number, cube, float(rng.uniform(0.1, 1)), 0))
    found = cluster(candidates(rows, windows), 0.2)
    expected = []
    left = list(rows)
    while left:
        leader = max(left, key=lambda row: row[2] * slow_weight(row[1], windows[row[0]]))
        members = [row for row in left if row is leader or slow_iou(leader[1], row[1]) > 0.2]
        left = [row for row in left if all(row is not one for one in members)]
        best = {}
        for row in members:
            if row[0] not in best or (best[row[0]] is not leader and (row is leader or row[2] > best[row[0]][2])):
                best[row[0]] = row
        share = {n: slow_weight(r[1], windows[n]) * slow_iou(leader[1], r[1]) for n, r in best.items()}
        silent = sum(
            slow_weight(leader[1], window)
            for n, window in enumerate(windows)
            if n not in best and all(window[a] <= leader[1][a] < window[a + 3] for a in range(3))
        )
        expected.append(sum(share[n] * best[n][2] for n in best) / (sum(share.values()) + silent))
    assert len(rows) > 15
    assert [one.score for one in found] == pytest.approx(sorted(expected, reverse=True))


def test_masks_are_averaged_where_they_lie(candidates):
    empty, full = np.zeros((6, 6, 6)), np.ones((6, 6, 6))
    rows = [(0, (32, 32, 32, 8), 0.8, 0), (1, (32, 32, 32, 8), 0.8, 0)]
    masks = np.stack([full, empty]).astype(np.float16)
    (found,) = cluster(candidates(rows, PAIR, masks=masks), 0.3)
    assert found.parts[0].mask == pytest.approx(np.full((6, 6, 6), 0.5), abs=1e-6)


class TestWanted:
    """Which masks are drawn."""

    def test_what_is_wanted_is_what_is_used(self, candidates):
        rng = np.random.default_rng(5)
        windows = [(*start, *(s + 40 for s in start)) for start in itertools.product((0, 24), repeat=3)]
        places = rng.uniform(8, 56, (12, 3))
        rows = []
        for number, window in enumerate(windows):
            for place in places:
                centre = place + rng.normal(0, 0.5, 3)
                if all(window[a] <= centre[a] < window[a + 3] for a in range(3)):
                    rows.append((number, (*centre, rng.uniform(6, 10)), float(rng.uniform(0.03, 1)), 0))
        masks = rng.random((len(rows), 6, 6, 6)).astype(np.float16)
        full = candidates(rows, windows, masks=masks)
        asked = wanted(full, (0.1, 0.4))
        assert 0 < len(asked) < len(rows)
        drawn = np.full(len(rows), -1)
        drawn[asked] = np.arange(len(asked))
        sparse = replace(full, masks=masks[asked], drawn=drawn)
        for overlap in (0.1, 0.4):
            expected, found = cluster(full, overlap), cluster(sparse, overlap)
            assert [one.score for one in found] == [one.score for one in expected]
            for one, other in zip(found, expected, strict=True):
                for mine, theirs in zip(one.parts, other.parts, strict=True):
                    assert np.array_equal(mine.mask, theirs.mask)

    def test_of_a_cluster_only_the_largest_shares_are_drawn(self, candidates):
        rows = [(n, (32, 32, 32 + 0.1 * n, 8), 0.9 - 0.1 * n, 0) for n in range(6)]
        assert wanted(candidates(rows, WHOLE * 6), (0.3,)).tolist() == list(range(MEMBERS))

    def test_faint_findings_of_a_volume_are_left_out_but_for_the_best_few(self, candidates):
        places = list(itertools.product((8, 24, 40, 56), repeat=3))
        scores = [0.03 + 0.0001 * i for i in range(len(places))]
        rows = [(0, (*place, 6), score, 0) for place, score in zip(places, scores, strict=True)]
        found = candidates(rows, WHOLE)
        assert [one.score for one in cluster(found, 0.3)] == pytest.approx(scores[: -FEW - 1 : -1])
        rows = [(*row[:2], row[2] + (SHOWN if i < 40 else 0), 0) for i, row in enumerate(rows)]
        assert len(cluster(candidates(rows, WHOLE), 0.3)) == 40

    def test_of_very_many_findings_of_a_volume_the_best_are_kept(self, candidates):
        places = list(itertools.product(range(4, 64, 8), repeat=3))
        rows = [(0, (*place, 4), 0.1 + 0.0002 * i, 0) for i, place in enumerate(places)]
        found = cluster(candidates(rows, WHOLE), 0.3)
        assert len(found) == MOST < len(rows)
        assert min(one.score for one in found) == pytest.approx(rows[-MOST][2])
        clear = [(0, cube, score + 0.4, kind) for _, cube, score, kind in rows]
        assert len(cluster(candidates(clear, WHOLE), 0.3)) == len(rows)  # they may all count

    def test_every_section_of_slices_above_the_floor_counts(self, candidates):
        places = list(itertools.product((8, 24, 40, 56), repeat=2))
        rows = [(n, (*place, 6), 0.03, 0) for n in range(3) for place in places]
        assert len(cluster(candidates(rows, [(0, 0, 64, 64)] * 3, slices=[0, 1, 2]), 0.3)) == len(rows)

    def test_a_cluster_takes_whatever_masks_were_drawn_of_it_and_is_none_without(self, candidates):
        rows = [(n, (32, 32, 32 + 0.1 * n, 8), 0.9 - 0.1 * n, 0) for n in range(6)]
        full = candidates(rows, WHOLE * 6)
        last = replace(full, masks=np.full((1, 6, 6, 6), 0.75, np.float16), drawn=np.array([-1] * 5 + [0]))
        (found,) = cluster(last, 0.3)
        assert found.parts[0].mask[3, 3, 3] == pytest.approx(0.75)
        assert cluster(replace(last, drawn=np.full(6, -1)), 0.3) == []


class TestCutOff:
    """Lesions at the border of a window, of which each window sees a part."""

    def test_two_views_of_a_large_lesion_become_one(self, candidates):
        # A lesion from x = 10 to 56: the first window sees it to 40, the second from 24.
        rows = [(0, (32, 32, 25, 30), 0.8, 0), (1, (32, 32, 40, 32), 0.7, 0)]
        (found,) = cluster(candidates(rows, PAIR), 0.6)
        assert len(found.parts) == 2
        assert found.score == pytest.approx(0.8, abs=0.2)

    def test_a_part_is_left_out_where_another_window_saw_the_whole(self, candidates):
        # Six voxels of a lesion from x = 36 to 50 lie in the first window.
        rows = [(0, (32, 32, 38, 4), 0.6, 0), (1, (32, 32, 43, 14), 0.9, 0)]
        found = cluster(candidates(rows, PAIR), 0.3)
        assert len(found) == 1
        assert cube_of(found[0])[3] == pytest.approx(14)

    def test_a_part_leads_no_cluster_with_a_whole_view_and_does_not_move_its_box(self, candidates):
        rows = [(0, (32, 32, 36, 9), 0.95, 0), (1, (32, 32, 37, 11), 0.6, 0)]
        (found,) = cluster(candidates(rows, PAIR), 0.3)
        assert cube_of(found) == pytest.approx([32, 32, 37, 11])

    def test_the_border_of_the_scan_cuts_nothing_off(self, candidates):
        rows = [(0, (32, 32, 62, 4), 0.9, 0), (0, (32, 32, 52, 18), 0.5, 0)]
        assert len(cluster(candidates(rows, WHOLE), 0.3)) == 2

    def test_two_lesions_at_one_border_stay_two(self, candidates):
        rows = [(n, (at, at, 32, 17), 0.8, 0) for n in (0, 1) for at in (16, 46)]
        assert len(cluster(candidates(rows, PAIR), 0.3)) == 2

    def test_what_one_window_saw_at_its_border_and_another_not_at_all_is_none(self, candidates):
        assert cluster(candidates([(0, (32, 32, 39, 6), 0.8, 0)], PAIR), 0.3) == []


def drawn_ball(share):
    """A mask of 6 cells along each axis in which a ball of this share of the region's side is drawn."""
    steps = (np.arange(6) + 0.5) / 6 - 0.5
    z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
    return np.sqrt(z**2 + y**2 + x**2) <= share / 2


def test_a_small_box_within_the_mask_of_a_better_one_is_the_same_lesion(candidates):
    rows = [(0, (32, 32, 32, 20), 0.9, 0), (0, (34, 32, 32, 6), 0.8, 0)]
    assert slow_iou(rows[0][1], rows[1][1]) < 0.1
    masks = np.stack([drawn_ball(0.8), drawn_ball(0.8)]).astype(np.float16)
    assert [one.score for one in cluster(candidates(rows, WHOLE, masks=masks), 0.3)] == pytest.approx([0.9])
    # The better one is the small one: the large one draws far more than it, and stays.
    rows[0], rows[1] = (*rows[0][:2], 0.5, 0), rows[1]
    assert len(cluster(candidates(rows, WHOLE, masks=masks), 0.3)) == 2


def test_a_box_within_another_whose_mask_leaves_it_out_is_another_lesion(candidates):
    rows = [(0, (32, 32, 32, 20), 0.9, 0), (0, (24, 24, 24, 5), 0.8, 0)]
    masks = np.stack([drawn_ball(0.5), drawn_ball(0.8)]).astype(np.float16)
    assert len(cluster(candidates(rows, WHOLE, masks=masks), 0.3)) == 2


def test_slices_are_clustered_one_by_one(candidates):
    windows = [(0, 0, 64, 64), (0, 0, 64, 64)]
    rows = [(0, (30, 30, 8), 0.9, 0), (1, (30, 30, 8), 0.4, 0)]
    found = cluster(candidates(rows, windows, slices=[4, 5]), 0.3)
    assert [(one.parts[0].slice, round(one.score, 6)) for one in found] == [(4, 0.9), (5, 0.4)]


def test_nothing_found_is_nothing(candidates):
    assert cluster(candidates([], WHOLE), 0.3) == []


def test_the_box_of_a_part_is_that_of_its_drawn_cells():
    mask = np.zeros((4, 4), dtype=np.float32)
    mask[1, 2:] = 0.8
    part = Part(np.array([10.0, 20.0]), 8.0, mask, slice=3)
    assert part.corners() == pytest.approx([3, 12, 24, 4, 14, 28])
    mask[1, 2:] = [0.2, 0.1]
    assert part.corners() == pytest.approx([3, 12, 24, 4, 14, 26])
