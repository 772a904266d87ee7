from hashlib import sha256

import numpy as np
import pytest

from pupil_trust import are_among, mark, marks_of

MARKS = np.array([3, 8, 8 + 2**53, 2**64 - 1], dtype="<u8")  # the third is 8 more than what a float64 could hold


def test_a_mark_is_the_first_eight_bytes_the_first_one_the_highest() -> None:
    assert mark("0123456789abcdef" + "f" * 48) == 0x0123456789ABCDEF
    assert mark(sha256(b"a").hexdigest()) == int.from_bytes(sha256(b"a").digest()[:8], "big")


def test_marks_ascend_and_each_is_there_once() -> None:
    digests = [first + "0" * 62 for first in ("ff", "00", "80", "ff")]
    assert marks_of(digests).tolist() == [0, 0x80 << 56, 0xFF << 56]
    assert marks_of([]).tolist() == []
    assert marks_of(digests).dtype == np.dtype("<u8")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (0, False),  # before the first
        (3, True),
        (4, False),  # between two
        (8, True),
        (7 + 2**53, False),
        (8 + 2**53, True),
        (9 + 2**53, False),
        (2**64 - 2, False),  # before the last
        (2**64 - 1, True),
    ],
)
def test_a_mark_is_found_where_it_is_and_nowhere_else(asked: int, found: bool) -> None:
    assert are_among([asked], MARKS).tolist() == [found]
    assert are_among([asked], MARKS[:3]).tolist() == [found and asked != MARKS[3]]  # also beyond the last


def test_nothing_is_among_nothing() -> None:
    assert are_among([1, 2], MARKS[:0]).tolist() == [False, False]
    assert are_among([], MARKS).tolist() == []
