"""Label CT, PET and MRI scans in napari while a network learns beside you."""

from __future__ import annotations

__version__ = "0.1.0"
