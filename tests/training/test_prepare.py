"""Resampling against scipy, and the cache: made once, never half, never stale."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_dasl.errors import InputError, LabelError, StorageError
from napari_dasl.training import prepare
from napari_dasl.training.prepare import Cache, from_network_grid, resample_label, resample_linear, to_network_grid

shapes = st.tuples(*[st.integers(1, 9)] * 3)


@settings(max_examples=40, deadline=None)
@given(shapes, shapes, st.integers(0, 99))
def test_resampling_is_scipys_zoom_of_order_one(old, new, seed):
    array = np.random.default_rng(seed).normal(size=old).astype(np.float32)
    expected = array
    for axis in range(3):
        at = np.clip((np.arange(new[axis]) + 0.5) * old[axis] / new[axis] - 0.5, 0, old[axis] - 1)
        lines = np.moveaxis(expected, axis, 0).reshape(old[axis], -1)
        made = [ndimage.map_coordinates(line, [at], order=1, mode="nearest") for line in lines.T]
        expected = np.moveaxis(np.array(made).T.reshape(-1, *np.moveaxis(expected, axis, 0).shape[1:]), 0, axis)
    np.testing.assert_allclose(resample_linear(array, new, smooth=False), expected, atol=1e-5)


def test_a_ramp_stays_a_ramp_and_its_extent_stays():
    ramp = np.broadcast_to((np.arange(20, dtype=np.float32) + 0.5)[:, None, None], (20, 4, 4))
    finer = resample_linear(ramp, (40, 4, 4))
    np.testing.assert_allclose(finer[1:-1, 0, 0], (np.arange(40)[1:-1] + 0.5) / 2, atol=1e-5)


def test_shrinking_averages_instead_of_picking():
    checks = (np.indices((32, 32, 32)).sum(0) % 2).astype(np.float32)
    assert resample_linear(checks, (8, 8, 8)).std() < 0.05
    assert resample_linear(checks, (8, 8, 8)).mean() == pytest.approx(0.5, abs=0.02)


def test_a_label_survives_the_way_there_and_back():
    z, y, x = np.indices((20, 24, 22))
    label = np.zeros((20, 24, 22), np.uint8)
    label[(z - 9) ** 2 + (y - 11) ** 2 + (x - 10) ** 2 < 36] = 1
    label[(z - 9) ** 2 + (y - 11) ** 2 + (x - 10) ** 2 < 9] = 2
    back = resample_label(resample_label(label, (30, 24, 33), 2), label.shape, 2)
    for k in (1, 2):
        assert 2 * ((back == k) & (label == k)).sum() / ((back == k).sum() + (label == k).sum()) > 0.95
    assert np.array_equal(resample_label(label, label.shape, 2), label)


def test_probabilities_still_sum_to_one_on_the_scans_grid():
    raw = np.random.default_rng(0).random((3, 7, 8, 9)).astype(np.float32)
    back = from_network_grid(raw / raw.sum(0), (11, 5, 13))
    assert back.shape == (3, 11, 5, 13)
    np.testing.assert_allclose(back.sum(0), 1, atol=1e-5)


def test_an_image_is_normalised_and_brought_to_the_plans_spacing(plan):
    image = np.full((1, 10, 12, 14), 100.0, np.float32)
    found = to_network_grid(image, (2.0, 1.0, 0.5), plan)
    assert found.shape == (1, 20, 12, 7)
    assert np.all(found == 2)  # (100 - 0) / 50
    with pytest.raises(InputError, match="1 channel"):
        to_network_grid(np.zeros((2, 4, 4, 4), np.float32), (1, 1, 1), plan)


def test_the_cache_holds_the_case_on_the_networks_grid(tmp_path, plan, make_case, make_ball):
    image, label = make_ball(1)
    ready = Cache(tmp_path, plan).case(make_case("a", image, label, weight=0.5))
    assert isinstance(ready.image, np.memmap)
    assert ready.image.dtype == np.float16
    np.testing.assert_allclose(ready.image, to_network_grid(image, (1, 1, 1), plan), atol=2e-3)
    assert np.array_equal(ready.label, label)
    assert ready.weight == 0.5
    assert np.all(label[tuple(ready.foreground[:, 1:].T)] == ready.foreground[:, 0])


def counted(case, calls):
    def image():
        calls.append("image")
        return made_image

    def label():
        calls.append("label")
        return made_label

    made_image, made_label = case.image(), case.label()
    return type(case)(case.id, image, case.spacing, label, case.key, case.weight, case.label_key)


def test_a_case_is_prepared_once_and_a_new_label_leaves_the_image_alone(tmp_path, plan, balls):
    calls: list[str] = []
    case = counted(balls[0], calls)
    Cache(tmp_path, plan).case(case)
    assert calls == ["image", "label"]
    Cache(tmp_path, plan).case(case)
    assert calls == ["image", "label"]
    newer = type(case)(case.id, case.image, case.spacing, case.label, case.key, 1.0, "another revision")
    Cache(tmp_path, plan).case(newer)
    assert calls == ["image", "label", "label"]


def test_another_grid_is_another_folder(tmp_path, plan, balls):
    calls: list[str] = []
    case = counted(balls[0], calls)
    Cache(tmp_path, plan).case(case)
    Cache(tmp_path, plan.model_copy(update={"spacing": (1.5, 1.5, 1.5)})).case(case)
    assert calls == ["image", "label"] * 2


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array at all"])
def test_a_damaged_file_is_made_again(tmp_path, plan, balls, damage):
    first = Cache(tmp_path, plan).case(balls[0])
    kept = np.array(first.image)
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(damage)
    again = Cache(tmp_path, plan).case(balls[0])
    assert np.array_equal(again.image, kept)


def test_a_truncated_file_is_made_again(tmp_path, plan, balls):
    kept = np.array(Cache(tmp_path, plan).case(balls[0]).image)
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:-10])
    assert np.array_equal(Cache(tmp_path, plan).case(balls[0]).image, kept)


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path, plan, balls, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prepare.np, "save", full)
    with pytest.raises(StorageError, match="full"):
        Cache(tmp_path, plan).case(balls[0])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unlabelled_case_has_no_label_and_is_asked_once(tmp_path, plan, make_case):
    calls: list[str] = []
    case = counted(make_case("a", np.zeros((1, 8, 8, 8), np.float32), None), calls)
    for _ in range(2):
        ready = Cache(tmp_path, plan).case(case)
        assert ready.label is None
        assert ready.foreground.shape == (0, 4)
    assert calls == ["image", "label"]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (np.zeros((8, 8, 7), np.uint8), "not the grid of its scan"),
        (np.zeros((8, 8), np.uint8), "not the grid of its scan"),
        (np.full((8, 8, 8), 2, np.uint8), "values up to 2, and there are 1 classes"),
        (np.full((8, 8, 8), -1, np.int16), "holds values"),
    ],
)
def test_a_label_that_does_not_fit_is_refused(tmp_path, plan, make_case, label, said):
    with pytest.raises(LabelError, match=said):
        Cache(tmp_path, plan).case(make_case("a", np.zeros((1, 8, 8, 8), np.float32), label))


def test_the_foreground_index_is_small_and_fair():
    label = np.ones((60, 60, 60), np.uint8)
    label[:2, :2, :2] = 2
    index = prepare.foreground_index(label, 2)
    assert index.nbytes < 20_000
    assert (index[:, 0] == 2).sum() == 8
    assert (index[:, 0] == 1).sum() == prepare.COORDINATES_PER_CLASS


def test_the_index_of_a_network_of_slices_forgets_no_slice(tmp_path, plan, make_case):
    label = np.zeros((12, 40, 40), np.uint8)
    label[2:8, :, :30], label[8, 3, 5], label[9, 0, 0] = 1, 1, 2
    changes = {"network": "unet-2d", "network_options": {}, "patch": (1, 16, 16), "classes": ("a", "b")}
    planar = plan.model_copy(update=changes)
    case = make_case("a", np.zeros((1, 12, 40, 40), np.float32), label, spacing=plan.spacing)
    index = Cache(tmp_path, planar).case(case).foreground
    assert {(int(k), int(z)) for k, z in index[:, :2]} == {*((1, z) for z in range(2, 9)), (2, 9)}
    assert (label[tuple(index[:, 1:].T)] == index[:, 0]).all()
    assert len(index) == 6 * prepare.COORDINATES_PER_SLICE + 2


def test_a_whole_scan_is_prepared_channel_by_channel(plan):
    both = plan.model_copy(update={"channels": ("a", "b"), "normalisation": plan.normalisation * 2})
    image = np.stack([np.full((4, 4, 4), 50.0), np.full((4, 4, 4), 150.0)]).astype(np.float32)
    found = to_network_grid(image, (1, 1, 1), both)
    assert (found[0, 0, 0, 0], found[1, 0, 0, 0]) == (1, 3)


def test_nothing_of_this_machine_is_in_a_file_name(tmp_path, plan, balls):
    Cache(tmp_path, plan).case(balls[0])
    assert all(len(path.name.split(".")[0]) == 32 for path in Path(tmp_path).rglob("*.npy"))
