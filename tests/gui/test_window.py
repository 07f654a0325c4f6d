"""The window of `napari-dasl open`: it opens on the next case, and closes without a word."""

from __future__ import annotations

import subprocess
import sys

import nibabel
import numpy as np
import pytest

from napari_dasl.project import setup

SCRIPT = """
import sys, time
from qtpy.QtWidgets import QApplication
from napari_dasl.widgets.window import open_window

viewer, dock = open_window(sys.argv[1])
application = QApplication.instance()

def work_until(done, seconds):
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        application.processEvents()
        time.sleep(0.01)

work_until(lambda: dock.session.case_id is not None, 60)
print("opened", dock.session.case_id)
viewer.close()
work_until(lambda: False, 1.5)
print("closed")
"""


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        image = nibabel.Nifti1Image(rng.integers(0, 99, (12, 12, 6)).astype(np.int16), np.eye(4))
        nibabel.save(image, tmp_path / "images" / f"{name}.nii.gz")
    return setup.make(tmp_path / "study", images=tmp_path / "images", modality="MR").folder


@pytest.mark.gui
def test_opens_on_the_next_case_and_closes_without_an_error(study):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(study)], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] in ("opened a", "opened b")
    assert done.stdout.splitlines()[1] == "closed"
    assert "Traceback" not in done.stderr
