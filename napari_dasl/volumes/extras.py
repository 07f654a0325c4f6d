"""The two libraries that only some formats need, imported when they are needed."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import VolumeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_INSTALL = 'Install it with: pip install "napari-dasl[dicom]".'


def simpleitk(what: str) -> Any:
    """The SimpleITK module.

    Parameters
    ----------
    what : str
        What it is needed for, for the message: "NRRD files".

    Raises
    ------
    VolumeError
        SimpleITK is not installed.
    """
    module = _import("SimpleITK", what)
    # ITK writes its warnings straight to standard error, where the engine speaks; what matters becomes an exception.
    module.ProcessObject.SetGlobalWarningDisplay(False)
    return module


def pydicom(what: str) -> Any:
    """The pydicom module.

    Parameters
    ----------
    what : str
        What it is needed for, for the message.

    Raises
    ------
    VolumeError
        pydicom is not installed.
    """
    return _import("pydicom", what)


def _import(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise VolumeError(f"{what} need the package {name}, which is not installed.", _INSTALL) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of pydicom and nibabel about headers: what matters is checked here, and said in words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
