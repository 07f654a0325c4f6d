"""Whole scans through a detector whose answers are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from napari_dasl import networks
from napari_dasl.errors import Cancelled, InputError, WorkError
from napari_dasl.inference import Predicted, Predictor
from napari_dasl.inference.region import windows
from napari_dasl.inference.region.candidates import FLOOR
from napari_dasl.inference.region.clustering import FEW, MEMBERS
from napari_dasl.inference.region.thresholds import Thresholds
from napari_dasl.inference.region.windows import lay

ISO = (1.0, 1.0, 1.0)
LAID = {"overlap": None, "largest": 18.0}


@pytest.fixture
def one_by_one(monkeypatch):
    """One window a call, so that calls can be counted."""
    monkeypatch.setattr(windows, "CALL_VOXELS", {"cpu": 1})


def scan(*lesions, shape=(40, 60, 70)):
    """An image of 0 with balls (centre, radius, value)."""
    image = np.zeros((1, *shape), dtype=np.float32)
    z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
    for (a, b, c), radius, value in lesions:
        image[0][(z + 0.5 - a) ** 2 + (y + 0.5 - b) ** 2 + (x + 0.5 - c) ** 2 <= radius**2] = value
    return image


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


class TestLay:
    def test_windows_are_as_large_as_the_patch_and_overlap_by_what_a_region_needs(self):
        for patch, least in ((48, 18), (64, 18), (128, 32), (24, 12)):
            laid = lay((300, 300, 300), (patch,) * 3, **LAID)
            assert laid.size == (patch,) * 3
            starts = sorted({z for z, _, _ in laid.starts})
            assert starts[0] == 0
            assert starts[-1] == 300 - patch
            shared = [a + patch - b for a, b in itertools.pairwise(starts)]
            assert least - 1 <= min(shared) < least + 12

    def test_a_scan_smaller_than_a_window_is_one_window_around_it(self):
        assert lay((40, 41, 64), (48, 64, 64), **LAID).starts == ((-4, -11, 0),)

    def test_slices_are_looked_at_one_by_one(self):
        laid = lay((5, 200, 180), (1, 200, 180), **LAID)
        assert laid.starts == tuple((z, 0, 0) for z in range(5))

    def test_every_voxel_of_a_scan_lies_in_a_window(self):
        shape = (70, 150, 301)
        seen = np.zeros(shape, dtype=bool)
        laid = lay(shape, (32, 32, 32), **LAID)
        for corner in laid.starts:
            seen[tuple(slice(max(0, a), a + n) for a, n in zip(corner, laid.size, strict=True))] = True
        assert seen.all()

    def test_air_is_left_out_and_nothing_else(self):
        occupied = np.zeros((300, 300, 300), dtype=bool)
        occupied[100:180, 40:60, 250:300] = True
        laid = lay(occupied.shape, (48, 48, 48), occupied=occupied, **LAID)
        assert len(laid.starts) == 3 * 1 * 2
        seen = np.zeros(occupied.shape, dtype=bool)
        for corner in laid.starts:
            box = tuple(slice(max(0, a), a + n) for a, n in zip(corner, laid.size, strict=True))
            assert occupied[box].any()
            seen[box] = True
        assert seen[occupied].all()
        assert lay((64, 64, 64), (48, 48, 48), occupied=np.zeros((64, 64, 64), bool), **LAID).starts == ()

    @pytest.mark.parametrize("place", [0, 3, 60, 99])
    def test_windows_round_little_that_is_occupied_lie_within_the_scan(self, place):
        occupied = np.zeros((100, 100, 100), dtype=bool)
        occupied[place, place, place] = True
        ((z, y, x),) = lay(occupied.shape, (48, 48, 48), occupied=occupied, **LAID).starts
        assert z == y == x
        assert 0 <= z <= place < z + 48 <= 100

    def test_an_overlap_out_of_range_is_refused(self):
        with pytest.raises(InputError, match="overlap"):
            lay((64, 64, 64), (32, 32, 32), overlap=1.0, largest=1.0)


@pytest.mark.usefixtures("one_by_one")
class TestScans:
    def test_lesions_come_back_where_they_are_with_their_scores_and_classes(self, blob_finder, region_plan):
        image = scan(((20, 30, 35), 5, 1.9), ((8, 8, 8), 4, 2.8), ((30, 50, 60), 6, 1.3))
        found = Predictor(blob_finder(), region_plan(classes=("a", "b"))).predict(image, ISO)
        assert isinstance(found, Predicted)
        assert found.probability.shape == (3, 40, 60, 70)
        assert [(one.label, one.kept) for one in found.instances] == [(1, True), (2, True), (1, False)]
        assert [one.score for one in found.instances] == pytest.approx([0.9, 0.8, 0.3], abs=0.01)
        for number, value in ((1, 1.9), (2, 2.8), (3, 1.3)):
            assert dice(found.ids == number, image[0] == np.float32(value)) > 0.9
        best = found.probability.argmax(axis=0)
        assert dice(best == 1, image[0] == np.float32(1.9)) > 0.9
        assert dice(best == 2, image[0] == np.float32(2.8)) > 0.9
        assert found.self_loss > 0

    @pytest.mark.parametrize("x", range(14, 34, 2))
    def test_a_lesion_at_the_border_of_a_window_is_one(self, blob_finder, region_plan, x):
        image = scan(((20, 30, x), 6, 1.9))
        found = Predictor(blob_finder(), region_plan()).predict(image, ISO)
        assert len(found.instances) == 1
        assert found.instances[0].score == pytest.approx(0.9, abs=0.01)
        assert dice(found.ids == 1, image[0] > 1) > 0.93

    def test_every_lesion_of_a_window_is_found(self, blob_finder, region_plan):
        image = np.zeros((1, 32, 32, 32), dtype=np.float32)
        for z, y, x in itertools.product(range(2, 32, 8), repeat=3):
            image[0, z : z + 4, y : y + 4, x : x + 4] = 1.9
        found = Predictor(blob_finder(), region_plan()).predict(image, ISO)
        assert sum(one.kept for one in found.instances) == 64

    def test_slivers_of_a_lesion_that_no_window_holds_are_no_findings(self, blob_finder, region_plan):
        image = scan(((20, 30, 22), 6, 1.9))
        found = Predictor(blob_finder(), region_plan(patch=(16, 16, 16))).predict(image, ISO)
        assert [one.kept for one in found.instances] == [True]
        assert dice(found.ids == 1, image[0] > 1) > 0.8

    def test_a_lesion_larger_than_any_window_is_one(self, blob_finder, region_plan):
        image = scan(((20, 30, 35), 17, 1.9))
        found = Predictor(blob_finder(), region_plan(), overlap=0.5).predict(image, ISO)
        assert len(found.instances) == 1
        assert dice(found.ids == 1, image[0] > 1) > 0.85

    def test_two_that_touch_stay_two(self, blob_finder, region_plan):
        image = scan(((20, 30, 30), 5, 1.9), ((20, 30, 39.5), 5, 1.8))
        found = Predictor(blob_finder(), region_plan()).predict(image, ISO)
        assert len(found.instances) == 2
        assert dice(found.ids == 1, image[0] == np.float32(1.9)) > 0.85
        assert dice(found.ids == 2, image[0] == np.float32(1.8)) > 0.85

    def test_an_empty_scan_is_background_for_certain(self, blob_finder, region_plan):
        found = Predictor(blob_finder(), region_plan(), skip_air=False).predict(scan(), ISO)
        assert found.instances == ()
        assert not found.ids.any()
        assert (found.probability[0] == 1).all()
        assert found.self_loss == 0

    def test_an_anisotropic_scan_is_looked_at_isotropically_and_answered_on_its_own_grid(
        self, blob_finder, region_plan
    ):
        image = np.repeat(np.repeat(scan(((20, 30, 34), 9, 1.9)), 2, axis=2), 2, axis=3)[:, 1::4]
        found = Predictor(blob_finder(level=1.9), region_plan()).predict(image, (4.0, 0.5, 0.5))
        assert found.ids.shape == (10, 120, 140)
        assert len(found.instances) == 1
        best = found.instances[0]
        assert best.centre == pytest.approx((18, 29.75, 33.75), abs=1.5)
        assert best.diameter == pytest.approx(18, abs=2)

    def test_air_may_be_skipped_without_a_change(self, blob_finder, region_plan):
        image = np.where(scan(((20, 30, 35), 5, 1.9)) > 0, np.float32(0), np.float32(-1000))
        changes = {"lower": -1000, "upper": 0, "centre": -1000, "scale": 1000 / 1.9}
        rule = region_plan().normalisation[0].model_copy(update=changes)
        few, every = blob_finder(), blob_finder()
        found = Predictor(few, region_plan(normalisation=(rule,))).predict(image, ISO)
        expected = Predictor(every, region_plan(normalisation=(rule,)), skip_air=False).predict(image, ISO)
        assert 0 < len(few.seen) < len(every.seen) / 2
        assert len(found.instances) == len(expected.instances) == 1
        assert np.array_equal(found.ids, expected.ids)
        in_mr = blob_finder()
        Predictor(in_mr, region_plan(modality="MR", normalisation=(rule,))).predict(image, ISO)
        assert len(in_mr.seen) == len(every.seen)

    def test_mirrored_views_count_as_windows(self, blob_finder, region_plan):
        image = scan(((20, 30, 31), 5, 1.9), ((11, 44, 50), 4, 1.7))
        plain, turned = blob_finder(), blob_finder()
        expected = Predictor(plain, region_plan()).predict(image, ISO)
        found = Predictor(turned, region_plan(), mirror=True).predict(image, ISO)
        assert len(turned.seen) == 8 * len(plain.seen)
        assert [one.score for one in found.instances] == pytest.approx([one.score for one in expected.instances])
        assert np.mean(found.ids != expected.ids) < 1e-3

    def test_windows_go_to_the_network_together_without_a_change(self, blob_finder, region_plan, monkeypatch):
        image = scan(((20, 30, 35), 5, 1.9), ((8, 8, 8), 4, 1.8))
        together, singly = blob_finder(), blob_finder()
        expected = Predictor(singly, region_plan()).predict(image, ISO)
        monkeypatch.setattr(windows, "CALL_VOXELS", {"cpu": 4 * 32**3})
        found = Predictor(together, region_plan()).predict(image, ISO)
        assert {shape[0] for shape in together.seen} >= {4}
        assert sum(shape[0] for shape in together.seen) == len(singly.seen)
        assert np.array_equal(found.ids, expected.ids)

    def test_of_very_many_candidates_the_best_are_kept(self, blob_finder, region_plan, monkeypatch):
        places = list(itertools.product((5, 15, 25, 35), (5, 15, 25, 35, 45, 55), (5, 15, 25, 35, 45, 55, 65)))
        image = scan(*((place, 2, round(1.1 + 0.005 * i, 3)) for i, place in enumerate(places)))
        monkeypatch.setattr(windows, "_KEPT", 60)
        seen = Predictor(blob_finder(), region_plan()).candidates(image, ISO)
        assert 60 <= len(seen.scores) <= 120
        strongest = 0.1 + 0.005 * (len(places) - 1)
        assert seen.scores.max() == pytest.approx(strongest, abs=1e-3)
        assert len(seen.drawn) == len(seen.window) == len(seen.cubes) == len(seen.classes) == len(seen.scores)
        assert seen.window.max() < len(seen.windows)
        monkeypatch.setattr(windows, "_KEPT", 10**6)
        every = Predictor(blob_finder(), region_plan()).candidates(image, ISO)
        assert len(every.scores) > 300
        assert set(np.round(seen.scores, 4)) >= set(np.round(np.sort(every.scores)[-60:], 4))

    def test_masks_of_a_volume_are_drawn_of_what_becomes_a_finding(self, blob_finder, region_plan):
        faint = itertools.product((5, 15, 25, 35), (5, 15, 45, 55), (5, 15, 25, 35, 45, 55, 65))
        values = itertools.cycle(np.arange(1.021, 1.048, 0.001).round(3))
        image = scan(*((place, 2, next(values)) for place in faint), ((20, 30, 35), 5, 1.9))
        network = blob_finder()
        predictor = Predictor(network, region_plan())
        found = predictor.predict(image, ISO)
        assert FEW / 2 < len(found.instances) < 2 * FEW
        assert dice(found.ids == 1, image[0] == np.float32(1.9)) > 0.9
        assert 0 < network.drawn <= 2 * FEW * MEMBERS
        seen = predictor.candidates(image, ISO)
        assert len(seen.scores) > 2 * FEW * MEMBERS
        assert len(seen.masks) == (seen.drawn >= 0).sum() == seen.drawn.max() + 1

    def test_case_is_the_probability_of_predict(self, blob_finder, region_plan):
        image = scan(((20, 30, 35), 5, 1.9))
        predictor = Predictor(blob_finder(), region_plan())
        np.testing.assert_array_equal(predictor.case(image, ISO), predictor.predict(image, ISO).probability)

    def test_thresholds_decide_what_counts(self, blob_finder, region_plan):
        image = scan(((20, 30, 35), 5, 1.3))
        found = Predictor(blob_finder(), region_plan(), thresholds=Thresholds(score=0.2)).predict(image, ISO)
        assert found.instances[0].kept
        assert (found.probability.argmax(axis=0) == (found.ids == 1)).all()

    def test_candidates_can_be_finished_again_with_other_thresholds(self, blob_finder, region_plan):
        predictor = Predictor(blob_finder(), region_plan())
        seen = predictor.candidates(scan(((20, 30, 35), 5, 1.3)), ISO)
        assert not predictor.finished(seen).instances[0].kept
        predictor.thresholds = Thresholds(score=0.25)
        assert predictor.finished(seen).instances[0].kept

    def test_passes_differ_by_what_is_dropped_and_follow_from_their_seed(self, blob_finder, region_plan):
        image = scan(((20, 30, 35), 5, 1.9))
        predictor = Predictor(blob_finder(), region_plan())
        first = [p[1].max() for p in predictor.passes(image, ISO, 6, seed=3)]
        again = [p[1].max() for p in predictor.passes(image, ISO, 6, seed=3)]
        assert first == again
        assert len(set(first)) > 1
        assert predictor.case(image, ISO)[1].max() == pytest.approx(0.9, abs=0.01)

    def test_progress_and_cancel_between_windows(self, blob_finder, region_plan):
        events, network = [], blob_finder()
        Predictor(network, region_plan()).predict(scan(((20, 30, 35), 5, 1.9)), ISO, report=events.append)
        assert events[-1].done == events[-1].total == len(network.seen)
        stopped = blob_finder()
        with pytest.raises(Cancelled):
            Predictor(stopped, region_plan(), skip_air=False).predict(
                scan(), ISO, cancelled=lambda: len(stopped.seen) >= 2
            )
        assert len(stopped.seen) == 2

    def test_values_that_are_no_numbers_are_noticed(self, blob_finder, region_plan):
        class Broken(blob_finder):
            def _one(self, image, factor, lowest, masks):
                found = super()._one(image, factor, lowest, masks)
                found.scores[:] = float("nan")
                return found

        with pytest.raises(WorkError, match="no numbers"):
            Predictor(Broken(), region_plan()).predict(scan(((20, 30, 35), 5, 1.9)), ISO)

    def test_what_a_network_sees_outside_the_scan_is_what_it_saw_in_training(self, blob_finder, region_plan):
        rule = region_plan().normalisation[0].model_copy(update={"lower": 0.25})
        network = blob_finder()
        borders = []
        network.forward = lambda image: (borders.append(float(image[0, 0, 0, 0, 0])), (1.0, image))[1]
        Predictor(network, region_plan(normalisation=(rule,)), skip_air=False).predict(
            scan(shape=(20, 20, 20)) + 3, ISO
        )
        assert borders == [0.25]


@pytest.mark.usefixtures("one_by_one")
class TestSlices:
    def make(self, region_plan, **changes):
        options = {"network": "mask-rcnn", "network_options": {"spatial_dims": 2}, "patch": (1, 32, 32)}
        return region_plan(**{**options, "spacing": (5.0, 1.0, 1.0), **changes})

    def test_every_slice_is_looked_at_by_itself_and_sections_become_lesions(self, blob_finder, region_plan):
        image = scan(((6, 30, 35), 4, 1.9), ((3, 12, 12), 3, 1.7), shape=(12, 60, 70))
        network = blob_finder(dims=2)
        found = Predictor(network, self.make(region_plan)).predict(image, (5.0, 1.0, 1.0))
        assert all(len(shape) == 4 for shape in network.seen)
        assert len(found.instances) == 2
        for number, value in ((1, 1.9), (2, 1.7)):
            assert dice(found.ids == number, image[0] == np.float32(value)) > 0.85
        assert found.instances[0].score == pytest.approx(0.9, abs=0.01)

    def test_slices_keep_their_number_whatever_their_distance(self, blob_finder, region_plan):
        image = scan(((6, 60, 70), 4, 1.9), shape=(12, 120, 140))
        found = Predictor(blob_finder(dims=2, level=1.9), self.make(region_plan)).predict(image, (2.0, 0.5, 0.5))
        assert len(found.instances) == 1
        assert (
            np.flatnonzero(found.ids.any(axis=(1, 2))).tolist()
            == np.flatnonzero((image[0] > 1).any(axis=(1, 2))).tolist()
        )


def test_only_a_detector_has_candidates(region_plan):
    plan = region_plan(network="unet", network_options={})
    with pytest.raises(InputError, match="one by one"):
        Predictor(torch.nn.Conv3d(1, 2, 1), plan).candidates(scan(), ISO)


def test_masks_drawn_at_the_second_look_are_those_of_the_first(region_plan):
    options = {"spatial_dims": 3, "growth": 4, "blocks": [1, 1, 1], "anchor_sizes": [6.0], "mask_size": 8}
    torch.manual_seed(0)
    network = networks.build("nodule-rcnn", 1, 2, **options).eval()
    with torch.no_grad():
        network.head.score.bias.fill_(0.5)
        for parameter in network.mask_head.last.parameters():  # begins at nothing
            parameter.normal_()
    image = np.random.default_rng(0).uniform(0, 3, (1, 32, 32, 32)).astype(np.float32)
    predictor = Predictor(network, region_plan(network_options=options, patch=(32, 32, 32)))
    seen = predictor.candidates(image, ISO)
    with torch.inference_mode():
        output = network(torch.from_numpy(image)[None])
        (expected,) = network.detect(output, (32, 32, 32), score=FLOOR, nms=0.5, limit=windows._MOST)
    for row in np.flatnonzero(seen.drawn >= 0):
        same = int(np.abs(expected.cubes.numpy() - seen.cubes[row]).sum(axis=1).argmin())
        np.testing.assert_allclose(seen.masks[seen.drawn[row]], expected.masks[same].numpy(), atol=1e-3)
    assert (seen.drawn >= 0).sum() > 10


@pytest.mark.parametrize("name", ["nodule-rcnn", "mask-rcnn"])
def test_the_real_networks_predict_a_scan_from_end_to_end(region_plan, name):
    dims = 3 if name == "nodule-rcnn" else 2
    options = {"spatial_dims": dims, "anchor_sizes": [4.0, 8.0, 12.0], "dropout": 0.1, "mask_size": 8}
    options |= {"growth": 4, "blocks": [1, 1, 1]} if dims == 3 else {"layers": [1, 1, 1, 1]}
    patch = (16, 32, 32) if dims == 3 else (1, 32, 32)
    plan = region_plan(
        network=name, network_options=options, patch=patch, spacing=(2.0, 1.0, 1.0) if dims == 2 else ISO
    )
    torch.manual_seed(0)
    network = networks.build(name, 1, 2, **options)
    with torch.no_grad():  # a fresh network says of every place that nothing is there
        network.head.score.bias.fill_(0.5)
    image = scan(((5, 30, 35), 5, 100.0), shape=(10, 50, 60))
    predictor = Predictor(network, plan)
    found = predictor.predict(image, (2.0, 1.0, 1.0))
    assert found.probability.shape == (2, 10, 50, 60)
    assert len(found.instances) > 3
    np.testing.assert_allclose(found.probability.sum(axis=0), 1, atol=1e-6)
    kept = [one.id for one in found.instances if one.kept]
    assert (np.isin(found.ids, kept) == (found.probability.argmax(axis=0) == 1)).all()
    again = predictor.predict(image, (2.0, 1.0, 1.0))
    np.testing.assert_array_equal(found.probability, again.probability)
    assert found.instances == again.instances
