"""Single images of many tasks in few requests; each task hears what it would have heard alone."""

import asyncio

import grpc
import numpy as np
import pytest

from pupil_client import AsyncClient, BadRequest, NotFound, Overloaded
from pupil_client.images import MAX_BATCH_IMAGES


@pytest.fixture(scope="module")
def real(toolbox, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "repository"
    toolbox.write_bundle(folder, "student", seed=2)
    with toolbox.run_server(folder) as running:
        yield running


def gathered(address, images, **settings):
    """What each task with one image hears: a prediction or an error."""

    async def run():
        async with AsyncClient(address, coalesce=True, **settings) as client:
            asked = (client.classify(image, model="student", scores=True) for image in images)
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(run())


def test_many_tasks_share_few_requests_and_each_hears_its_own_answer(server):
    images = [f"{('cat', 'dog', 'fox')[place % 3]} {place}".encode() for place in range(150)]
    found = gathered(server.address, images)
    assert [each.label for each in found] == [image.split()[0].decode() for image in images]
    assert server.rules.calls == ["Classify"] * -(-len(images) // MAX_BATCH_IMAGES)


def test_what_differs_in_model_or_shape_does_not_share_a_request(server):
    async def run():
        async with AsyncClient(server.address, coalesce=True) as client:
            return await asyncio.gather(
                client.classify(b"cat 1", model="student"),
                client.classify(b"dog 2", model="student", top_k=1),
                client.classify(b"dog 3", model="student", top_k=1),
                client.classify(np.full((4, 4), 2, np.uint8), model="student"),
                client.classify([b"fox 4", b"cat 5"], model="student"),  # several: a request of their own already
            )

    first, second, third, pixels, several = asyncio.run(run())
    assert [each.label for each in (first, second, third, pixels, *several)] == [
        "cat",
        "dog",
        "dog",
        "fox",
        "fox",
        "cat",
    ]
    assert [len(each.top) for each in (first, second)] == [3, 1]
    assert server.rules.calls == ["Classify"] * 4


def test_an_image_that_is_refused_is_its_own_callers_problem_alone(real, toolbox):
    pixels = toolbox.random_pixels(20, seed=3)
    images = [toolbox.png(image) for image in pixels]
    images[7] = images[7][:40]
    images[12] = b"no image"
    found = gathered(real.address, images)
    assert {place for place, each in enumerate(found) if isinstance(each, BadRequest)} == {7, 12}
    right = [place for place in range(20) if place not in (7, 12)]
    scores = np.array([found[place].scores for place in right])
    np.testing.assert_allclose(scores, toolbox.linear_scores(pixels[right], seed=2), atol=1e-5)


def test_what_is_nobodys_fault_everybody_hears_at_once(server):
    server.rules.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", None)]
    found = gathered(server.address, [b"cat 1"] * 5, tries=1)
    assert [type(each) for each in found] == [Overloaded] * 5
    server.rules.failures = [(grpc.StatusCode.NOT_FOUND, "no model student", None)]
    assert [type(each) for each in gathered(server.address, [b"cat 1"] * 5)] == [NotFound] * 5
    assert len(server.rules.calls) == 2


def test_a_task_that_gives_up_leaves_the_others_their_answers_and_the_last_one_ends_the_request(server):
    async def run():
        async with AsyncClient(server.address, coalesce=True) as client:
            server.rules.silent.set()
            tasks = [asyncio.create_task(client.classify(b"dog 1", model="student")) for _ in range(3)]
            await asyncio.to_thread(server.rules.asked.wait, 20)
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            server.rules.released.set()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            server.rules.asked.clear()
            server.rules.released.clear()
            alone = asyncio.create_task(client.classify(b"dog 1", model="student"))
            await asyncio.to_thread(server.rules.asked.wait, 20)
            (sending,) = client._coalescer._sending
            alone.cancel()
            await asyncio.wait([sending], timeout=20)
            return answers, sending.cancelled()

    (gone, *others), ended = asyncio.run(run())
    assert isinstance(gone, asyncio.CancelledError)
    assert [each.label for each in others] == ["dog", "dog"]
    assert ended
