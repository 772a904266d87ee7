import asyncio
import itertools

import pytest

from pupil_server.alarm import NEVER, Alarm


def test_an_alarm_rings_at_the_earliest_of_its_times_and_not_before() -> None:
    async def run() -> None:
        rang = asyncio.Event()
        alarm, loop = Alarm(), asyncio.get_running_loop()
        due = loop.time() + 0.02
        for time in (due + 1000, due, due + 500, NEVER):
            alarm.set(time, rang.set)
        async with asyncio.timeout(60):
            await rang.wait()
        assert loop.time() >= due - 0.001
        assert alarm.time == NEVER

    asyncio.run(run())


def test_between_two_rings_there_is_a_pause_however_many_times_are_already_past() -> None:
    async def run() -> None:
        rings: list[float] = []
        loop, enough = asyncio.get_running_loop(), asyncio.Event()

        def ring() -> None:
            rings.append(loop.time())
            if len(rings) == 4:
                enough.set()
            else:
                alarm.set(0.0, ring)
                alarm.set(-1.0, ring)

        alarm = Alarm(pause=0.03)
        alarm.set(0.0, ring)
        async with asyncio.timeout(60):
            await enough.wait()
        assert all(later - sooner >= 0.029 for sooner, later in itertools.pairwise(rings))

    asyncio.run(run())


def test_an_alarm_that_was_cleared_keeps_quiet_and_can_be_set_again() -> None:
    async def run() -> None:
        rang = asyncio.Event()
        alarm, loop = Alarm(), asyncio.get_running_loop()
        alarm.set(0.0, lambda: pytest.fail("it was cleared"))
        alarm.clear()
        alarm.set(loop.time() + 0.01, rang.set)
        async with asyncio.timeout(60):
            await rang.wait()

    asyncio.run(run())
