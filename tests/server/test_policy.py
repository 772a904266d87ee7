import pytest

from pupil_server.errors import BundleError
from pupil_server.policy import Policies, Policy


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("latest", {11}),
        ("latest:1", {11}),
        ("latest:2", {9, 11}),
        ("latest:99", {1, 2, 9, 11}),
        ("all", {1, 2, 9, 11}),
        ("2,9", {2, 9}),
        ("2,7", {2}),
    ],
)
def test_a_policy_chooses_of_what_is_there(text: str, chosen: set[int]) -> None:
    assert Policy.parse(text).choose([1, 11, 2, 9]) == chosen


@pytest.mark.parametrize(
    ("text", "answering", "kept"),
    [
        ("latest", 9, {9}),  # a roll back from 11: it goes
        ("latest:2", 9, {2, 9}),
        ("all", 9, {1, 2, 9, 11}),
        ("1,11", 9, {1, 11}),
    ],
)
def test_newest_counts_back_from_the_version_that_answers(text: str, answering: int, kept: set[int]) -> None:
    assert Policy.parse(text).keep([1, 2, 9, 11], answering) == kept


def test_one_model_may_have_its_own_policy_and_the_last_word_counts() -> None:
    policies = Policies(["all", "student=1,3", "latest:2", "student=3"])
    assert policies.of("teacher") == Policy.parse("latest:2")
    assert policies.of("student") == Policy.parse("3")
    assert Policies([]).of("any") == Policy.parse("latest")


@pytest.mark.parametrize("text", ["", "newest", "latest:0", "latest:x", "0", "1,", "-1", "student=", "a=b=c", "1 3"])
def test_a_policy_that_is_not_understood_is_answered_with_those_that_are(text: str) -> None:
    with pytest.raises(BundleError, match=r"wanted latest, latest:2, all or 1,3"):
        Policies([text])
