"""A training plan as the text of its file: TOML with a comment above every key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomlkit
from pydantic import BaseModel

if TYPE_CHECKING:
    from napari_dasl.training.plan import TrainingPlan

HEADER = """How this project trains its network. Derived from the labelled scans; every value may be edited.
An edited file is kept as it is. Delete it to have it derived anew from the scans labelled by then.
Triples are in the order (z, y, x): slices, rows, columns."""


def as_toml(plan: TrainingPlan) -> str:
    """The plan as TOML, every key below what it means."""
    document = tomlkit.document()
    for line in HEADER.splitlines():
        document.add(tomlkit.comment(line))
    document.add(tomlkit.nl())
    # In TOML what follows a table belongs to it, so plain values come first and tables last.
    fields = type(plan).model_fields
    plain = [n for n in fields if n not in ("network_options", "augmentation", "normalisation")]
    for name in plain:
        value = getattr(plan, name)
        if name == "lesions" and not value:
            continue  # it is the curriculum's to say
        if fields[name].description:
            document.add(tomlkit.comment(str(fields[name].description)))
        document.add(name, list(value) if isinstance(value, tuple) else value)
    options = tomlkit.table()
    options.add(tomlkit.comment(str(fields["network_options"].description)))
    for key, value in plan.network_options.items():
        options.add(key, [list(v) if isinstance(v, tuple) else v for v in value] if isinstance(value, tuple) else value)
    document.add("network_options", options)
    document.add("augmentation", _table(plan.augmentation, tomlkit.table()))
    rules = tomlkit.aot()
    for rule in plan.normalisation:
        rules.append(_table(rule, tomlkit.table()))
    document.add("normalisation", rules)
    return tomlkit.dumps(document)


def _table(model: BaseModel, table: Any) -> Any:
    """Fill *table* with the fields of *model*, each below its description as a comment."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if field.description:
            table.add(tomlkit.comment(field.description))
        if isinstance(value, BaseModel):
            table.add(name, _table(value, tomlkit.table()))
        elif value and isinstance(value, tuple) and isinstance(value[0], BaseModel):
            several = tomlkit.aot()
            for item in value:
                several.append(_table(item, tomlkit.table()))
            table.add(name, several)
        elif isinstance(value, dict):
            inner = tomlkit.table()
            for key, item in value.items():
                inner.add(key, item)
            table.add(name, inner)
        else:
            table.add(name, list(value) if isinstance(value, tuple) else value)
    return table
