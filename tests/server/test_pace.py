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
