"""Asking again: only where it is safe, a bounded number of times, no sooner than asked, never past the deadline."""

import asyncio
import time

import grpc
import pytest

from pupil_client import AsyncClient, BadRequest, Client, Overloaded, Unavailable
from pupil_client.retries import FIRST_PAUSE, Attempts, RetryBudget

UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "loading", None)
FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, "64 images are already waiting", None)


@pytest.fixture
def client(server):
    with Client(server.address) as client:
        yield client


@pytest.mark.parametrize("failure", [UNAVAILABLE, FULL])
def test_a_call_is_tried_up_to_three_times(server, client, failure):
    server.rules.failures = [failure] * 2
    assert client.classify(b"dog", model="student").label == "dog"
    assert server.rules.calls == ["Classify"] * 3
    server.rules.failures = [failure] * 3
    with pytest.raises((Unavailable, Overloaded), match=failure[1]):
        client.classify(b"dog", model="student")
    assert server.rules.calls == ["Classify"] * 6


def test_the_async_client_tries_as_often(server):
    async def ask():
        async with AsyncClient(server.address) as client:
            return await client.classify(b"dog", model="student")

    server.rules.failures = [UNAVAILABLE] * 2
    assert asyncio.run(ask()).label == "dog"
    server.rules.failures = [UNAVAILABLE] * 3
    with pytest.raises(Unavailable, match="loading"):
        asyncio.run(ask())
    assert server.rules.calls == ["Classify"] * 6


def test_the_number_of_tries_can_be_set(server):
    server.rules.failures = [UNAVAILABLE]
    with Client(server.address, tries=1) as client, pytest.raises(Unavailable):
        client.models()
    assert server.rules.calls == ["List"]


def test_what_would_fail_again_is_not_tried_again(server, client):
    server.rules.failures = [(grpc.StatusCode.INVALID_ARGUMENT, "no picture", None)]
    with pytest.raises(BadRequest):
        client.classify(b"dog", model="student")
    assert server.rules.calls == ["Classify"]


@pytest.mark.parametrize(
    "change",
    [
        lambda client: client.load("student"),
        lambda client: client.unload("student"),
        lambda client: client.set_alias("student", "stable", 1),
        lambda client: list(client.pseudo_label([b"cat"], model="student")),
        lambda client: list(client.classify_stream([b"cat"], model="student")),
    ],
)
def test_changes_and_streams_are_never_tried_again(server, client, change):
    server.rules.failures = [UNAVAILABLE]
    with pytest.raises(Unavailable):
        change(client)
    assert len(server.rules.calls) == 1


def test_the_server_says_when_to_come_back(server, client):
    server.rules.failures = [(*FULL[:2], 300)]
    began = time.monotonic()
    client.classify(b"dog", model="student")
    assert time.monotonic() - began >= 0.3
    assert server.rules.calls == ["Classify"] * 2


def test_nobody_waits_for_a_retry_that_the_deadline_would_not_see(server, client):
    server.rules.failures = [(*FULL[:2], 60_000)]
    with pytest.raises(Overloaded) as raised:
        client.classify(b"dog", model="student", timeout=5.0)
    assert raised.value.retry_after == 60.0
    assert server.rules.calls == ["Classify"]


def test_an_exhausted_budget_stops_retries_until_answers_fill_it_again():
    budget = RetryBudget(tokens=2.0)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    for _ in range(11):
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


def test_a_server_in_trouble_hears_few_retries(server):
    server.rules.failures = [UNAVAILABLE] * 1000
    with Client(server.address) as client:
        client._budget = RetryBudget(tokens=4.0)
        for _ in range(20):
            with pytest.raises(Unavailable):
                client.models()
    assert len(server.rules.calls) == 20 + 4


def test_pauses_are_drawn_below_a_ceiling_that_doubles():
    for _ in range(200):
        attempts = Attempts(tries=4, timeout=60.0, budget=RetryBudget(1000.0))
        pauses = [attempts.pause_after(Unavailable("")) for _ in range(4)]
        assert pauses[3] is None
        assert all(0 <= pause <= FIRST_PAUSE * 2**index for index, pause in enumerate(pauses[:3]))
