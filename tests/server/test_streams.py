import asyncio
from collections.abc import AsyncGenerator

import pytest

from pupil_server.streams import in_order


async def numbers(count: int) -> AsyncGenerator[int, None]:
    for number in range(count):
        yield number


def test_answers_keep_the_order_of_their_requests_whoever_finishes_first() -> None:
    async def run() -> list[int]:
        finished = [asyncio.Event() for _ in range(6)]
        for event in finished[4:]:
            event.set()

        async def work(number: int) -> int:
            if number == 3:  # the last of the first four to begin lets the others go, in reverse
                for event in reversed(finished):
                    event.set()
            await finished[number].wait()
            return number

        return [answer async for answer in in_order(numbers(6), work, ahead=4)]

    assert asyncio.run(run()) == list(range(6))


def test_no_more_than_so_many_requests_are_in_work() -> None:
    async def run() -> int:
        inside, most = 0, 0

        async def work(number: int) -> int:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            for _ in range(5):
                await asyncio.sleep(0)
            inside -= 1
            return number

        assert [answer async for answer in in_order(numbers(50), work, ahead=3)] == list(range(50))
        return most

    assert asyncio.run(run()) == 3


def test_an_error_in_one_request_ends_the_stream_after_the_answers_before_it_and_cancels_the_rest() -> None:
    async def work(number: int) -> int:
        if number == 2:
            raise ValueError("number 2")
        if number > 2:
            await asyncio.Event().wait()
        return number

    async def run() -> list[int]:
        answers = []
        with pytest.raises(ValueError, match="number 2"):
            async for answer in in_order(numbers(20), work, ahead=4):
                answers.append(answer)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return answers

    assert asyncio.run(run()) == [0, 1]


def test_an_error_of_the_sender_comes_after_the_answers_to_what_it_sent() -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise ConnectionError("hung up")

    async def work(number: int) -> int:
        return number

    async def run() -> list[int]:
        answers = []
        with pytest.raises(ConnectionError):
            async for answer in in_order(broken(), work):
                answers.append(answer)
        return answers

    assert asyncio.run(run()) == [1]
