"""Install the system libraries that Qt and OpenGL miss on Debian and Ubuntu, or say which they are.

As root they are installed; otherwise, and on other systems, the command is named and nothing changes. Called by make.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from napari_dasl.doctor import apt, missing_packages


def main() -> int:
    """Return 0 when nothing is missing or everything was installed, and also when only the window will be missing."""
    packages = missing_packages()
    if not packages:
        return 0
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        names = (
            apt(packages) if shutil.which("apt-get") else f"the libraries of the Debian packages {' '.join(packages)}"
        )
        sys.stderr.write(
            f"The window and its tests need system libraries that are missing here. Please install:\n  {names}\n"
        )
        return 0
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, env=quiet, check=False)
    if done.returncode:
        sys.stderr.write(f"The system libraries could not be installed. Please try:\n  {apt(packages)}\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
