"""One message is one line, and comes back as the same message; a broken line is explained in words."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_dasl import errors
from napari_dasl.engine import messages as wire
from napari_dasl.events import Log, Metric, Phase, Progress
from napari_dasl.rounds.plan import RoundPlan

EXAMPLES = [
    wire.Request(1, wire.Initialize()),
    wire.Request(2, wire.RoundStart(project="/s", plan=RoundPlan(steps=3, patch=(16, 32, 48), device="cuda:1"))),
    wire.Request(3, wire.RoundResume(project="/Stüdie/肺 结节")),
    wire.Request(4, wire.PredictStart(project="/s", cases=("a", "b"))),
    wire.Request(5, wire.PredictStart(project="/s", all=True)),
    wire.Request(6, wire.RankStart(project="/s")),
    wire.Request(7, wire.JobCancel()),
    wire.Request(8, wire.Shutdown()),
    wire.Response(2, {"job": 1}),
    wire.Response(7, {}),
    wire.Failure(3, wire.ErrorBody(code=wire.DASL_ERROR, message="No.", data={"kind": "ProjectError", "hint": "Do."})),
    wire.Failure(None, wire.ErrorBody(code=wire.PARSE_ERROR, message="What?")),
    wire.Notification(wire.Heartbeat(seq=1, memory_mb=812.5)),
    wire.Notification(wire.Heartbeat(seq=2, memory_mb=812.5, job=1)),
    wire.Notification(wire.JobEvent(job=1, event=Phase(name="train", text="Training\non 24 cases."))),
    wire.Notification(wire.JobEvent(job=1, event=Progress(name="predict", done=3, total=9, eta=1.5))),
    wire.Notification(wire.JobEvent(job=1, event=Metric(name="loss", step=10, value=0.25))),
    wire.Notification(wire.JobEvent(job=1, event=Log(level="warning", text="λ → 0"))),
    wire.Notification(wire.JobFinished(job=1, result={"guard": {"dice": None}, "lambda": 0.5})),
    wire.Notification(wire.JobFailed(job=1, kind="OutOfMemory", message="Too big.", retry={"patch": [16, 32, 32]})),
    wire.Notification(wire.JobCancelled(job=1, message="Saved.")),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(getattr(message, "params", message)).__name__)
def test_round_trip(message):
    line = wire.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["jsonrpc"] == "2.0"
    assert wire.decode(line) == message


def test_every_method_has_an_example():
    shown = {message.params.method for message in EXAMPLES if hasattr(message, "params")}
    assert shown == set(wire.REQUESTS) | set(wire.NOTIFICATIONS)


def test_requests_have_an_id_and_notifications_none():
    assert json.loads(wire.encode(EXAMPLES[0])) == {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocol": 1},
    }
    assert "id" not in json.loads(wire.encode(EXAMPLES[12]))


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (b"Welcome to gpu-box!", wire.PARSE_ERROR, "is no JSON: 'Welcome to gpu-box!'"),
        (b"\xff\xfe", wire.PARSE_ERROR, "is no JSON"),
        (b"[" * 100_000, wire.PARSE_ERROR, "is no JSON"),
        (b"[]", wire.INVALID_REQUEST, "no JSON-RPC 2.0 message"),
        (b'{"jsonrpc":"1.0","id":1,"method":"initialize"}', wire.INVALID_REQUEST, "no JSON-RPC 2.0 message"),
        (b'{"jsonrpc":"2.0","id":"x","method":"initialize"}', wire.INVALID_REQUEST, "must be a whole number, not 'x'"),
        (b'{"jsonrpc":"2.0","id":true,"method":"initialize"}', wire.INVALID_REQUEST, "must be a whole number"),
        (b'{"jsonrpc":"2.0","id":1,"method":"dance"}', wire.METHOD_NOT_FOUND, "no request 'dance'"),
        (b'{"jsonrpc":"2.0","id":1,"method":["a"]}', wire.METHOD_NOT_FOUND, "no request ['a']"),
        (b'{"jsonrpc":"2.0","method":"dance"}', wire.METHOD_NOT_FOUND, "no notification 'dance'"),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"round.start","params":{}}',
            wire.INVALID_PARAMS,
            "In round.start, project:",
        ),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"round.start","params":{"project":"p","plan":{"steps":0}}}',
            wire.INVALID_PARAMS,
            "In round.start, plan.steps: Input should be greater than or equal to 1",
        ),
        (b'{"jsonrpc":"2.0","id":1,"method":"job.cancel","params":[]}', wire.INVALID_PARAMS, "In job.cancel"),
        (b'{"jsonrpc":"2.0","id":1}', wire.INVALID_REQUEST, "neither a method, nor an error, nor a result"),
        (b'{"jsonrpc":"2.0","id":1,"error":"x"}', wire.INVALID_PARAMS, "In error"),
    ],
)
def test_a_broken_line_is_explained(line, code, says):
    with pytest.raises(wire.MessageError) as caught:
        wire.decode(line)
    assert says in caught.value.message
    assert caught.value.code == code
    assert wire.decode(wire.encode(caught.value.to_failure())).error.code == code


@given(st.binary(max_size=200))
def test_no_line_raises_anything_but_a_message_error(line):
    with contextlib.suppress(wire.MessageError):
        wire.decode(line)


@given(st.lists(st.integers(1, 40), max_size=60))
def test_lines_are_cut_out_of_chunks_however_they_are_split(cuts):
    stream = b"".join(wire.encode(message) for message in EXAMPLES)
    buffer, found, at = wire.LineBuffer(), [], 0
    for cut in [*cuts, len(stream)]:
        found += buffer.feed(stream[at : at + cut])
        at += cut
    assert [wire.decode(line) for line in found] == EXAMPLES


def test_a_failure_becomes_the_error_the_engine_met():
    error = EXAMPLES[10].to_error()
    assert type(error) is errors.ProjectError
    assert str(error) == "No. Do."
    assert type(wire.to_error("Surprise", "x")) is errors.EngineError
    assert type(wire.to_error("annotations", "x")) is errors.EngineError


def test_the_words_and_the_client_need_no_torch():
    code = (
        "import sys, napari_dasl.engine.messages, napari_dasl.engine.client, napari_dasl.engine.server; "
        "from napari_dasl.engine import EngineProcess, serve; "
        "sys.exit(str(sorted({'torch', 'monai', 'napari', 'qtpy'} & set(sys.modules)) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "\n")
