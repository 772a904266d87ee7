"""What a call may be and what it gets, seen from the other end of a socket, frame by frame."""

import asyncio
import base64
import gzip

import grpc.aio
import pytest

from pupil_proto.v1 import models_pb2 as pb

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
NO_ERROR, CANCEL = 0, 8
INITIAL_WINDOW = 4
ONE, HANG, FAIL = "/test.Echo/One", "/test.Echo/Hang", "/test.Echo/Fail"
LARGE, TALK, UNREAD = "/test.Echo/Large", "/test.Echo/Talk", "/test.Echo/Unread"
OK = {"grpc-status": "0"}


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def status(answer) -> tuple[str, str]:
    return answer.headers["grpc-status"], answer.headers.get("grpc-message", "")


def test_many_calls_on_one_connection_get_their_own_answers(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            for number in range(200):
                peer.ask(2 * number + 1, ONE, tools.message(f"call {number}"))
            for number in range(200):
                answer = await peer.answer(2 * number + 1)
                assert tools.names(answer.body) == [f"call {number}"]
                assert answer.headers.pop("x-request-id")
                assert answer.headers == {
                    ":status": "200",
                    "content-type": "application/grpc",
                    "grpc-accept-encoding": "identity,gzip",
                    "grpc-status": "0",
                }

    run(test())


def test_however_a_conversation_is_split_into_reads_it_gets_the_same_answers(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            for size in (1, 2, 3, 7, 9, 50, 1000):
                peer = await lean.connect(hello=False)
                wire = bytearray()
                peer.send = lambda *parts, wire=wire: wire.extend(b"".join(parts))
                peer.hello()
                peer.ask(1, ONE, tools.message("one"))
                peer.send(
                    peer.head(3, TALK), tools.frame(DATA, 0, 3, tools.message("two") + tools.message("three")[:4])
                )
                peer.ask(5, FAIL, tools.message("four"))
                peer.send(tools.frame(DATA, END_STREAM, 3, tools.message("three")[4:] + tools.message("five")))
                for start in range(0, len(wire), size):
                    peer.writer.write(bytes(wire[start : start + size]))
                    await peer.writer.drain()
                    await asyncio.sleep(0)  # the server's turn
                assert tools.names((await peer.answer(1)).body) == ["one"]
                assert tools.names((await peer.answer(3)).body) == ["two", "three", "five"]
                assert status(await peer.answer(5)) == ("5", "four")

    run(test())


def test_an_error_without_an_answer_is_headers_only_and_its_text_is_percent_encoded(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            peer.ask(1, FAIL, tools.message("100 % Größe"))
            assert status(await peer.answer(1)) == ("5", "100 %25 Gr%C3%B6%C3%9Fe")
            assert [kind for kind, _, stream, _ in peer.frames if stream == 1] == [HEADERS]

    run(test())


def test_a_handler_sees_text_and_binary_metadata_its_deadline_and_its_peer(tools) -> None:
    async def test() -> None:
        async with tools.lean(deadline=7.0) as lean:
            peer = await lean.connect()
            binary = base64.b64encode(b"\0\xff").decode().rstrip("=")
            peer.ask(1, ONE, tools.message(), ("x-a", "b"), ("x-bin", binary), ("grpc-timeout", "100S"))
            peer.ask(3, ONE, tools.message())
            await peer.answer(1)
            await peer.answer(3)
            first, second = lean.handlers.calls
            assert first.metadata == {"x-a": "b", "x-bin": b"\0\xff"}
            assert 90 < first.remaining() <= 100
            assert 0 < second.remaining() <= 7
            assert first.method == "test.Echo/One"
            assert first.peer.startswith("ipv4:127.0.0.1:")

    run(test())


@pytest.mark.parametrize(
    ("path", "more", "body", "wanted"),
    [
        ("/test.Echo/Nothing", (), 1, {":status": "200", "grpc-status": "12"}),
        ("/", (), 1, {":status": "200", "grpc-status": "12"}),
        (ONE, (("content-type", "application/json"),), 1, {":status": "415"}),
        (ONE, (("content-type", "application/grpc-web"),), 1, {":status": "415"}),
        (ONE, (("content-type", "application/grpc+proto"),), 1, {":status": "200", "grpc-status": "0"}),
        (ONE, ((":method", "PUT"),), 1, {":status": "405"}),
        (ONE, (("grpc-timeout", "soon"),), 1, {":status": "200", "grpc-status": "3"}),
        (ONE, (("grpc-encoding", "zstd"),), 1, {"grpc-status": "12", "grpc-accept-encoding": "identity,gzip"}),
        (ONE, (("x-bin", "???"),), 1, {":status": "200", "grpc-status": "3"}),
        (ONE, (), 0, {":status": "200", "grpc-status": "12"}),
        (ONE, (), 2, {":status": "200", "grpc-status": "12"}),
        (LARGE, (), 0, {":status": "200", "grpc-status": "12"}),
        (TALK, (), 0, {":status": "200", "grpc-status": "0"}),
    ],
)
def test_what_is_no_call_of_ours_is_told_what_it_lacks(tools, path, more, body: int, wanted: dict[str, str]) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            peer.ask(1, path, tools.message("x") * body, *more)
            answer = await peer.answer(1)
            assert {name: answer.headers.get(name) for name in wanted} == wanted
            peer.ask(3, ONE, tools.message("y"))  # the connection is none the worse
            assert tools.names((await peer.answer(3)).body) == ["y"]

    run(test())


def test_gzip_is_read_and_a_bomb_of_gzip_is_refused(tools) -> None:
    async def test() -> None:
        async with tools.lean(message_bytes=1_000_000) as lean:
            peer = await lean.connect()
            good = gzip.compress(pb.UnloadModelRequest(name="packed").SerializeToString())
            announced = ("grpc-encoding", "gzip")
            peer.ask(1, ONE, tools.message(compressed=good), announced)
            peer.ask(3, ONE, tools.message(compressed=gzip.compress(bytes(50_000_000))), announced)
            peer.ask(5, ONE, tools.message(compressed=good))
            peer.ask(7, ONE, tools.message(compressed=b"rubbish"), announced)
            peer.ask(9, TALK, tools.message(compressed=good) + tools.message("plain"), announced)
            assert tools.names((await peer.answer(1)).body) == ["packed"]
            code, text = status(await peer.answer(3))
            assert (code, "at most 1,000,000" in text) == ("8", True)
            assert status(await peer.answer(5))[0] == "13"
            assert status(await peer.answer(7))[0] == "13"
            assert tools.names((await peer.answer(9)).body) == ["packed", "plain"]

    run(test())


def test_a_request_that_is_too_large_is_refused_before_it_has_arrived(tools) -> None:
    async def test() -> None:
        async with tools.lean(message_bytes=1000) as lean:
            peer = await lean.connect()
            peer.send(peer.head(1, ONE), tools.frame(DATA, 0, 1, b"\0\0\0\x03\xe9"))
            answer = await peer.answer(1)
            assert status(answer) == ("8", "a message of 1,001 bytes, at most 1,000 are allowed")
            await peer.until(lambda: answer.reset is not None)
            assert answer.reset == NO_ERROR

    run(test())


def test_a_request_that_ends_inside_a_message_is_refused(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            peer.ask(1, ONE, tools.message("cut off")[:-1])
            peer.ask(3, TALK, tools.message("whole") + tools.message("cut off")[:-1])
            assert status(await peer.answer(1))[0] == "13"
            answer = await peer.answer(3)
            assert tools.names(answer.body) == ["whole"]
            assert status(answer) == ("13", "the stream ended in the middle of a message")

    run(test())


def test_a_reset_and_a_dropped_connection_cancel_the_handlers(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            for stream in (1, 3, 5):
                peer.ask(stream, HANG, tools.message())
            peer.send(peer.head(7, UNREAD))
            await lean.eventually(lambda: lean.handlers.begun == 4)
            peer.send(tools.frame(RST_STREAM, 0, 3, (CANCEL).to_bytes(4)))
            await lean.eventually(lambda: lean.handlers.cancelled == 1)
            peer.writer.transport.abort()
            await lean.eventually(lambda: lean.handlers.cancelled == 4)
            await lean.works()

    run(test())


def test_a_deadline_ends_every_kind_of_call_on_the_server_too(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            soon = ("grpc-timeout", "50m")
            peer.ask(1, HANG, tools.message(), soon)
            peer.send(peer.head(3, UNREAD, soon), peer.head(5, TALK, soon), peer.head(7, ONE, soon))
            for stream in (1, 3, 5, 7):
                assert status(await peer.answer(stream))[0] == "4"
            await lean.eventually(lambda: lean.handlers.cancelled == 2)

    run(test())


def test_a_reader_who_gives_no_window_stops_its_own_stream_and_nothing_else(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect((INITIAL_WINDOW, 0))
            peer.send(tools.frame(WINDOW_UPDATE, 0, 0, (2**30).to_bytes(4)))
            peer.ask(1, LARGE, tools.message("1000"))  # 10 MB
            peer.ask(3, ONE, tools.message("quick"))
            peer.send(tools.frame(WINDOW_UPDATE, 0, 3, (2**20).to_bytes(4)))
            assert tools.names((await peer.answer(3)).body) == ["quick"]
            held_back = lean.handlers.sent
            assert held_back < 20  # of 1,000: the handler waits
            peer.send(tools.frame(WINDOW_UPDATE, 0, 1, (100_000).to_bytes(4)))
            await peer.until(lambda: len(peer.answers.get(1, peer.answers[3]).body) == 100_000)
            assert held_back < lean.handlers.sent < held_back + 20
            peer.send(tools.frame(WINDOW_UPDATE, 0, 1, (2**30).to_bytes(4)))
            assert len(tools.names((await peer.answer(1)).body)) == 1000

    run(test())


def test_a_stream_that_is_not_read_stops_its_sender_and_goes_on_when_it_is(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            part = tools.frame(DATA, 0, 1, tools.message("x" * 15_000))
            peer.send(peer.head(1, UNREAD))
            for _ in range(60):  # 900 kB, within the megabyte of a stream
                peer.send(part)
            peer.ask(3, ONE, tools.message("quick"))
            await peer.answer(3)
            assert peer.window.get(1, 0) == 0
            lean.handlers.go_on.set()
            await peer.until(lambda: peer.window.get(1, 0) > 500_000)
            peer.send(tools.frame(DATA, END_STREAM, 1))
            assert tools.names((await peer.answer(1)).body) == ["60"]

    run(test())


def test_what_all_requests_hold_together_has_a_limit_and_comes_free_again(tools) -> None:
    async def test() -> None:
        async with tools.lean(held_bytes=100_000) as lean:
            peer = await lean.connect()
            half = tools.message("x" * 60_000)[:50_000]
            peer.send(
                peer.head(1, ONE), *(tools.frame(DATA, 0, 1, half[i : i + 10_000]) for i in range(0, 50_000, 10_000))
            )
            peer.ask(3, ONE, tools.message("small"))
            assert status(await peer.answer(3))[0] == "0"
            peer.ask(5, ONE, tools.message("y" * 60_000))
            answer = await peer.answer(5)
            assert (answer.headers["grpc-status"], answer.headers["retry-after-ms"]) == ("8", "100")
            peer.send(tools.frame(RST_STREAM, 0, 1, (CANCEL).to_bytes(4)))
            peer.ask(7, ONE, tools.message("y" * 60_000))
            assert status(await peer.answer(7))[0] == "0"

    run(test())


# Other ways in


def test_grpcs_own_client_is_served_on_a_socket_file(tools, tmp_path) -> None:
    async def test() -> None:
        file = tmp_path / "socket"
        async with tools.lean(unix=file), grpc.aio.insecure_channel(f"unix:{file}") as channel:
            assert await channel.unary_unary(ONE)(b"\n\x01x", timeout=20) == b"\n\x01x"

    run(test())
