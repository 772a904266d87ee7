import json
import logging
import re
import time
from contextvars import copy_context
from typing import Any

import grpc
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2
from pupil_server import logs
from pupil_server.access_log import AccessLog
from pupil_server.call import Call
from pupil_server.errors import Code, Unauthenticated

PATIENCE = 20.0
STUDENT = pb.ModelSpec(name="student")


def call(**more: str) -> Call:
    return Call("pupil.v1.Inference/Classify", time.monotonic() + 60, "ipv4:127.0.0.1:1", **more)


def line_of(formatter: logging.Formatter, **more: object) -> str:
    record = logging.makeLogRecord({"name": "pupil.test", "levelname": "INFO", "msg": "a %s", "args": ("b",), **more})
    return formatter.format(record)


def request_id(answered: grpc.Call) -> str:
    (found,) = [value for key, value in answered.trailing_metadata() if key == "x-request-id"]
    return str(found)


def test_a_line_of_json_carries_the_call_and_its_facts_and_stays_one_line() -> None:
    def answered() -> tuple[Any, str]:
        logs.about("abc-1")
        found = json.loads(line_of(logs.JsonFormatter(), facts={"code": "OK"}))
        return found, line_of(logs.JsonFormatter(), args=('b\n{"level": "ERROR"}',))

    found, forged = copy_context().run(answered)
    assert (found["logger"], found["message"], found["request_id"], found["code"]) == (
        "pupil.test",
        "a b",
        "abc-1",
        "OK",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", found["time"])
    assert "\n" not in forged
    assert "request_id" not in json.loads(line_of(logs.JsonFormatter()))


def test_a_line_of_text_names_the_call_between_brackets() -> None:
    def lines() -> tuple[str, str]:
        logs.about("abc-1")
        return line_of(logs.TextFormatter()), line_of(logs.TextFormatter(), args=("b\nERROR forged",))

    plain, forged = copy_context().run(lines)
    assert plain.endswith("INFO pupil.test [abc-1]: a b")
    assert "\n" not in forged
    assert line_of(logs.TextFormatter()).endswith("INFO pupil.test: a b")


def test_a_workers_lines_carry_its_number() -> None:
    def named() -> str:
        logs.about("abc-1")
        return line_of(logs.TextFormatter(2))

    assert copy_context().run(named).endswith("INFO pupil.test [worker 2] [abc-1]: a b")
    assert line_of(logs.TextFormatter(2)).endswith("INFO pupil.test [worker 2]: a b")
    assert json.loads(line_of(logs.JsonFormatter(2)))["worker"] == 2
    assert "worker" not in json.loads(line_of(logs.JsonFormatter()))


@pytest.mark.parametrize("given", ["", "two words", "line\nbreak", "x" * 65, "ümlaut", '"'])
def test_an_id_that_is_not_sane_is_replaced_by_one_of_ours(given: str) -> None:
    found = logs.call_id({"x-request-id": given})
    assert found != given
    assert logs.SANE.fullmatch(found)
    assert logs.call_id({}) != found


def test_failures_are_all_logged_and_successes_by_their_share(caplog) -> None:
    caplog.set_level(logging.INFO)
    nothing, everything = AccessLog(0.0), AccessLog(1.0)
    for access in (nothing, everything):
        access.ended(call(token="shop"), Code.OK, 0.5, None)
        access.ended(call(), Code.UNAUTHENTICATED, 0.5, Unauthenticated("unknown token"))
    assert [record.facts for record in caplog.records] == [
        {**facts, "method": "pupil.v1.Inference/Classify", "seconds": 0.5, "peer": "ipv4:127.0.0.1:1"}
        for facts in (
            {"code": "UNAUTHENTICATED", "token": "", "why": "unknown token"},
            {"code": "OK", "token": "shop"},
            {"code": "UNAUTHENTICATED", "token": "", "why": "unknown token"},
        )
    ]
    assert "code=OK" in caplog.text
    assert "token=shop" in caplog.text


def test_a_flood_of_failures_does_not_become_a_flood_of_lines(caplog) -> None:
    caplog.set_level(logging.INFO)
    access = AccessLog(0.0)
    for _ in range(5000):
        access.ended(call(), Code.UNAUTHENTICATED, 0.0, Unauthenticated("no token"))
    assert 500 <= len(caplog.records) < 5000


def test_an_id_goes_from_the_caller_through_the_log_and_back(start, connect, toolbox) -> None:
    with start("--log-format", "json", "--access-log", "1") as server:
        stubs = connect(server.address)
        asked = models_pb2.ListModelsRequest()
        _, named = stubs.models.List.with_call(asked, timeout=PATIENCE, metadata=(("x-request-id", "order-66"),))
        _, unnamed = stubs.models.List.with_call(asked, timeout=PATIENCE)
        with pytest.raises(grpc.RpcError) as failed:
            stubs.models.Load(models_pb2.LoadModelRequest(name="nobody"), timeout=PATIENCE)
        plan = pb.PseudoLabelRequest(plan=pb.LabelPlan(model=pb.ModelSpec(name="nobody")))
        stream = stubs.inference.PseudoLabel(iter([plan]), timeout=PATIENCE)
        with pytest.raises(grpc.RpcError):
            list(stream)
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert request_id(named) == "order-66"
    ids = [request_id(found) for found in (named, unnamed, failed.value, stream)]
    assert len(set(ids)) == 4
    access = {line["request_id"]: (line["method"], line["code"]) for line in lines if line["logger"] == "pupil.access"}
    assert access == {
        ids[0]: ("pupil.v1.Models/List", "OK"),
        ids[1]: ("pupil.v1.Models/List", "OK"),
        ids[2]: ("pupil.v1.Models/Load", "NOT_FOUND"),
        ids[3]: ("pupil.v1.Inference/PseudoLabel", "NOT_FOUND"),
    }
    (load,) = [line for line in lines if line["logger"] == "pupil.models"]
    assert load["request_id"] == ids[2]  # what a handler logs belongs to its call


def test_nothing_of_an_image_is_logged(start, connect) -> None:
    with start("--access-log", "1") as server:
        request = pb.ClassifyRequest(model=STUDENT, images=pb.Images(encoded=[b"PRIVATE!"]))
        with pytest.raises(grpc.RpcError):
            connect(server.address).inference.Classify(request, timeout=PATIENCE)
        log = server.log.read_text()
    assert "code=INVALID_ARGUMENT" in log
    assert "PRIVATE" not in log
