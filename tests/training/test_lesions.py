"""Lesions on the network's grid: numbered, resampled without losing one, measured, and kept in the cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_dasl.errors import LabelError, ProjectError
from napari_dasl.training import lesions
from napari_dasl.training.detector_plan import grid_spacing
from napari_dasl.training.fingerprint import measure
from napari_dasl.training.normalise import Normalisation, outside
from napari_dasl.training.patches import cut
from napari_dasl.training.plan import TrainingPlan, derive
from napari_dasl.training.prepare import Cache, resample_label
from napari_dasl.training.weights import build_network


def ball(shape, centre, radius):
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True)) ** 0.5 < radius


# Numbers


def test_the_components_of_every_class_are_numbered():
    label = np.zeros((8, 8, 8), np.uint8)
    label[0, 0, 0], label[4, 4, 4], label[6:, 6:, 6:] = 2, 1, 1
    label[5, 5, 5] = 1  # touches both across a corner
    ids, classes = lesions.numbered(label, instances=False)
    assert sorted(classes.tolist()) == [1, 2]
    assert classes[ids[0, 0, 0] - 1] == 2
    assert ids[4, 4, 4] == ids[7, 7, 7]


def test_numbers_of_the_label_are_kept_apart_and_closed_up():
    label = np.zeros((4, 4, 4), np.int64)
    label[0], label[1], label[3] = 70_000, 5, 5
    ids, classes = lesions.numbered(label, instances=True)
    assert classes.tolist() == [1, 1]
    assert (ids[0] == 2).all()
    assert (ids[1] == 1).all()
    assert (ids[3] == 1).all()


def test_a_table_says_where_every_lesion_is():
    ids = np.zeros((6, 7, 8), np.int32)
    ids[1:3, 2:5, 3:7] = 1
    ids[5, 6, 7] = 3
    assert lesions.lesion_table(ids, [1, 1, 2]).tolist() == [[1, 1, 24, 1, 2, 3, 3, 5, 7], [3, 2, 1, 5, 6, 7, 6, 7, 8]]


# Resampling


@pytest.mark.parametrize("shape", [(20, 24, 22), (40, 30, 33), (31, 60, 17)])
def test_one_lesion_is_resampled_as_a_class_is(shape):
    mask = ball((28, 30, 32), (13, 14, 16), 7)
    expected = resample_label(mask.astype(np.uint8), shape, 1)
    assert np.array_equal(lesions.resample_lesions(mask.astype(np.int32), shape), expected)


def test_a_lesion_smaller_than_a_voxel_is_kept():
    ids = np.zeros((30, 30, 30), np.int32)
    ids[4, 4, 4], ids[15:22, 15:22, 15:22], ids[29, 29, 29] = 1, 2, 3
    found = lesions.resample_lesions(ids, (8, 8, 8))
    assert set(np.unique(found)) == {0, 1, 2, 3}
    assert found[1, 1, 1] == 1
    assert found[7, 7, 7] == 3


def test_touching_lesions_share_the_space_and_leave_no_gap():
    ids = np.zeros((20, 20, 20), np.int32)
    ids[4:16, 4:10, 4:16], ids[4:16, 10:16, 4:16] = 1, 2
    found = lesions.resample_lesions(ids, (30, 30, 30))
    whole = lesions.resample_lesions((ids > 0).astype(np.int32), (30, 30, 30))
    assert np.array_equal(found > 0, whole > 0)
    assert (found == 1).sum() == pytest.approx((found == 2).sum(), rel=0.1)


def test_boxes_in_mm_land_on_their_voxels():
    # Voxels 2 to 5 of 2 mm, whose centres are at 4 to 10 mm: from 3 to 11 mm by their borders.
    boxes = lesions.on_grid([(3.0, 3.0, 3.0, 11.0, 11.0, 11.0)], (2.0, 2.0, 2.0), (1.0, 2.0, 4.0))
    assert boxes.tolist() == [[4, 2, 1, 12, 6, 3]]
    assert lesions.on_grid([], (1, 1, 1), (1, 1, 1)).shape == (0, 6)


# Patches


def test_ids_up_to_the_last_pass_through_a_turned_patch():
    from napari_dasl.training.augment import _turned

    ids = np.full((9, 9, 9), 65_535, np.uint16)
    ids[:4] = 40_001
    _image, turned = _turned(np.zeros((1, 9, 9, 9), np.float32), ids, (7, 7, 7), (1, 1, 1), np.eye(3))
    assert set(np.unique(turned)) == {40_001, 65_535}
    assert turned.dtype == np.uint16


@pytest.mark.parametrize("width", [1.5, 2, 3])
def test_a_lesion_larger_than_the_patch_is_a_lesion_in_nearly_every_patch_on_it(width):
    patch, radius = 16, 8 * width
    side = int(2 * radius) + 20
    ids = ball((side,) * 3, (side / 2 - 0.5,) * 3, radius).astype(np.uint16)
    table, rng = lesions.lesion_table(ids, [1]), np.random.default_rng(0)
    voxels, asked = np.argwhere(ids), 0
    for _ in range(60):
        first = np.clip(voxels[rng.integers(len(voxels))] - patch // 2, 0, side - patch)
        place = tuple(slice(a, a + patch) for a in first)
        asked += len(lesions.table_of_patch(ids[place], table, planar=False)[1])
    assert asked >= 54


def test_a_sliver_is_neither_a_lesion_nor_background():
    ids = np.zeros((24, 24, 24), np.uint16)
    ids[4:12, 4:12, 4:12], ids[14:20, 14:20, 14:20] = 1, 2
    shown, found = lesions.table_of_patch(ids[11:], lesions.lesion_table(ids, [1, 1]), planar=False)
    assert len(found) == 1
    assert np.array_equal(shown == lesions.UNSEEN, ids[11:] == 1)
    assert np.array_equal(shown == 1, ids[11:] == 2)


def test_what_lies_outside_may_be_one_value_per_channel():
    array = np.arange(2 * 27, dtype=np.float32).reshape(2, 3, 3, 3)
    found = cut(array, (-1, 1, -2), (5, 3, 4), outside=(-5.0, -7.0))
    assert found.shape == (2, 5, 3, 4)
    assert np.array_equal(found[:, 1:4, :2, 2:], array[:, :, 1:, :2])
    assert (found[0, 0] == -5).all()
    assert (found[1, :, 2] == -7).all()
    assert (cut(array, (9, 9, 9), (2, 2, 2), outside=(1.0, 2.0))[1] == 2).all()


def test_outside_is_as_dark_as_the_rule_allows():
    ct = Normalisation(channel="ct", rule="ct", lower=-900, upper=200, centre=100, scale=50)
    pet = Normalisation(channel="pet", rule="pet", lower=0, upper=30, centre=1.25, scale=0.6)
    mr = Normalisation(channel="t1", rule="mr", lower=0.5, upper=99.5)
    assert outside(ct) == -20
    assert outside(pet) == pytest.approx(-1.25 / 0.6)
    assert outside(mr) < -1


# The cache


@pytest.fixture
def detector(plan) -> TrainingPlan:
    update = {"network": "nodule-rcnn", "network_options": {"anchor_sizes": [4.0, 8.0, 12.0]}}
    return TrainingPlan.model_validate(plan.model_dump() | update)


def files(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_detector_leaves_the_files_of_another_network_alone(tmp_path, plan, detector, balls):
    first = Cache(tmp_path, plan).case(balls[0])
    before = files(tmp_path)
    image, label = np.array(first.image), np.array(first.label)
    found = Cache(tmp_path, detector).case(balls[0])
    assert found.label.dtype == np.uint16
    assert before < files(tmp_path)
    assert not any(name.endswith(".image.npy") for name in files(tmp_path) - before)  # the scan serves both
    again = Cache(tmp_path, plan).case(balls[0])
    assert again.lesions is None
    assert np.array_equal(again.image, image)
    assert np.array_equal(again.label, label)


def test_it_comes_back_from_disk_as_it_was_made(tmp_path, detector, make_case):
    ids = np.zeros((18, 20, 16), np.uint16)
    ids[2:6, 2:6, 2:6], ids[10:16, 10:16, 6:12] = 9, 300
    case = replace(make_case("a", np.zeros((1, 18, 20, 16), np.float32), ids), instances=True)
    first = Cache(tmp_path, detector).case(case)
    asked = []
    second = Cache(tmp_path, detector).case(replace(case, label=lambda: asked.append(1)))
    assert asked == []
    for name in ("label", "lesions", "foreground"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert first.lesions[:, 2].tolist() == [64, 216]
    rows = first.foreground
    assert len(rows) == 64 + 200
    assert (first.label[rows[:, 1], rows[:, 2], rows[:, 3]] == rows[:, 0]).all()


def test_the_same_map_may_number_lesions_or_name_classes(tmp_path, plan, detector, make_case):
    label = np.zeros((18, 20, 16), np.uint8)
    label[2:6, 2:6, 2:6], label[2:6, 6:9, 2:6] = 1, 2
    case = make_case("a", np.zeros((1, 18, 20, 16), np.float32), label)
    with pytest.raises(LabelError, match="values up to 2, and there are 1 classes"):
        Cache(tmp_path, detector).case(case)
    numbered = replace(case, instances=True)
    assert len(Cache(tmp_path, detector).case(numbered).lesions) == 2
    # A network that tells classes apart sees the one class that all lesions are of.
    assert np.array_equal(Cache(tmp_path, plan).case(numbered).label, label > 0)


def test_rejected_findings_come_with_the_case_and_not_from_disk(tmp_path, detector, make_case):
    bare = make_case("a", np.zeros((1, 18, 20, 16), np.float32), None)
    assert not Cache(tmp_path, detector).case(bare).usable
    ready = Cache(tmp_path, detector).case(replace(bare, negatives=((1.5, 2.5, 3.5, 5.5, 6.5, 7.5),)))
    assert ready.usable
    assert ready.negatives.tolist() == [[2, 3, 4, 6, 7, 8]]


def test_a_label_of_noise_is_refused(tmp_path, detector, make_case, monkeypatch):
    monkeypatch.setattr(lesions, "MOST_LESIONS", 3)
    label = np.zeros((18, 20, 16), np.uint8)
    label[::4, ::4, ::4] = 1
    with pytest.raises(LabelError, match="separate lesions, and at most 3"):
        Cache(tmp_path, detector).case(make_case("a", np.zeros((1, 18, 20, 16), np.float32), label))


# Fingerprint and plan


def test_diameters_are_measured_whole_and_slice_by_slice(make_case):
    label = np.zeros((10, 20, 20), np.uint8)
    label[2:4, 3:9, 3:7] = 1  # 2 x 6 x 4 voxels of 3 x 1 x 2 mm
    label[6, 10:12, 10:16] = 1
    image = np.zeros((1, 10, 20, 20), np.float32)
    found = measure([make_case("a", image, label, spacing=(3.0, 1.0, 2.0))], channels=["ct"], classes=["x"])
    assert found.lesion_diameters == (8.0, 12.0)
    assert found.slice_diameters == (8.0, 8.0, 12.0)
    touching = np.where(label > 0, np.arange(20) + 100, 0)  # every column another number
    case = replace(make_case("a", image, touching, spacing=(3.0, 1.0, 2.0)), instances=True)
    numbered = measure([case], channels=["ct"], classes=["x"])
    assert len(numbered.lesion_diameters) == 4 + 6
    assert numbered.class_voxels == (60.0,)


def test_the_grid_is_as_fine_as_small_lesions_need_and_as_coarse_as_large_ones_allow():
    crops = [(1.25, 0.7, 0.7)] * 5
    mean = (1.25 * 0.7 * 0.7) ** (1 / 3)
    assert grid_spacing(crops, [20.0] * 10, 3, 64) == (round(mean, 3),) * 3
    assert grid_spacing(crops, [6.0] * 10, 3, 64) == (0.75,) * 3
    assert grid_spacing(crops, [2.0] * 10, 3, 64) == (0.7,) * 3
    assert grid_spacing(crops, [100.0] * 10, 3, 64)[0] == pytest.approx(100 / (0.85 * 64), abs=1e-3)
    assert grid_spacing([(5.0, 0.8, 0.8)] * 3, [30.0] * 4, 2, 200) == (5.0, 0.8, 0.8)


def nodules(make_case, shape=(20, 44, 44), spacing=(1.25, 0.7, 0.7), radii=(5, 7, 9)):
    cases = []
    for number, radius in enumerate(radii):
        label = ball(shape, [n / 2 for n in shape], radius).astype(np.uint8)
        cases.append(make_case(str(number), 100.0 * label[None].astype(np.float32), label, spacing=spacing))
    return measure(cases, channels=["ct"], classes=["nodule"])


def test_the_plan_of_a_detector_of_crops(make_case):
    plan = derive(nodules(make_case), modality="CT", network="nodule-rcnn")
    assert plan.detector
    assert plan.spatial_dims == 3
    assert len(set(plan.spacing)) == 1
    assert plan.patch == (32, 48, 48)
    assert plan.foreground == 0.7
    assert build_network(plan).roi_scale == 1.75
    older = {key: value for key, value in plan.network_options.items() if key != "roi_scale"}
    assert build_network(plan.model_copy(update={"network_options": older})).roi_scale == 2.0
    sizes = np.asarray(plan.network_options["anchor_sizes"]) * plan.spacing[0]
    assert np.allclose(sizes, sorted(nodules(make_case).lesion_diameters), rtol=0.05)


def test_the_plan_of_a_detector_of_slices(make_case):
    found = nodules(make_case, shape=(6, 120, 90), spacing=(5.0, 0.8, 0.8))
    plan = derive(found, modality="MR", network="mask-rcnn")
    assert plan.spatial_dims == 2
    assert plan.patch[0] == 1
    assert plan.spacing[0] == 5.0
    assert plan.spacing[1] == plan.spacing[2]
    assert plan.batch > 1
    assert plan.network_options["planes"] == 32
    assert "planes" not in derive(found, modality="MR", network="mask-rcnn", compute="cuda").network_options


def test_a_plan_of_a_detector_comes_back_from_its_file(make_case, tmp_path):
    plan = derive(nodules(make_case), modality="CT", network="nodule-rcnn")
    plan.to_file(tmp_path / "plan.toml")
    assert TrainingPlan.from_file(tmp_path / "plan.toml") == plan


def test_a_whole_scan_is_cut_into_patches_that_fit(make_case):
    large = nodules(make_case).model_copy(update={"shapes": ((300, 512, 512),) * 3})
    small, large_plan = (
        derive(large, modality="CT", network="nodule-rcnn", memory_mb=memory) for memory in (750.0, 8000.0)
    )
    for plan in (small, large_plan):
        assert all(side % 16 == 0 for side in plan.patch)
        assert plan.batch >= 2
    assert np.prod(small.patch) < np.prod(large_plan.patch) <= 150_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patch": (24, 32, 32)}, "multiple of 16"),
        ({"spacing": (2.0, 1.0, 1.0)}, "same along every axis"),
        ({"network": "mask-rcnn", "patch": (16, 32, 32)}, "one slice thick"),
    ],
)
def test_an_edit_that_a_detector_cannot_work_with_is_refused(detector, tmp_path, change, said):
    detector.model_copy(update={"patch": (32, 32, 32), **change}).to_file(tmp_path / "plan.toml")
    with pytest.raises(ProjectError, match=said):
        TrainingPlan.from_file(tmp_path / "plan.toml")


def test_without_a_lesion_there_is_no_plan(make_case):
    empty = measure(
        [make_case("a", np.zeros((1, 8, 8, 8), np.float32), np.zeros((8, 8, 8), np.uint8))],
        channels=["ct"],
        classes=["nodule"],
    )
    with pytest.raises(ProjectError, match="shows a lesion"):
        derive(empty, modality="CT", network="nodule-rcnn")
