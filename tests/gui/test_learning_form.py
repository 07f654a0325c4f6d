"""Settings forms come from pydantic models, keep every value exactly, and say what is wrong."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QComboBox, QLineEdit, QSpinBox

from napari_dasl.rounds.plan import RoundPlan
from napari_dasl.widgets.settings_form import SettingsForm, field_range, tooltip


class Sample(BaseModel):
    """Every kind of field that plans have."""

    count: int = Field(default=3, ge=1, le=9, description="How many.")
    rate: float = Field(default=1e-5, gt=0, lt=1, description="Learning rate.", json_schema_extra={"unit": "per step"})
    choice: Literal["a", "b"] = "a"
    on: bool = False
    name: str = "x"
    size: tuple[int, int, int] | None = None
    seed: int | None = None
    often: int | None = Field(default=None, ge=0)


@pytest.fixture
def form_of(qtbot):
    """Make a form for a model."""

    def make(model: type[BaseModel], **options) -> SettingsForm:
        form = SettingsForm(model, **options)
        qtbot.addWidget(form)
        return form

    return make


@pytest.mark.parametrize(
    "plan",
    [
        RoundPlan(),
        RoundPlan(steps=1),
        RoundPlan(steps=2_000_000),
        RoundPlan(epochs=7, device="cuda:1"),
        RoundPlan(minutes=0.1, start="active", phase="al", predict=False),
        RoundPlan(batch=2, patch=(32, 96, 160), seed=-5),
        RoundPlan(minutes=1 / 3, seed=2**40),
    ],
    ids=str,
)
def test_a_round_plan_survives_the_form_exactly(form_of, plan):
    form = form_of(RoundPlan)
    form.set_value(plan)
    assert form.value() == plan


@pytest.mark.parametrize(
    "sample",
    [Sample(), Sample(rate=3.3e-7, count=9, choice="b", on=True, name="é", size=(1, 2, 3), seed=0, often=0)],
    ids=str,
)
def test_every_kind_of_field_survives_the_form_exactly(form_of, sample):
    form = form_of(Sample)
    form.set_value(sample)
    assert form.value() == sample
    assert form.value().rate == sample.rate  # a spin box with two decimals would say 0.0


def test_fields_that_are_not_shown_keep_their_value(form_of):
    form = form_of(Sample, names=("count",))
    form.set_value(Sample(rate=0.25, name="kept"))
    assert set(form.fields) == {"count"}
    assert form.value() == Sample(rate=0.25, name="kept")


def test_kinds_of_fields(form_of):
    form = form_of(Sample, choices={"name": ("x", "y")})
    assert isinstance(form.fields["count"], QSpinBox)
    assert isinstance(form.fields["rate"], QLineEdit)
    assert isinstance(form.fields["choice"], QComboBox)
    assert form.fields["name"].isEditable()
    assert (form.fields["count"].minimum(), form.fields["count"].maximum()) == (1, 9)


def test_an_empty_optional_field_means_that_the_plan_decides(form_of):
    form = form_of(RoundPlan)
    form.set_value(RoundPlan(steps=300, patch=(8, 8, 8)))
    form.fields["steps"].setValue(form.fields["steps"].minimum())
    form.fields["patch"].clear()
    assert form.fields["steps"].text() == "automatic"
    assert form.value() == RoundPlan()


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("minutes", "-1", "greater than 0"),
        ("minutes", "soon", "number"),
        ("patch", "96 96", ""),
        ("patch", "a b c", ""),
    ],
)
def test_what_the_model_refuses_is_said_under_the_form(form_of, field, text, said):
    form = form_of(RoundPlan)
    form.fields[field].setText(text)
    assert not form.is_valid()
    assert form.problem.text().lower().startswith(field)
    assert said in form.problem.text()
    assert form.problem.isVisibleTo(form)
    form.fields[field].clear()
    assert form.is_valid()
    assert not form.problem.isVisibleTo(form)


def test_sizes_may_be_typed_as_people_write_them(form_of):
    form = form_of(RoundPlan)
    for text in ("32 96 96", "32, 96, 96", "32×96×96", "32 x 96 x 96"):
        form.fields["patch"].setText(text)
        assert form.value().patch == (32, 96, 96)


def test_tooltips_teach_meaning_unit_and_range():
    fields = Sample.model_fields
    assert tooltip("rate", fields["rate"]) == "Learning rate. In per step. Allowed: > 0 and < 1."
    assert field_range(fields["count"])[:2] == (1, 9)
    for name, info in RoundPlan.model_fields.items():
        assert len(tooltip(name, info)) > 5
    assert "the plan decides" in tooltip("steps", RoundPlan.model_fields["steps"])


def test_the_wheel_scrolls_the_panel_and_not_the_setting(form_of):
    form = form_of(Sample)
    spin = form.fields["count"]
    nowhere = QPointF(1, 1)
    wheel = QWheelEvent(
        nowhere, nowhere, QPoint(0, 0), QPoint(0, 120), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(spin, wheel)
    assert spin.value() == 3
    assert not wheel.isAccepted()


def test_a_change_is_told(form_of, qtbot):
    form = form_of(Sample)
    with qtbot.waitSignal(form.changed):
        form.fields["count"].setValue(4)
