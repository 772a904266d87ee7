"""Workers that die, a supervisor that dies, and an orderly end."""

import os
import re
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import grpc
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc
from pupil_server.gateway import MOST_POSTS
from pupil_server.tokens import hash_of

PATIENCE = 20.0
ANSWERED = re.compile(r'^pupil_requests_total{code="OK",method="pupil.v1.Inference/Classify"} (\S+)$', re.MULTILINE)


class Caller(threading.Thread):
    """Asks over one connection until told to stop; counts the answers, and keeps the failures."""

    def __init__(self, crew, request: pb.ClassifyRequest) -> None:
        super().__init__(daemon=True)
        self.channel, self.request = crew.channel(), request
        self.enough = threading.Event()
        self.answered = 0
        self.failures: list[grpc.StatusCode] = []

    def run(self) -> None:
        stub = inference_pb2_grpc.InferenceStub(self.channel)
        while not self.enough.is_set():
            try:
                stub.Classify(self.request, timeout=PATIENCE)
                self.answered += 1
            except grpc.RpcError as error:
                self.failures.append(error.code())


@contextmanager
def calling(crew, request: pb.ClassifyRequest, count: int) -> Iterator[list[Caller]]:
    """So many callers, who have ended when the block has."""
    callers = [Caller(crew, request) for _ in range(count)]
    try:
        for caller in callers:
            caller.start()
        yield callers
    finally:
        for caller in callers:
            caller.enough.set()
        for caller in callers:
            caller.join(timeout=PATIENCE)
            caller.channel.close()


def answered(crew) -> float:
    found = ANSWERED.search(crew.get("metrics")[1])
    return float(found[1]) if found else 0.0


def test_a_killed_worker_returns_while_the_other_answers_and_no_counter_falls(crewed, picture, becomes) -> None:
    with crewed() as crew:
        with calling(crew, picture, 8) as callers:
            becomes(lambda: min(caller.answered for caller in callers) > 50)
            before, seen = crew.processes(), [answered(crew)]
            os.kill(before[0], signal.SIGKILL)

            def noticed() -> bool:
                seen.append(answered(crew))
                return before[0] not in crew.processes()

            becomes(noticed)
            seen.append(answered(crew))
            had = sum(caller.answered for caller in callers)
            becomes(lambda: sum(caller.answered for caller in callers) > had + 20)
            assert crew.get("readyz")[1] in ("worker 1 of 2 is not ready\n", "worker 2 of 2 is not ready\n")
            assert crew.get("livez") == (200, "ok\n")

            def returned() -> bool:
                seen.append(answered(crew))
                return crew.get("readyz") == (200, "ok\n")

            becomes(returned)
        seen.append(answered(crew))
        assert seen == sorted(seen)
        assert {code for caller in callers for code in caller.failures} <= {grpc.StatusCode.UNAVAILABLE}
        assert crew.counted("pupil_worker_restarts_total") == 1
        assert (len(crew.processes()), len(set(crew.processes()) - set(before))) == (2, 1)
        assert "was ended by SIGKILL; it is started anew" in crew.server.log.read_text()


def test_the_end_under_load_drops_no_call_that_was_let_in(crewed, picture, becomes) -> None:
    with crewed("--drain-delay", "0.3") as crew:
        processes, folder = crew.processes(), crew.folder()
        with calling(crew, picture, 6) as callers:
            becomes(lambda: min(caller.answered for caller in callers) > 5)
            for process in processes:
                os.kill(process, signal.SIGTERM)  # as a service manager does; it must not count as the second one
            crew.server.process.send_signal(signal.SIGTERM)
            assert crew.server.process.wait(timeout=PATIENCE) == 0
        # After the door is closed a caller hears UNAVAILABLE, which is safe to retry elsewhere; nothing else.
        assert {code for caller in callers for code in caller.failures} <= {grpc.StatusCode.UNAVAILABLE}
        assert "Traceback" not in crew.server.log.read_text()
        assert not folder.exists()
        assert not any(Path(f"/proc/{process}").exists() for process in processes)


@pytest.mark.parametrize("how", ["killed", "told twice"])
def test_workers_never_outlive_their_supervisor(crewed, picture, becomes, how: str) -> None:
    with crewed("--drain-delay", "10") as crew:
        processes, folder = crew.processes(), crew.folder()
        if how == "killed":
            crew.server.process.kill()
        else:
            crew.server.process.terminate()
            becomes(lambda: crew.get("readyz")[0] == 503)
            crew.server.process.terminate()
        assert crew.server.process.wait(timeout=PATIENCE) == (-signal.SIGKILL if how == "killed" else -signal.SIGTERM)
        becomes(lambda: not any(Path(f"/proc/{process}").exists() for process in processes))
        becomes(lambda: not folder.exists())


def test_a_quota_holds_over_all_and_a_sighup_reaches_them_all(crewed, picture, tmp_path, becomes, toolbox) -> None:
    tokens = tmp_path / "tokens.toml"
    entry = '[[token]]\nname = "{0}"\nsha256 = "{1}"\nscopes = ["infer"]\n'
    limited = entry.format("few", hash_of("few")) + "images_per_second = 0.0001\nburst = 10\n"
    tokens.write_text(limited + entry.format("many", hash_of("many")))
    with crewed("--tokens", str(tokens)) as crew:
        channels = [crew.channel() for _ in range(24)]

        def answers(token: str) -> list[grpc.Future]:
            """What each connection hears, which may be either worker's answer."""
            said = (("authorization", f"Bearer {token}"),)
            stubs = [inference_pb2_grpc.InferenceStub(channel) for channel in channels]
            asked = [stub.Classify.future(picture, timeout=PATIENCE, metadata=said) for stub in stubs]
            assert [each.exception() and None for each in asked] == [None] * 24  # all have ended
            return asked

        codes = sorted(answer.code().name for answer in answers("few"))
        assert codes == ["OK"] * 10 + ["RESOURCE_EXHAUSTED"] * 14
        assert {answer.result().answered_by.version for answer in answers("many")} == {1}
        folder = crew.folder()
        assert min(crew.asked(folder, number) for number in (1, 2)) > 0
        toolbox.write_bundle(crew.repository, "student", 2, seed=3)
        crew.server.process.send_signal(signal.SIGHUP)
        said = re.compile(r"\[worker (\d)\].*: student means student/2 from now on")
        becomes(lambda: sorted(said.findall(crew.server.log.read_text())) == ["1", "2"])
        assert {answer.result().answered_by.version for answer in answers("many")} == {2}
        for channel in channels:
            channel.close()


def test_a_worker_that_hangs_keeps_a_post_for_its_deadline_and_the_gateway_for_nobody_else(crewed, toolbox) -> None:
    picture = toolbox.png(toolbox.random_pixels(1, seed=6)[0])

    def post(crew, seconds: str) -> int:
        headers = {"Content-Type": "image/png", "X-Timeout-Seconds": seconds}
        posted = urllib.request.Request(f"http://{crew.http}/v1/models/student:classify", picture, headers)
        try:
            with urllib.request.urlopen(posted, timeout=PATIENCE) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    with crewed("--http-gateway") as crew, ThreadPoolExecutor(2 * MOST_POSTS) as posts:
        hangs = crew.processes()[0]
        os.kill(hangs, signal.SIGSTOP)
        try:
            codes = list(posts.map(partial(post, crew), ["0.1"] * 2 * MOST_POSTS))
            assert codes.count(504) in range(1, MOST_POSTS + 1)
            assert set(codes) <= {200, 429, 504}
        finally:
            os.kill(hangs, signal.SIGCONT)
        assert [post(crew, "10") for _ in range(2)] == [200, 200]
