import asyncio
import contextlib
import gc
import sys
import threading
import time

import numpy as np
import pytest

from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.call import Call
from pupil_server.decoding import Decoder
from pupil_server.errors import DeadlineExceeded
from pupil_server.images import Limits
from pupil_server.metrics import Metrics
from pupil_server.priority import Priority

SIZE = InputSize(height=6, width=6, channels=3)
RESIZE = Resize(shortest_side=6, crop="center", interpolation="bilinear")


def test_an_interactive_image_is_not_decoded_behind_a_pool_of_bulk_ones(toolbox) -> None:
    files = [toolbox.png(pixels) for pixels in toolbox.random_pixels(200, seed=0)]

    async def run() -> None:
        threads = decoder()

        def decode(files: list[bytes], priority: Priority) -> asyncio.Task[tuple[np.ndarray, dict[int, object]]]:
            call = Call("test", time.monotonic() + 60, priority=priority)
            return asyncio.create_task(threads.decode(files, SIZE, RESIZE, call))

        pool = decode(files, Priority.BULK)
        await asyncio.sleep(0)
        interactive = decode(files[:1], Priority.INTERACTIVE)
        first, _ = await asyncio.wait([pool, interactive], return_when=asyncio.FIRST_COMPLETED)
        assert first == {interactive}
        np.testing.assert_array_equal((await pool)[0], toolbox.random_pixels(200, seed=0))
        threads.close()

    asyncio.run(run())


def decoder() -> Decoder:
    return Decoder(Limits(file_bytes=10_000, pixels=10_000), threads=1, metrics=Metrics())


def decoded(files: list[bytes], call: Call) -> tuple[np.ndarray, dict[int, object]]:
    async def run() -> tuple[np.ndarray, dict[int, object]]:
        with contextlib.closing(decoder()) as threads:
            return await threads.decode(files, SIZE, RESIZE, call)

    return asyncio.run(run())


def in_time(seconds: float = 60) -> Call:
    return Call("test", time.monotonic() + seconds)


def test_the_pixels_of_readable_files_stay_in_order_and_the_others_say_why_by_their_place(toolbox) -> None:
    images = toolbox.random_pixels(4, seed=1)
    files = [toolbox.png(pixels) for pixels in images]
    for broken in ([], [0], [1, 3], [0, 1, 2, 3]):
        given = [b"no image" if place in broken else file for place, file in enumerate(files)]
        pixels, why = decoded(given, in_time())
        np.testing.assert_array_equal(pixels, np.delete(images, broken, axis=0))
        assert sorted(why) == broken
        assert all("not a JPEG" in str(error) for error in why.values())


@pytest.mark.parametrize("files", [1, 3])
def test_a_file_of_a_call_that_is_out_of_time_stays_closed_and_is_let_go_at_once(files: int) -> None:
    file = b"no image" * 100

    async def run() -> None:
        threads, held = decoder(), sys.getrefcount(file)
        with contextlib.suppress(DeadlineExceeded):
            await threads.decode([file] * files, SIZE, RESIZE, in_time(-1))
            pytest.fail("it was opened")
        await asyncio.to_thread(threads.close)
        assert sys.getrefcount(file) == held

    gc.collect()
    gc.disable()  # a circle would hold the file until somebody looks for circles
    try:
        asyncio.run(run())
    finally:
        gc.enable()


@pytest.mark.parametrize("files", [1, 3])
def test_what_is_wrong_with_us_is_no_bad_image(files, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pupil_server.decoding.decode", fail)
    with pytest.raises(ZeroDivisionError):
        decoded([b""] * files, in_time())


@pytest.mark.parametrize("files", [1, 3])
def test_nothing_is_decoded_for_who_hung_up(files, monkeypatch) -> None:
    opened: list[bytes] = []
    began, go = threading.Event(), threading.Event()

    def slow(file: bytes, *_: object) -> np.ndarray:
        opened.append(file)
        began.set()
        assert go.wait(30)
        return np.zeros((6, 6, 3), np.uint8)

    async def run() -> None:
        threads = decoder()
        first = asyncio.create_task(threads.decode([b"first"], SIZE, RESIZE, in_time()))
        await asyncio.to_thread(began.wait)
        second = asyncio.create_task(threads.decode([b"second"] * files, SIZE, RESIZE, in_time()))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go.set()
        await first
        await asyncio.to_thread(threads.close)

    monkeypatch.setattr("pupil_server.decoding.decode", slow)
    asyncio.run(run())
    assert opened == [b"first"]
