"""An engine without torch for tests of its client: it speaks the protocol with nothing but the standard library.

``python fake_engine.py HOW``: ``works`` (a short round), ``slow`` (until it is cancelled), ``deaf`` (slow, and
ignores a cancellation), ``dies`` (complains and exits), ``fails`` (out of memory with a retry),
``silent`` (no heartbeat after the start), ``split`` (writes byte by byte, after a banner), ``refuses`` (every job).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

HOW = sys.argv[1]
out = os.dup(1)
lock = threading.Lock()
cancel = threading.Event()
job = None


def tell(document: dict) -> None:
    data = json.dumps({"jsonrpc": "2.0"} | document, ensure_ascii=False).encode() + b"\n"
    with lock:
        if HOW == "split":
            for start in range(0, len(data), 3):
                os.write(out, data[start : start + 3])
                time.sleep(0.0005)
        else:
            os.write(out, data)


def notify(method: str, **params: object) -> None:
    tell({"method": method, "params": params})


def event(**fields: object) -> None:
    notify("job.event", job=1, event=fields)


def beat() -> None:
    seq = 0
    while HOW != "silent":
        seq += 1
        notify("heartbeat", seq=seq, memory_mb=100.0 + seq, job=job)
        time.sleep(0.05)


def work(method: str, params: dict) -> None:
    global job
    event(kind="phase", name="prepare", text="Préparer les images …")
    if HOW == "dies":
        sys.stderr.write("Traceback (most recent call last):\nValueError: the network grew legs\n")
        sys.stderr.flush()
        os._exit(3)
    if HOW == "fails" and params.get("plan", {}).get("batch") is None:
        job = None
        notify(
            "job.failed",
            job=1,
            kind="OutOfMemory",
            message="The training process ran out of memory and stopped.",
            hint="",
            retry={"patch": [96, 96, 96], "batch": 1},
        )
        return
    event(kind="phase", name="train", text="Training …")
    for step in range(1, 6):
        event(kind="metric", name="loss", step=step, value=1 / step)
        event(kind="progress", name="train", done=step, total=5, eta=1.5)
    event(kind="metric", name="guard_dice", step=5, value=0.5)
    while HOW in ("slow", "deaf", "silent"):
        if cancel.is_set() and HOW == "slow":
            job = None
            notify("job.cancelled", job=1, message="Cancelled; the state is saved.")
            return
        time.sleep(0.01)
    job = None
    if method.startswith("predict"):
        result: dict = {"predicted": ["a", "b"], "seconds": 0.1, "failed": {}}
    elif method.startswith("rank"):
        result = {"ranked": 2}
    else:
        result = {
            "round": 1, "phase": "al", "state": "done", "promoted": True, "guard": {"dice": 0.5, "before": None},
            "trained_on": {"human": 4}, "lambda": None, "seconds": 0.2, "model": "r0001-x", "predicted": 3,
            "to_label": 2, "sentence": "Guard Dice 0.500. The new model is active.",
        }  # fmt: skip
    notify("job.finished", job=1, result=result)


def main() -> None:
    global job
    if HOW == "split":
        os.write(out, "Welcome to gpu-box! – ünïcode banner\n".encode())
    for line in sys.stdin.buffer:
        request = json.loads(line)
        number, method, params = request["id"], request["method"], request.get("params", {})
        if method == "initialize":
            tell({"id": number, "result": {"protocol": 1, "version": "0", "pid": os.getpid(), "device": "cpu"}})
            threading.Thread(target=beat, daemon=True).start()
        elif method == "job.cancel":
            cancel.set()
            tell({"id": number, "result": {}})
        elif method == "shutdown":
            tell({"id": number, "result": {}})
            os._exit(0)
        elif HOW == "refuses":
            body = {"code": -32000, "message": "Another round is running.", "data": {"kind": "EngineError", "hint": ""}}
            tell({"id": number, "error": body})
        else:
            cancel.clear()
            job = 1
            tell({"id": number, "result": {"job": 1}})
            threading.Thread(target=work, args=(method, params), daemon=True).start()
    os._exit(0)


main()
