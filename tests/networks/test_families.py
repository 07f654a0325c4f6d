"""The families of networks: known by name without torch, and built with it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from napari_dasl import networks
from napari_dasl.errors import ProjectError
from napari_dasl.networks.families import FAMILIES, family


def test_every_family_can_be_built_and_every_network_has_a_family():
    assert set(FAMILIES) == set(networks.names())
    assert all(FAMILIES[name].name == name for name in FAMILIES)


@pytest.mark.parametrize(
    ("name", "detector", "dims"),
    [
        ("unet", False, 3),
        ("nodule-rcnn", True, 3),
        ("mask-rcnn", True, 2),
        ("residual-se-unet", False, 3),
        ("unetr", False, 3),
        ("swin-unetr", False, 3),
        ("unet-2d", False, 2),
    ],
)
def test_a_family_says_whether_it_detects_and_in_how_many_dimensions(name, detector, dims):
    found = family(name)
    assert (found.detector, found.spatial_dims) == (detector, dims)
    assert found.title
    assert found.sentence.endswith(".")


def test_an_unknown_family_is_refused_with_the_choices():
    with pytest.raises(ProjectError, match=r"no network named 'yolo'.*unet, nodule-rcnn, mask-rcnn"):
        family("yolo")


@pytest.mark.parametrize(
    ("name", "options", "divisor"),
    [
        ("unet", {}, (8, 8, 8)),
        ("unet", {"strides": [[1, 2, 2], [2, 2, 2]]}, (2, 4, 4)),
        ("unet", {"strides": [2, [1, 2]], "spatial_dims": 2}, (1, 2, 4)),
        ("nodule-rcnn", {}, (16, 16, 16)),
        ("mask-rcnn", {}, (1, 16, 16)),
        ("residual-se-unet", {}, (16, 16, 16)),
        ("residual-se-unet", {"strides": [2, [1, 2, 2]]}, (2, 4, 4)),
        ("unetr", {"img_size": [32, 48, 48]}, (16, 16, 16)),
        ("swin-unetr", {"window": 4}, (32, 32, 32)),
        ("unet-2d", {}, (1, 16, 16)),
    ],
)
def test_a_family_says_what_the_sides_of_a_patch_must_be_multiples_of(name, options, divisor):
    assert networks.patch_divisor(name, options) == divisor


def test_a_stride_with_too_few_numbers_is_refused():
    with pytest.raises(ProjectError, match="2 numbers for 3 axes"):
        networks.patch_divisor("unet", {"strides": [[2, 2]]})


@pytest.mark.parametrize("compute", ["cpu", "cuda"])
@pytest.mark.parametrize("name", [name for name, each in FAMILIES.items() if each.options])
def test_the_options_of_a_new_plan_build_the_network(name, compute):
    chosen = family(name)
    options = dict(chosen.options[compute]) | ({"img_size": [32, 32, 32]} if chosen.sized else {})
    # Most of them need no memory to be counted; SwinUNETR reads a number while it is built.
    with torch.device("cpu" if name == "swin-unetr" else "meta"):
        weights = sum(parameter.numel() for parameter in networks.build(name, 1, 2, **options).parameters())
    assert chosen.voxel_bytes[compute] > 0
    if not chosen.width:
        assert chosen.fixed_mb[compute] == pytest.approx(weights * 20 / 1e6, rel=0.05)


def test_names_and_families_are_read_without_torch():
    code = (
        "import sys; from napari_dasl import networks; from napari_dasl.networks.families import FAMILIES; "
        "networks.names(); sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_detector_is_built_for_its_own_dimensions_unless_told_otherwise():
    small = {"layers": (1, 1, 1, 1), "planes": 8, "width": 8}
    assert networks.build("mask-rcnn", 1, 2, **small).spatial_dims == 2
    assert networks.build("mask-rcnn", 1, 2, spatial_dims=3, **small).spatial_dims == 3
    assert networks.build("nodule-rcnn", 1, 2).spatial_dims == 3


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "vgg"},
        {"growth": 0},
        {"growth": 13},
        {"blocks": (4, 4)},
        {"blocks": (4, 4, 0)},
        {"anchor_sizes": ()},
        {"anchor_sizes": (4.0, -1.0)},
        {"mask_size": 2},
        {"mask_layers": 0},
        {"roi_scale": 0.5},
        {"dropout": 1.0},
        {"dropout": "much"},
        {"depth": 3},
        {"spatial_dims": 4},
        {"backbone": "resnet50", "layers": (3, 4, 6)},
        {"backbone": "resnet50", "growth": 12},
    ],
)
def test_wrong_options_of_a_detector_are_refused_in_words(options):
    with pytest.raises(ProjectError, match="network_options in the training plan"):
        networks.build("nodule-rcnn", 1, 2, **options)


def test_a_detector_needs_a_class():
    with pytest.raises(ProjectError, match="one class besides the background"):
        networks.build("nodule-rcnn", 1, 1)
