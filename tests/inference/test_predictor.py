"""A scan on any grid in, its probability on the same grid out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from napari_dasl.errors import Cancelled, InputError
from napari_dasl.inference import Predictor
from napari_dasl.training.device import Precision
from napari_dasl.training.normalise import Normalisation
from napari_dasl.training.plan import Augmentation, TrainingPlan

SPACING = (2.0, 1.0, 1.0)


def plan(**changes) -> TrainingPlan:
    values = {
        "modality": "CT",
        "channels": ("image",),
        "classes": ("lesion",),
        "spacing": (2.0, 2.0, 2.0),
        "patch": (8, 8, 8),
        "batch": 2,
        "steps": 1,
        "augmentation": Augmentation(mirror=("y", "x")),
        "normalisation": (Normalisation(channel="image", rule="ct", lower=-1000, upper=1000, centre=0, scale=100),),
    }
    return TrainingPlan(**{**values, **changes})


class Threshold(nn.Module):
    """Foreground where the normalised image is above 0.5, that is above 50 HU."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.windows = 0

    def forward(self, x):
        self.windows += x.shape[0]
        score = 20 * (x[:, :1] - 0.5) * self.weight
        return torch.cat([-score, score], dim=1)


def scan() -> np.ndarray:
    z, y, x = np.ogrid[:14, :30, :26]
    image = np.full((1, 14, 30, 26), -1000, dtype=np.float32)
    body = ((y - 15) / 12) ** 2 + ((x - 13) / 11) ** 2 + 0 * z <= 1
    lesion = (2 * (z - 7)) ** 2 + (y - 15) ** 2 + (x - 13) ** 2 <= 36
    image[0][body] = 0
    image[0][lesion] = 100
    return image


def test_the_answer_lies_on_the_grid_of_the_scan_and_finds_the_lesion():
    image = scan()
    probability = Predictor(Threshold(), plan()).case(image, SPACING)
    assert probability.shape == (2, 14, 30, 26)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability.sum(axis=0), 1, atol=2e-3)
    truth = image[0] == 100
    found = probability[1] > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85


def test_the_findings_of_a_semantic_network_are_its_connected_components():
    image = scan()
    image[0, 1:5, 3:11, 3:11] = 100
    predictor = Predictor(Threshold(), plan())
    found = predictor.predict(image, SPACING)
    np.testing.assert_array_equal(found.probability, predictor.case(image, SPACING))
    assert found.self_loss is None
    assert found.ids.dtype == np.uint16
    np.testing.assert_array_equal(found.ids > 0, found.probability.argmax(axis=0) == 1)
    assert [(one.id, one.label, one.kept) for one in found.instances] == [(1, 1, True), (2, 1, True)]
    for one in found.instances:
        inside = found.ids == one.id
        assert one.score == pytest.approx(found.probability[1][inside].mean(), abs=1e-4)
        assert one.volume_ml == pytest.approx(inside.sum() * 2 / 1000)
    assert found.instances[0].centre == pytest.approx((5, 6.5, 6.5), abs=1)


def test_nothing_drawn_is_no_finding():
    found = Predictor(Threshold(), plan()).predict(np.full_like(scan(), -1000), SPACING)
    assert found.instances == ()
    assert not found.ids.any()


def test_several_series_are_taken_in_the_order_of_the_plan():
    rule = plan().normalisation[0]
    both = plan(channels=("ct", "other"), normalisation=(rule, rule))
    image = np.concatenate([scan(), np.zeros_like(scan())])
    expected = Predictor(Threshold(), plan()).case(scan(), SPACING)
    np.testing.assert_array_equal(Predictor(Threshold(), both).case(image, SPACING), expected)


def test_options_do_not_change_what_is_found():
    image = scan()
    plain = Predictor(Threshold(), plan()).case(image, SPACING)
    for options in ({"mirror": True}, {"batch": 3}, {"precision": "bf16"}, {"precision": Precision("fp32", True)}):
        other = Predictor(Threshold(), plan(), **options).case(image, SPACING)
        assert np.mean((other[1] > 0.5) != (plain[1] > 0.5)) < 0.002


def test_small_windows_go_to_the_network_together_and_large_ones_one_by_one():
    calls = []

    class Counting(Threshold):
        def forward(self, x):
            calls.append(x.shape[0])
            return super().forward(x)

    together = Predictor(Counting(), plan()).case(scan(), SPACING)
    assert max(calls) > 1
    calls.clear()
    np.testing.assert_allclose(Predictor(Counting(), plan(), batch=1).case(scan(), SPACING), together, atol=1e-6)
    assert max(calls) == 1
    assert Predictor(Counting(), plan(patch=(32, 64, 64))).batch == 1


def test_mirroring_follows_the_axes_of_training_and_is_off_unless_asked_for():
    assert Predictor(Threshold(), plan()).mirror == ()
    assert Predictor(Threshold(), plan(), mirror=True).mirror == (1, 2)


def test_air_may_be_skipped_in_ct_alone():
    image = np.pad(scan(), [(0, 0), (0, 0), (0, 60), (0, 60)], constant_values=-1000)
    all_windows, few_windows, never_in_mr = Threshold(), Threshold(), Threshold()
    plain = Predictor(all_windows, plan()).case(image, SPACING)
    skipped = Predictor(few_windows, plan(), skip_air=True).case(image, SPACING)
    np.testing.assert_allclose(skipped, plain, atol=1e-6)
    assert few_windows.windows < all_windows.windows / 2
    Predictor(never_in_mr, plan(modality="MR"), skip_air=True).case(image, SPACING)
    assert never_in_mr.windows == all_windows.windows


def test_it_reports_and_stops_between_windows():
    events = []
    Predictor(Threshold(), plan(), batch=1).case(scan(), SPACING, report=events.append)
    assert events[-1].done == events[-1].total > 1
    network = Threshold()
    with pytest.raises(Cancelled):
        Predictor(network, plan(), batch=1).case(scan(), SPACING, cancelled=lambda: network.windows >= 2)
    assert network.windows == 2


def test_a_scan_with_other_series_is_refused():
    with pytest.raises(InputError, match="channel"):
        Predictor(Threshold(), plan()).case(np.zeros((2, 8, 8, 8), dtype=np.float32), SPACING)
    with pytest.raises(InputError, match="shape"):
        Predictor(Threshold(), plan()).case(np.zeros((8, 8, 8), dtype=np.float32), SPACING)


def test_a_registered_network_predicts():
    from napari_dasl import networks

    small = networks.build("unet", 1, 2, channels=(4, 8), strides=(1, 2), res_units=1, groups=2)
    probability = Predictor(small, plan()).case(scan(), SPACING)
    np.testing.assert_allclose(probability.sum(axis=0), 1, atol=2e-3)


def test_what_needs_no_torch_imports_none():
    code = (
        "import sys; import napari_dasl.inference as i; i.signature; i.facts; i.windows;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'monai', 'qtpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
