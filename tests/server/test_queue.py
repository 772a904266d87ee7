import numpy as np
import pytest

from pupil_server.priority import Priority
from pupil_server.queue import BULK_EVERY, Queue
from pupil_server.work import Part, Work

INTERACTIVE, BULK = Priority.INTERACTIVE, Priority.BULK


def work(images: int = 1, priority: Priority = INTERACTIVE, *, deadline: float = 1e9) -> Work:
    """A request that nobody waits for."""
    return Work(np.zeros((images, 1, 1, 1), np.uint8), deadline, priority, None, arrived=0.0)


def drawn(queue: Queue, room: int = 8) -> list[Part]:
    parts, late = queue.draw(room, 0.0, 0.0)
    assert late == []
    return parts


def fill(queue: Queue, *requests: Work) -> Queue:
    for request in requests:
        queue.put(request)
    return queue


def test_interactive_goes_first_and_bulk_takes_the_places_left() -> None:
    pool, a, b = work(10, BULK), work(2), work(3)
    queue = fill(Queue(), pool, a, b)
    assert drawn(queue) == [(a, 0, 2), (b, 0, 3), (pool, 0, 3)]
    assert drawn(queue) == [(pool, 3, 10)]
    assert queue.images == 0


def test_while_interactive_requests_never_let_up_every_fourth_batch_is_for_bulk() -> None:
    pool = work(80, BULK)
    queue = fill(Queue(), pool)
    for batch in range(1, 10 * BULK_EVERY + 1):
        fill(queue, *(work() for _ in range(20)))
        assert {part.work.priority for part in drawn(queue)} == {INTERACTIVE if batch % BULK_EVERY else BULK}
    assert pool.taken == 80


def test_bulk_that_comes_to_a_busy_queue_is_not_ahead_of_its_turn() -> None:
    queue = Queue()
    for _ in range(10):  # batches before bulk arrived do not count
        drawn(fill(queue, *(work() for _ in range(20))))
    fill(queue, work(8, BULK))
    turns = [drawn(queue)[0].work.priority for _ in range(BULK_EVERY)]
    assert turns == [INTERACTIVE] * (BULK_EVERY - 1) + [BULK]


@pytest.mark.parametrize("priority", [INTERACTIVE, BULK])
def test_a_request_larger_than_a_batch_goes_behind_the_others_of_its_kind(priority: Priority) -> None:
    huge, small = work(20, priority), work(1, priority)
    queue = fill(Queue(), huge, small)
    assert drawn(queue) == [(huge, 0, 8)]
    assert drawn(queue) == [(small, 0, 1), (huge, 8, 15)]
    assert drawn(queue) == [(huge, 15, 20)]


def test_who_is_taken_out_of_the_middle_leaves_no_gap() -> None:
    a, b, c = work(2), work(3), work(4)
    queue = fill(Queue(), a, b, c)
    queue.remove(b)
    queue.remove(b)  # it is not there any more: nothing happens
    assert queue.images == 6
    assert drawn(queue) == [(a, 0, 2), (c, 0, 4)]


def test_what_is_left_of_a_split_request_can_be_taken_out() -> None:
    huge = work(20)
    queue = fill(Queue(), huge)
    drawn(queue)
    queue.remove(huge)
    assert queue.images == 0
    assert list(queue) == drawn(queue) == []


def test_who_is_late_takes_no_place_in_the_batch() -> None:
    late, later, fine = work(8, deadline=5.0), work(8, BULK, deadline=4.0), work(8, deadline=6.0)
    queue = fill(Queue(), later, late, fine)
    assert queue.draw(8, 5.0, 5.0) == ([(fine, 0, 8)], [late])
    assert queue.draw(8, 5.0, 5.0) == ([], [later])
    assert queue.images == 0


def test_who_is_at_risk_of_being_late_goes_behind_who_is_not() -> None:
    a, b, c, d = work(1, deadline=6.0), work(1, deadline=9.0), work(1, deadline=6.5), work(1, deadline=8.0)
    queue = fill(Queue(), a, b, c, d)
    assert queue.draw(3, 5.0, 7.0) == ([(b, 0, 1), (d, 0, 1), (a, 0, 1)], [])
    fill(queue, e := work(1, deadline=9.0))
    assert queue.draw(1, 5.0, 7.0) == ([(e, 0, 1)], [])
    assert list(queue) == [c]
    assert queue.images == 1


def test_as_many_images_are_counted_as_can_wait_and_bulk_only_where_nobody_else_is() -> None:
    bulk = work(5, BULK, deadline=7.0)
    queue = fill(Queue(), bulk)
    assert queue.patient(6.0, 100) == 5
    fill(queue, work(3, deadline=5.0), work(4, deadline=6.0))
    assert [queue.patient(until, 100) for until in (4.0, 5.0, 6.0)] == [7, 4, 0]
    assert queue.patient(4.0, 6) == 6
