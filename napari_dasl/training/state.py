"""The full state of a training run on disk, from which it goes on as if it had not stopped."""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import TYPE_CHECKING, Any

import torch

from napari_dasl.errors import InputError
from napari_dasl.training.mixing import Mixing
from napari_dasl.volumes.atomic import storage_error, write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_dasl.training.cases import CaseData
    from napari_dasl.training.plan import TrainingPlan


def store(path: Path, content: bytes) -> None:
    """Write *content* so that *path* holds all of it, or what it held before; its folder is made where it is missing.

    Raises
    ------
    StorageError
        Where the disk is full or read-only.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    write_bytes_atomic(path, content)


def run_identity(
    plan: TrainingPlan, cases: Sequence[CaseData], seed: int, mixing: Mixing | None = None, curriculum: str = ""
) -> str:
    """A hash of what a run was started with; a state of another run is not resumed.

    Where every label is a person's, *mixing* decides nothing and is left out.
    """
    parts = [plan.model_dump_json(exclude=_left_out(plan)), str(seed)]
    parts += [
        f"{c.id} {c.key} {c.label_key} {c.weight}"
        + ("" if c.human else " pseudo")
        + (" numbered" if c.instances else "")
        + (f" without {c.negatives}" if c.negatives else "")
        for c in cases
    ]
    if not all(c.human for c in cases):
        parts.append(repr(mixing or Mixing()))
    if curriculum:
        parts.append(curriculum)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


LATER = {
    "": (
        "loss",
        "optimiser",
        "schedule",
        "restarts",
        "lowest",
        "factor",
        "betas",
        "effective_range",
        "lesions",
        "loss_weights",
        "focal_gamma",
        "boundary",
    ),
    "augmentation": ("gamma", "elastic", "mixup", "rotation"),
}
"""Keys of a plan, and of the tables in it, that were not there from the beginning."""


def _left_out(plan: TrainingPlan) -> dict[str, Any]:
    """What of a plan does not tell a run from another, as pydantic wants it."""
    # The step budget and the precision may change between a run and its continuation; what is learnt from may not.
    found: dict[str, Any] = dict.fromkeys(("steps", "precision", "memory_estimate_mb"), True)
    # Left out where they are the usual ones, so that runs begun before there was a choice can go on.
    for table, names in LATER.items():
        model = getattr(plan, table) if table else plan
        usual = {name: True for name in names if getattr(model, name) == type(model).model_fields[name].default}
        if table and usual:
            found[table] = usual
        elif usual:
            found |= usual
    return found


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state: tensors, numbers, strings, and lists and dicts of them."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    store(path, buffer.getvalue())


def load_state(path: Path, identity: str) -> dict[str, Any] | None:
    """The state at *path*; None where there is none yet.

    Raises
    ------
    InputError
        Where it is damaged, or belongs to a run with other scans, labels or settings.
    """
    if not path.exists():
        return None
    try:
        # weights_only: a state holds data, and reading it must not be able to run code.
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state["identity"]
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"The state of the interrupted training, {path}, cannot be read.", "Start the round anew."
        ) from error
    if found != identity:
        raise InputError(
            "The interrupted training was started with other scans, labels or settings.", "Start the round anew."
        )
    return state
