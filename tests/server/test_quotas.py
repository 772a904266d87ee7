import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pupil_server.admission import Admission
from pupil_server.errors import BadImage, BadRequest, Overloaded, QuotaUsedUp, Unavailable
from pupil_server.quotas import Bucket, Quota


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def quota(clock: Clock, *, rate: float = 10.0, burst: int = 20) -> Quota:
    return Quota(Bucket(rate, burst, clock))


def spend(quota: Quota, images: int) -> None:
    with quota.charge(images):
        pass


def test_a_burst_passes_and_what_follows_comes_at_the_rate() -> None:
    clock = Clock()
    ours = quota(clock)
    spend(ours, 20)
    with pytest.raises(QuotaUsedUp) as refused:
        spend(ours, 5)
    assert refused.value.retry_after == pytest.approx(0.5)  # 5 images at 10 a second
    clock.now += 0.5
    spend(ours, 5)
    clock.now += 1000
    spend(ours, 20)  # what is not used does not pile up
    with pytest.raises(QuotaUsedUp):
        spend(ours, 1)


@given(st.lists(st.tuples(st.integers(1, 20), st.floats(0, 3)), max_size=60))
def test_in_no_stretch_of_time_more_passes_than_the_burst_and_the_rate_allow(asked: list[tuple[int, float]]) -> None:
    clock = Clock()
    ours, start, passed = quota(clock), clock.now, 0
    for images, pause in asked:
        clock.now += pause
        try:
            spend(ours, images)
        except QuotaUsedUp:
            continue
        passed += images
        assert passed <= 20 + 10 * (clock.now - start) + 1e-6


def test_more_than_the_burst_in_one_request_is_told_that_it_never_passes() -> None:
    with pytest.raises(BadRequest, match="21 images in one request, this token may send 20 at once"):
        spend(quota(Clock()), 21)


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (Overloaded("full", retry_after=1), 20),
        (Unavailable("unloaded"), 20),
        (BadRequest("not these pixels"), 20),
        (ValueError("ours"), 20),
        (BadImage("broken"), 5),
    ],
)
def test_images_are_given_back_where_they_were_refused_but_not_where_they_took_work(
    error: Exception, left: int
) -> None:
    ours = quota(Clock())
    with pytest.raises(type(error)), ours.charge(15):
        raise error
    spend(ours, left)
    with pytest.raises(QuotaUsedUp):
        spend(ours, 1)


def test_a_full_queue_costs_nothing_of_the_quota() -> None:
    ours = quota(Clock())
    admission = Admission(max_images=10, max_bytes=1000, image_bytes=1)
    with admission.admit(8), pytest.raises(Overloaded), ours.charge(8), admission.admit(8):
        pass
    spend(ours, 20)


def test_a_stream_waits_for_its_share_in_the_order_in_which_it_asked() -> None:
    async def run() -> list[str]:
        ours = Quota(Bucket(1000, 20))
        spend(ours, 20)
        order: list[str] = []

        async def one(name: str, images: int) -> None:
            await ours.wait(images)
            order.append(name)

        await asyncio.gather(one("first", 20), one("second", 1), one("third", 20))
        return order

    assert asyncio.run(run()) == ["first", "second", "third"]


def test_who_hangs_up_while_waiting_has_not_paid() -> None:
    async def run() -> None:
        clock = Clock()
        ours = quota(clock)
        spend(ours, 20)
        waiting = asyncio.create_task(ours.wait(20))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        clock.now += 2
        spend(ours, 20)

    asyncio.run(run())
