"""A detector that finds bright blobs, so that what is found depends on the image alone and is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from napari_dasl.inference.region.candidates import Candidates, Grid
from napari_dasl.training.normalise import Normalisation
from napari_dasl.training.plan import Augmentation, TrainingPlan


@dataclass
class Found:
    cubes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    masks: torch.Tensor

    def best(self, limit):
        rows = self.scores.argsort(descending=True, stable=True)[:limit]
        masks = self.masks[rows] if len(self.masks) else self.masks
        return Found(self.cubes[rows], self.scores[rows], self.classes[rows], masks)


class BlobFinder(nn.Module):
    """Finds connected voxels of one value: 1.9 is class 0 with the score 0.9, 2.6 is class 1 with the score 0.6.

    Like a trained network it sees no further than its window, scores what lies at the border as what it sees, and draws
    masks over ``roi_scale`` diameters. *seen* are the shapes of what it found boxes in, *drawn* counts the masks it
    drew. With *level*, everything above half of it counts as that value: resampling blurs what it looks for.
    """

    mask_size, roi_scale, divisor, anchor_sizes = 24, 1.5, 8, (6.0, 12.0)

    def __init__(self, dims=3, level=None):
        super().__init__()
        self.spatial_dims, self.level = dims, level
        self.weight = nn.Parameter(torch.ones(1))
        self.drop = nn.Dropout(0.5)
        self.seen, self.drawn = [], 0

    def forward(self, image):
        return self.drop(torch.ones(1)).item(), image

    def detect(self, output, shape, *, score, nms, limit, masks=True):
        factor, images = output
        self.seen.append(tuple(images.shape))
        found = [self._one(image[0].float().numpy(), min(1.0, factor), score, masks) for image in images]
        return [one if len(one.scores) <= limit else one.best(limit) for one in found]

    def draw(self, output, image, cubes, classes):
        self.drawn += len(cubes)
        found = self._one(output[1][image, 0].float().numpy(), 1.0, 0.0, masks=True)
        own = [int((found.cubes - cube).abs().sum(1).argmin()) for cube in cubes]
        assert torch.allclose(found.cubes[own], cubes, atol=1e-3)
        assert torch.equal(found.classes[own], classes)
        return found.masks[own]

    def _one(self, image, factor, lowest, masks):
        with_masks, (cubes, scores, classes, masks) = masks, ([], [], [], [])
        values = np.round(image, 3) if self.level is None else np.where(image > self.level / 2, self.level, 0)
        for value in np.unique(values[values > 1]):
            parts, _ = ndimage.label(values == value)
            for number, box in enumerate(ndimage.find_objects(parts), start=1):
                if factor * (value % 1) <= lowest:
                    continue
                sides = [part.stop - part.start for part in box]
                cubes.append([(part.start + part.stop) / 2 for part in box] + [max(sides)])
                scores.append(factor * (value % 1))
                classes.append(int(value) - 1)
                if with_masks:
                    masks.append(self._mask(parts == number, np.array(cubes[-1])))
        dims, size = self.spatial_dims, self.mask_size
        return Found(
            torch.tensor(np.array(cubes).reshape(-1, dims + 1), dtype=torch.float32),
            torch.tensor(scores, dtype=torch.float32),
            torch.tensor(classes, dtype=torch.long),
            torch.tensor(np.array(masks).reshape(-1, *(size,) * dims), dtype=torch.float32),
        )

    def _mask(self, inside, cube):
        side = cube[-1] * self.roi_scale
        steps = (np.arange(self.mask_size) + 0.5) / self.mask_size * side - side / 2
        places = np.meshgrid(*[centre + steps - 0.5 for centre in cube[:-1]], indexing="ij")
        return ndimage.map_coordinates(inside.astype(np.float32), places, order=1)


@pytest.fixture
def blob_finder():
    return BlobFinder


@pytest.fixture
def region_plan():
    """A plan of a detector whose normalisation leaves the image as it is; what lies outside a scan is 0."""

    def make(**changes):
        rule = Normalisation(channel="image", rule="ct", lower=0, upper=1000, centre=0, scale=1)
        values = {
            "modality": "CT",
            "channels": ("image",),
            "classes": ("lesion",),
            "network": "nodule-rcnn",
            "network_options": {"spatial_dims": 3},
            "spacing": (1.0, 1.0, 1.0),
            "patch": (32, 32, 32),
            "batch": 1,
            "augmentation": Augmentation(mirror=("z", "y", "x")),
            "normalisation": (rule,),
        }
        return TrainingPlan(**{**values, **changes})

    return make


@pytest.fixture
def candidates():
    """Candidates from rows (window, cube, score, class), and windows as corners."""

    def make(rows, windows, shape=(64, 64, 64), slices=None, scan=None, spacing=(1.0, 1.0, 1.0), masks=None):
        dims = len(windows[0]) // 2
        return Candidates(
            cubes=np.array([row[1] for row in rows], dtype=float).reshape(-1, dims + 1),
            scores=np.array([row[2] for row in rows], dtype=float),
            classes=np.array([row[3] for row in rows], dtype=np.intp),
            masks=np.ones((len(rows), *(6,) * dims), dtype=np.float16) if masks is None else masks,
            drawn=np.arange(len(rows)),
            window=np.array([row[0] for row in rows], dtype=np.intp),
            windows=np.array(windows, dtype=float),
            slices=np.zeros(len(windows), dtype=np.intp) if slices is None else np.array(slices),
            roi_scale=1.5,
            grid=Grid(shape, shape if scan is None else scan, spacing),
        )

    return make
