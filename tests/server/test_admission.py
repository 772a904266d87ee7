import contextlib

import pytest

from pupil_server.admission import Admission
from pupil_server.call import Call
from pupil_server.errors import BadRequest, Overloaded
from pupil_server.priority import Priority, asked_priority

BULK = Priority.BULK


def test_places_are_free_again_whatever_happens_inside() -> None:
    admission = Admission(max_images=10, max_bytes=1000, image_bytes=10)
    with pytest.raises(ZeroDivisionError), admission.admit(10, 500):
        assert (admission.images, admission.bytes) == (10, 600)
        _ = 1 / 0
    assert (admission.images, admission.bytes) == (0, 0)


def test_files_that_wait_to_be_decoded_count_with_the_pixels_that_they_will_become() -> None:
    admission = Admission(max_images=100, max_bytes=1000, image_bytes=10)
    with admission.admit(2, 900):
        with pytest.raises(Overloaded, match=r"920 of at most 1,000 bytes are already waiting; try again later"):
            admission.admit(1, 71)
        with admission.admit(1, 70):
            assert admission.bytes == 1000


def test_a_request_that_can_never_be_let_in_is_not_told_to_come_again() -> None:
    admission = Admission(max_images=10, max_bytes=1000, image_bytes=10)
    with pytest.raises(BadRequest, match="11 images in one request, at most 10 are allowed; send fewer"):
        admission.admit(11)
    with pytest.raises(BadRequest, match=r"1,001 bytes in one request, at most 1,000 are allowed; send fewer"):
        admission.admit(1, 991)


def test_bulk_leaves_a_quarter_of_the_places_and_of_the_bytes_to_interactive_requests() -> None:
    admission = Admission(max_images=100, max_bytes=10_000, image_bytes=10)
    with admission.admit(70, priority=BULK):
        with pytest.raises(Overloaded, match="70 of at most 75 bulk images are already waiting"):
            admission.admit(6, priority=BULK)
        with admission.admit(5, priority=BULK), admission.admit(25):
            assert admission.images == 100
    with admission.admit(1, 7400, BULK):
        with pytest.raises(Overloaded, match=r"7,410 of at most 7,500 bulk bytes are already waiting"):
            admission.admit(1, 90, BULK)
        with admission.admit(1, 2000):
            pass
    with pytest.raises(BadRequest, match="76 images in one request, at most 75 are allowed; send fewer"):
        admission.admit(76, priority=BULK)


def test_interactive_requests_may_have_every_place_and_bulk_waits_then() -> None:
    admission = Admission(max_images=100, max_bytes=10_000, image_bytes=10)
    with admission.admit(100), pytest.raises(Overloaded, match="100 of at most 100 images"):
        admission.admit(1, priority=BULK)


def test_bulk_finds_places_however_many_interactive_requests_are_at_the_door() -> None:
    """A closed loop for ever: as soon as an interactive request leaves, the next one takes its places."""
    now = 0.0
    admission = Admission(max_images=100, max_bytes=10_000, image_bytes=10, clock=lambda: now)
    inside = [admission.admit(10) for _ in range(10)]
    for hold in inside:
        hold.__enter__()
    let_in = 0
    for _ in range(100):
        now += 0.01
        inside.pop(0).__exit__()
        with contextlib.suppress(Overloaded):
            while True:
                inside.append(admission.admit(10))
                inside[-1].__enter__()
        with contextlib.suppress(Overloaded), admission.admit(10, priority=BULK):
            let_in += 1
    assert 30 <= let_in <= 70  # they take turns


def test_places_that_bulk_waited_for_are_everybodys_again_once_it_does_not_come() -> None:
    now = 0.0
    admission = Admission(max_images=100, max_bytes=10_000, image_bytes=10, clock=lambda: now)
    with admission.admit(100), pytest.raises(Overloaded) as refused:
        admission.admit(1, priority=BULK)
    with admission.admit(70), pytest.raises(Overloaded, match="the places that are left are kept for bulk"):
        admission.admit(30)
    now = refused.value.retry_after + 2.0
    with admission.admit(70), admission.admit(30):
        pass


def test_who_is_turned_away_is_told_to_come_back_when_the_queue_will_be_empty() -> None:
    admission = Admission(max_images=100, max_bytes=10_000, image_bytes=10)
    for _ in range(200):
        admission.measured(10, 1.0)
    with admission.admit(100), pytest.raises(Overloaded) as refused:
        admission.admit(1)
    assert refused.value.retry_after == pytest.approx(10.0, rel=0.01)


def test_a_call_is_interactive_unless_its_metadata_says_bulk() -> None:
    assert Call("method", 0.0).priority is asked_priority({}) is Priority.INTERACTIVE
    assert asked_priority({"pupil-priority": "interactive"}) is Priority.INTERACTIVE
    assert asked_priority({"pupil-priority": "bulk"}) is BULK
    with pytest.raises(BadRequest, match="pupil-priority: 'urgent' is not known; interactive or bulk"):
        asked_priority({"pupil-priority": "urgent"})
