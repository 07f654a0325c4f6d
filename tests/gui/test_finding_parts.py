"""Findings as values: their voxels, balls in mm, boxes on slices, and the rows of the table. No window here."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.project.instances import Instance
from napari_dasl.widgets.finding_boxes import GAP, Box, View, outline, strips
from napari_dasl.widgets.finding_model import FindingColumn, FindingModel
from napari_dasl.widgets.finding_rows import Findings, diameter_words, summary_words
from napari_dasl.widgets.pieces import Piece, pieces_of, sphere
from napari_dasl.widgets.review_model import ReviewProxy

SPACING = (5.0, 0.5, 0.5)


def instance(number, *, label=1, score=0.9, kept=True, diameter=6.0, volume=0.1):
    return Instance(number, label, score, kept, (0.0,) * 6, (0.0,) * 3, diameter, volume)


def findings(**verdicts):
    ids = np.zeros((4, 10, 10), np.uint16)
    ids[1:3, 1:4, 1:4], ids[2, 6:9, 6:9], ids[0, 0, 9] = 1, 2, 3
    return Findings(
        "P-0",
        "m",
        None,
        ("nodule", "cyst"),
        (instance(1, score=0.7), instance(2, label=2, score=0.8, diameter=12), instance(3, score=0.2, kept=False)),
        {int(name[1:]): verdict for name, verdict in verdicts.items()},
        pieces_of(ids),
    )


class TestPieces:
    def test_each_number_has_its_voxels(self):
        ids = np.zeros((3, 5, 5), np.uint16)
        ids[1, 1:3, 2:5], ids[2, 4, 4] = 7, 2
        pieces = pieces_of(ids)
        assert sorted(pieces) == [2, 7]
        back = np.zeros_like(ids)
        for number, piece in pieces.items():
            back[piece.region][piece.mask] = number
        np.testing.assert_array_equal(back, ids)

    def test_the_middle_of_a_curved_one_lies_inside(self):
        ring = np.ones((1, 7, 7), bool)
        ring[0, 1:6, 1:6] = False
        z, y, x = Piece((4, 10, 20), ring).middle
        assert z == 4
        assert ring[0, y - 10, x - 20]


class TestSphere:
    def test_it_is_round_in_mm_whatever_the_voxels(self):
        piece = sphere((40, 100, 100), (2.0, 1.0, 0.5), (20, 50, 50), 20.0)
        voxels = np.argwhere(piece.mask) + piece.start
        distance = np.linalg.norm((voxels - (20, 50, 50)) * (2.0, 1.0, 0.5), axis=1)
        assert distance.max() <= 10
        assert piece.mask.sum() * 1.0 == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.03)

    def test_one_thinner_than_a_section_still_marks_its_voxel(self):
        piece = sphere((9, 64, 64), (5.0, 0.7, 0.7), (4.4, 10.3, 10.4), 1.0)
        assert piece.start[0] == 4
        assert piece.mask.any()

    def test_it_is_cut_off_at_the_border_and_nothing_outside(self):
        piece = sphere((5, 5, 5), (1.0,) * 3, (0, 0, 4), 6.0)
        assert piece.start == (0, 0, 1)
        assert piece.mask.shape == (4, 4, 4)
        assert sphere((5, 5, 5), (1.0,) * 3, (-0.6, 2, 2), 6.0) is None


class TestBoxes:
    piece = Piece((2, 10, 20), np.ones((3, 4, 8), bool))

    def look(self, axis, place, pixel=0.1):
        shown = tuple(other for other in range(3) if other != axis)
        return View(axis, place, shown, SPACING, pixel)

    @pytest.mark.parametrize(
        ("axis", "inside", "outside"), [(0, (2, 4), (1, 5)), (1, (10, 13), (9, 14)), (2, (20, 27), (19, 28))]
    )
    def test_it_is_on_every_slice_that_it_crosses_in_every_orientation(self, axis, inside, outside):
        box = Box(self.piece, "proposed", "#56B4E9", chosen=False)
        for place in inside:
            corners, colours = strips([box], self.look(axis, place))
            assert len(corners) == len(colours) == 4
            assert {float(value) for strip in corners for value in strip[:, axis]} == {float(place)}
        for place in outside:
            assert strips([box], self.look(axis, place)) == ([], [])

    def test_it_surrounds_the_voxels_by_the_same_pixels_on_every_side(self):
        view = self.look(1, 11)
        points = np.concatenate(strips([Box(self.piece, "proposed", "#fff", chosen=False)], view)[0])
        rows, columns = points[:, 0] * 5.0, points[:, 2] * 0.5  # mm
        edge = GAP * view.pixel + 1.5 * view.pixel / 2
        assert (rows.min(), rows.max()) == pytest.approx((1.5 * 5 - edge, 4.5 * 5 + edge))
        assert (columns.min(), columns.max()) == pytest.approx((19.5 * 0.5 - edge, 27.5 * 0.5 + edge))

    def test_lines_are_equally_thin_along_and_across_thick_sections(self):
        view = self.look(1, 11)
        top, side = strips([Box(self.piece, "proposed", "#fff", chosen=False)], view)[0][:2]
        assert np.ptp(top[:, 0]) * 5.0 == pytest.approx(np.ptp(side[:, 2]) * 0.5)

    def test_the_state_is_a_shape_too(self):
        counts = {
            state: len(strips([Box(self.piece, state, "#fff", chosen=False)], self.look(0, 3))[0])
            for state in ("proposed", "accepted", "labelled", "rejected")
        }
        assert counts == {"proposed": 4, "accepted": 8, "labelled": 8, "rejected": 5}

    def test_the_outline_of_the_chosen_one_runs_along_its_voxels(self):
        mask = np.zeros((1, 3, 3), bool)
        mask[0, 1, :] = mask[0, :, 1] = True  # a cross
        runs = outline(Piece((5, 0, 0), mask), View(0, 5, (1, 2), (1.0, 2.0, 3.0), 0.1))
        assert len(runs) == 12
        length = sum(float(np.abs(end - begin).sum()) for begin, end in runs)
        assert length == pytest.approx(6 * 2.0 + 6 * 3.0)

    def test_an_organ_is_not_outlined_run_by_run(self):
        ragged = np.random.default_rng(0).random((1, 60, 60)) < 0.5
        assert outline(Piece((0, 0, 0), ragged), View(0, 0, (1, 2), (1.0,) * 3, 0.1)) == []


class TestRows:
    def test_the_surest_come_first_and_what_is_not_drawn_is_unsure(self):
        rows = findings().rows()
        assert [(row.id, row.name, row.state) for row in rows] == [
            (2, "cyst", "proposed"),
            (1, "nodule", "proposed"),
            (3, "nodule", "below"),
        ]
        assert summary_words(rows) == "2 findings. 1 more is too unsure to be drawn."

    def test_a_verdict_counts_before_what_is_drawn(self):
        rows = findings(f1="rejected", f2="accepted").rows(frozenset({1, 2, 3}))
        assert [row.state for row in rows] == ["accepted", "rejected", "labelled"]
        assert summary_words(rows).startswith("2 findings: 1 accepted, 1 in your label, 1 rejected.")

    def test_what_the_label_holds_needs_its_class(self):
        found, label = findings(), np.zeros((4, 10, 10), np.uint8)
        label[2, 3, 3], label[2, 6, 6] = 1, 1
        assert found.drawn(label, numbered=False) == {1}
        label[2, 6, 6] = 200
        assert found.drawn(label, numbered=True) == {1, 2}

    def test_accepting_all_leaves_out_what_was_rejected(self):
        mask = np.ones((4, 10, 10), np.uint8)
        assert findings().without(mask, ()) is mask
        left = findings().without(mask, [2])
        assert mask.all()
        assert (left == 0).sum() == 9
        assert not left[2, 6:9, 6:9].any()

    def test_diameters_are_told_as_they_are_measured(self):
        assert (diameter_words(4.26), diameter_words(21.9)) == ("4.3 mm", "22 mm")


class TestModel:
    @pytest.fixture
    def proxy(self, qapp):
        model = FindingModel()
        model.set_rows(findings(f1="rejected").rows(), ("P-0", "m"))
        return ReviewProxy(model)

    @pytest.mark.parametrize(
        ("column", "order"),
        [(FindingColumn.SCORE, [2, 1, 3]), (FindingColumn.ID, [1, 2, 3]), (FindingColumn.DIAMETER, [2, 1, 3])],
    )
    def test_columns_sort_by_value(self, proxy, column, order):
        proxy.sort(column)
        rows = [proxy.sourceModel().rows[proxy.mapToSource(proxy.index(place, 0)).row()].id for place in range(3)]
        assert rows == order

    def test_what_is_rejected_is_struck_through(self, proxy):
        from qtpy.QtCore import Qt

        model = proxy.sourceModel()
        fonts = [model.index(model.row_of(number), 1).data(Qt.ItemDataRole.FontRole) for number in (1, 2)]
        assert fonts[0].strikeOut()
        assert fonts[1] is None

    def test_another_state_of_the_same_findings_keeps_the_rows(self, proxy, qtbot):
        model = proxy.sourceModel()
        with qtbot.waitSignal(model.dataChanged), qtbot.assertNotEmitted(model.modelReset):
            model.set_rows(findings().rows(), ("P-0", "m"))
        with qtbot.waitSignal(model.modelReset):
            model.set_rows(findings().rows(), ("P-1", "m"))
