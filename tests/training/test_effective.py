"""A window of HU, and the part of a scan that a network sees: in training, and in predictions put back on the scan."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from napari_dasl.errors import LabelError
from napari_dasl.inference.predictor import Predictor
from napari_dasl.training.effective import effective_box
from napari_dasl.training.normalise import Normalisation, normalise_channel, outside, windowed
from napari_dasl.training.plan import TrainingPlan
from napari_dasl.training.prepare import Cache, resample_label, to_network_grid
from napari_dasl.training.state import run_identity

BODY = (slice(10, 30), slice(12, 36), slice(8, 28))
SPACING = (2.0, 1.0, 1.0)


def chosen(plan, **changes) -> TrainingPlan:
    return TrainingPlan.model_validate({**plan.model_dump(), "spacing": SPACING, "patch": (8, 16, 16), **changes})


@pytest.fixture
def chest():
    """A CT scan (1, z, y, x): air, a body, a table below it, and a lesion; with its label."""
    scan = np.full((40, 48, 44), -1000, np.float32)
    scan[BODY] = 40
    scan[:, 44, :] = 100
    label = np.zeros(scan.shape, np.uint8)
    label[18:22, 20:26, 14:20] = 1
    scan[label > 0] = 120
    return scan[None], label


def test_the_ends_of_a_window_become_minus_one_and_one():
    rule = Normalisation(channel="ct", rule="window", lower=-150, upper=250)
    values = np.array([-1000, -150, 50, 150, 250, 3000], np.float32).reshape(1, 1, 6)
    np.testing.assert_allclose(normalise_channel(values, rule).ravel(), [-1, -1, 0, 0.5, 1, 1])
    assert outside(rule) == -1
    others = (Normalisation(channel="pet", rule="pet", lower=0, upper=30), rule.model_copy(update={"rule": "ct"}))
    assert windowed(others, -150, 250) == (others[0], rule.model_copy(update={"channel": "ct"}))


def test_the_body_is_found_without_the_table_and_everything_above_a_value_with_it(plan, chest):
    image, _ = chest
    margin = (3, 5, 5)  # of 5 mm, rounded up
    expected = tuple(slice(b.start - m, b.stop + m) for b, m in zip(BODY, margin, strict=True))
    assert effective_box(image, SPACING, chosen(plan, effective_range="body")) == expected
    assert effective_box(image, SPACING, chosen(plan, effective_range=110)) == (
        slice(15, 25),
        slice(15, 31),
        slice(9, 25),
    )
    assert effective_box(image, SPACING, chosen(plan, effective_range=0))[1] == slice(7, 48)
    everything = tuple(slice(0, n) for n in image.shape[1:])
    assert effective_box(image, SPACING, plan) == everything
    assert effective_box(image, SPACING, chosen(plan, effective_range=5000)) == everything


def test_training_sees_the_part_and_its_label_again_from_disk(plan, chest, tmp_path, make_case):
    image, label = chest
    given = chosen(plan, effective_range="body", spacing=(2.0, 2.0, 2.0), patch=(8, 8, 8))
    box = effective_box(image, SPACING, given)
    case = make_case("a", image, label, spacing=SPACING)
    for _ in range(2):
        ready = Cache(tmp_path, given).case(case)
        np.testing.assert_allclose(ready.image, to_network_grid(image[(slice(None), *box)], SPACING, given), atol=2e-3)
        assert ready.label.shape == ready.image.shape[1:]
        assert np.array_equal(ready.label, resample_label(label[box], ready.image.shape[1:], 1))
        assert ready.label.any()
    relabelled = make_case("a", image, np.roll(label, 2, axis=0), spacing=SPACING)
    assert Cache(tmp_path, given).case(relabelled).label.shape == ready.label.shape
    with pytest.raises(LabelError, match=r"\(34, 34, 30\)"):
        Cache(tmp_path, given).case(make_case("a", image, np.zeros((34, 34, 30), np.uint8), spacing=SPACING))


class Bright(nn.Module):
    """Certain of the lesion everywhere in its windows."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image * 0, image * 0 + 9], 1)


def test_a_prediction_lies_on_the_scans_grid_with_background_outside_the_part(plan, chest):
    image, _ = chest
    given = chosen(plan, effective_range="body", spacing=(2.0, 1.5, 1.5))
    box = effective_box(image, SPACING, given)
    predicted = Predictor(Bright(), given).predict(image, SPACING)
    assert predicted.probability.shape == (2, *image.shape[1:])
    np.testing.assert_allclose(predicted.probability.sum(0), 1, atol=2e-3)
    inside = np.zeros(image.shape[1:], bool)
    inside[box] = True
    assert np.array_equal(predicted.probability.argmax(0) == 1, inside)
    assert (predicted.probability[0][~inside] == 1).all()
    assert np.array_equal(predicted.ids > 0, inside)
    (found,) = predicted.instances
    assert found.box[:3] == pytest.approx([(side.start - 0.5) * s for side, s in zip(box, SPACING, strict=True)], abs=1)


def test_a_plan_from_before_means_the_whole_scan_and_finds_what_was_prepared(plan, balls, tmp_path):
    old = plan.model_dump(mode="json")
    del old["effective_range"]
    (tmp_path / "plan.json").write_text(json.dumps(old))
    read = TrainingPlan.model_validate_json((tmp_path / "plan.json").read_text())
    assert read == plan
    cut = chosen(plan, effective_range="body", spacing=plan.spacing, patch=plan.patch)
    assert cut.prepared_hash != plan.prepared_hash
    assert run_identity(cut, balls, 0) != run_identity(plan, balls, 0)
    cut.to_file(tmp_path / "plan.toml")
    assert TrainingPlan.from_file(tmp_path / "plan.toml") == cut
    with pytest.raises(ValueError, match="effective_range must stay whole"):
        chosen(
            plan, effective_range="body", network="nodule-rcnn", network_options={}, spacing=(1, 1, 1), patch=[16] * 3
        )
