"""How a dead engine is explained to the user: exit code, signal and last words become one sentence and a hint."""

from __future__ import annotations

import re
import signal
import sys
from typing import TYPE_CHECKING

from napari_dasl.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

SAFE = "Your labels are safe; run the round again with --resume, or press Resume."
_OUR_MISTAKE = re.compile(r"^(Fatal Python error: |[\w.]*(Error|Exception|Interrupt|Exit)\b)")


def default_command(command: Sequence[str] | None = None) -> list[str]:
    """Return the full command that starts the engine: *command*, or this Python's own engine where it is empty.

    Parameters
    ----------
    command : sequence of str, optional
        ``engine.command`` of the project, such as ``("ssh", "gpu-box", "napari-dasl", "engine")``.
    """
    return list(command or ()) or [sys.executable, "-m", "napari_dasl.engine"]


def cannot_start(command: Sequence[str], reason: str) -> EngineError:
    """Return the error for a command that the system could not even start."""
    return EngineError(
        f"The training process cannot be started with {' '.join(command)!r}: {reason.rstrip('.')}.",
        "Look at engine.command in project.toml; leave it empty to use this computer.",
    )


def last_words(lines: Sequence[str], *, errors_only: bool = False) -> str:
    """Return the line of a standard error that says most: the last exception or fatal error, else the last line.

    With *errors_only* it is empty where no line tells of an error.
    """
    spoken = [line.strip() for line in lines if line.strip()]
    telling = [line for line in spoken if _OUR_MISTAKE.match(line)]
    chosen = (telling or ([] if errors_only else spoken) or [""])[-1]
    return chosen if len(chosen) <= 300 else chosen[:297] + "..."


def signal_of(code: int) -> int | None:
    """Return the signal that an exit code tells of, by Python's sign (-9) or by a shell's and ssh's sum (137)."""
    number = -code if code < 0 else code - 128
    return number if 0 < number < 65 else None


def died(code: int | None, stderr: Sequence[str] = (), command: Sequence[str] = ()) -> EngineError:
    """Return the error for an engine that ended without being asked to.

    Parameters
    ----------
    code : int or None
        The exit code: negative for a signal (Python), 128 + signal (shells, ssh), None where it is unknown.
    stderr : sequence of str
        The last lines of its standard error.
    command : sequence of str
        How it was started.
    """
    number = None if code is None else signal_of(code)
    # A process that was killed had no time to say why: what it said before is no reason.
    words = last_words(stderr, errors_only=number is not None)
    said = f" Its last words: {words}" if words else ""
    if command and command[0].endswith(("ssh", "ssh.exe")) and code == 255:
        hint = "Check the network and that ssh needs no password there. " + SAFE
        return EngineError(f"The connection to the training machine was lost or refused.{said}", hint)
    if code == 127 or "No module named napari_dasl" in words:
        hint = "Install napari-dasl there, and name its full path in engine.command of project.toml."
        return EngineError(f"napari-dasl was not found where the training process should run.{said}", hint)
    if number == 9:
        reason = "most often the system does this when memory runs out"
        return EngineError(
            f"The training process was killed (signal 9); {reason}.{said}",
            f"{SAFE} If it happens again, close other programs or choose a smaller batch or patch.",
        )
    if number is not None:
        return EngineError(f"The training process was killed ({_name(number)}).{said}", SAFE)
    if code is not None and code > 0x7FFFFFFF:
        return EngineError(f"The training process crashed (Windows status {code:#010x}).{said}", SAFE)
    if code is None:
        return EngineError(f"The training process stopped talking.{said}", SAFE)
    return EngineError(f"The training process ended by itself (exit code {code}).{said}", SAFE)


def _name(number: int) -> str:
    try:
        return f"signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"
