from pupil_server.pace import Pace


def measured(seconds: float, times: int, *, images: int = 1) -> Pace:
    pace = Pace()
    for _ in range(times):
        pace.measured(images, seconds)
    return pace


def test_nothing_is_impossible_and_nothing_is_quick_as_long_as_nothing_is_known() -> None:
    assert Pace().quickest(1) == 0.0
    assert Pace().usual(1) == float("inf")


def test_what_a_batch_takes_at_least_is_never_more_than_was_ever_seen_and_comes_close_with_time() -> None:
    assert 0.9 < measured(1.0, 100).quickest(1) < 1.0


def test_one_slow_batch_makes_little_impossible_and_one_quick_batch_makes_everything_possible_again() -> None:
    pace = measured(0.01, 100)
    pace.measured(1, 10.0)
    assert pace.quickest(1) < 1.0
    pace = measured(1.0, 100)
    pace.measured(1, 0.01)
    assert pace.quickest(1) == 0.01


def test_large_batches_say_nothing_of_small_ones() -> None:
    pace = measured(1.0, 100, images=32)
    assert pace.quickest(63) > 0.9
    assert pace.quickest(31) == pace.quickest(64) == 0.0


def test_a_model_that_was_slow_once_is_tried_again() -> None:
    pace = measured(1.0, 100)
    refused = 0
    while pace.quickest(1) >= 0.1:
        pace.refused(1)
        refused += 1
    assert 10 < refused < 1000


def test_as_long_as_nothing_is_known_of_a_size_all_that_waits_is_one_batch() -> None:
    assert Pace().best(40) == 40
    assert measured(0.001, 10, images=1).best(40) == 40


def test_a_batch_is_made_smaller_where_that_was_clearly_faster_an_image_and_only_there() -> None:
    pace = measured(0.004, 10, images=4)
    pace.measured(40, 0.060)  # 1.5 ms an image, of four 1
    assert pace.best(40) == 4
    pace = measured(0.004, 10, images=4)
    pace.measured(40, 0.041)
    assert pace.best(40) == 40


def test_a_batch_of_a_small_model_is_never_made_smaller_for_what_its_model_alone_takes() -> None:
    pace = measured(0.000_003, 10, images=1)
    pace.measured(64, 64 * 0.000_004)
    assert pace.best(64) == 64


def test_the_fastest_size_is_found_though_traffic_never_brings_it() -> None:
    milliseconds = {1: 0.99, 2: 0.95, 4: 0.94, 8: 0.95, 16: 1.01, 32: 1.18}  # an image, by the batch
    pace, seconds, images = Pace(), 0.0, 0
    for _ in range(4000):
        batch = pace.best(32)
        pace.measured(batch, batch * milliseconds[batch] / 1000)
        seconds, images = seconds + batch * milliseconds[batch] / 1000, images + batch
    assert seconds / images < 0.97 / 1000
