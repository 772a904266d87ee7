import pytest

from pupil_client.errors import NotCertified, PupilError, Unavailable
from pupil_client.labelling.promise import in_words, what_would_do
from pupil_client.results import Certificate


@pytest.mark.parametrize("problem", [NotCertified, Unavailable])
def test_a_lesser_promise_is_looked_for_and_a_server_that_goes_away_meanwhile_hides_no_refusal(
    problem: type[PupilError],
) -> None:
    asked = list[float]()

    def certify(precision: float) -> Certificate:
        asked.append(precision)
        raise problem("no")

    assert what_would_do(0.98, certify) == ""
    assert asked == ([0.95, 0.9, 0.8] if problem is NotCertified else [0.95])


@pytest.mark.parametrize(
    ("delta", "told"), [(1e-17, f"0.{'9' * 17}"), (1e-9, "0.999999999"), (0.05, "0.95"), (0.1, "0.9"), (0.3, "0.7")]
)
def test_a_promise_in_words_rounds_nothing_up_to_certainty(delta: float, told: str) -> None:
    certificate = Certificate("pac", 0.9999999, delta, 0.5, 400, 300, 0, 0.01, 0.75, "9f")
    assert in_words(certificate) == f"at precision ≥ 0.9999999 with confidence {told}"
