"""What this machine has for labelling and training, what is missing, and the command that mends it.

Facts and judgements are kept apart: ``probe_*`` functions ask the machine, in a child process where a broken library
could take the asker down (torch, Qt, system libraries), and the other functions turn facts into a :class:`Check`.
Nothing here imports torch or Qt into this process.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from packaging.requirements import Requirement

from napari_dasl import __version__
from napari_dasl.engine.memory import MB, group_available_mb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLX_mesa.so.0": "libglx-mesa0",
    "libOpenGL.so.0": "libopengl0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxkbcommon.so.0": "libxkbcommon0",
}
"""What Qt's X11 platform and OpenGL load at run time on Linux, and the Debian package that holds it."""

DRIVERS = "libgl1-mesa-dri"
ENOUGH_MEMORY_MB = 4096
ENOUGH_DISK_MB = 5 * 1024

_TORCH = """
import json, time, torch
found = {"version": torch.__version__, "threads": torch.get_num_threads(), "device": "cpu", "gpus": []}
if torch.cuda.is_available():
    found["device"] = "cuda"
    for i in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(i)
        found["gpus"].append([p.name, p.total_memory // 2**20])
elif getattr(torch.backends, "mps", None) and torch.backends.mps.is_available():
    found["device"] = "mps"
device = torch.device(found["device"])
def seconds(dtype):
    layer = torch.nn.Conv3d(16, 16, 3, padding=1).to(device)
    image = torch.randn(1, 16, 32, 32, 32, device=device)
    best = 1e9
    for _ in range(4):
        begin = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            layer(image).float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return best
try:
    found["bf16"] = seconds(torch.float32) / seconds(torch.bfloat16)
except (RuntimeError, TypeError) as problem:
    found["bf16"] = None
print(json.dumps(found))
"""

_QT = """
import json, sys
from qtpy import API_NAME, QT_VERSION
from qtpy.QtGui import QGuiApplication
app = QGuiApplication(sys.argv[:1])
found = {"binding": API_NAME, "version": QT_VERSION, "platform": app.platformName(), "opengl": None}
if sys.argv[1] == "draw":
    from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
    surface, context = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    if context.create() and context.makeCurrent(surface):
        found["opengl"] = "{}.{}".format(*context.format().version())
        context.doneCurrent()
print(json.dumps(found))
"""

_LIBRARIES = """
import ctypes, json, sys
missing = []
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        missing.append(name)
print(json.dumps(missing))
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name : str
        What was looked at.
    ok : bool
        Whether everything this part is needed for will work.
    found : str
        What there is, in words.
    hint : str
        The command or the step that mends it; may also advise where *ok* is true.
    """

    name: str
    ok: bool
    found: str
    hint: str = ""


# Facts ----------------------------------------------------------------------------------------------------------------


def probe(code: str, *arguments: str, environment: Mapping[str, str] | None = None, seconds: float = 90.0) -> Any:
    """Run *code* in another Python and return the JSON it prints, or in a str what it died of."""
    command = [sys.executable, "-c", code, *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {seconds:.0f} s"
    except OSError as problem:
        return str(problem)
    if done.returncode == 0 and done.stdout.strip():
        return json.loads(done.stdout.splitlines()[-1])
    words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return words[-1] if words else f"exit code {done.returncode}"


def probe_torch() -> dict[str, Any] | str:
    """Return torch's version, device, graphics cards, threads, and how many times faster bf16 is than fp32."""
    found: dict[str, Any] | str = probe(_TORCH)
    return found


def probe_qt() -> dict[str, Any] | str:
    """Return the Qt binding, its platform plugin, and the OpenGL version it can draw with where there is a display."""
    display = has_display(os.environ)
    environment = {} if display else {"QT_QPA_PLATFORM": "offscreen"}
    found: dict[str, Any] | str = probe(_QT, "draw" if display else "look", environment=environment)
    return found


def probe_libraries() -> list[str]:
    """Return the shared libraries of :data:`LIBRARIES` that cannot be loaded; none elsewhere than on Linux."""
    if sys.platform != "linux":
        return []
    missing = probe(_LIBRARIES, *LIBRARIES)
    return missing if isinstance(missing, list) else []


def has_display(environment: Mapping[str, str]) -> bool:
    """Tell whether windows can be opened: always on Windows and macOS, with an X or Wayland server on Linux."""
    if sys.platform != "linux":
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def version(package: str) -> str | None:
    """Return the installed version of *package*, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def missing_packages() -> list[str]:
    """Return the Debian packages that Qt, OpenGL and windows without a screen miss on this machine."""
    if sys.platform != "linux":
        return []
    packages = [LIBRARIES[name] for name in probe_libraries()]
    if shutil.which("Xvfb") is None:
        packages.append("xvfb")
    if not _has_drivers():
        packages.append(DRIVERS)
    return sorted(set(packages))


def _has_drivers() -> bool:
    roots = [Path("/usr/lib"), Path("/usr/lib64"), *Path("/usr/lib").glob("*-linux-gnu")]
    return any((root / "dri").is_dir() and any((root / "dri").glob("*_dri.so")) for root in roots)


# Judgements -----------------------------------------------------------------------------------------------------------


def check_python(found: tuple[int, ...] = sys.version_info[:3], where: str = sys.executable) -> Check:
    """Python is 3.11 or newer."""
    words = ".".join(str(part) for part in found)
    return Check(
        "Python", found >= (3, 11), f"{words} ({where})", "" if found >= (3, 11) else "Install Python 3.11 or newer."
    )


def check_package(name: str, extra: str, needed_for: str, found: str | None = None, wanted: str | None = None) -> Check:
    """*name* is installed in a version that napari-dasl can use.

    Parameters
    ----------
    name : str
        The distribution, such as ``monai``.
    extra : str
        The extra of napari-dasl that brings it; empty for the base install.
    needed_for : str
        What does not work without it.
    found, wanted : str, optional
        The installed version (empty: none) and the range; asked of the installation where they are None.
    """
    found = version(name) if found is None else found
    wanted = _wanted(name) if wanted is None else wanted
    install = f'pip install "napari-dasl[{extra}]"' if extra else "pip install napari-dasl"
    if not found:
        return Check(name, False, "not installed", f"{needed_for} needs it: {install}")
    if not Requirement(f"{name}{wanted}").specifier.contains(found, prereleases=True):
        return Check(name, False, f"{found}, but {wanted} is needed", install)
    return Check(name, True, found)


def _wanted(name: str) -> str:
    try:
        declared = metadata.requires("napari-dasl") or []
    except metadata.PackageNotFoundError:
        return ""
    for line in declared:
        requirement = Requirement(line)
        if requirement.name.lower() == name.lower():
            return str(requirement.specifier)
    return ""


def check_torch(found: dict[str, Any] | str, installed: bool = True) -> Check:
    """Torch loads; with its device, threads and precision."""
    if isinstance(found, str):
        reason = found if installed else "not installed"
        return Check("torch", False, reason, 'Training needs it: pip install "napari-dasl[train]"')
    gain = found.get("bf16")
    if gain is None:
        precision = "no bf16"
    else:
        precision = f"bf16 {gain:.2g} × as fast as fp32" if gain >= 1 else f"bf16 slower than fp32 ({gain:.2g} ×)"
    return Check(
        "torch", True, f"{found['version']}, device {found['device']}, {found['threads']} threads, {precision}"
    )


def check_gpu(found: dict[str, Any] | str, nvidia: bool) -> Check:
    """A graphics card helps; one that torch cannot use is worth a word."""
    gpus = [] if isinstance(found, str) else found["gpus"]
    if gpus:
        return Check("GPU", True, ", ".join(f"{name} ({memory / 1024:.0f} GB)" for name, memory in gpus))
    if not isinstance(found, str) and found["device"] == "mps":
        return Check("GPU", True, "Apple graphics (mps)")
    if nvidia:
        hint = "Install the CUDA build of torch that pytorch.org/get-started names for this driver."
        return Check("GPU", False, "an NVIDIA card is here, but torch cannot use it", hint)
    return Check(
        "GPU", True, "none; rounds run on the processor", "A CUDA graphics card makes rounds many times faster."
    )


def check_memory(available_mb: float, total_mb: float, limit_mb: float | None = None) -> Check:
    """At least 4 GB are free, which whole-scan prediction of a chest CT takes."""
    free = available_mb if limit_mb is None else min(available_mb, limit_mb)
    words = f"{free / 1024:.1f} GB free of {total_mb / 1024:.1f} GB"
    if limit_mb is not None and limit_mb < available_mb:
        words += " (a control group sets the limit)"
    hint = "" if free >= ENOUGH_MEMORY_MB else "Close other programs; large scans need about 4 GB."
    return Check("memory", free >= ENOUGH_MEMORY_MB, words, hint)


def check_disk(folder: Path) -> Check:
    """*folder*, or the nearest folder above it that exists, can be written and has 5 GB free."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(there).free / MB
    if not os.access(there, os.W_OK):
        return Check("disk", False, f"{there} cannot be written", "Choose a folder of your own for projects.")
    hint = "" if free >= ENOUGH_DISK_MB else "Free some space: predictions and caches take a few GB."
    return Check("disk", free >= ENOUGH_DISK_MB, f"{free / 1024:.1f} GB free at {there}", hint)


def check_qt(found: dict[str, Any] | str, bindings: Sequence[str]) -> Check:
    """A Qt binding is installed and starts."""
    if not bindings:
        return Check("Qt", False, "no Qt binding", 'The window needs one: pip install "napari-dasl[qt]"')
    if isinstance(found, str):
        return Check("Qt", False, f"{' and '.join(bindings)}, which does not start: {found}", _mend_qt(found))
    return Check("Qt", True, f"{found['binding']}, Qt {found['version']}")


def _mend_qt(said: str) -> str:
    packages = [package for library, package in LIBRARIES.items() if library in said]
    if packages:
        return apt(packages)
    if sys.platform == "linux":
        return apt(LIBRARIES.values())
    return 'Install it anew: pip install --force-reinstall "napari-dasl[qt]"'


def check_display(display: bool, xvfb: bool) -> Check:
    """There is a screen, or Xvfb to stand in for one."""
    if display:
        return Check("display", True, "a screen")
    if xvfb:
        return Check(
            "display", True, "no screen; Xvfb stands in for one", "The demo and the tests start Xvfb themselves."
        )
    hint = f"The window and its tests need one: {apt(['xvfb'])}. The command line works without."
    return Check("display", False, "no screen and no Xvfb", hint)


def check_opengl(found: dict[str, Any] | str, display: bool, missing: Sequence[str], drivers: bool = True) -> Check:
    """Qt can draw with OpenGL 2.1 or newer, or at least nothing that it loads is missing."""
    lacking = [LIBRARIES[name] for name in missing] + ([] if drivers else [DRIVERS])
    if lacking:
        words = ", ".join(missing) or "Mesa's drivers"
        return Check("OpenGL", False, f"missing: {words}", apt(lacking))
    if not display:
        return Check("OpenGL", True, "all libraries are there; not tried, because there is no screen")
    if isinstance(found, str) or not found["opengl"]:
        return Check(
            "OpenGL", False, "no OpenGL context can be made", f"Update the graphics driver, or: {apt([DRIVERS])}"
        )
    good = tuple(int(part) for part in found["opengl"].split(".")) >= (2, 1)
    return Check(
        "OpenGL", good, found["opengl"], "" if good else "Update the graphics driver: napari needs OpenGL 2.1."
    )


def apt(packages: Iterable[str]) -> str:
    """Return the command that installs *packages* on Debian and Ubuntu."""
    root = sys.platform != "win32" and os.geteuid() == 0
    return f"{'' if root else 'sudo '}apt-get install -y {' '.join(sorted(set(packages)))}"


def examine(folder: Path | None = None) -> list[Check]:
    """Look at everything, for projects in *folder* (here where it is None); takes a few seconds."""
    torch, qt, missing = probe_torch(), probe_qt(), probe_libraries()
    memory, display = psutil.virtual_memory(), has_display(os.environ)
    linux = sys.platform == "linux"
    return [
        Check("napari-dasl", True, __version__),
        check_python(),
        Check("platform", True, f"{platform.platform()}, {psutil.cpu_count()} processors"),
        check_package("napari", "", "The window"),
        check_package("torch", "train", "Training") if version("torch") is None else check_torch(torch),
        check_package("monai", "train", "Training"),
        check_package("einops", "train", "Training a transformer (UNETR, SwinUNETR)"),
        check_package("SimpleITK", "dicom", "Reading DICOM, NRRD and MHA"),
        check_package("pydicom", "dicom", "Reading DICOM"),
        check_gpu(torch, shutil.which("nvidia-smi") is not None),
        check_memory(memory.available / MB, memory.total / MB, group_available_mb() if linux else None),
        check_disk(folder or Path()),
        check_qt(qt, [name for name in ("PyQt6", "PySide6") if version(name)]),
        check_display(display, not linux or shutil.which("Xvfb") is not None),
        check_opengl(qt, display, missing, not linux or _has_drivers()),
    ]


def as_json(checks: Iterable[Check]) -> list[dict[str, Any]]:
    """Return *checks* as JSON objects."""
    return [asdict(check) for check in checks]
