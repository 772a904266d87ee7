"""`POST /v1/models/NAME:classify`: one image or several over plain HTTP, for curl and browsers.

It turns a body into the request of pupil.v1's Classify, has the dispatcher answer that on the event loop, and turns the
answer into JSON: limits, metrics and errors are the same as over gRPC.
"""

import asyncio
import json
import math
import re
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from google.protobuf.json_format import MessageToDict

from pupil_proto.v1.inference_pb2 import Cascade, ClassifyRequest, ClassifyResponse, Images, ModelSpec
from pupil_server.call import Call
from pupil_server.dispatch import Dispatcher
from pupil_server.errors import BadRequest, Code, PupilError
from pupil_server.goals import GOALS
from pupil_server.logs import call_id
from pupil_server.method import Failure, Method
from pupil_server.multipart import multipart

PATH = re.compile(r"/v1/models/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*):classify\Z")
HTTP_STATUS = {1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 12: 501, 13: 500, 14: 503, 16: 401}  # by gRPC's
QUERY = ("top_k", "version", "alias", "cascade", "goal", "student_alone")
MOST_POSTS = 8  # at the same time, each with its body in memory
LONGEST = 300.0  # seconds that a caller may ask for
LATE = "the deadline passed"
SLACK = 1.0  # seconds beyond the deadline, in which the loop says by itself that it has passed


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]


class Gateway:
    """Answers on the threads of the operations server; the work itself is done on `loop`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dispatcher: Dispatcher,
        method: Method,
        *,
        default_deadline: float,
        max_body: int,
    ) -> None:
        self.max_body = max_body
        self.places = threading.BoundedSemaphore(MOST_POSTS)
        self._loop = loop
        self._dispatcher = dispatcher
        self._classify = method
        self._default_deadline = default_deadline

    def answer(self, target: str, headers: Mapping[str, str], body: bytes, peer: str) -> Reply:
        """The reply to one POST; `headers` by their names in small letters."""
        name = call_id(headers)
        reply = self._answer(target, headers, body, peer, name)
        return reply._replace(headers={**reply.headers, "X-Request-Id": name})

    def _answer(self, target: str, headers: Mapping[str, str], body: bytes, peer: str, name: str) -> Reply:
        try:
            request, call = self._request(target, headers, body), self._call(headers, peer, name)
            return _reply(self._ask(request, call))
        except Failure as failure:
            return refusal(failure.code, failure.message, failure.trailers)
        except PupilError as error:
            return refusal(error.code, str(error))

    def _request(self, target: str, headers: Mapping[str, str], body: bytes) -> ClassifyRequest:
        path, _, query = target.partition("?")
        found = PATH.match(path)
        if not found:
            raise BadRequest(f"{path}: /v1/models/NAME:classify is wanted")
        asked = _query(query)
        model = ModelSpec(name=found["name"], version=_whole(asked, "version") if "version" in asked else None)
        if "alias" in asked:
            model.alias = asked["alias"]
        images = Images(encoded=_images(headers.get("content-type", ""), body))
        return ClassifyRequest(model=model, images=images, top_k=_whole(asked, "top_k"), cascade=_cascade(asked))

    def _call(self, headers: Mapping[str, str], peer: str, name: str) -> Call:
        seconds = seconds_asked(headers, self._default_deadline)
        return Call(self._classify.path, time.monotonic() + seconds, peer, headers, id=name)

    def _ask(self, request: ClassifyRequest, call: Call) -> ClassifyResponse:
        """Waits no longer than the deadline, even for a loop that hangs."""
        asked = self._dispatcher.unary(self._classify, request.SerializeToString(), call)
        answer = asyncio.run_coroutine_threadsafe(asked, self._loop)
        try:
            return ClassifyResponse.FromString(answer.result(call.remaining() + SLACK))
        except TimeoutError:
            answer.cancel()
            raise Failure(Code.DEADLINE_EXCEEDED, LATE) from None


def refusal(code: Code, message: str, trailers: Mapping[str, str] | None = None, *, status: int = 0) -> Reply:
    """An error as JSON, with the HTTP status that belongs to gRPC's unless another one says more."""
    status = status or HTTP_STATUS.get(code, 500)
    wait = (trailers or {}).get("retry-after-ms")
    headers = {"Retry-After": str(math.ceil(int(wait) / 1000))} if wait else {}
    body = json.dumps({"error": {"code": status, "status": code.name, "message": message}}, ensure_ascii=False)
    return Reply(status, body.encode() + b"\n", headers)


def seconds_asked(headers: Mapping[str, str], default: float) -> float:
    """How long a POST may take. Raises BadRequest."""
    text = headers.get("x-timeout-seconds")
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST:
        raise BadRequest(f"X-Timeout-Seconds: {text!r}; a number above 0 and at most {LONGEST:g} is wanted")
    return seconds


def _reply(answer: ClassifyResponse) -> Reply:
    spelled = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return Reply(200, json.dumps(spelled, ensure_ascii=False).encode() + b"\n", {})


def _query(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=8)
    except ValueError:
        raise BadRequest("query: not understood; something like top_k=3&version=2 is wanted") from None
    asked = dict(pairs)
    for name in asked:
        if name not in QUERY:
            raise BadRequest(f"query: {name!r} is not known; known: {', '.join(QUERY)}")
    if len(asked) != len(pairs) or {"version", "alias"} <= asked.keys():
        raise BadRequest("query: each once, and one of version and alias")
    return asked


def _whole(asked: Mapping[str, str], name: str) -> int:
    text = asked.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise BadRequest(f"query: {name}={text}; a whole number is wanted")
    return int(text)


def _cascade(asked: Mapping[str, str]) -> Cascade | None:
    if "cascade" not in asked:
        if extra := {"goal", "student_alone"} & asked.keys():
            raise BadRequest(f"query: {' and '.join(sorted(extra))} without cascade=LIMIT")
        return None
    goal, alone = asked.get("goal", "disagreement"), asked.get("student_alone", "false")
    if goal not in GOALS:
        raise BadRequest(f"query: goal={goal}; one of {', '.join(GOALS)} is wanted")
    if alone not in ("true", "false"):
        raise BadRequest(f"query: student_alone={alone}; true or false is wanted")
    return Cascade(limit=_number(asked["cascade"]), goal=GOALS[goal], student_alone=alone == "true")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadRequest(f"query: cascade={text}; a number between 0 and 1 is wanted") from None


def _images(content_type: str, body: bytes) -> list[bytes]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return multipart(content_type, body)
    if kind.startswith("image/"):
        return [body]
    raise BadRequest(f"Content-Type: {kind or 'none'}; image/jpeg or the like is wanted, or multipart/form-data")
