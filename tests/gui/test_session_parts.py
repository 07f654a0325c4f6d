"""The plain parts of a session: clock, agenda, windows, findings, uncertain regions, volumes, workers."""

import numpy as np
import pytest

from napari_dasl.errors import StorageError, VolumeError, WorkError
from napari_dasl.widgets.agenda import Agenda
from napari_dasl.widgets.case_facts import volume_words
from napari_dasl.widgets.class_colors import class_color
from napari_dasl.widgets.display_cache import Channel, display_array, span_of
from napari_dasl.widgets.jobs import Jobs
from napari_dasl.widgets.prefetch import find_focus, uncertain_regions
from napari_dasl.widgets.project_reading import class_volumes
from napari_dasl.widgets.window_presets import CT, MR, SUV, first_of, presets_for
from napari_dasl.widgets.windowing import Windowing


def test_the_agenda_keeps_passed_cases_for_the_end():
    agenda = Agenda()
    agenda.waiting = ["a", "b", "c"]
    agenda.passed("a")
    assert agenda.queue() == ["b", "c", "a"]
    assert agenda.next("b") == "c"
    agenda.done("c")
    assert agenda.queue(without={"b"}) == ["a"]


class TestWindows:
    def test_ct_windows_are_the_radiologists(self):
        assert [(preset.low, preset.high) for preset in CT] == [(-160, 240), (-1350, 150), (-500, 1300), (0, 80)]
        assert presets_for("", "HU") is CT
        assert presets_for("PET", "SUVbw") is SUV
        assert presets_for("MR", "") is MR

    @pytest.mark.parametrize(("hounsfield", "name"), [(-800, "lung"), (40, "soft tissue"), (-1000, "soft tissue")])
    def test_a_ct_that_is_mostly_lung_begins_in_the_lung_window(self, hounsfield, name):
        assert CT[first_of(CT, np.full((8, 8, 8), hounsfield, np.int16))].name == name

    def test_pet_without_suv_follows_its_own_range(self):
        assert presets_for("PET", "", 30_000)[0].limits((100, 300)) == (100, 300)

    def test_pet_without_a_unit_but_in_the_range_of_suv_has_suvs_windows(self):
        preset = presets_for("PET", "", 4.5)[0]
        assert (preset.low, preset.high, preset.colormap, preset.label()) == (0, 10, "gray_r", "0–10")

    def test_a_hand_made_mr_window_fits_the_next_scan(self):
        def channel(span):
            return Channel("T1", np.zeros((1, 1, 1)), (1, 1, 1), (0, 0, 0), "MR", "", span)

        windowing = Windowing()
        assert windowing.limits(channel((0, 100))) == (0, 100)
        windowing.remember("T1", (10, 60))
        assert windowing.limits(channel((0, 1000))) == pytest.approx((100, 600))


class TestFindings:
    def test_the_focus_is_the_largest_section_of_the_first_mask_that_holds_something(self):
        empty, mask = np.zeros((5, 6, 7), np.uint8), np.zeros((5, 6, 7), np.uint8)
        mask[1, 2, 3] = 1
        mask[3, 2:5, 3:6] = 2
        assert find_focus(empty, mask) == ((3, 2, 3), True)
        assert find_focus(None, empty) == ((2, 3, 3), False)

    def test_regions_come_by_size_and_their_centre_lies_inside(self):
        uncertainty = np.zeros((10, 20, 20), np.float32)
        uncertainty[1:3, 1:3, 1:3] = 0.5
        ring = np.hypot(*np.ogrid[-9:11, -9:11])
        uncertainty[5:8, (ring > 5) & (ring < 7)] = 0.4
        first, second = uncertain_regions(uncertainty)
        assert uncertainty[first] == pytest.approx(0.4)
        assert uncertainty[second] == pytest.approx(0.5)
        assert uncertain_regions(uncertainty * 0) == []

    def test_faint_uncertainty_is_found_too(self):
        uncertainty = np.zeros((4, 4, 4), np.float32)
        uncertainty[1, 1, 1] = 0.12
        assert uncertain_regions(uncertainty) == [(1, 1, 1)]

    def test_volumes_are_millilitres(self):
        mask = np.zeros((10, 10, 10), np.uint8)
        mask[0] = 1
        mask[1, 0] = 2
        assert class_volumes(mask, 3, (2.0, 1.0, 1.0)) == pytest.approx([0.2, 0.02, 0.0])
        assert [volume_words(v) for v in (0, 0.02, 1.234, 56.7)] == ["–", "20 mm³", "1.23 ml", "57 ml"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [(">i2", "int16"), ("f8", "float32"), ("i4", "int16"), ("u1", "uint8"), ("?", "uint8"), ("f4", "float32")],
)
def test_scans_are_shown_in_a_type_that_napari_draws_without_converting(given, shown):
    array = np.zeros((2, 3, 4), dtype=given).transpose(0, 2, 1)
    assert display_array(array).dtype == shown
    assert display_array(array).flags.c_contiguous


def test_a_scan_of_one_value_still_has_a_range():
    assert span_of(np.full((3, 3, 3), 7, np.int16)) == (7.0, 8.0)


def test_seven_classes_have_seven_colours_and_the_eighth_is_another_one():
    assert len({class_color(number) for number in range(1, 15)}) == 14


class TestJobs:
    def test_answers_come_in_this_thread_and_writes_keep_their_order(self, qtbot):
        import threading

        jobs, order, threads = Jobs(), [], set()
        for number in range(5):
            jobs.write(lambda number=number: order.append(number), lambda _: threads.add(threading.get_ident()))
        qtbot.waitUntil(lambda: jobs.idle)
        assert order == [0, 1, 2, 3, 4]
        assert threads == {threading.get_ident()}

    @pytest.mark.parametrize(
        ("raised", "kind"),
        [
            (VolumeError("No."), VolumeError),
            (OSError(28, "No space left on device", "/x"), StorageError),
            (RuntimeError("odd"), WorkError),
            (MemoryError(), WorkError),
        ],
    )
    def test_every_error_arrives_in_words(self, qtbot, raised, kind, caplog):
        def fail():
            raise raised

        jobs, errors = Jobs(), []
        jobs.read(fail, None, errors.append)
        qtbot.waitUntil(lambda: bool(errors))
        assert type(errors[0]) is kind
        assert errors[0].message.endswith(".")

    def test_waiting_delivers_the_answers(self):
        jobs, answers = Jobs(), []
        jobs.write(lambda: 7, answers.append)
        assert jobs.wait()
        assert answers == [7]
