"""From which score a finding counts: q, the file beside the weights, and tuning."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_dasl.errors import InputError, ProjectError
from napari_dasl.inference.region.thresholds import FILE, Thresholds, findings, tune
from napari_dasl.project.instances import Instance

WINDOW = [(0, 0, 0, 64, 64, 64)]


def lesion(z, y, x, side, label=1, spacing=1.0):
    """A lesion whose box has this middle and side in voxels of *spacing*; mm count from the first voxel's centre."""
    low = [(v - side / 2) * spacing - spacing / 2 for v in (z, y, x)]
    high = [(v + side / 2) * spacing - spacing / 2 for v in (z, y, x)]
    centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    return Instance(1, label, 1.0, True, (*low, *high), centre, side * spacing, 1.0)


def test_q_is_a_half_at_the_threshold_and_straight_on_both_sides():
    q = Thresholds(score=0.2).confidence
    assert [q(s) for s in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    plain = Thresholds().confidence
    assert [plain(s) for s in (0.1, 0.5, 0.9)] == pytest.approx([0.1, 0.5, 0.9])


@pytest.mark.parametrize("score", [1e-3, 0.999, 1 - 1e-6])
def test_q_stays_a_probability_at_the_ends(score):
    q = Thresholds(score=score).confidence
    scores = np.unique([*np.linspace(0, 1, 201), score, 0.9995, 1 - 1e-7])
    values = np.array([q(s) for s in scores])
    assert values.min() == 0
    assert values.max() == 1
    assert (np.diff(values) > 0).all()
    assert ((values >= 0.5) == (scores >= score)).all()


class TestFile:
    def test_what_is_written_is_read(self, tmp_path):
        Thresholds(score=0.31, nms=0.2).to_file(tmp_path)
        assert json.loads((tmp_path / FILE).read_text()) == {"score": 0.31, "nms": 0.2}
        assert Thresholds.from_file(tmp_path) == Thresholds(score=0.31, nms=0.2)

    def test_without_a_file_they_are_the_usual_ones(self, tmp_path):
        assert Thresholds.from_file(tmp_path) == Thresholds(score=0.5, nms=0.3)

    @pytest.mark.parametrize("text", ["{", '{"score": 2}', '{"score": 0.5, "other": 1}', "[]"])
    def test_a_file_that_holds_something_else_is_refused_by_name(self, tmp_path, text):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(ProjectError, match=r"detection\.json"):
            Thresholds.from_file(tmp_path)


class TestTune:
    def test_the_score_lies_between_what_is_right_and_what_is_not(self, candidates):
        rows = [
            (0, (10, 10, 10, 8), 0.40, 0),
            (0, (30, 30, 30, 8), 0.34, 0),
            (0, (50, 50, 50, 8), 0.30, 0),
            (0, (50, 10, 50, 8), 0.10, 0),
        ]
        chosen = tune([candidates(rows, WINDOW)], [[lesion(10, 10, 10, 8), lesion(30, 30, 30, 8)]])
        assert chosen.score == pytest.approx(0.32)
        assert chosen.nms == 0.3

    def test_scans_are_weighed_together(self, candidates):
        first = candidates([(0, (10, 10, 10, 8), 0.8, 0), (0, (50, 50, 50, 8), 0.6, 0)], WINDOW)
        second = candidates([(0, (10, 10, 10, 8), 0.2, 0), (0, (50, 50, 50, 8), 0.5, 0)], WINDOW)
        nothing = candidates([(0, (50, 50, 50, 8), 0.7, 0)], WINDOW)
        # Alone, the lesion at 0.8 and nothing else; with the second scan still, because 0.2 brings three wrong ones.
        truth = [[lesion(10, 10, 10, 8)], [lesion(10, 10, 10, 8)], []]
        assert tune([first, second, nothing], truth).score == pytest.approx(0.75)
        # Without wrong ones in between, the lesion at 0.2 is worth having.
        low = candidates([(0, (10, 10, 10, 8), 0.2, 0)], WINDOW)
        assert tune([first, low], truth[:2]).score == pytest.approx(0.1)

    def test_the_overlap_is_the_one_that_joins_twins_and_keeps_neighbours(self, candidates):
        # Two boxes on one lesion overlap by 0.45; a lesion and its neighbour by 1/7 = 0.14.
        twins = [(0, (10, 10, 10, 8), 0.9, 0), (0, (10, 10, 13.03, 8), 0.8, 0)]
        assert 0.4 < (8 - 3.03) / (8 + 3.03) < 0.5
        neighbours = [(0, (40, 40, 40, 8), 0.7, 0), (0, (40, 40, 46, 8), 0.6, 0)]
        truth = [lesion(10, 10, 10, 8), lesion(40, 40, 40, 8), lesion(40, 40, 46, 8)]
        chosen = tune([candidates(twins + neighbours, WINDOW)], [truth])
        assert chosen.nms == 0.3
        closer = [(0, (40, 40, 40, 8), 0.7, 0), (0, (40, 40, 43.2, 8), 0.6, 0)]
        masks = np.zeros((2, 6, 6, 6), dtype=np.float16)
        masks[..., 2:4] = 1  # slim ones, so that their masks stay apart
        slim = [lesion(40, 40, 40, 8), lesion(40, 40, 43.2, 8)]
        chosen = tune([candidates(closer, WINDOW, masks=masks)], [slim])
        assert chosen.nms == 0.5

    def test_boxes_are_compared_in_millimetres_and_within_their_class(self, candidates):
        rows = [(0, (10, 10, 10, 8), 0.9, 1), (0, (30, 30, 30, 8), 0.7, 0)]
        scan = candidates(rows, WINDOW, shape=(64, 64, 64), scan=(32, 32, 32), spacing=(4.0, 4.0, 4.0))
        # The network's voxels are 2 mm; the frame begins at the middle of the scan's first voxel of 4 mm.
        right = lesion(10, 10, 10, 8, label=2, spacing=2.0)
        moved = Instance(1, 2, 1.0, True, tuple(v - 1 for v in right.box), right.centre, 16.0, 1.0)
        assert tune([scan], [[moved]]).score == pytest.approx(0.8)
        assert scan.grid.to_mm(findings(scan, 0.3)[0].corners()) == pytest.approx(np.array(moved.box), abs=4)
        wrong = Instance(1, 1, 1.0, True, moved.box, moved.centre, 16.0, 1.0)
        assert tune([scan], [[wrong]]) == Thresholds()

    def test_equal_scores_cannot_be_told_apart(self, candidates):
        rows = [(0, (10, 10, 10, 8), 0.6, 0), (0, (50, 50, 50, 8), 0.6, 0), (0, (30, 50, 50, 8), 0.4, 0)]
        assert tune([candidates(rows, WINDOW)], [[lesion(10, 10, 10, 8)]]).score == pytest.approx(0.5)

    def test_a_sure_network_is_cut_off_where_it_is_best(self, candidates):
        rows = [(0, (10, 10, 10, 8), 0.99, 0), (0, (30, 30, 30, 8), 0.985, 0), (0, (50, 50, 50, 8), 0.97, 0)]
        rows += [(0, (50, 10, 50, 8), 0.965, 0), (0, (10, 50, 10, 8), 0.96, 0)]
        scan = candidates(rows, WINDOW)
        chosen = tune([scan], [[lesion(10, 10, 10, 8), lesion(30, 30, 30, 8)]])
        assert sum(one.score >= chosen.score for one in findings(scan, chosen.nms)) == 2

    def test_where_nothing_is_found_the_usual_ones_stay(self, candidates):
        assert tune([candidates([], WINDOW)], [[lesion(10, 10, 10, 8)]]) == Thresholds()

    def test_without_a_lesion_there_is_nothing_to_tune_by(self, candidates):
        with pytest.raises(InputError, match="0 lesions"):
            tune([candidates([], WINDOW)], [[]])
        with pytest.raises(InputError, match="scans"):
            tune([candidates([], WINDOW)], [[lesion(1, 1, 1, 1)], []])
