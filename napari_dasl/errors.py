"""Everything that can go wrong, as one tree.

::

    DaslError                     every error this package raises on purpose
     ├─ InputError                what was given cannot be used (exit code 2)
     │   ├─ VolumeError           a scan or mask file cannot be read or is not what it claims
     │   │   └─ GridMismatch      a mask does not lie on the grid of its scan
     │   ├─ LabelError            a label value or dtype that the project does not know
     │   └─ ProjectError          a project folder or its configuration is wrong or missing
     ├─ WorkError                 work was possible but failed (exit code 1)
     │   ├─ OutOfMemory           not enough memory for what was planned
     │   ├─ StorageError          the disk is full, read-only or gone
     │   └─ EngineError           the training process died or cannot be started
     └─ Cancelled                 the user stopped it; the state is saved (exit code 3)

Every error has a *message* (what was found, and where) and a *hint* (what to do next). The command line prints
``message hint`` on one line; the window shows both in a dialog.
"""

from __future__ import annotations


class DaslError(Exception):
    """An error with a sentence for the user.

    Parameters
    ----------
    message : str
        What was found, and where. One sentence, with its full stop.
    hint : str, optional
        What to do next. One sentence, with its full stop.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(DaslError):
    """What was given cannot be used."""

    exit_code = 2


class VolumeError(InputError):
    """A scan or mask file cannot be read, or is not what it claims to be."""


class GridMismatch(VolumeError):
    """A mask does not lie on the grid of its scan."""


class LabelError(InputError):
    """A label holds a value or a type that the project does not know."""


class ProjectError(InputError):
    """A project folder or its configuration is wrong or missing."""


class WorkError(DaslError):
    """The work was possible but failed."""


class OutOfMemory(WorkError):
    """There is not enough memory for what was planned."""


class StorageError(WorkError):
    """The disk is full, read-only or gone."""


class EngineError(WorkError):
    """The training process died or cannot be started."""


class Cancelled(DaslError):
    """The user stopped the work; its state is saved."""

    exit_code = 3
