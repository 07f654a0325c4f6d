"""Bending a patch and mixing two: the labels go where the image goes, and the same seed gives the same patch."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import ndimage

from napari_dasl.errors import Cancelled, VolumeError
from napari_dasl.losses import LOSSES
from napari_dasl.training import registration
from napari_dasl.training.augment import random_affine, sample_patch
from napari_dasl.training.batches import make_batch
from napari_dasl.training.elastic import CELLS, STRENGTH, random_bend
from napari_dasl.training.loop import Budget, train
from napari_dasl.training.mixup import Partner, mixed, shares
from napari_dasl.training.patches import generator
from napari_dasl.training.plan import Augmentation, TrainingPlan
from napari_dasl.training.prepare import Cache, Prepared, foreground_index
from napari_dasl.training.state import run_identity

STILL = {"mirror": (), "affine": 0.0, "intensity": 0.0, "noise": 0.0}


def chosen(plan, augmentation, **changes) -> TrainingPlan:
    return TrainingPlan.model_validate({**plan.model_dump(), "augmentation": augmentation, **changes})


def of(label, name="a") -> Prepared:
    """A scan that shows its label."""
    return Prepared(name, label[None].astype(np.float16), label, foreground_index(label, 1), 1.0)


def egg(shape, centre, radii) -> np.ndarray:
    away = sum(((a - c) / r) ** 2 for a, c, r in zip(np.indices(shape), centre, radii, strict=True))
    return (away < 1).astype(np.uint8)


def test_a_bent_patch_takes_its_label_along():
    case = of(egg((32, 32, 32), (16, 16, 16), (9, 5, 7)))
    rules = Augmentation(**STILL, elastic=1.0)
    bent = set()
    for step in range(5):
        image, label = sample_patch(case, (4, 4, 4), (24, 24, 24), (2.0, 1.0, 1.5), rules, generator(0, step, 0))
        again = sample_patch(case, (4, 4, 4), (24, 24, 24), (2.0, 1.0, 1.5), rules, generator(0, step, 0))
        assert np.array_equal(image, again[0])
        assert (np.abs(image[0] - label) > 0.75).mean() < 0.002  # linear against nearest
        assert 0.7 < label.sum() / case.label.sum() < 1.4
        bent.add(label.tobytes())
    assert len(bent) == 5


def test_a_bend_is_smooth_bounded_and_never_folds():
    patch, spacing = (6, 24, 20), (3.0, 1.0, 1.0)
    cell = 24 / CELLS
    for seed in range(20):
        bend = random_bend(patch, spacing, np.random.default_rng(seed))
        assert bend.shape == (3, *patch)
        assert np.abs(bend).max() <= STRENGTH * cell
        for axis, step in enumerate(spacing):
            assert np.diff(bend[axis], axis=axis).min() > -step / 3
    flat = random_bend(patch, spacing, np.random.default_rng(0), flat=0)
    assert not flat[0].any()
    assert flat[1].any()


def test_gamma_stays_within_its_range(monkeypatch):
    case = of(egg((16, 16, 16), (8, 8, 8), (5, 5, 5)))
    powers = []
    asked = np.random.Generator.uniform

    class Told(np.random.Generator):
        def uniform(self, low=0.0, high=1.0, size=None):
            found = asked(self, low, high, size)
            if (low, high) == (0.8, 1.2):
                powers.append(found)
            return found

    rules = Augmentation(**STILL | {"intensity": 1.0}, gamma=(0.8, 1.2))
    for seed in range(10):
        sample_patch(case, (0, 0, 0), (16, 16, 16), (1, 1, 1), rules, Told(np.random.PCG64(seed)))
    assert len(powers) == 10
    assert min(powers) >= 0.8
    assert max(powers) <= 1.2
    with pytest.raises(ValueError, match="gamma"):
        Augmentation(gamma=(1.2, 0.8))


def test_a_scan_is_found_again_after_it_was_moved_and_scaled():
    spacing = (2.0, 1.0, 1.0)
    still = ndimage.gaussian_filter(egg((20, 40, 40), (9, 18, 20), (6, 13, 10)) * 2.0, 1.5)
    still += ndimage.gaussian_filter(egg((20, 40, 40), (11, 14, 24), (2, 4, 3)) * 1.0, 1)
    truth = np.diag([1.1, 0.9, 0.95, 1.0])
    truth[:3, 3] = (-0.5, 3.0, -2.0)
    back = np.linalg.inv(truth)
    moved = ndimage.affine_transform(still, back[:3, :3], back[:3, 3], output_shape=(22, 40, 36), order=1)
    found = registration.register(still, moved, spacing)
    corners = np.array([[z, y, x, 1] for z in (5, 13) for y in (8, 28) for x in (12, 28)]).T
    assert np.abs((found - truth) @ corners)[:3].max() < 1.0
    assert np.array_equal(found, registration.register(still, moved, spacing))


def test_the_other_scan_lies_where_the_map_says():
    other = egg((20, 18, 16), (12, 9, 6), (3, 5, 4))
    matrix = np.array([[1.0, 0.1, 0, 2], [0, 0.9, 0.1, 1], [-0.1, 0, 1, -3], [0, 0, 0, 1]])
    partner = Partner(of(other, "b"), matrix, 0.25)
    first, size = (2, 3, 1), (10, 12, 14)
    image, labels = mixed(np.zeros((1, *size), np.float32), np.ones(size, np.uint8), first, partner)
    places = np.indices(size).reshape(3, -1) + np.array(first)[:, None]
    places = matrix[:3, :3] @ places + matrix[:3, 3:]
    wanted = ndimage.map_coordinates(other.astype(float), places, order=1, mode="nearest").reshape(size)
    np.testing.assert_allclose(image[0], 0.75 * wanted, atol=1e-4)
    assert (np.abs(labels[1] - wanted) > 0.75).sum() <= 2  # linear against nearest
    mixture = shares(labels, partner.own, 2)
    np.testing.assert_allclose(mixture.sum(0), 1)
    np.testing.assert_allclose(mixture[1], 0.25 + 0.75 * labels[1])


@pytest.fixture
def mixing(plan):
    return chosen(plan, {**STILL, "mixup": 0.3, "elastic": 0.5}, patch=(8, 8, 8))


def test_a_mixture_is_the_same_whoever_makes_it_and_its_pair_is_registered_once(mixing, balls, tmp_path, monkeypatch):
    cache = Cache(tmp_path, mixing)
    cases = [cache.case(case) for case in balls[:2]]
    register, pairs = registration.register, []
    monkeypatch.setattr(registration, "register", lambda *each: (pairs.append(1), register(*each))[1])
    first = [make_batch(mixing, cases, step) for step in range(8)]
    assert len(pairs) == 1
    again = [make_batch(mixing, cases, step) for step in range(8)]
    assert len(pairs) == 1
    fresh = [make_batch(mixing, [Prepared(**{**vars(case), "stored": None}) for case in cases], 1)]
    assert {label.ndim for _, label, _ in first} == {4, 5}
    for one, other in zip([*first, first[1]], [*again, *fresh], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    for _, label, _ in first:
        if label.ndim == 5:
            assert label.shape[1] == mixing.out_channels
            torch.testing.assert_close(label.sum(1), torch.ones(2, 8, 8, 8))


@pytest.mark.parametrize("loss", LOSSES)
def test_one_hot_shares_cost_what_the_label_costs(loss):
    torch.manual_seed(0)
    logits, image = torch.randn(2, 3, 4, 5, 6), torch.randn(2, 1, 4, 5, 6)
    label = torch.randint(0, 3, (2, 4, 5, 6))
    hot = torch.from_numpy(np.stack([shares(each[None].numpy(), 1.0, 3) for each in label]))
    given = [LOSSES[loss](logits, target, image, (1.0, 1.0, 1.0)) for target in (label, hot)]
    assert torch.equal(*given)


def test_a_stopped_run_of_mixtures_goes_on_to_the_same_bits(mixing, balls, tmp_path):
    def start(name, **options):
        cache = Cache(tmp_path / name / "cache", mixing)
        return train(mixing, balls[:2], tmp_path / name, cache=cache, budget=Budget(steps=4), device="cpu", **options)

    whole = start("whole")
    asked = iter([False] * (2 + 2))
    with pytest.raises(Cancelled):
        start("parts", cancelled=lambda: next(asked, True))
    parts = start("parts", resume=True)
    once, twice = load_file(whole.weights), load_file(parts.weights)
    assert all(torch.equal(once[key], twice[key]) for key in once)
    plain = mixing.changed({"augmentation": {**STILL, "elastic": 0.5}})
    assert run_identity(plain, balls, 0) != run_identity(mixing, balls, 0)


def test_without_simpleitk_a_run_that_mixes_does_not_start(mixing, balls, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(VolumeError, match="mixup") as found:
        train(mixing, balls, tmp_path, cache=Cache(tmp_path / "cache", mixing), device="cpu")
    assert "napari-dasl[dicom]" in found.value.hint


def test_only_networks_that_draw_classes_in_volumes_mix(plan):
    for name, options, patch in (("nodule-rcnn", {}, (16, 16, 16)), ("unet-2d", {}, (1, 32, 32))):
        with pytest.raises(ValueError, match=f"augmentation.mixup must be 0: {name}"):
            chosen(plan, {"mixup": 0.1}, network=name, network_options=options, patch=patch)


def angle_of(matrix):
    return np.degrees(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1)))


def test_about_one_axis_a_patch_turns_by_no_more_than_it_says_in_any_direction():
    once, thrice = (Augmentation(degrees=25.0, zoom=0.0, rotation=how) for how in ("one-axis", "three-axes"))
    turns = [random_affine(once, (1.0, 1.0, 1.0), np.random.default_rng(seed)) for seed in range(400)]
    assert all(np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) > 0 for turn in turns)
    assert 24 < max(angle_of(turn) for turn in turns) <= 25 + 1e-6
    axes = np.array([[t[2, 1] - t[1, 2], t[0, 2] - t[2, 0], t[1, 0] - t[0, 1]] for t in turns])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    assert np.allclose((axes**2).mean(0), 1 / 3, atol=0.05)
    assert max(angle_of(random_affine(thrice, (1.0, 1.0, 1.0), np.random.default_rng(n))) for n in range(400)) > 30
    within = random_affine(once, (5.0, 1.0, 1.0), np.random.default_rng(0))
    assert np.allclose(within[0], (1, 0, 0))
    assert np.allclose(within[:, 0], (1, 0, 0))
    assert not np.allclose(within, np.eye(3))
