"""Reading a folder of labelled scans, and dealing it to training and test."""

from __future__ import annotations

import pickle

import nibabel
import numpy as np
import pytest

from napari_dasl.errors import InputError
from napari_dasl.experiments import liver_stages
from napari_dasl.experiments.conducting import Request, protocol_of
from napari_dasl.experiments.data import fold, make_phantoms, of_lesions, read_study, split


@pytest.fixture(scope="module")
def study(scans):
    return read_study(scans, separator="_")


def test_a_folder_is_read_with_labels_classes_patients_and_the_modality_that_its_air_tells(study):
    assert [sample.id for sample in study.samples] == [f"P{p}_{n}" for p in range(4) for n in range(2)]
    assert study.groups == ("P0", "P1", "P2", "P3")
    assert study.modality == "CT"
    assert study.classes == ("lesion",)
    case = pickle.loads(pickle.dumps(study)).samples[0].data()
    assert case.image().shape == (1, 16, 18, 16)
    assert case.image().dtype == np.float32
    assert np.array_equal(np.unique(case.label()), (0, 1))


def test_the_fingerprint_follows_from_the_content_alone(study, scans):
    assert read_study(scans, separator="_").fingerprint == study.fingerprint
    assert read_study(scans).fingerprint != study.fingerprint  # other groups, other splits


def test_without_labels_or_without_a_folder_it_is_refused(scans, tmp_path):
    with pytest.raises(InputError, match=r"No scan .* has a label"):
        read_study(scans / "images", modality="CT")
    with pytest.raises(InputError, match="no folder"):
        read_study(tmp_path / "nothing")


def test_the_test_cases_are_the_same_for_every_seed_and_no_patient_is_on_both_sides(study):
    splits = [split(study, seed, test=2, train=4) for seed in range(6)]
    assert len({one.test for one in splits}) == 1
    assert len({one.train for one in splits}) > 1
    for one in splits:
        assert len(one.test) == 2
        assert len(one.train) == 4
        assert not {s.group for s in one.train} & {s.group for s in one.test}


def test_whole_patients_are_dealt_and_zero_to_train_means_all_others(study):
    one = split(study, 0, test=3)
    assert len(one.test) == 4  # the second patient's other scan too
    assert len(one.train) == 4


def test_too_few_scans_are_refused(study):
    with pytest.raises(InputError, match="too few"):
        split(study, 0, test=8)
    with pytest.raises(InputError, match="too few"):
        split(study, 0, test=4, train=6)


def test_every_case_is_tested_in_one_fold(study):
    parts = [fold(study, number, 4) for number in range(4)]
    assert sorted(s.id for part in parts for s in part.test) == [s.id for s in study.samples]
    assert all(not {s.group for s in part.train} & {s.group for s in part.test} for part in parts)
    assert [len(part.test) for part in parts] == [2] * 4
    with pytest.raises(InputError, match="Fold"):
        fold(study, 0, 5)


def test_an_organ_beside_its_tumours_is_background_where_values_are_named(tmp_path):
    for number in range(4):
        label = np.zeros((24, 24, 24), np.uint8)
        label[2:22, 2:22, 2:22] = 1  # the organ
        label[8:12, 8:12, 8 + number : 12 + number] = 2
        image = np.random.default_rng(number).normal(0, 20, label.shape).astype(np.int16) - 900
        for kind, array in (("images", image), ("labels", label)):
            (tmp_path / kind).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), tmp_path / kind / f"{number}.nii.gz")
    options = {"test": "1", "width": "4", "lesion": "2"}
    asked = Request("liver-stages", tmp_path, tmp_path / "out", steps=2, options=options)
    protocol = liver_stages.prepare(protocol_of(liver_stages.EXPERIMENT, asked))
    assert protocol.study.classes == ("lesion",)
    assert [int(np.asarray(one.data().label()).sum()) for one in protocol.study.samples] == [64] * 4
    plan, dealt = liver_stages.plan_of(protocol, 0), liver_stages.split_of(protocol, 0)
    assert max(liver_stages.tumour_patch(protocol, plan, dealt.train)) < 20
    with pytest.raises(InputError, match="the value 5"):
        of_lesions(read_study(tmp_path), (5,))


def test_phantoms_are_made_once(tmp_path):
    first = make_phantoms(tmp_path, "ct", 2, size="small")
    times = [sample.image.stat().st_mtime_ns for sample in first.samples]
    again = make_phantoms(tmp_path, "ct", 2, size="small")
    assert first == again
    assert [sample.image.stat().st_mtime_ns for sample in again.samples] == times
    assert first.classes == ("nodule",)
