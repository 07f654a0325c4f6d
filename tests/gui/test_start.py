"""The empty state: the demo, a new project from a folder, and the projects opened last."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from qtpy.QtCore import Qt

from napari_dasl.project import Project
from napari_dasl.widgets import project_intake as intake
from napari_dasl.widgets import recent
from napari_dasl.widgets.demo_process import DemoMaker
from napari_dasl.widgets.new_project import NewProjectDialog
from napari_dasl.widgets.recent import KEPT, recent_projects, remember_project
from napari_dasl.widgets.session import session_for
from napari_dasl.widgets.start import StartPage


@pytest.fixture(autouse=True)
def recent_list(tmp_path, monkeypatch):
    """Keep the list of recent projects away from the user's own."""
    file = tmp_path / "state" / "recent.json"
    monkeypatch.setattr(recent, "recent_file", lambda: file)
    return file


@pytest.fixture
def empty_session(qtbot):
    """A session with no project."""
    from napari.components import ViewerModel

    session = session_for(ViewerModel())
    yield session
    session.shutdown()


@pytest.fixture
def page(empty_session, qtbot):
    """The empty state."""
    widget = StartPage(empty_session)
    qtbot.addWidget(widget)
    widget.show()
    return widget


@pytest.fixture
def dialog(qtbot):
    """The new-project dialog."""
    widget = NewProjectDialog()
    widget.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)  # qtbot closes it
    qtbot.addWidget(widget)
    widget.show()
    return widget


@pytest.fixture
def scans(tmp_path, write_scan, cube_scan):
    """A folder of three scans and a text file that claims to be one, and a folder with labels of two of them."""
    folder, labels = tmp_path / "liver", tmp_path / "masks"
    folder.mkdir()
    labels.mkdir()
    for number in range(3):
        scan, label = cube_scan(number)
        write_scan(folder / f"CT_{number}.nii.gz", scan)
        if number < 2:
            write_scan(labels / f"CT_{number}_mask.nii.gz", label * 2)
    (folder / "CT_9.nii.gz").write_text("not a scan")
    return folder, labels


# -- recent projects ------------------------------------------------------------------------------------------------


def test_the_newest_project_comes_first_once_and_the_list_is_short(tmp_path, recent_list):
    folders = [tmp_path / f"p{n}" for n in range(KEPT + 3)]
    for folder in folders:
        folder.mkdir()
        (folder / "project.toml").touch()
        remember_project(folder)
    remember_project(folders[5])
    listed = recent_projects()
    assert listed[0] == folders[5].resolve()
    assert len(listed) == len(set(listed)) == KEPT


@pytest.mark.parametrize("content", ["", "{", "[1, null]", '{"a": 1}', "\x00\xff"])
def test_a_broken_list_is_an_empty_list_and_heals(tmp_path, recent_list, content):
    recent_list.parent.mkdir(parents=True)
    recent_list.write_text(content, encoding="latin-1")
    assert recent_projects() == []
    (tmp_path / "project.toml").touch()
    remember_project(tmp_path)
    assert recent_projects() == [tmp_path.resolve()]


def test_a_project_that_is_gone_is_not_offered(tmp_path, recent_list):
    remember_project(tmp_path / "gone")
    assert recent_projects() == []


def test_a_state_folder_that_cannot_be_written_disturbs_nobody(tmp_path, recent_list):
    recent_list.parent.write_text("a file where the folder should be")
    remember_project(tmp_path)
    assert recent_projects() == []


# -- the page -------------------------------------------------------------------------------------------------------


def test_recent_projects_are_offered_and_opened(page, study, qtbot):
    remember_project(study.folder)
    page.refresh_recent()
    qtbot.waitUntil(lambda: page.recent.count() == 2)
    button = page.recent.itemAt(1).widget()
    assert button.text().startswith("study")
    with qtbot.waitSignal(page.session.project_changed):
        button.click()


def test_an_opened_project_is_remembered(page, study, recent_list, qtbot):
    page.session.open_project(study.folder)
    qtbot.waitUntil(recent_list.exists)
    assert json.loads(recent_list.read_text()) == [str(study.folder.resolve())]


def test_a_folder_that_is_no_project_is_refused_in_words(page, tmp_path, qtbot):
    with qtbot.waitSignal(page.session.message):
        page.session.open_project(tmp_path)
    assert "is not a project" in page.words.text()
    assert page.words.isVisible()


# -- the demo -------------------------------------------------------------------------------------------------------


def demo_that(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_demo_is_made_by_a_child_that_tells_its_progress(qtbot, tmp_path):
    maker, said = DemoMaker(), []
    maker.progressed.connect(said.append)
    code = f"""
import json, sys
print("Making phantoms", file=sys.stderr)
print("10 %\\r20 %", file=sys.stderr)
print(json.dumps({{"project": {str(tmp_path / "demo")!r}}}))
"""
    with qtbot.waitSignal(maker.made) as made:
        maker.start(tmp_path / "demo", demo_that(code))
    assert made.args == [tmp_path / "demo"]
    assert said == ["Making phantoms", "10 %", "20 %"]
    assert not maker.running


def test_a_demo_that_fails_says_why(qtbot, tmp_path):
    maker = DemoMaker()
    code = "import sys; sys.exit('napari-dasl: No space left. Free some.')"
    with qtbot.waitSignal(maker.failed) as failed:
        maker.start(tmp_path / "demo", demo_that(code))
    assert failed.args == ["The demo could not be made: napari-dasl: No space left. Free some."]


def test_a_demo_that_cannot_start_says_so(qtbot, tmp_path):
    maker = DemoMaker()
    with qtbot.waitSignal(maker.failed) as failed:
        maker.start(tmp_path, ["/no/such/python"])
    assert failed.args[0].startswith("The demo could not be started")


# -- a new project --------------------------------------------------------------------------------------------------


def test_what_was_found_is_said_before_anything_is_made(dialog, scans, qtbot):
    folder, labels = scans
    dialog.set_scans(folder)
    assert not dialog.create.isEnabled()
    qtbot.waitUntil(lambda: dialog.cases is not None, timeout=10_000)
    assert dialog.found.text().startswith("4 series, 1 cannot be read: CT_9.nii.gz ")
    assert dialog.grouped.text().startswith("3 cases")
    assert dialog.modality.currentData() == "CT"  # the names say so
    assert dialog.target.text() == str(folder.with_name("liver-dasl"))
    assert dialog.create.isEnabled()
    dialog.set_labels(labels)
    qtbot.waitUntil(lambda: dialog.cases is not None and bool(dialog.cases.labels), timeout=10_000)
    assert dialog.matched.text() == "2 of 3 cases have a label there."
    assert dialog.classes.text() == "class 1, class 2"  # the masks hold the value 2


def test_the_project_is_made_and_told(dialog, scans, qtbot):
    folder, labels = scans
    dialog.set_scans(folder)
    qtbot.waitUntil(lambda: dialog.cases is not None, timeout=10_000)
    dialog.set_labels(labels)
    qtbot.waitUntil(lambda: dialog.cases is not None and bool(dialog.cases.labels), timeout=10_000)
    dialog.classes.setText("liver, tumour")
    with qtbot.waitSignal(dialog.made, timeout=10_000) as made:
        dialog.create.click()
    (result,) = made.args
    assert (result.cases, result.annotated) == (3, 2)
    assert [path.name for path, _ in result.skipped] == ["CT_9.nii.gz"]
    with Project.open(result.folder) as project:
        assert project.config.classes == ("liver", "tumour")
        assert project.config.modality == "CT"


def test_what_is_labelled_chooses_the_network(dialog, scans, tmp_path, qtbot):
    dialog.set_scans(scans[0])
    qtbot.waitUntil(dialog.create.isEnabled, timeout=10_000)
    assert dialog.task.currentText() == "Organs or regions"
    assert not dialog.advanced.isVisible()
    dialog.task.setCurrentIndex(1)
    assert dialog.advanced.isVisible()
    assert [dialog.network.itemData(place) for place in range(dialog.network.count())] == ["nodule-rcnn", "mask-rcnn"]
    assert not dialog.numbered.isChecked()
    dialog.labels.clear()
    dialog.target.setText(str(tmp_path / "lesions"))
    with qtbot.waitSignal(dialog.made, timeout=20_000):
        dialog._create()
    with Project.open(tmp_path / "lesions") as project:
        assert (project.config.network, project.config.instances) == ("nodule-rcnn", False)


def test_labels_that_number_lesions_are_of_one_class(dialog, scans, qtbot):
    dialog.set_scans(scans[0])
    qtbot.waitUntil(dialog.create.isEnabled, timeout=10_000)
    dialog.classes.setText("nodule, cyst")
    dialog.task.setCurrentIndex(1)
    dialog.numbered.setChecked(True)
    assert dialog.classes.text() == "lesion"
    dialog.classes.setText("nodule, cyst")
    assert not dialog.create.isEnabled()
    dialog.task.setCurrentIndex(0)
    assert not dialog.numbered.isChecked()


def test_a_label_that_is_no_class_is_one_clear_sentence(dialog, scans, qtbot):
    folder, labels = scans
    dialog.set_scans(folder)
    qtbot.waitUntil(lambda: dialog.cases is not None, timeout=10_000)
    dialog.set_labels(labels)
    qtbot.waitUntil(lambda: dialog.cases is not None and bool(dialog.cases.labels), timeout=10_000)
    dialog.classes.setText("lesion")
    dialog.create.click()
    qtbot.waitUntil(lambda: not dialog.bar.isVisible(), timeout=10_000)
    assert not dialog.isVisible() or "2" in dialog.words.text()


def test_a_target_that_is_not_empty_is_refused_and_the_dialog_stays(dialog, scans, tmp_path, qtbot):
    dialog.set_scans(scans[0])
    qtbot.waitUntil(lambda: dialog.cases is not None, timeout=10_000)
    dialog.target.setText(str(tmp_path))
    dialog.create.click()
    qtbot.waitUntil(lambda: "is not empty" in dialog.words.text(), timeout=10_000)
    assert dialog.isVisible()
    assert dialog.create.isEnabled()


def test_a_folder_without_scans_says_what_a_scan_is(dialog, tmp_path, qtbot):
    (tmp_path / "empty").mkdir()
    dialog.set_scans(tmp_path / "empty")
    qtbot.waitUntil(lambda: dialog.findings is not None, timeout=10_000)
    assert dialog.found.text().startswith("No scan was found there.")
    assert not dialog.create.isEnabled()


def test_a_folder_that_is_not_there_is_said(dialog, tmp_path, qtbot):
    dialog.set_scans(tmp_path / "nowhere")
    qtbot.waitUntil(lambda: "is no folder" in dialog.words.text(), timeout=10_000)


def test_the_project_is_proposed_beside_the_scans_under_a_free_name(tmp_path):
    scans = tmp_path / "liver"
    scans.mkdir()
    assert intake.free_folder(scans) == tmp_path / "liver-dasl"
    (tmp_path / "liver-dasl").mkdir()
    assert intake.free_folder(scans) == tmp_path / "liver-dasl"
    (tmp_path / "liver-dasl" / "x").touch()
    assert intake.free_folder(scans) == tmp_path / "liver-dasl-2"


def test_class_names_are_read_as_people_write_them():
    assert intake.class_names(" liver , tumour;cyst,") == ("liver", "tumour", "cyst")
    assert intake.class_names("liver", 3) == ("liver", "class 2", "class 3")


def test_the_made_demo_opens(page, study, qtbot, monkeypatch):
    monkeypatch.setattr("napari_dasl.widgets.start.demo_folder", lambda: Path(study.folder))
    code = f"import json; print(json.dumps({{'project': {str(study.folder)!r}}}))"
    monkeypatch.setattr("napari_dasl.widgets.demo_process.demo_command", lambda folder: demo_that(code))
    with qtbot.waitSignal(page.session.project_changed, timeout=10_000):
        page.demo_button.click()
        assert page.bar.isVisible()
        assert not page.demo_button.isEnabled()
    assert page.demo_button.isEnabled()
