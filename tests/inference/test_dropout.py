"""Passes with dropout on: they differ by what is dropped, follow the seed, and leave everything else as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_dasl.errors import InputError
from napari_dasl.inference import Predictor, predict
from napari_dasl.training.normalise import Normalisation
from napari_dasl.training.plan import Augmentation, TrainingPlan


class Dropping(nn.Module):
    """A batch norm, whose statistics training mode would change, and dropout between two convolutions."""

    def __init__(self, rate: float = 0.5):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv3d(1, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(), nn.Dropout(rate), nn.Conv3d(6, 2, 1)
        )

    def forward(self, x):
        return self.body(x)


def scan() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 8, 10, 12)).astype(np.float32)


def ask(network, seed):
    return predict(network, scan(), patch=(8, 8, 8), out_channels=2, dtype=np.float32, dropout_seed=seed)


def test_the_seed_decides_what_is_dropped():
    network = Dropping()
    np.testing.assert_array_equal(ask(network, 1), ask(network, 1))
    assert np.abs(ask(network, 1) - ask(network, 2)).max() > 0.01
    assert np.abs(ask(network, 1) - ask(network, None)).max() > 0.01
    np.testing.assert_array_equal(ask(network, None), ask(network, None))


def test_norm_layers_stay_frozen_and_every_part_keeps_its_mode():
    network = Dropping().eval()
    network.body[3].train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ask(network, 1)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [part.training for part in network.body] == [False, False, False, True, False]


def test_the_random_numbers_of_the_program_go_on_as_if_nothing_was_drawn():
    network = Dropping()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ask(network, 1)
    assert torch.equal(torch.rand(3), expected)


def predictor(network) -> Predictor:
    plan = TrainingPlan(
        modality="MR",
        channels=("image",),
        classes=("lesion",),
        spacing=(1.0, 1.0, 1.0),
        patch=(8, 8, 8),
        batch=1,
        steps=1,
        augmentation=Augmentation(),
        normalisation=(Normalisation(channel="image", rule="mr", lower=0.5, upper=99.5),),
    )
    return Predictor(network, plan)


def test_a_predictor_gives_as_many_passes_as_asked_for_on_the_grid_of_the_scan():
    passes = list(predictor(Dropping()).passes(scan(), (1.0, 1.0, 2.0), 3, seed=7))
    assert [one.shape for one in passes] == [(2, 8, 10, 12)] * 3
    assert np.abs(passes[0] - passes[1]).max() > 0.01
    again = list(predictor(Dropping()).passes(scan(), (1.0, 1.0, 2.0), 2, seed=8))
    np.testing.assert_array_equal(again[0], passes[1])


@pytest.mark.parametrize("network", [Dropping(0.0), nn.Conv3d(1, 2, 1)])
def test_a_network_without_dropout_is_refused_with_what_to_do(network):
    with pytest.raises(InputError, match="no dropout") as caught:
        next(predictor(network).passes(scan(), (1.0, 1.0, 1.0), 2, seed=0))
    assert "plan.toml" in caught.value.hint
