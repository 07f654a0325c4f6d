"""A form made from a pydantic model's own fields: types, ranges and descriptions come from the model and nowhere else.

Whole numbers with a lower bound become spin boxes; other numbers are typed as text and checked by the model, because a
spin box rounds a learning rate of 1e-5 to zero; choices become lists; an empty field of an optional setting means "let
the plan decide" and is None.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLabel, QLineEdit, QSizePolicy, QSpinBox, QWidget

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic.fields import FieldInfo

AUTOMATIC = "automatic"
_INT_MAX = 2**31 - 1
_UNITS = {
    "steps": "steps",
    "epochs": "passes",
    "minutes": "min",
    "batch": "patches",
    "patch": "voxels, z y x",
}
_OWN_UNIT = ("steps", "minutes")  # their names say it already
_TITLES = {
    "al": "labels only",
    "spl": "with pseudo-labels",
    "auto": "next in turn",
    "project": "as the project says",
    "scratch": "from scratch",
    "active": "go on from the active model",
    "True": "yes",
    "False": "no",
}


def field_range(info: FieldInfo) -> tuple[Any, Any, str]:
    """Return the inclusive lower and upper bound of a field (None where there is none), and both in words."""
    low = high = None
    words = []
    for constraint in info.metadata:
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            bound = getattr(constraint, name, None)
            if bound is None:
                continue
            words.append(f"{sign} {bound}")
            if name == "ge":
                low = bound
            elif name == "gt":
                low = bound + 1 if isinstance(bound, int) else bound
            elif name == "le":
                high = bound
            else:
                high = bound - 1 if isinstance(bound, int) else bound
    return low, high, " and ".join(words)


def tooltip(name: str, info: FieldInfo, meaning: str = "") -> str:
    """Return what a field means (*meaning*, or the model's own description), its unit and its range."""
    parts = [meaning or info.description or name.replace("_", " ").capitalize() + "."]
    unit = _unit(name, info)
    if unit:
        parts.append(f"In {unit}.")
    words = field_range(info)[2]
    if words:
        parts.append(f"Allowed: {words}.")
    if _is_optional(info.annotation):
        parts.append("Empty: the plan decides.")
    return " ".join(parts)


def _unit(name: str, info: FieldInfo) -> str:
    extra = info.json_schema_extra
    if isinstance(extra, dict) and "unit" in extra:
        return str(extra["unit"])
    return _UNITS.get(name, "")


def _holds_names(info: FieldInfo) -> bool:
    """Whether a field is a list of names, which may hold spaces: commas lie between them."""
    return isinstance(info.json_schema_extra, dict) and bool(info.json_schema_extra.get("names"))


def _is_optional(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def _core(annotation: Any) -> Any:
    """Return the type without None."""
    if _is_optional(annotation):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


class _NoWheel(QObject):
    """Keeps the wheel from changing a setting while the panel is scrolled past it."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Pass the wheel on to the scroll area unless the field has the focus."""
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False


class SettingsForm(QWidget):
    """A form for *model*.

    Parameters
    ----------
    model : type of pydantic.BaseModel
        Whose fields are shown.
    names : sequence of str, optional
        Which of them, in this order; all by default. The others keep the value of `set_value`.
    choices : dict, optional
        Names of values to offer for text fields, such as ``{"device": ("auto", "cpu")}``; others may be typed.
    titles, tips : dict, optional
        Words for the name of a field, and what it means, where the model's own are too short.
    values : dict, optional
        Words for the values of choices.
    """

    changed = Signal()

    def __init__(
        self,
        model: type[BaseModel],
        *,
        names: tuple[str, ...] | None = None,
        choices: dict[str, tuple[str, ...]] | None = None,
        titles: dict[str, str] | None = None,
        tips: dict[str, str] | None = None,
        values: dict[str, str] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._model = model
        self._names = names or tuple(model.model_fields)
        self._choices = choices or {}
        self._values = _TITLES | (values or {})
        self._rest: dict[str, Any] = {}
        self._no_wheel = _NoWheel(self)
        self.fields: dict[str, QWidget] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 2, 2, 2)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        for name in self._names:
            info = model.model_fields[name]
            field = self._make(name, info)
            unit = _unit(name, info)
            told = f" ({unit})" if unit and name not in _OWN_UNIT else ""
            label = QLabel((titles or {}).get(name, name.replace("_", " ").capitalize() + told), self)
            for widget in (field, label):
                widget.setToolTip(tooltip(name, info, (tips or {}).get(name, "")))
            field.setAccessibleName(label.text())
            field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            field.installEventFilter(self._no_wheel)
            layout.addRow(label, field)
            self.fields[name] = field
        self.problem = QLabel(self)
        self.problem.setWordWrap(True)
        self.problem.setStyleSheet("color: #D55E00;")
        self.problem.hide()
        layout.addRow(self.problem)
        self.changed.connect(self._show_problem)
        if not any(info.is_required() for info in model.model_fields.values()):
            self.set_value(model())

    def value(self) -> BaseModel:
        """Return what the form says, validated.

        Raises
        ------
        ValueError
            If the model refuses a field; the sentence names it.
        """
        values = dict(self._rest)
        values |= {name: self._read(name) for name in self._names}
        try:
            return self._model.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = str(first["loc"][0]).replace("_", " ").capitalize() if first["loc"] else "These settings"
            text = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            raise ValueError(f"{where}: {text}.") from error

    def set_value(self, value: BaseModel) -> None:
        """Show *value*."""
        self._rest = {name: getattr(value, name) for name in self._model.model_fields if name not in self._names}
        for name in self._names:
            self._write(name, getattr(value, name))
        self._show_problem()

    def current(self, name: str) -> Any:
        """Return what one field says, as it was typed or chosen."""
        return self._read(name)

    def show_fields(self, names: Collection[str]) -> None:
        """Show the fields of *names* and hide the others, which keep their values."""
        layout = cast("QFormLayout", self.layout())
        for name, field in self.fields.items():
            layout.setRowVisible(field, name in names)

    def is_valid(self) -> bool:
        """Whether the model accepts what the form says."""
        try:
            self.value()
        except ValueError:
            return False
        return True

    def _edited(self, *_: object) -> None:
        self.changed.emit()

    def _show_problem(self) -> None:
        try:
            self.value()
        except ValueError as error:
            self.problem.setText(str(error))
            self.problem.show()
        else:
            self.problem.hide()

    def _make(self, name: str, info: FieldInfo) -> QWidget:
        core = _core(info.annotation)
        low, high, _ = field_range(info)
        optional = _is_optional(info.annotation)
        if get_origin(core) is Literal or name in self._choices or (core is bool and optional):
            return self._make_choice(name, core, optional=optional)
        if core is bool:
            box = QCheckBox(self)
            box.toggled.connect(self._edited)
            return box
        if core is int and isinstance(low, int) and low >= 0:
            spin = QSpinBox(self)
            # One below the smallest allowed value stands for "automatic".
            spin.setRange(low - 1 if optional else low, high if isinstance(high, int) else _INT_MAX)
            spin.setSpecialValueText(AUTOMATIC if optional else "")
            spin.valueChanged.connect(self._edited)
            return spin
        edit = QLineEdit(self)
        edit.setPlaceholderText(AUTOMATIC if optional else "")
        edit.textChanged.connect(self._edited)
        return edit

    def _make_choice(self, name: str, core: Any, *, optional: bool) -> QComboBox:
        box = QComboBox(self)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        if name in self._choices:
            box.setEditable(True)
            box.addItems(self._choices[name])
        else:
            if optional:
                box.addItem(AUTOMATIC, None)
            for choice in (True, False) if core is bool else get_args(core):
                box.addItem(self._values.get(str(choice), str(choice)), choice)
        box.currentTextChanged.connect(self._edited)
        return box

    def _read(self, name: str) -> Any:
        field, info = self.fields[name], self._model.model_fields[name]
        optional = _is_optional(info.annotation)
        if isinstance(field, QComboBox):
            return field.currentText().strip() if field.isEditable() else field.currentData()
        if isinstance(field, QCheckBox):
            return field.isChecked()
        if isinstance(field, QSpinBox):
            automatic = optional and field.value() == field.minimum()
            return None if automatic else field.value()
        text = field.text().strip() if isinstance(field, QLineEdit) else ""
        if not text and optional:
            return None
        core = _core(info.annotation)
        if _holds_names(info):
            return tuple(name for part in text.split(",") if (name := part.strip()))
        if get_origin(core) is tuple:
            return tuple(text.replace("×", " ").replace("x", " ").replace(",", " ").split())
        return text

    def _write(self, name: str, value: Any) -> None:
        field = self.fields[name]
        if isinstance(field, QComboBox):
            if field.isEditable():
                field.setEditText(str(value))
            else:
                field.setCurrentIndex(field.findData(value))
        elif isinstance(field, QCheckBox):
            field.setChecked(bool(value))
        elif isinstance(field, QSpinBox):
            field.setValue(field.minimum() if value is None else int(value))
        elif isinstance(field, QLineEdit):
            named = _holds_names(self._model.model_fields[name])
            field.setText(", ".join(value) if named else _written(value))


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(_written(part) for part in value)
    return repr(value) if isinstance(value, float) else str(value)
