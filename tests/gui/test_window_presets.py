"""The window a scan opens with: a chest CT opens as a lung reader would open it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.widgets.window_presets import CT, LUNG, MR, first_of


def chest(aerated_share: float) -> np.ndarray:
    """Soft tissue in air, with lung in the given share of the middle."""
    scan = np.full((20, 40, 40), -1000, np.int16)
    scan[:, 5:-5, 5:-5] = 40
    lung = scan[5:15, 10:30, 10:30].reshape(-1)
    lung[: round(aerated_share * lung.size)] = -850
    scan[5:15, 10:30, 10:30] = lung.reshape(10, 20, 20)
    return scan


@pytest.mark.parametrize(("share", "name"), [(0.0, "soft tissue"), (0.1, "soft tissue"), (0.4, "lung")])
def test_a_ct_that_is_mostly_lung_opens_in_the_lung_window(share, name):
    assert CT[first_of(CT, chest(share))].name == name


def test_air_around_a_patient_is_not_lung():
    scan = np.full((20, 40, 40), -1000, np.int16)
    scan[:, 15:25, 15:25] = 40
    assert CT[first_of(CT, scan)] is not LUNG


def test_other_scans_begin_with_their_first_window():
    assert first_of(MR, chest(0.9)) == 0


@pytest.mark.data
def test_a_real_chest_opens_in_the_lung_window_and_an_abdomen_does_not(data_dir):
    from napari_dasl import volumes

    lung = volumes.read(data_dir / "lung_ct" / "LUNG1-001" / "ct.nii.gz").array
    abdomen = volumes.read(data_dir / "abdomen_ct" / "totalsegmentator" / "example_ct_sm.nii.gz").array
    assert CT[first_of(CT, lung)] is LUNG
    assert CT[first_of(CT, abdomen)] is not LUNG
