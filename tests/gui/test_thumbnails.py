"""Small pictures: which slice, what is outlined and how, and that they are kept and made anew when a label changes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.widgets.thumbnail_keeper import ThumbnailKeeper
from napari_dasl.widgets.thumbnails import draw, middle_slice, read_thumbnail

YELLOW, BLUE = (240, 228, 66), (86, 180, 233)


def has(picture, colour):
    return bool((picture == colour).all(axis=2).any())


@pytest.fixture
def scan():
    """A dark scan with a bright ball's box at one end, and its label."""
    array = np.zeros((20, 60, 60), np.float32)
    label = np.zeros(array.shape, np.uint8)
    place = (slice(12, 17), slice(40, 50), slice(5, 15))
    array[place], label[place] = 1.0, 1
    return array, label


def test_the_middle_slice_has_half_of_the_lesion_above_it():
    lesion = np.zeros((9, 4, 4), bool)
    lesion[2, 0, 0] = lesion[3:6] = lesion[8, 0, 0] = True
    assert middle_slice(lesion) == 4


def test_ct_shows_the_lesion_with_a_solid_outline_and_a_prediction_with_a_dotted_one(scan):
    array, label = scan
    solid = draw(array, label, (2.0, 1.0, 1.0), (0, 1), projection=False)
    dotted = draw(array, label, (2.0, 1.0, 1.0), (0, 1), projection=False, dotted=True)
    assert has(solid, YELLOW)
    assert not has(solid, BLUE)
    assert has(dotted, BLUE)
    assert (dotted == BLUE).all(axis=2).sum() < (solid == YELLOW).all(axis=2).sum()
    assert (solid == 255).all(axis=2).any()  # the lesion itself stays visible


def test_a_small_lesion_is_shown_close_up(scan):
    array, label = scan
    near = draw(array, label, (2.0, 2.5, 2.5), (0, 1), projection=False)
    whole = draw(array, None, (2.0, 2.5, 2.5), (0, 1), projection=False)
    assert not has(whole, YELLOW)
    assert (near == 255).all(axis=2).mean() > 2 * 100 / 3600  # the lesion has 100 of the slice's 3600 pixels


def test_pet_is_a_dark_on_white_projection_from_the_front_with_true_proportions(scan):
    array, label = scan
    picture = draw(array, label, (4.0, 1.0, 1.0), (0, 1), projection=True, side=80)
    assert picture.shape == (80, 60, 3)  # 80 mm high, 60 mm wide
    assert (picture[0] == 255).all()
    assert (picture == 0).all(axis=2).any()
    assert has(picture, YELLOW)


def test_a_picture_is_kept_and_made_anew_with_the_label(study, monkeypatch):
    project = study.project
    predicted = read_thumbnail(project, project.case("P-0"))
    assert has(predicted, BLUE)
    assert not has(read_thumbnail(project, project.case("P-0"), blind=True), BLUE)
    assert np.array_equal(read_thumbnail(project, project.case("P-0")), predicted)
    kept = list((project.folder / "cache" / "thumbnails" / "P-0").iterdir())
    assert len(kept) == 1
    monkeypatch.setattr("napari_dasl.widgets.thumbnails.read_picture", lambda *_, **__: pytest.fail("read again"))
    assert np.array_equal(read_thumbnail(project, project.case("P-0")), predicted)
    monkeypatch.undo()
    project.record_label("P-0", study.truth["P-0"], author="me")
    drawn = read_thumbnail(project, project.case("P-0"))
    assert has(drawn, YELLOW)
    assert not has(drawn, BLUE)
    assert not (project.folder / "cache" / "display" / "P-0").exists()  # a glance fills no disk


def test_a_scan_that_is_gone_has_no_picture(study):
    study.scan("P-1").unlink()
    assert read_thumbnail(study.project, study.project.case("P-1")) is None


def test_pictures_come_from_another_thread_and_once(session, study, qtbot):
    from napari_dasl.widgets.snapshot import read_snapshot

    keeper = ThumbnailKeeper(session)
    row = next(one for one in read_snapshot(study.project).rows if one.case == "P-0")
    assert keeper.pixmap(row) is None
    with qtbot.waitSignal(keeper.ready, timeout=10_000):
        keeper.pixmap(row)
    first = keeper.pixmap(row)
    assert not first.isNull()
    session.cases_changed.emit()
    with qtbot.waitSignal(keeper.ready, timeout=10_000):
        assert keeper.pixmap(row) is first  # the older one shows while a newer one is made
