"""Slices with a lesion as samples of their own, and the turn that runs take at what they share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from napari_dasl.active import region_mask
from napari_dasl.curriculum import fisher_contrast
from napari_dasl.errors import Cancelled, InputError
from napari_dasl.experiments.data import Sample, fold, read_study
from napari_dasl.experiments.slices import Cut, lesion_slices
from napari_dasl.experiments.turns import alone


@pytest.fixture(scope="module")
def study(scans):
    return read_study(scans, separator="_")


def test_every_slice_with_a_lesion_is_a_sample_of_its_patient(study, tmp_path):
    found = lesion_slices(study, tmp_path, Cut(side=32))
    wanted = [
        f"{one.id}:{z:03d}"
        for one in study.samples
        for z in np.flatnonzero(np.asarray(one.data().label()).any(axis=(1, 2)))
    ]
    assert [one.id for one in found.samples] == wanted
    assert found.groups == study.groups
    one = found.samples[0].data()
    assert one.image().shape == (1, 1, 32, 32)
    assert np.asarray(one.label()).shape == (1, 32, 32)
    dealt = fold(found, 0, 2)
    assert not {each.group for each in dealt.train} & {each.group for each in dealt.test}


def test_size_and_contrast_are_those_of_the_slice_as_it_was_scanned(study, tmp_path):
    one = lesion_slices(study, tmp_path, Cut(side=32)).samples[0]
    scan, z = study.samples[0].data(), int(one.id.partition(":")[2])
    label = np.asarray(scan.label())[z]
    assert one.size == np.count_nonzero(label > 0)  # pixels of 1 mm
    body = region_mask((np.asarray(scan.label()) > 0).astype(np.float32), scan.image()[0], "body", scan.spacing)
    assert one.contrast == pytest.approx(fisher_contrast(scan.image()[0, z], label, (1.0, 1.0), body=body[z]))
    assert one.pixel == (18 / 32, 16 / 32)  # the field of view stays


def test_the_air_beside_a_patient_is_no_tissue(study, tmp_path):
    """A lesion at the skin stands out from what surrounds it in the body as much as one deep inside."""
    inside, skin = (one_ball(study, tmp_path, row) for row in (16, 6))
    assert skin == pytest.approx(inside, rel=0.2)


def one_ball(study, tmp_path, row):
    image = np.full((12, 32, 32), -1000.0, np.float32)
    image[:, 4:28, 4:28] = np.random.default_rng(0).normal(0, 20, (12, 24, 24))
    places = np.indices(image.shape)
    ball = ((places - np.array([6, row, 16]).reshape(3, 1, 1, 1)) ** 2).sum(0) < 9
    image[ball] += 60
    scan = Drawn(**{**vars(study.samples[0]), "key": f"row {row}"}, picture=image[None], drawing=ball.astype(np.uint8))
    return lesion_slices(replace(study, samples=(scan,)), tmp_path, Cut(side=32, most=1)).samples[0].contrast


def test_flipped_slices_have_every_lesion_on_one_side(study, tmp_path):
    mirrored = replace(
        study, samples=tuple(Mirror(**{**vars(each), "key": f"{each.key} mirrored"}) for each in study.samples)
    )
    as_scanned, in_a_mirror = (lesion_slices(each, tmp_path, Cut(side=32)).samples for each in (study, mirrored))
    # All balls lie on one side of their scans, and in a mirror on the other.
    near, far = sorted((as_scanned, in_a_mirror), key=lambda slices: lesion_columns(slices).mean())
    assert lesion_columns(near).max() < 15.5 < lesion_columns(far).min()
    for scans in (study, mirrored):
        for ours, theirs in zip(lesion_slices(scans, tmp_path, Cut(side=32, flip=True)).samples, near, strict=True):
            np.testing.assert_array_equal(ours.data().image(), theirs.data().image())
            np.testing.assert_array_equal(ours.data().label(), theirs.data().label())


def test_no_more_slices_of_a_scan_than_asked_for_and_from_its_middle(study, tmp_path):
    all_of_them = lesion_slices(study, tmp_path, Cut(side=32)).samples
    some = lesion_slices(study, tmp_path, Cut(side=32, most=1)).samples
    assert len(some) == len(study.samples)
    first = [each.id for each in all_of_them if each.image == all_of_them[0].image]
    assert some[0].id == first[len(first) // 2]


def test_a_side_that_no_network_takes_and_scans_without_a_lesion_are_refused(study, tmp_path):
    with pytest.raises(InputError):
        Cut(side=100)
    healthy = replace(study, samples=tuple(Healthy(**vars(each)) for each in study.samples))
    with pytest.raises(InputError):
        lesion_slices(healthy, tmp_path, Cut(side=32))


def test_the_second_waits_until_the_first_has_left_or_is_told_to_stop(tmp_path):
    with alone(tmp_path), pytest.raises(Cancelled), alone(tmp_path, cancelled=lambda: True):
        pass
    with alone(tmp_path, cancelled=lambda: True):  # the door is open again
        pass


def lesion_columns(slices):
    return np.array([np.nonzero(np.asarray(each.data().label())[0])[1].mean() for each in slices])


class Mirror(Sample):
    """A scan seen in a mirror."""

    def data(self):
        case = super().data()
        return replace(
            case,
            image=lambda: case.image()[..., ::-1],
            label=lambda: np.asarray(case.label())[..., ::-1],
        )


class Healthy(Sample):
    """A scan whose label is empty."""

    def data(self):
        case = super().data()
        return replace(case, label=lambda: np.zeros_like(np.asarray(case.label())))


@dataclass(frozen=True)
class Drawn(Sample):
    """A scan made for the test."""

    picture: np.ndarray | None = None
    drawing: np.ndarray | None = None

    def data(self):
        return replace(super().data(), image=lambda: self.picture, label=lambda: self.drawing)
