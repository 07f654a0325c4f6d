"""The dialog that makes a project: choose a folder, see what was found, confirm modality and classes, done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_dasl.project import setup
from napari_dasl.widgets import project_intake as intake
from napari_dasl.widgets.disclosure import Disclosure
from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.wrapped_label import wrapped_label

if TYPE_CHECKING:
    from napari_dasl.errors import DaslError

_TROUBLE = "color: #D55E00;"


class NewProjectDialog(QDialog):
    """Makes a project; `made` carries what :func:`napari_dasl.project.setup.make` says of it.

    The parts below the folder come to life once it was searched; nothing here waits for the disk.
    """

    made = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("New project")
        self.setMinimumWidth(520)
        self.findings: intake.Findings | None = None
        self.cases: intake.Cases | None = None
        self._token = 0
        self._touched_target = False
        self._build()
        self._task_changed()

    # -- building -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self.scans, line = self._folder_line("Folder that holds the scans", self._choose_scans)
        self.scans.editingFinished.connect(self.search)
        form.addRow("Scans", line)
        self.found = self._words()
        form.addRow("", self.found)
        self.modality = QComboBox(self)
        for modality in intake.MODALITIES:
            self.modality.addItem(modality, modality)
        self.modality.setToolTip("The scan that labels are drawn on. Other series of a case become further channels.")
        self.modality.currentIndexChanged.connect(self._match)
        form.addRow("Modality", self.modality)
        self.grouped = self._words()
        form.addRow("", self.grouped)
        self.labels, line = self._folder_line("Optional: labels that exist already", self._choose_labels)
        self.labels.editingFinished.connect(self._match)
        form.addRow("Labels", line)
        self.matched = self._words()
        form.addRow("", self.matched)
        self._build_task(form)
        self.classes = QLineEdit("lesion", self)
        self.classes.setToolTip("What is labelled, separated by commas: the first name is value 1, the second 2, …")
        self.classes.textChanged.connect(self._enable)
        form.addRow("Classes", self.classes)
        self.target, line = self._folder_line("Where the project is kept", self._choose_target)
        self.target.textEdited.connect(self._target_edited)
        self.target.textChanged.connect(self._enable)
        form.addRow("Project folder", line)
        self.copy = QCheckBox("Copy the scans into the project", self)
        self.copy.setToolTip("Otherwise they are read where they lie; nothing is ever written there.")
        form.addRow("", self.copy)
        self.bar = QProgressBar(self)
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.bar.hide()
        self.words = self._words()
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel, self)
        self.create = QPushButton("Create project", self)
        self.create.setDefault(True)
        self.create.clicked.connect(self._create)
        self.buttons.addButton(self.create, QDialogButtonBox.ButtonRole.ActionRole)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addStretch(1)
        for widget in (self.bar, self.words, self.buttons):
            layout.addWidget(widget)

    def _build_task(self, form: QFormLayout) -> None:
        """What is labelled chooses the network; which one of those that find lesions, is for those who know them."""
        self.task = QComboBox(self)
        for words, detector in intake.TASKS:
            self.task.addItem(words, detector)
        self.task.setToolTip(
            "<qt>Organs and regions are drawn voxel by voxel. Separate lesions are found one by one, each with a "
            "score, to accept or to reject.</qt>"
        )
        self.task.currentIndexChanged.connect(self._task_changed)
        form.addRow("What will you label?", self.task)
        self.network = QComboBox(self)
        for family in intake.detectors():
            self.network.addItem(family.title, family.name)
            self.network.setItemData(self.network.count() - 1, family.sentence, Qt.ItemDataRole.ToolTipRole)
        self.network.currentIndexChanged.connect(self._task_changed)
        self.network_words = wrapped_label(self)
        self.network_words.setMinimumWidth(330)  # the height that Qt guesses for a narrower one leaves a gap
        self.numbered = QCheckBox("The label files number the lesions: 1, 2, 3 …", self)
        self.numbered.setToolTip(
            "<qt>Every lesion has a value of its own, so that two that touch are still two. Otherwise a value is a "
            "class, and lesions are what is connected.</qt>"
        )
        self.numbered.toggled.connect(self._task_changed)
        inner = QWidget(self)
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.network, self.network_words, self.numbered):
            column.addWidget(widget)
        self.advanced = Disclosure("Advanced", inner, parent=self)
        form.addRow("", self.advanced)

    def _task_changed(self, *_: object) -> None:
        lesions = bool(self.task.currentData())
        self.advanced.setVisible(lesions)
        if not lesions:
            self.numbered.setChecked(False)
        self._show(self.network_words, str(self.network.currentData(Qt.ItemDataRole.ToolTipRole) or ""))
        if self.numbered.isChecked() and len(intake.class_names(self.classes.text())) > 1:
            self.classes.setText("lesion")
        self._enable()

    def _folder_line(self, hint: str, choose: object) -> tuple[QLineEdit, QHBoxLayout]:
        edit = QLineEdit(self)
        edit.setPlaceholderText(hint)
        button = QPushButton("Choose…", self)
        button.setAutoDefault(False)
        button.clicked.connect(choose)
        line = QHBoxLayout()
        line.addWidget(edit, 1)
        line.addWidget(button)
        return edit, line

    def _words(self) -> QLabel:
        label = QLabel(self)
        label.setWordWrap(True)
        label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        label.hide()
        return label

    # -- choosing -------------------------------------------------------------------------------------------------

    def _choose_scans(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of the scans", self.scans.text())
        if folder:
            self.set_scans(Path(folder))

    def set_scans(self, folder: Path) -> None:
        """Search *folder* for scans."""
        self.scans.setText(str(folder))
        self.search()

    def _choose_labels(self) -> None:
        start = self.labels.text() or self.scans.text()
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of the labels", start)
        if folder:
            self.set_labels(Path(folder))

    def set_labels(self, folder: Path) -> None:
        """Match the labels in *folder* with the cases."""
        self.labels.setText(str(folder))
        self._match()

    def _choose_target(self) -> None:
        start = str(Path(self.target.text()).parent) if self.target.text() else ""
        folder = QFileDialog.getExistingDirectory(self, "Choose an empty folder for the project", start)
        if folder:
            self._touched_target = True
            self.target.setText(folder)

    def _target_edited(self, _text: str) -> None:
        self._touched_target = True

    # -- looking --------------------------------------------------------------------------------------------------

    def search(self) -> None:
        """Look what the folder of scans holds."""
        text = self.scans.text().strip()
        if not text or (self.findings is not None and str(self.findings.folder) == text):
            return
        self.findings = self.cases = None
        self._token += 1
        token, folder = self._token, Path(text).expanduser()
        self._busy("Looking for scans …")
        run_in_background(
            self,
            lambda: (intake.look(folder), intake.free_folder(folder)),
            lambda found: self._searched(token, *found),
            lambda error: self._failed(token, error),
        )

    def _searched(self, token: int, findings: intake.Findings, target: Path) -> None:
        if token != self._token:
            return
        self.findings = findings
        self._busy("")
        self._show(self.found, findings.words(), bad=not findings.readable)
        self.found.setToolTip("\n".join(f"{found.path}: {found.reason}" for found in findings.unreadable))
        if findings.modality is not None:
            self.modality.setCurrentIndex(self.modality.findData(findings.modality))
        if not self._touched_target:
            self.target.setText(str(target))
        beside = findings.folder / "labelsTr"
        if not self.labels.text() and beside.is_dir():
            self.labels.setText(str(beside))
        self._match()

    def _match(self, *_: object) -> None:
        findings = self.findings
        if findings is None or not findings.readable:
            self._enable()
            return
        self._token += 1
        token, modality = self._token, self.modality.currentData()
        text = self.labels.text().strip()
        labels = Path(text).expanduser() if text else None
        if labels is not None and not labels.is_dir():
            self._show(self.matched, f"{labels} is no folder.", bad=True)
            labels = None
        self.cases = None
        self._busy("Sorting the scans into cases …")
        run_in_background(
            self,
            lambda: intake.cases_of(findings, modality, labels),
            lambda cases: self._sorted(token, cases, labels),
            lambda error: self._failed(token, error),
        )

    def _sorted(self, token: int, cases: intake.Cases, labels: Path | None) -> None:
        if token != self._token:
            return
        self.cases = cases
        self._busy("")
        self._show(self.grouped, cases.words(), bad=not cases.candidates)
        self.grouped.setToolTip("\n".join(f"{path.name}: {reason}" for path, reason in cases.skipped))
        if labels is not None:
            self._show(self.matched, cases.label_words(), bad=not cases.labels)
            self.matched.setToolTip("\n".join(f"{case}: {reason}" for case, reason in cases.unclear.items()))
            names = intake.class_names(self.classes.text(), cases.highest_label)
            if (
                not self.numbered.isChecked()
                and cases.highest_label > 1
                and len(names) > len(intake.class_names(self.classes.text()))
            ):
                names = names[: cases.highest_label]
                if self.classes.text() == "lesion":
                    names = intake.class_names("", cases.highest_label)
                self.classes.setText(", ".join(names))
        elif not self.labels.text().strip():
            self.matched.hide()
        self._enable()

    # -- making ---------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        text = self.labels.text().strip()
        labels = Path(text).expanduser() if text and self.cases is not None and self.cases.labels else None
        target = Path(self.target.text().strip()).expanduser()
        images = Path(self.scans.text().strip()).expanduser()
        modality, classes = self.modality.currentData(), intake.class_names(self.classes.text())
        copy, numbered = self.copy.isChecked(), self.numbered.isChecked()
        network = self.network.currentData() if self.task.currentData() else intake.DRAWING
        self._token += 1
        token = self._token
        self._busy("Making the project: reading the scans and checking the labels …")

        def work() -> setup.Made:
            return setup.make(
                target,
                images=images,
                labels=labels,
                modality=modality,
                classes=classes,
                instances=numbered,
                network=network,
                copy_scans=copy,
            )

        run_in_background(self, work, self._made, lambda error: self._failed(token, error))

    def _made(self, made: setup.Made) -> None:
        self._busy("")
        self.made.emit(made)
        self.accept()

    # -- telling --------------------------------------------------------------------------------------------------

    def _failed(self, token: int, error: DaslError) -> None:
        if token == self._token:
            self._busy("")
            self._show(self.words, str(error), bad=True)

    def _busy(self, words: str) -> None:
        self.bar.setVisible(bool(words))
        self._show(self.words, words)
        self._enable()

    def _show(self, label: QLabel, words: str, *, bad: bool = False) -> None:
        label.setText(words)
        label.setStyleSheet(_TROUBLE if bad else "")
        label.setVisible(bool(words))

    def _enable(self, *_: object) -> None:
        ready = self.cases is not None and bool(self.cases.candidates)
        fields = (self.modality, self.labels, self.task, self.advanced, self.classes, self.target, self.copy)
        for widget in fields:
            widget.setEnabled(self.findings is not None and bool(self.findings.readable))
        filled = bool(self.target.text().strip() and self.classes.text().strip())
        if self.numbered.isChecked():
            filled = filled and len(intake.class_names(self.classes.text())) == 1
        self.create.setEnabled(ready and filled and not self.bar.isVisibleTo(self))
