"""The layers: reused from case to case, in millimetres, with an undo that never crosses patients."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_dasl.project import Project, ProjectConfig


def roles(session):
    return [layer.name for layer in session.viewer.layers]


class TestReuse:
    def test_the_layers_of_a_case_from_below(self, session, open_case):
        open_case(session, "P-0")
        assert roles(session) == ["CT", "prediction", "label", "probability", "uncertainty"]

    def test_ten_cases_make_no_new_layer(self, session, open_case):
        open_case(session, "P-0")
        before = list(session.viewer.layers)
        for turn in range(10):
            open_case(session, f"P-{(turn + 1) % 5}")
            assert all(now is then for now, then in zip(session.viewer.layers, before, strict=True))

    def test_every_layer_lies_in_millimetres_on_the_named_axes(self, session, open_case):
        open_case(session, "P-0")
        for layer in session.viewer.layers:
            assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
            assert layer.axis_labels == ("z", "y", "x")
            np.testing.assert_allclose(layer.scale, (2.0, 1.5, 1.0))
            np.testing.assert_allclose(layer.affine.affine_matrix, np.eye(4))

    def test_only_the_label_can_be_edited_and_filling_in_3d_is_off(self, session, open_case):
        open_case(session, "P-0")
        open_case(session, "P-1")
        labels = [layer for layer in session.viewer.layers if isinstance(layer, Labels)]
        assert [layer.name for layer in labels if layer.editable] == ["label"]
        assert session.layers["label"].n_edit_dimensions == 2
        assert session.layers["label"].data.dtype == np.uint8

    @pytest.mark.parametrize("victim", ["label", "prediction", "CT", "uncertainty"])
    def test_a_layer_that_was_deleted_comes_back_with_its_strokes(self, session, open_case, qtbot, victim):
        open_case(session, "P-0")
        session.layers["label"].paint((2, 3, 4), 1)
        before = roles(session)
        session.viewer.layers.remove(victim)
        qtbot.waitUntil(lambda: roles(session) == before)
        assert session.layers.label.view()[2, 3, 4] == 1
        open_case(session, "P-1")
        assert roles(session) == before
        assert not session.layers.label.view().any()

    def test_clearing_the_whole_list_does_not_lose_a_stroke(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.layers["label"].paint((2, 3, 4), 1)
        session.viewer.layers.clear()
        qtbot.waitUntil(lambda: len(session.viewer.layers) == 5)
        assert session.layers.label.view()[2, 3, 4] == 1


class TestUndo:
    def test_it_never_crosses_cases(self, session, open_case):
        open_case(session, "P-0")
        for corner in ((2, 3, 4), (5, 6, 7), (8, 9, 10)):
            session.layers["label"].paint(corner, 1)
        open_case(session, "P-3")
        before = session.layers.label.copy()
        for _ in range(5):
            session.layers["label"].undo()
        np.testing.assert_array_equal(session.layers.label.view(), before)
        session.layers["label"].redo()
        np.testing.assert_array_equal(session.layers.label.view(), before)

    def test_brush_tool_and_class_stay_in_the_hand(self, session, open_case):
        open_case(session, "P-0")
        label = session.layers["label"]
        label.brush_size, label.selected_label, label.mode = 7, 2, "paint"
        open_case(session, "P-1")
        assert (label.brush_size, label.selected_label, label.mode) == (7, 2, "paint")


class TestTheEyesHabits:
    def test_the_largest_cross_section_is_shown_first(self, session, open_case, study):
        open_case(session, "P-3")
        z = session.viewer.dims.current_step[0]
        assert study.truth["P-3"][z].any()
        open_case(session, "P-0")
        assert session.project.prediction("P-0").label()[session.viewer.dims.current_step[0]].any()

    def test_zoom_and_place_stay(self, session, open_case):
        open_case(session, "P-0")
        camera = session.viewer.scene.camera
        camera.zoom, camera.center = 12.5, (0, 9, 8)
        open_case(session, "P-1")
        assert camera.zoom == pytest.approx(12.5)
        np.testing.assert_allclose(camera.center[-2:], (9, 8))

    def test_going_to_a_place_moves_the_picture_no_further_than_the_scan(self, session, open_case):
        """A lesion at the border of a scan that is seen whole must not leave half of the screen empty."""
        open_case(session, "P-0")
        layers, camera, canvas = session.layers, session.viewer.scene.camera, session.viewer.canvas
        shown = layers.reference
        spacing, (_, rows, columns) = np.array(shown.spacing[1:]), shown.array.shape
        extent = spacing * (rows, columns)
        middle = np.array(shown.origin[1:]) + (extent - spacing) / 2
        whole = float(min(np.array(canvas.size) / extent))
        camera.zoom, camera.center = whole, (0, *middle)
        layers.go_to((3, 0, columns - 1))
        np.testing.assert_allclose(camera.center[-2:], middle)
        camera.zoom = 20 * whole
        layers.go_to((3, 0, columns - 1))
        half = np.array(canvas.size) / camera.zoom / 2
        np.testing.assert_allclose(camera.center[-2:], middle + (half - extent / 2) * (1, -1))

    def test_a_window_made_by_hand_stays_and_w_goes_through_the_presets(self, session, open_case):
        open_case(session, "P-0")
        image = session.layers["channel 0"]
        assert tuple(image.contrast_limits) == (-160, 240)
        assert session.layers.next_window() == "lung W1500 L-600"
        assert tuple(image.contrast_limits) == (-1350, 150)
        image.contrast_limits = (-1000, 0)
        open_case(session, "P-1")
        assert tuple(image.contrast_limits) == (-1000, 0)
        assert "own window W1000 L-500" in session.viewer.canvas.overlays.text.text
        assert session.layers.next_window() == "lung W1500 L-600"

    @pytest.mark.filterwarnings("ignore:Contours are not displayed")
    def test_the_canvas_says_case_window_slice_and_sides(self, session, open_case):
        open_case(session, "P-0")
        overlays = session.viewer.canvas.overlays
        session.viewer.dims.set_current_step(0, 3)
        assert overlays.text.text.splitlines() == ["P-0 · CT", "soft tissue W400 L40", "axial 4/12"]
        sides = [overlays[f"dasl_{side}"].text for side in ("top", "bottom", "left", "right")]
        assert sides == ["A", "P", "R", "L"]
        session.viewer.dims.order = (1, 0, 2)
        sides = [overlays[f"dasl_{side}"].text for side in ("top", "bottom", "left", "right")]
        assert sides == ["S", "I", "R", "L"]
        assert overlays.text.text.splitlines()[-1].startswith("coronal")
        session.viewer.dims.ndisplay = 3
        assert not overlays["dasl_top"].visible

    def test_the_outline_is_wider_on_fine_scans_unless_somebody_chose_it(self, session, open_case, monkeypatch):
        from napari_dasl.widgets import layers

        monkeypatch.setattr(layers, "outline_width", lambda data: 2 if data.size > 1 else 1)
        open_case(session, "P-0")
        assert session.layers["label"].contour == 2
        session.layers["label"].contour = 0
        open_case(session, "P-1")
        assert session.layers["label"].contour == 0

    def test_h_hides_what_is_shown_and_shows_that_again(self, session, open_case):
        open_case(session, "P-0")
        board = session.layers
        board.looks.toggle("uncertainty")
        board.looks.toggle("prediction")
        board.looks.toggle_all()
        assert not any(board.looks.is_visible(role) for role in ("label", "prediction", "uncertainty", "probability"))
        board.looks.toggle_all()
        assert [role for role in ("label", "prediction", "uncertainty") if board.looks.is_visible(role)] == [
            "label",
            "uncertainty",
        ]

    def test_u_jumps_through_the_uncertain_regions(self, session, open_case, qtbot):
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: np.asarray(session.layers["uncertainty"].data).any())
        session.next_region()
        step = session.viewer.dims.current_step
        assert session.project.prediction("P-0").uncertainty()[step] > 0.1
        assert session.viewer.canvas.overlays.text.text.splitlines()[-1].startswith("uncertain region 1 of")

    def test_keys_reach_the_session(self, session, open_case, qtbot):
        open_case(session, "P-0")
        for key, changed in (
            ("K", lambda: session.layers.label.view().any()),
            ("H", lambda: not session.layers.looks.is_visible("label")),
        ):
            session.viewer.keymap[next(bound for bound in session.viewer.keymap if str(bound) == key)](session.viewer)
            assert changed()
        session.viewer.keymap[next(bound for bound in session.viewer.keymap if str(bound) == "N")](session.viewer)
        qtbot.waitUntil(lambda: session.case_id == "P-1")


class TestGrids:
    def test_an_oblique_scan_is_shown_straight_and_saved_on_its_own_grid(
        self, tmp_path, make_session, open_case, qtbot, write_scan, cube_scan
    ):
        scans = tmp_path / "oblique"
        scans.mkdir()
        scan, _ = cube_scan(1)
        turn = np.deg2rad(12)
        rotation = np.eye(4)
        rotation[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        write_scan(scans / "X.nii.gz", scan, rotation @ np.diag([-1.0, -1.5, -2.0, 1.0]))
        with Project.create(tmp_path / "p", ProjectConfig(name="x", modality="MR")) as project:
            project.add_cases([scans])
        session = make_session(tmp_path / "p")
        open_case(session, "X")
        assert session.opened.picture.oblique
        assert "oblique" in session.viewer.canvas.overlays.text.text
        label = session.layers["label"]
        middle = tuple(size // 2 for size in label.data.shape)
        label.brush_size, label.n_edit_dimensions = 5, 3
        label.paint(middle, 1)
        with qtbot.waitSignal(session.saved):
            session.work.save()
        saved = session.project.read_label("X")
        assert saved.shape == scan.shape
        assert 20 < saved.sum() < 200
        shown = session.layers.label.copy()
        session._drafts.end()
        session.close_case()
        open_case(session, "X")
        overlap = (
            2
            * np.count_nonzero(shown & session.layers.label.view())
            / (shown.sum() + session.layers.label.view().sum())
        )
        assert overlap > 0.7

    def test_two_registered_series_are_two_layers_each_on_its_own_grid(
        self, tmp_path, make_session, open_case, write_scan, cube_scan
    ):
        folder = tmp_path / "scans"
        (folder / "A").mkdir(parents=True)
        pet, _ = cube_scan(2)
        write_scan(folder / "A" / "PET.nii.gz", pet)
        write_scan(folder / "A" / "CT.nii.gz", cube_scan(3, (24, 48, 40))[0], np.diag([-0.5, -0.75, -1.0, 1.0]))
        with Project.create(tmp_path / "p", ProjectConfig(name="x", modality="PET", channels=("PET", "CT"))) as project:
            assert project.add_cases([folder]).added == ("A",)
        session = make_session(tmp_path / "p")
        open_case(session, "A")
        assert roles(session)[:2] == ["PET", "CT"]
        np.testing.assert_allclose(session.layers["channel 1"].scale, (1.0, 0.75, 0.5))
        assert session.layers["label"].data.shape == pet.shape
        assert [layer.visible for layer in session.viewer.layers][:2] == [True, False]
