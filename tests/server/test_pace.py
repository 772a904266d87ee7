import random

import pytest

from pupil_server.pace import KNOWN, SLOWER, Pace


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


def known(**milliseconds: float) -> Pace:
    """A pace that has seen enough of each size: `of_4=1.0` is what an image takes in a batch of four."""
    pace = Pace()
    for name, each in milliseconds.items():
        images = int(name.removeprefix("of_"))
        for _ in range(KNOWN):
            pace.measured(images, images * each / 1000)
    return pace


def test_each_size_is_tried_a_few_times_before_one_is_chosen() -> None:
    pace, tried = Pace(), []
    for _ in range(6 * KNOWN):
        tried.append(pace.best(40))
        pace.measured(tried[-1], tried[-1] / 1000)
    assert tried == [size for size in (40, 16, 8, 4, 2, 1) for _ in range(KNOWN)]


def test_a_batch_is_made_smaller_where_an_image_then_clearly_costs_less_and_only_there() -> None:
    assert known(of_1=2, of_2=2, of_4=1, of_8=2, of_16=2, of_40=1.5).best(40) == 4
    assert known(of_1=2, of_2=2, of_4=1, of_8=2, of_16=2, of_40=1.02).best(40) == 40


def test_a_batch_of_a_small_model_is_never_made_smaller_for_what_its_model_alone_takes() -> None:
    assert known(of_1=0.003, of_2=0.004, of_4=0.004, of_8=0.004, of_16=0.004, of_32=0.004, of_64=0.004).best(64) == 64


def test_time_in_which_others_had_the_processor_does_not_make_a_size_dear() -> None:
    pace = known(of_1=1, of_2=1)
    for _ in range(KNOWN):
        pace.measured(4, 0.010, 0.003)
    assert pace.best(4) == 4
    assert pace.usual(4) == pytest.approx(0.003)
    assert pace.quickest(4) > 0.002  # by the wall's clock: whoever has less time left than this is not begun


def test_the_cheapest_size_is_found_in_a_hundred_batches_though_traffic_never_brings_it() -> None:
    milliseconds = {1: 0.99, 2: 0.95, 4: 0.94, 8: 0.95, 16: 1.01, 32: 1.18}  # an image, by the batch
    pace, seconds, images = Pace(), 0.0, 0
    for number in range(500):
        batch = pace.best(32)
        pace.measured(batch, batch * milliseconds[batch] / 1000)
        if number >= 100:
            seconds, images = seconds + batch * milliseconds[batch] / 1000, images + batch
    assert seconds / images < 0.98 / 1000


def test_a_size_is_chosen_well_on_a_machine_that_others_disturb_for_many_batches_in_a_row() -> None:
    milliseconds = {1: 1.65, 2: 1.5, 4: 1.45, 8: 1.55, 16: 1.7, 32: 1.8}  # an image, by the batch
    seconds = images = 0.0
    for seed in range(60):
        pace, draw, slower = Pace(), random.Random(seed), 1.0
        for number in range(600):
            batch = pace.best(32)
            if draw.random() < 0.1:
                slower = draw.choice([1.0, 1.0, 1.05, 1.15, 1.3])
            cost = batch * milliseconds[batch] / 1000
            pace.measured(batch, cost * (slower + draw.expovariate(30)))
            if number >= 100:
                seconds, images = seconds + cost, images + batch
    assert seconds / images < 1.027 * 1.45 / 1000


def test_one_slow_batch_is_no_rule_and_two_in_a_row_are() -> None:
    pace = measured(1.0, 100, images=4)
    pace.measured(4, 10.0)
    assert pace.slowest(4) == SLOWER
    pace.measured(4, 10.0)
    assert pace.slowest(4) == 10.0


def test_a_batch_counts_for_no_slower_than_twice_half_of_it() -> None:
    pace = measured(1.0, 100, images=4)
    pace.measured(8, 50.0)
    assert pace.slowest(8) == 4.0
    assert pace.slowest(16) == 0.0


def test_as_many_images_as_can_wait_are_taken_or_else_those_of_whom_most_are_answered_a_second() -> None:
    pace = known(of_1=100, of_2=60, of_4=50, of_8=50)  # a batch of 8 takes 0.4 s, one of 4 takes 0.2 s
    assert pace.in_time(8, lambda seconds, most: most) == 8
    assert pace.in_time(8, lambda seconds, most: most if seconds < 0.4 else 7) == 4  # 20 a second instead of 17.5
    assert pace.in_time(8, lambda seconds, most: most if seconds < 0.2 else 1) == 2
    assert pace.in_time(8, lambda seconds, most: min(most, 3)) == 8  # the others are bulk, which is not asked
    assert pace.in_time(8, lambda seconds, most: 0 if seconds else most) == 1
