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


@pytest.mark.parametrize("delta", [1e-9, 0.05, 0.1, 0.3])
def test_a_promise_in_words_rounds_nothing_up_to_certainty(delta: float) -> None:
    certificate = Certificate("pac", 0.9999999, delta, 0.5, 400, 300, 0, 0.01, 0.75, "9f")
    _, precision, confidence = in_words(certificate).replace(" with confidence", " ≥").split(" ≥ ")
    assert float(precision) == 0.9999999
    assert float(confidence) == pytest.approx(1 - delta, abs=1e-15)
    assert float(confidence) < 1
    assert len(confidence) <= len("0.999999999")
