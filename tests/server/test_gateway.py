import http.client
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from pupil_server.operations import OperationsServer

PATIENCE = 20.0
CLASSIFY = "/v1/models/student:classify"
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, toolbox) -> Iterator:
    """One server with the gateway on, for the tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("gateway") / "repository"
    toolbox.write_bundle(folder, "teacher", seed=1)
    toolbox.write_bundle(folder, "student", seed=2, teacher="teacher")
    toolbox.write_bundle(folder, "student", 2, seed=3)
    toolbox.write_bundle(folder, "lone", seed=2, teacher="nobody")
    (folder / "student/aliases.json").write_text('{"stable": 1}')
    with toolbox.run_server(folder, "--http-gateway", "--max-message-mb", "1") as running:
        yield running


def post(address: str, path: str, body, headers: dict[str, str] = PNG, method: str = "POST"):
    """Status, headers and JSON of the answer."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), json.loads(answer.read())
    finally:
        connection.close()


def get(address: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def form(*files: bytes, boundary: str = "x") -> tuple[bytes, dict[str, str]]:
    part = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    edge = f"--{boundary}".encode()
    body = b"".join(edge + b"\r\n" + part + file + b"\r\n" for file in files) + edge + b"--\r\n"
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def test_who_gets_where_he_should_post_is_told_so(gateway) -> None:
    wanted = b"/metrics, /livez or /readyz, or POST /v1/models/NAME:classify\n"
    assert get(gateway.http, CLASSIFY) == (404, wanted)


def test_an_image_gets_its_labels_scores_and_who_answered(gateway, toolbox) -> None:
    pixels = toolbox.random_pixels(1, seed=4)
    status, headers, answer = post(gateway.http, f"{CLASSIFY}?top_k=3", toolbox.png(pixels[0]))
    assert (status, headers["Content-Type"]) == (200, "application/json")
    (scores,) = toolbox.linear_scores(pixels, seed=3)
    best = (-scores).argsort()[:3]
    top = answer["predictions"][0]["top"]
    assert [(one["label"], one["index"]) for one in top] == [(toolbox.classes[index], index) for index in best]
    assert [one["score"] for one in top] == pytest.approx(scores[best], abs=1e-5)
    by = answer["answered_by"]
    assert (by["model"], by["version"], by["precision"]) == ("student", "2", "fp32")
    assert not [name for name in headers if name.startswith("Access-Control")]


def test_a_cascade_leaves_what_the_student_is_not_sure_of_to_its_teacher(gateway, toolbox) -> None:
    body = toolbox.png(toolbox.random_pixels(1, seed=4)[0])
    for limit, route in ((0.02, "ROUTE_TEACHER"), (0.97, "ROUTE_STUDENT")):  # the pair agrees on a twelfth
        _, _, answer = post(gateway.http, f"{CLASSIFY}?cascade={limit}&version=1", body)
        assert answer["routes"] == [route]
    lone = "/v1/models/lone:classify?cascade=0.97"
    assert "not loaded" in post(gateway.http, lone, body)[2]["error"]["message"]
    _, _, answer = post(gateway.http, f"{lone}&student_alone=true", body)
    assert answer["routes"] == ["ROUTE_STUDENT_UNAVAILABLE"]
    assert "certificate" not in answer
    _, _, answer = post(gateway.http, f"{CLASSIFY}?cascade=0.97&version=1&goal=worse", body)
    assert answer["certificate"]["goal"] == "CASCADE_GOAL_WORSE"


def test_version_and_alias_choose_who_answers(gateway, toolbox) -> None:
    image = toolbox.png(toolbox.random_pixels(1, seed=4)[0])
    for query, version in (("", "2"), ("?version=1", "1"), ("?alias=stable", "1")):
        assert post(gateway.http, CLASSIFY + query, image)[2]["answered_by"]["version"] == version


def test_a_form_carries_several_images_and_the_broken_one_is_named(gateway, toolbox) -> None:
    pixels = toolbox.random_pixels(3, seed=5)
    files = [toolbox.png(image) for image in pixels]
    _, _, answer = post(gateway.http, CLASSIFY, *form(*files))
    best = toolbox.linear_scores(pixels, seed=3).argmax(axis=1)
    assert [one["top"][0]["index"] for one in answer["predictions"]] == best.tolist()
    status, _, answer = post(gateway.http, CLASSIFY, *form(files[0], files[1][:40], files[2]))
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert answer["error"]["message"].startswith("image 2 of 3: ")


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_sends_a_file_and_a_form(gateway, toolbox, tmp_path: Path) -> None:
    pixels = toolbox.random_pixels(2, seed=6)
    names = []
    for place, image in enumerate(pixels):
        names.append(tmp_path / f"{place}.png")
        names[-1].write_bytes(toolbox.png(image))
    best = toolbox.linear_scores(pixels, seed=3).argmax(axis=1).tolist()
    url = f"http://{gateway.http}{CLASSIFY}"

    def curl(*options: str) -> list[int]:
        ran = subprocess.run(["curl", "-s", *options, url], capture_output=True, timeout=PATIENCE, check=True)
        return [one["top"][0]["index"] for one in json.loads(ran.stdout)["predictions"]]

    assert curl("-H", "Content-Type: image/png", "--data-binary", f"@{names[0]}") == best[:1]
    assert curl("-F", f"image=@{names[0]}", "-F", f"image=@{names[1]}") == best


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "says"),
    [
        ("/v1/models/nobody:classify", b"x", PNG, 404, "no model nobody"),
        (f"{CLASSIFY}?alias=gold", b"x", PNG, 404, "no alias 'gold'"),
        ("/v1/models/student", b"x", PNG, 400, "/v1/models/NAME:classify is wanted"),
        (CLASSIFY, b"GIF89a", PNG, 400, "image 1 of 1"),
        (CLASSIFY, b"x", {}, 400, "Content-Type: none; image/jpeg or the like is wanted"),
        (CLASSIFY, b"x", {"Content-Type": "multipart/form-data"}, 400, "without its boundary"),
        (CLASSIFY, b"--x\r\n\r\n\r\nhalf", form()[1], 400, "no last boundary"),
        (CLASSIFY, b"--x\r\nno blank line\r\n--x--", form()[1], 400, "without the blank line"),
        (CLASSIFY, form()[0], form()[1], 400, "images: none"),
        (CLASSIFY, b"--x\r\n\r\n\r\n" * 2000 + b"--x--", form()[1], 400, "no last boundary within 1,024 parts"),
        (f"{CLASSIFY}?topk=3", b"x", PNG, 400, "query: 'topk' is not known; known: top_k, version, alias, cascade"),
        (f"{CLASSIFY}?cascade=a", b"x", PNG, 400, "query: cascade=a; a number between 0 and 1 is wanted"),
        (f"{CLASSIFY}?cascade=0.1&goal=cheap", b"x", PNG, 400, "goal=cheap; one of disagreement, worse, accuracy"),
        (f"{CLASSIFY}?cascade=0.1&student_alone=1", b"x", PNG, 400, "student_alone=1; true or false is wanted"),
        (f"{CLASSIFY}?goal=worse", b"x", PNG, 400, "query: goal without cascade=LIMIT"),
        (f"{CLASSIFY}?top_k=-1", b"x", PNG, 400, "top_k=-1; a whole number is wanted"),
        (f"{CLASSIFY}?top_k", b"x", PNG, 400, "query: not understood"),
        (f"{CLASSIFY}?version=1&alias=a", b"x", PNG, 400, "one of version and alias"),
        (CLASSIFY, b"x", {**PNG, "X-Timeout-Seconds": "nan"}, 400, "X-Timeout-Seconds: 'nan'; a number above 0"),
        (CLASSIFY, b"x", {**PNG, "X-Timeout-Seconds": "1e-9"}, 504, "deadline"),
        (CLASSIFY, b"x" * 1_000_001, PNG, 413, "1,000,001 bytes, at most 1,000,000 are allowed"),
        (CLASSIFY, iter([b"x"]), PNG, 411, "Content-Length is wanted"),
    ],
)
def test_an_error_has_its_http_status_and_says_what_is_wrong(gateway, path, body, headers, status, says) -> None:
    found, _, answer = post(gateway.http, path, body, headers)
    assert (found, answer["error"]["code"]) == (status, status)
    assert says in answer["error"]["message"]


def test_a_full_queue_says_when_to_come_back(start, toolbox) -> None:
    images = [toolbox.png(image) for image in toolbox.random_pixels(4, seed=1)]
    with start("--http-gateway", "--max-queue-images", "4", "--default-deadline", "60") as server:
        rounds, seen = 0, set()
        body, headers = form(*images)

        def ask() -> None:
            status, answered, _ = post(server.http, CLASSIFY, body, headers)
            seen.add((status, answered.get("Retry-After")))

        while (429, "1") not in seen and rounds < 50:
            callers = [threading.Thread(target=ask) for _ in range(8)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(PATIENCE)
            rounds += 1
        assert seen == {(200, None), (429, "1")}


def test_the_gateway_is_off_unless_it_was_asked_for(server) -> None:
    status, headers, answer = post(server.http, CLASSIFY, b"x")
    assert (status, headers["Connection"]) == (404, "close")
    assert "--http-gateway turns it on" in answer["error"]["message"]


def test_what_came_over_http_is_counted_like_every_other_call(gateway, toolbox) -> None:
    post(gateway.http, CLASSIFY, toolbox.png(toolbox.random_pixels(1, seed=0)[0]))
    _, metrics = get(gateway.http, "/metrics")
    assert b'pupil_requests_total{code="OK",method="pupil.v1.Inference/Classify"}' in metrics


def test_clients_that_hang_do_not_keep_a_probe_out(gateway) -> None:
    host, port = gateway.http.split(":")
    hanging = [socket.create_connection((host, int(port)), timeout=PATIENCE) for _ in range(100)]
    for place, connection in enumerate(hanging):  # half a request line, half a body
        head = b"GET /met" if place % 2 else f"POST {CLASSIFY} HTTP/1.1\r\nContent-Length: 9\r\n\r\n".encode()
        connection.sendall(head)
    assert get(gateway.http, "/livez") == (200, b"ok\n")
    assert get(gateway.http, "/readyz") == (200, b"ok\n")
    for connection in hanging:
        connection.close()


def test_two_requests_share_a_connection(gateway, toolbox) -> None:
    image = toolbox.png(toolbox.random_pixels(1, seed=0)[0])
    connection = http.client.HTTPConnection(gateway.http, timeout=PATIENCE)
    for _ in range(2):
        connection.request("POST", CLASSIFY, body=image, headers=PNG)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
    connection.close()


class Broken:
    """A gateway with a fault of ours in it."""

    max_body = 100

    def __init__(self) -> None:
        self.places = threading.BoundedSemaphore(1)

    def answer(self, target, headers, body, peer):
        raise RuntimeError("of no concern to a caller")


def test_a_fault_of_the_gateway_itself_is_an_incident_that_the_log_explains(caplog) -> None:
    broken = Broken()
    http = OperationsServer(
        ("127.0.0.1", 0),
        registry=CollectorRegistry(),
        is_live=lambda: "",
        is_ready=lambda: "",
        gateway=broken,
    )
    try:
        status, _, answer = post(f"127.0.0.1:{http.port}", CLASSIFY, b"x")
        assert (status, answer["error"]["status"]) == (500, "INTERNAL")
        said, _, incident = answer["error"]["message"].rpartition(" ")
        assert said == "internal error, incident"
        assert incident in caplog.text
        assert "of no concern" in caplog.text
        assert broken.places.acquire(timeout=PATIENCE)  # its place is free again, a moment after the answer
    finally:
        http.close()


def conversation(address: str, *sent: bytes) -> bytes:
    """What comes back for these bytes until the server hangs up."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(b"".join(sent))
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_what_stands_in_a_body_is_never_taken_for_a_request(gateway) -> None:
    inside = b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"
    length = b"Content-Length: %d\r\n" % len(inside)
    for lengths in (length, b"Content-Length: 0\r\n" + length):
        got = conversation(gateway.http, b"GET /readyz HTTP/1.1\r\n", lengths, b"\r\n", inside)
        assert got.count(b"HTTP/1.1 ") == 1
        assert got.endswith(b"\r\n\r\nok\n")
        assert b"\r\nConnection: close\r\n" in got  # or the client would send its next request here
    post = b"POST /v1/models/student:classify HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 0\r\n"
    got = conversation(gateway.http, post, length, b"\r\n", inside)
    assert got.startswith(b"HTTP/1.1 411 ")
    assert got.count(b"HTTP/1.1 ") == 1


def test_a_probe_by_head_is_answered_without_a_body(gateway) -> None:
    got = conversation(gateway.http, b"HEAD /readyz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"Content-Length: 3\r\n\r\n")
