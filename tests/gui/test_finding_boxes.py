"""The boxes around findings on the slices of the scan."""

from __future__ import annotations

import pytest


class TestBoxes:
    def shown(self, panel):
        return list(panel.session.layers["findings"].data)

    @pytest.mark.filterwarnings("ignore:Contours are not displayed during 3D rendering")
    def test_they_follow_the_slice_and_the_orientation(self, panel):
        viewer, layers = panel.session.viewer, panel.session.layers
        layers.go_to((6, 5, 5))
        assert len(self.shown(panel)) == 4
        assert {float(point[0]) for strip in self.shown(panel) for point in strip} == {6.0}
        layers.go_to((0, 5, 5))
        assert self.shown(panel) == []
        viewer.dims.order = (2, 0, 1)
        layers.go_to((0, 20, 12))
        assert {float(point[2]) for strip in self.shown(panel) for point in strip} == {12.0}
        viewer.dims.ndisplay = 3
        assert self.shown(panel) == []

    def test_one_layer_is_reused_and_not_editable(self, panel, open_case, qtbot):
        layers, viewer = panel.session.layers, panel.session.viewer
        layers.go_to((3, 5, 5))
        first = layers["findings"]
        for case in ("P-1", "P-0"):
            open_case(panel.session, case)
            qtbot.waitUntil(lambda case=case: panel.keeper.snapshot.case == case)
            layers.go_to((3, 5, 5))
        assert layers["findings"] == first
        assert sum(layer.name == "boxes of findings" for layer in viewer.layers) == 1
        assert not first.editable
        assert viewer.layers.selection.active == layers["label"]  # the brush stays in the hand
        assert [str(unit) for unit in first.units] == ["millimeter"] * 3

    def test_the_chosen_one_is_outlined(self, panel):
        panel.table.choose(1)
        assert len(self.shown(panel)) == 8  # four edges of the box, four of the cube's outline

    def test_they_go_with_the_section_and_by_the_tick(self, panel):
        panel.session.layers.go_to((3, 5, 5))
        panel.boxes.setChecked(False)
        assert self.shown(panel) == []
        panel.boxes.setChecked(True)
        assert self.shown(panel)
        panel.hide()
        assert self.shown(panel) == []
        assert len(self.slider_steps(panel)) == 3

    def slider_steps(self, panel):
        steps = [entry.step for entry in panel.session.viewer.dims.range]
        assert steps == pytest.approx([2.0, 1.5, 1.0])  # no helper layer makes the slider finer
        return steps
