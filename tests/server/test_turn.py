import asyncio
from collections.abc import Awaitable, Callable

from pupil_server import turn
from pupil_server.turn import Stage, Turn, this_turn


def run(story: Callable[[list[str]], Awaitable[None]]) -> list[str]:
    """What a story on a loop of its own noted, the loop's own turns among it."""
    noted: list[str] = []

    async def told() -> None:
        await story(noted)

    asyncio.run(told())
    return noted


def noting(noted: list[str], *words: str) -> list[Callable[[], None]]:
    return [lambda word=word: noted.append(word) for word in words]  # type: ignore[misc]


def test_what_is_left_for_the_end_of_a_turn_is_done_after_everything_else_in_it_and_in_order() -> None:
    async def story(noted: list[str]) -> None:
        for callback in noting(noted, "first", "second"):
            this_turn().at_end(Stage.RUN, callback)
        noted.append("still this turn")
        await asyncio.sleep(0)
        noted.append("the next one")

    assert run(story) == ["still this turn", "first", "second", "the next one"]


def test_who_holds_the_end_back_may_end_the_turn_at_once_and_the_loop_is_not_asked_for_another() -> None:
    async def story(noted: list[str]) -> None:
        loop, asked = asyncio.get_running_loop(), list[object]()
        turn = this_turn()
        loop.call_soon = lambda *call, **how: asked.append(call)  # type: ignore[assignment, method-assign, misc]
        turn.hold()
        for callback in noting(noted, "first", "second"):
            turn.at_end(Stage.RUN, callback)
        noted.append("held")
        turn.release(at_once=True)
        noted.append("released")
        del loop.call_soon  # type: ignore[method-assign]
        assert not asked

    assert run(story) == ["held", "first", "second", "released"]


def test_who_holds_the_end_back_may_leave_it_to_the_loop() -> None:
    async def story(noted: list[str]) -> None:
        turn = this_turn()
        turn.hold()
        turn.at_end(Stage.RUN, lambda: noted.append("end"))
        await asyncio.sleep(0)
        noted.append("held through a turn of the loop")
        turn.release(at_once=False)
        noted.append("released")
        await asyncio.sleep(0)

    assert run(story) == ["held through a turn of the loop", "released", "end"]


def test_what_was_left_before_the_hold_keeps_its_place_before_what_comes_in_it() -> None:
    async def story(noted: list[str]) -> None:
        turn = this_turn()
        before, inside = noting(noted, "before", "inside")
        turn.at_end(Stage.RUN, before)
        turn.hold()
        turn.at_end(Stage.RUN, inside)
        turn.release(at_once=True)
        noted.append("released")
        await asyncio.sleep(0)

    assert run(story) == ["released", "before", "inside"]


def test_a_turn_ends_in_stages_whatever_was_left_first() -> None:
    async def story(noted: list[str]) -> None:
        for stage in (Stage.WRITE, Stage.BEGIN, Stage.RUN, Stage.BEGIN):
            this_turn().at_end(stage, lambda stage=stage: noted.append(stage.name))  # type: ignore[misc]
        await asyncio.sleep(0)

    assert run(story) == ["BEGIN", "BEGIN", "RUN", "WRITE"]


def test_what_is_left_while_a_turn_ends_is_done_in_it_where_its_stage_comes_later_and_else_in_the_next_one() -> None:
    async def story(noted: list[str]) -> None:
        turn = this_turn()

        def batch() -> None:
            noted.append("batch")
            for stage in Stage:
                turn.at_end(stage, lambda stage=stage: noted.append(stage.name))  # type: ignore[misc]

        turn.hold()
        turn.at_end(Stage.RUN, batch)
        turn.release(at_once=True)
        noted.append("released")
        await asyncio.sleep(0)

    assert run(story) == ["batch", "WRITE", "released", "BEGIN", "RUN"]


def test_batches_that_are_left_after_a_long_while_are_the_first_of_the_next_turn_and_answers_leave_before(
    monkeypatch,
) -> None:
    monkeypatch.setattr(turn, "LONG", -1.0)  # one batch is long enough

    async def story(noted: list[str]) -> None:
        def again() -> None:
            noted.append("first")
            this_turn().at_end(Stage.RUN, lambda: noted.append("first again"))
            this_turn().at_end(Stage.WRITE, lambda: noted.append("answer"))

        for callback in (again, *noting(noted, "second", "third")):
            this_turn().at_end(Stage.RUN, callback)
        for _ in range(4):
            await asyncio.sleep(0)
            noted.append("|")

    assert run(story) == ["first", "answer", "|", "second", "|", "third", "|", "first again", "|"]


def test_one_that_fails_is_reported_and_the_others_are_called_all_the_same() -> None:
    async def story(noted: list[str]) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: noted.append(repr(told["exception"])))
        turn = this_turn()
        turn.at_end(Stage.RUN, lambda: 1 // 0)
        turn.at_end(Stage.RUN, lambda: noted.append("the next"))
        await asyncio.sleep(0)
        turn.at_end(Stage.RUN, lambda: noted.append("later"))
        await asyncio.sleep(0)

    failed, *others = run(story)
    assert failed.startswith("ZeroDivisionError")
    assert others == ["the next", "later"]


def test_everybody_on_a_loop_shares_a_turn_and_another_loop_has_its_own() -> None:
    async def own() -> Turn:
        assert this_turn() is this_turn()
        return this_turn()

    assert asyncio.run(own()) is not asyncio.run(own())
