"""``python -m napari_dasl.engine``: serve standard input and output."""

from __future__ import annotations

import sys

from napari_dasl.engine.server import main

if __name__ == "__main__":
    sys.exit(main())
