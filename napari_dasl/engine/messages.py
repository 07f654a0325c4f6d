r"""What the engine and its clients say to each other: JSON-RPC 2.0, one message a line, UTF-8, protocol version 1.

A client writes *requests* to the engine's standard input; each is answered by one *response* (or *failure*) with the
same ``id`` on its standard output. Between them come *notifications*, which have no ``id`` and are never answered::

    -> {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocol": 1}}
    <- {"jsonrpc": "2.0", "id": 1, "result": {"protocol": 1, "version": "0.1.0", "pid": 4711, "device": "cpu"}}
    -> {"jsonrpc": "2.0", "id": 2, "method": "round.start", "params": {"project": "/study", "plan": {"steps": 300}}}
    <- {"jsonrpc": "2.0", "id": 2, "result": {"job": 1}}
    <- {"jsonrpc": "2.0", "method": "job.event", "params": {"job": 1, "event": {"kind": "metric", "name": "loss", ...}}}
    <- {"jsonrpc": "2.0", "method": "heartbeat", "params": {"seq": 3, "memory_mb": 812.5, "job": 1}}
    -> {"jsonrpc": "2.0", "id": 3, "method": "job.cancel", "params": {}}
    <- {"jsonrpc": "2.0", "id": 3, "result": {}}
    <- {"jsonrpc": "2.0", "method": "job.cancelled", "params": {"job": 1, "message": "Cancelled; the state is saved."}}

Every job ends in exactly one of ``job.finished``, ``job.failed`` and ``job.cancelled``. :func:`encode` makes a line of
a message and :func:`decode` a message of a line; :class:`LineBuffer` cuts lines out of the chunks that a pipe delivers.
Numbers are written as Python writes them, so a loss that is no number travels as ``NaN``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_dasl import errors
from napari_dasl.events import Event
from napari_dasl.rounds.plan import RoundPlan

PROTOCOL = 1
HEARTBEAT_SECONDS = 1.0

# Codes of the JSON-RPC 2.0 specification, section 5.1; the last is ours, from the range it leaves to servers.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
DASL_ERROR = -32000


class _Params(BaseModel):
    """The ``params`` of one method."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: ClassVar[str]


class Initialize(_Params):
    """The first request: which protocol the client speaks. Answered by :class:`Initialized`."""

    method = "initialize"
    protocol: int = PROTOCOL


class RoundStart(_Params):
    """Run one round on the project folder. Answered by :class:`JobStarted`."""

    method = "round.start"
    project: str
    plan: RoundPlan = RoundPlan()


class RoundResume(_Params):
    """Go on with the round that was cancelled or interrupted. Answered by :class:`JobStarted`."""

    method = "round.resume"
    project: str


class PredictStart(_Params):
    """Predict named cases, the pool when *cases* is null, or every case with *all*. Answered by :class:`JobStarted`.

    *strategy* names the ranking strategy whose numbers are to be measured, the project's when null.
    """

    method = "predict.start"
    project: str
    cases: tuple[str, ...] | None = None
    all: bool = False
    device: str = "auto"
    strategy: str | None = None


class RankStart(_Params):
    """Rank the predicted cases anew. Answered by :class:`JobStarted`."""

    method = "rank.start"
    project: str


class JobCancel(_Params):
    """Stop the running job at its next step, with its state saved. Answered at once; ``job.cancelled`` follows."""

    method = "job.cancel"


class Shutdown(_Params):
    """End the engine: a running job is cancelled first. The process exits with code 0."""

    method = "shutdown"


class Heartbeat(_Params):
    """The engine lives; sent every second. *memory_mb* is its resident memory, *job* the job that runs."""

    method = "heartbeat"
    seq: int
    memory_mb: float
    job: int | None = None


class JobEvent(_Params):
    """Something happened in the job; see :mod:`napari_dasl.events`."""

    method = "job.event"
    job: int
    event: Event


class JobFinished(_Params):
    """The job is done, and what it made is in the project already. *result* has the keys of ``--json``."""

    method = "job.finished"
    job: int
    result: dict[str, Any]


class JobFailed(_Params):
    """The job failed.

    *kind* names the error's class in :mod:`napari_dasl.errors`; *retry*, where there is one, holds the fields of the
    round's plan that may help, such as ``{"batch": 1}``.
    """

    method = "job.failed"
    job: int
    kind: str
    message: str
    hint: str = ""
    retry: dict[str, Any] | None = None


class JobCancelled(_Params):
    """The job stopped because it was asked to; its state is saved."""

    method = "job.cancelled"
    job: int
    message: str


class Initialized(BaseModel):
    """Who answers: protocol, version of napari-dasl, process id, and the device that ``auto`` would choose."""

    model_config = ConfigDict(frozen=True)

    protocol: int
    version: str
    pid: int
    device: str


class JobStarted(BaseModel):
    """The number of the job that now runs."""

    model_config = ConfigDict(frozen=True)

    job: int


RequestParams = Initialize | RoundStart | RoundResume | PredictStart | RankStart | JobCancel | Shutdown
NotificationParams = Heartbeat | JobEvent | JobFinished | JobFailed | JobCancelled

REQUESTS: dict[str, type[RequestParams]] = {
    kind.method: kind for kind in (Initialize, RoundStart, RoundResume, PredictStart, RankStart, JobCancel, Shutdown)
}
NOTIFICATIONS: dict[str, type[NotificationParams]] = {
    kind.method: kind for kind in (Heartbeat, JobEvent, JobFinished, JobFailed, JobCancelled)
}


class ErrorBody(BaseModel):
    """The ``error`` of a failure: a JSON-RPC code, a sentence, and in *data* the kind and hint of a DaslError."""

    model_config = ConfigDict(frozen=True)

    code: int
    message: str
    data: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A question with the number under which its answer comes."""

    id: int
    params: RequestParams


@dataclass(frozen=True)
class Response:
    """The answer to request *id*."""

    id: int
    result: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """Request *id* (null where the line was too broken to tell) could not be done."""

    id: int | None
    error: ErrorBody

    def to_error(self) -> errors.DaslError:
        """Return the failure as the exception that the engine met."""
        return to_error(self.error.data.get("kind", "EngineError"), self.error.message, self.error.data.get("hint", ""))


@dataclass(frozen=True)
class Notification:
    """Something the engine tells unasked."""

    params: NotificationParams


Message = Request | Response | Failure | Notification


class MessageError(errors.EngineError):
    """A line is no message of this protocol; *code* and *id* are those of the failure that answers it."""

    def __init__(self, message: str, hint: str = "", *, code: int = INVALID_REQUEST, id: int | None = None) -> None:
        super().__init__(message, hint)
        self.code = code
        self.id = id

    def to_failure(self) -> Failure:
        """Return the failure that answers the broken line."""
        return Failure(
            self.id, ErrorBody(code=self.code, message=self.message, data={"kind": "EngineError", "hint": self.hint})
        )


def to_error(kind: str, message: str, hint: str = "") -> errors.DaslError:
    """Return the error of class *kind* from :mod:`napari_dasl.errors`; an EngineError where there is no such class."""
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, errors.DaslError):
        return found(message, hint)
    return errors.EngineError(message, hint)


def encode(message: Message) -> bytes:
    r"""Return *message* as one line of UTF-8 that ends in ``\n``; there is no other line break in it."""
    document: dict[str, Any] = {"jsonrpc": "2.0"}
    match message:
        case Request(id=number, params=params):
            document |= {"id": number, "method": params.method, "params": params.model_dump(mode="json")}
        case Response(id=number, result=result):
            document |= {"id": number, "result": result}
        case Failure(id=broken, error=error):
            document |= {"id": broken, "error": error.model_dump(mode="json")}
        case Notification(params=told):
            document |= {"method": told.method, "params": told.model_dump(mode="json")}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes | str) -> Message:
    """Return the message that *line* holds.

    Raises
    ------
    MessageError
        If the line is no JSON, no JSON-RPC 2.0 message, or a method or parameter is unknown; the sentence says which.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise MessageError(
            f"A line between the engine and its client is no JSON: {_shown(line)}.",
            "Something else wrote into the engine's streams; a login script of a remote machine must print nothing.",
            code=PARSE_ERROR,
        ) from problem
    if not isinstance(document, dict) or document.get("jsonrpc") != "2.0":
        raise MessageError(f"A line is no JSON-RPC 2.0 message: {_shown(line)}.")
    number = document.get("id")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise MessageError(f"The id of a message must be a whole number, not {number!r}.")
    if "method" in document:
        return _decode_call(document, number)
    if "error" in document:
        return Failure(number, _validated(ErrorBody, document["error"], "error", number))
    if number is None or not isinstance(document.get("result"), dict):
        raise MessageError(f"A message has neither a method, nor an error, nor a result with an id: {_shown(line)}.")
    return Response(number, document["result"])


def _decode_call(document: dict[str, Any], number: int | None) -> Request | Notification:
    method, params = document["method"], document.get("params", {})
    table: dict[str, Any] = NOTIFICATIONS if number is None else REQUESTS
    if not isinstance(method, str) or method not in table:
        raise MessageError(
            f"There is no {'notification' if number is None else 'request'} {method!r} in protocol {PROTOCOL}.",
            f"Known: {', '.join(sorted(table))}. Both sides should have the same version of napari-dasl.",
            code=METHOD_NOT_FOUND,
            id=number,
        )
    values = _validated(table[method], params, method, number)
    return Notification(values) if number is None else Request(number, values)


def _validated(model: type[Any], values: Any, where: str, number: int | None) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "its parameters"
        raise MessageError(f"In {where}, {field}: {first['msg']}.", code=INVALID_PARAMS, id=number) from problem


def _shown(line: bytes | str) -> str:
    text = line.decode(errors="replace") if isinstance(line, bytes) else line
    text = text.strip()
    return repr(text if len(text) <= 120 else text[:117] + "...")


class LineBuffer:
    r"""Cuts whole lines out of the chunks of bytes that a pipe delivers, however they are split.

    A chunk may end inside a line, and inside a character of UTF-8; bytes wait here until their ``\n`` has come.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines, without their ends, that *chunk* completes; blank lines are left out."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line for line in lines if line.strip()]
