"""The way of training of the next round: a preset with its sentence, and every choice of it under *Advanced*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_dasl.curriculum import SCORERS
from napari_dasl.errors import DaslError
from napari_dasl.project.curriculum_config import TRAINED, CurriculumConfig, Recipe
from napari_dasl.rounds.curricula import choice_of, pacing_of
from napari_dasl.widgets.curriculum_words import PROJECT, Way, cost_of, curriculum_words, ways
from napari_dasl.widgets.settings_form import SettingsForm
from napari_dasl.widgets.wrapped_label import wrapped_label

if TYPE_CHECKING:
    from napari_dasl.widgets.snapshot import Snapshot

ORDER = (
    "pacing", "scorer", "order", "groups", "lengths", "passes", "start", "increase", "step", "thresholds", "full",
    "lesions", "effort", "stages", "mode", "growth", "bottleneck", "decay", "shares", "whole_batch", "tumour_batch",
)  # fmt: skip
_LOOKS = ("size", "contrast", "intensity", "agreement")
"""Measures that look at the lesions of a label."""
_GROUPED = ("groups", "lengths", "passes")
_OF_PACING: dict[str, tuple[str, ...]] = {
    "all": (),
    "quantile-groups": _GROUPED,
    "equal-steps": _GROUPED,
    "fixed-exponential": ("start", "increase", "step"),
    "varied-exponential": ("start", "increase", "thresholds"),
    "single-step": ("start", "step"),
    "linear": ("start", "full"),
    "root": ("start", "full"),
}
_LIVER = ("lesions", "decay", "shares", "whole_batch", "tumour_batch")
_OF_STAGES: dict[str, tuple[str, ...]] = {
    "constant": (),
    "three-stage": _LIVER,
    "whole-patch": _LIVER,
    "patch-whole": _LIVER,
    "whole": ("whole_batch",),
    "growth": ("mode", "growth", "bottleneck"),
    "random-patch": ("mode", "growth", "bottleneck"),
}
_TITLES = {
    "pacing": "New cases come",
    "scorer": "Hard means",
    "order": "First come",
    "passes": "Lengths are passes",
    "lesions": "Lesions are",
    "effort": "Effort of measuring",
    "stages": "Parts of the scans",
    "mode": "Growth saves",
    "growth": "Growth as of",
    "bottleneck": "Coarsest level",
    "decay": "Slower at each stage",
    "whole_batch": "Whole scans a step",
    "tumour_batch": "Patches a step",
}
_VALUES = {
    "none": "not compared",
    **{name: about.title.lower() for name, about in SCORERS.items()},
    "easy": "easy cases",
    "hard": "hard cases",
    "random": "any, by lot",
    "all": "all at once",
    "quantile-groups": "in equal groups",
    "equal-steps": "in equal steps of difficulty",
    "fixed-exponential": "ever faster",
    "varied-exponential": "ever faster, at set times",
    "single-step": "in two steps",
    "linear": "steadily",
    "root": "fast, then slowly",
    "constant": "pieces of one size",
    "three-stage": "whole, lesions, whole",
    "whole-patch": "whole, lesions",
    "patch-whole": "lesions, whole",
    "whole": "whole scans",
    "growth": "small pieces, then larger",
    "random-patch": "pieces of any size",
    "resource": "time",
    "performance": "nothing: larger batches",
}
_SHORT = 8
_QUIET = "color: #a0a0a0;"


class CurriculumSettings(QWidget):
    """Which way of training the next round follows.

    Attributes
    ----------
    advanced : QWidget
        The forms of every choice; the panel puts it under *Advanced*.

    Notes
    -----
    Signals: ``changed()``; ``keep()`` when the project is to say from now on what the forms say.
    """

    changed = Signal()
    keep = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._ways: tuple[Way, ...] = ()
        self._folder: str | None = None
        self.choice = QComboBox(self)
        self.choice.setAccessibleName("Way of training")
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.setMinimumContentsLength(_SHORT)
        self.choice.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.choice.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.choice.currentIndexChanged.connect(self._choose)
        self.sentence = wrapped_label(self)
        self.sentence.setStyleSheet(_QUIET)
        label = QLabel("Way of training", self)
        label.setBuddy(self.choice)
        line = QHBoxLayout()
        line.setSpacing(6)
        line.addWidget(label)
        line.addWidget(self.choice, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(line)
        layout.addWidget(self.sentence)
        self.advanced = self._build_advanced()
        self._fit()

    def _build_advanced(self) -> QWidget:
        box = QWidget(self)
        self.curriculum = SettingsForm(CurriculumConfig, names=ORDER, titles=_TITLES, values=_VALUES, parent=box)
        self.recipe = SettingsForm(Recipe, parent=box)
        self.curriculum.changed.connect(self._edited)
        self.recipe.changed.connect(self._edited)
        heading = QLabel("What it changes of the training plan", box)
        heading.setToolTip("Empty: the plan decides.")
        self.problem = wrapped_label(box)
        self.problem.setStyleSheet("color: #D55E00;")
        self.problem.hide()
        self.undo = QPushButton("Undo my changes", box)
        self.undo.setToolTip("Go back to what the chosen way of training says.")
        self.undo.clicked.connect(self._restore)
        self.stay = QPushButton("Keep for this project", box)
        self.stay.setToolTip("Write it to project.toml: rounds of this project follow it from now on.")
        self.stay.clicked.connect(self.keep)
        layout = QVBoxLayout(box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for widget in (self.curriculum, self.problem, heading, self.recipe):
            layout.addWidget(widget)
        buttons = QHBoxLayout()
        for button in (self.undo, self.stay):
            buttons.addWidget(button)
        layout.addLayout(buttons)
        return box

    # -- what is shown --------------------------------------------------------------------------------------------

    def show_snapshot(self, snapshot: Snapshot | None) -> None:
        """Offer what the project may follow; another project begins with its own settings."""
        found = ways(snapshot) if snapshot is not None else ()
        folder = snapshot.folder if snapshot is not None else None
        another, self._folder = folder != self._folder, folder
        if found == self._ways and not another:
            return
        before, untouched = self.way(), not self.is_changed()
        self._ways = found
        with signals_blocked(self.choice):
            self.choice.clear()
            for place, way in enumerate(found):
                self.choice.addItem(way.title, way.name)
                tip = f"{way.sentence}\n{way.paper}".strip()
                self.choice.setItemData(place, tip, Qt.ItemDataRole.ToolTipRole)
            name = PROJECT if another or before is None else before.name
            self.choice.setCurrentIndex(max(0, self.choice.findData(name)))
        if another or untouched:
            self._restore()
        self._tell()

    def way(self) -> Way | None:
        """Return the way that is chosen; None without a project."""
        place = self.choice.currentIndex()
        return self._ways[place] if 0 <= place < len(self._ways) else None

    def is_valid(self) -> bool:
        """Whether a round can follow what the forms say."""
        return not self._trouble()

    def is_changed(self) -> bool:
        """Whether the forms say something else than the chosen way."""
        way = self.way()
        if way is None or not (self.curriculum.is_valid() and self.recipe.is_valid()):
            return way is not None
        return (self.curriculum.value(), self.recipe.value()) != (way.curriculum, way.recipe)

    def fields(self) -> dict[str, Any]:
        """Return the fields of a round's plan that say the same: preset, curriculum and recipe.

        What is as the chosen way says is left to it.

        Raises
        ------
        ValueError
            If a field is refused.
        """
        way = self.way()
        if way is None:
            return {}
        curriculum, recipe = self.curriculum.value(), self.recipe.value()
        return {
            "preset": way.name,
            "curriculum": None if curriculum == way.curriculum else curriculum,
            "recipe": None if recipe == way.recipe else recipe,
        }

    def unlike_project(self) -> dict[str, Any]:
        """Return the keys of ``project.toml`` that would have to change for the project to say what the forms say.

        Returns
        -------
        dict
            Dotted key to value; None where the key is to go, so that the training plan decides.

        Raises
        ------
        ValueError
            If a field is refused.
        """
        if not self._ways:
            return {}
        found: dict[str, Any] = {}
        own = self._ways[0]
        for table, said, form in (
            ("curriculum", own.curriculum, self.curriculum),
            ("training", own.recipe, self.recipe),
        ):
            wanted = form.value()
            found |= {
                f"{table}.{name}": value
                for name in type(wanted).model_fields
                if (value := getattr(wanted, name)) != getattr(said, name)
            }
        return found

    def words(self) -> str:
        """Return what the next round does in which order; empty for everything at once."""
        if not self.is_valid():
            return ""
        config = cast("CurriculumConfig", self.curriculum.value())
        return " ".join(part for part in (curriculum_words(config), cost_of(config)) if part)

    # -- what is pressed ------------------------------------------------------------------------------------------

    def choose(self, name: str) -> None:
        """Choose a way of training by the name of its preset."""
        self.choice.setCurrentIndex(self.choice.findData(name))

    def _choose(self, _place: int) -> None:
        self._restore()
        self._tell()

    def _restore(self) -> None:
        way = self.way()
        if way is not None:
            for form, value in ((self.curriculum, way.curriculum), (self.recipe, way.recipe)):
                with signals_blocked(form):
                    form.set_value(value)
        self._edited()

    def _edited(self) -> None:
        self._fit()
        trouble = self._trouble() if self.curriculum.is_valid() and self.recipe.is_valid() else ""
        self.problem.setText(trouble)
        self.problem.setVisible(bool(trouble))
        self._tell()
        self.changed.emit()

    def _tell(self) -> None:
        way = self.way()
        changed = self.is_changed()
        own = " Changed by you under Advanced." if changed else ""
        self.sentence.setText("" if way is None else f"{way.sentence}{own}")
        self.sentence.setToolTip("" if way is None else way.paper)
        self.undo.setEnabled(changed)
        self.stay.setEnabled(self.is_valid() and bool(self.unlike_project()))

    def _trouble(self) -> str:
        """Return why a round cannot follow the forms; empty where it can."""
        try:
            config = cast("CurriculumConfig", self.curriculum.value())
            self.recipe.value()
            if config.compares and config.scorer == "none":
                return "Cases come one after the other, and nothing says which are hard: choose what hard means."
            pacing_of(config)
            choice_of(config)
        except (ValueError, DaslError) as error:
            return str(error)
        return ""

    def _fit(self) -> None:
        """Show the numbers that the choices use, and no others."""
        pacing, stages, scorer, order = (
            self.curriculum.current(name) for name in ("pacing", "stages", "scorer", "order")
        )
        ordered = pacing != "all"
        # The groups of equal steps are made of how hard the cases are, in whatever order these come.
        compared = ordered and (order != "random" or pacing == "equal-steps")
        shown = {"pacing", "stages", *_OF_PACING.get(pacing, ()), *_OF_STAGES.get(stages, ())}
        if ordered:
            shown.add("order")
        if compared:
            shown |= {"scorer"} | ({"effort"} if scorer in TRAINED else set())
            shown |= {"lesions"} if scorer in _LOOKS else set()
        self.curriculum.show_fields(shown)
