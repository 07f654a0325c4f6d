"""The doctor finds what is missing and names the command that mends it; a broken library does not take it down."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from napari_dasl import doctor

TORCH = {"version": "2.13.0+cpu", "device": "cpu", "threads": 2, "gpus": [], "bf16": 2.0}
CUDA = {**TORCH, "device": "cuda", "gpus": [["NVIDIA RTX 4090", 24 * 1024]]}
QT = {"binding": "PyQt6", "version": "6.11.0", "platform": "xcb", "opengl": "4.5"}
EGL = "ImportError: libEGL.so.1: cannot open shared object file: No such file or directory"


@pytest.fixture
def as_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)


def test_python():
    assert doctor.check_python((3, 11, 7)).ok
    assert doctor.check_python((3, 10, 1)) == doctor.Check(
        "Python", False, f"3.10.1 ({sys.executable})", "Install Python 3.11 or newer."
    )


@pytest.mark.parametrize(
    ("found", "ok", "words", "hint"),
    [
        ("1.6.1", True, "1.6.1", ""),
        ("1.6.0rc2", True, "1.6.0rc2", ""),
        ("1.4", False, "1.4, but >=1.5 is needed", 'pip install "napari-dasl[train]"'),
        ("", False, "not installed", 'Training needs it: pip install "napari-dasl[train]"'),
    ],
)
def test_a_package(found, ok, words, hint):
    assert doctor.check_package("monai", "train", "Training", found, ">=1.5") == doctor.Check("monai", ok, words, hint)


def test_a_package_is_asked_of_the_installation():
    assert doctor.check_package("numpy", "", "Everything").found == doctor.version("numpy")
    assert (
        doctor.check_package("no-such-package-9", "", "Everything").hint
        == "Everything needs it: pip install napari-dasl"
    )


@pytest.mark.parametrize(
    ("bf16", "words"),
    [(2.04, "bf16 2 × as fast as fp32"), (0.3, "bf16 slower than fp32 (0.3 ×)"), (None, "no bf16")],
)
def test_torch_with_its_precision(bf16, words):
    check = doctor.check_torch({**TORCH, "bf16": bf16})
    assert check == doctor.Check("torch", True, f"2.13.0+cpu, device cpu, 2 threads, {words}")


def test_a_torch_that_does_not_load_says_why():
    check = doctor.check_torch("OSError: libtorch_cpu.so: undefined symbol")
    assert (check.ok, check.found) == (False, "OSError: libtorch_cpu.so: undefined symbol")
    assert check.hint == 'Training needs it: pip install "napari-dasl[train]"'


def test_a_graphics_card_that_torch_cannot_use_is_worth_a_word():
    assert doctor.check_gpu(CUDA, nvidia=True) == doctor.Check("GPU", True, "NVIDIA RTX 4090 (24 GB)")
    assert doctor.check_gpu({**TORCH, "device": "mps"}, nvidia=False).found == "Apple graphics (mps)"
    assert doctor.check_gpu(TORCH, nvidia=False).ok
    assert not doctor.check_gpu(TORCH, nvidia=True).ok
    assert not doctor.check_gpu("broken", nvidia=True).ok


def test_memory_knows_the_limit_of_a_container():
    assert doctor.check_memory(8192, 16384).found == "8.0 GB free of 16.0 GB"
    tight = doctor.check_memory(8192, 16384, 2048)
    assert not tight.ok
    assert tight.found == "2.0 GB free of 16.0 GB (a control group sets the limit)"
    assert doctor.check_memory(8192, 16384, 9000).found == "8.0 GB free of 16.0 GB"


def test_disk(tmp_path, monkeypatch):
    check = doctor.check_disk(tmp_path / "not" / "yet")
    assert str(tmp_path) in check.found
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert doctor.check_disk(tmp_path).found == f"{tmp_path} cannot be written"


def test_qt_names_the_package_that_holds_the_missing_library(as_root):
    assert doctor.check_qt(QT, ["PyQt6"]).found == "PyQt6, Qt 6.11.0"
    assert doctor.check_qt("", []).hint == 'The window needs one: pip install "napari-dasl[qt]"'
    broken = doctor.check_qt(EGL, ["PyQt6"])
    assert broken.found == f"PyQt6, which does not start: {EGL}"
    assert broken.hint == "apt-get install -y libegl1"


def test_a_display_or_xvfb(as_root):
    assert doctor.check_display(True, False).ok
    assert doctor.check_display(False, True).ok
    assert "apt-get install -y xvfb" in doctor.check_display(False, False).hint


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has machines without a screen")
def test_a_display_is_an_x_or_a_wayland_server():
    assert doctor.has_display({"DISPLAY": ":0"})
    assert doctor.has_display({"WAYLAND_DISPLAY": "wayland-0"})
    assert not doctor.has_display({"DISPLAY": ""})


def test_opengl(as_root):
    assert doctor.check_opengl(QT, True, []).found == "4.5"
    assert not doctor.check_opengl({**QT, "opengl": "1.4"}, True, []).ok
    assert doctor.check_opengl({**QT, "opengl": None}, True, []).found == "no OpenGL context can be made"
    assert doctor.check_opengl({**QT, "opengl": None}, False, []).ok
    missing = doctor.check_opengl(QT, False, ["libOpenGL.so.0", "libxcb-cursor.so.0"], drivers=False)
    assert missing.found == "missing: libOpenGL.so.0, libxcb-cursor.so.0"
    assert missing.hint == "apt-get install -y libgl1-mesa-dri libopengl0 libxcb-cursor0"


def test_who_is_not_root_is_told_to_use_sudo(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert doctor.apt(["b", "a", "b"]) == "sudo apt-get install -y a b"


def test_a_probe_survives_what_it_probes():
    assert doctor.probe("import json; print('noise'); print(json.dumps({'a': 1}))") == {"a": 1}
    assert doctor.probe("raise ImportError('libEGL.so.1: cannot open')") == "ImportError: libEGL.so.1: cannot open"
    assert doctor.probe("import os; os._exit(7)") == "exit code 7"
    assert doctor.probe("import time; time.sleep(30)", seconds=0.5) == "no answer within 0 s"


def test_the_doctor_looks_at_this_machine_and_imports_neither_torch_nor_qt():
    code = (
        "import json, sys; from napari_dasl import doctor; checks = doctor.examine(); "
        "assert not {'torch', 'qtpy', 'PyQt6', 'napari'} & set(sys.modules); print(json.dumps(doctor.as_json(checks)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert list(checks)[:3] == ["napari-dasl", "Python", "platform"]
    libraries = {"napari", "torch", "monai", "einops", "SimpleITK", "pydicom", "Qt"}
    assert libraries | {"GPU", "memory", "disk", "display", "OpenGL"} < set(checks)
    assert checks["Python"]["ok"]
    assert all(check["hint"] for check in checks.values() if not check["ok"])


def test_the_missing_packages_are_what_the_failing_checks_name():
    packages = doctor.missing_packages()
    assert set(packages) <= {*doctor.LIBRARIES.values(), "xvfb", doctor.DRIVERS}
    assert packages == sorted(packages)
