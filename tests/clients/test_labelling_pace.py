"""How many streams: more while it is worth it, fewer when they wait for each other, half after a refusal."""

import pytest

from pupil_client.labelling.pace import LEAST_IMAGES, MOST_IMAGES, MOST_STREAMS, Pace


class Server:
    """Works on so many streams at once, each at a shard a second; more of them only wait in turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pace = Pace(clock=lambda: self.now)

    def label(self, places: int, shards: int = 400) -> list[int]:
        """How many streams there were, shard for shard, once it had time to settle."""
        streams = []
        for _ in range(shards):
            self.now += 1 / min(places, self.pace.streams)
            self.pace.labelled(500, max(1.0, self.pace.streams / places))
            streams.append(self.pace.streams)
        return streams[shards // 2 :]


@pytest.mark.parametrize("places", [1, 2, 4, 8, 12])
def test_it_settles_around_what_the_server_works_on_at_once(places):
    streams = Server().label(places)
    assert max(1, places - 2) <= min(streams)
    assert max(streams) <= places + 2


def test_it_never_opens_more_than_the_most():
    streams = Server().label(1000)
    assert min(streams) >= MOST_STREAMS - 2
    assert max(streams) == MOST_STREAMS


def test_it_follows_a_server_that_becomes_slower_or_faster():
    server = Server()
    for places in (8, 2, 8):
        streams = server.label(places, shards=1000)
        assert places - 2 <= min(streams)
        assert max(streams) <= places + 2


def test_a_refusal_halves_the_streams_and_leaves_one():
    server, counts = Server(), []
    server.label(1000)
    server.pace.streams = 16
    for _ in range(6):
        server.pace.refused()
        counts.append(server.pace.streams)
    assert counts == [8, 4, 2, 1, 1, 1]
    assert max(server.label(4)) >= 4


@pytest.mark.parametrize(("an_image", "images"), [(1e-5, MOST_IMAGES), (0.01, 25), (1.0, LEAST_IMAGES)])
def test_a_message_holds_a_quarter_of_a_second_of_work(an_image, images):
    pace = Pace()
    pace.labelled(100, 100 * an_image)
    assert pace.message_images == images


def test_messages_that_were_too_large_do_not_grow_again():
    pace, halved = Pace(), []
    while pace.send_fewer():
        halved.append(pace.message_images)
    assert halved == [16, 8, 4, 2, 1]
    pace.labelled(100, 0.001)
    assert pace.message_images == 1
