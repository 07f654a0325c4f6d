"""``python -m napari_dasl.cli``."""

import sys

from napari_dasl.cli import main

sys.exit(main())
