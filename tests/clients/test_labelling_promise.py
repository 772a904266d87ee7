import pytest

from pupil_client.errors import NotCertified, PupilError, Unavailable
from pupil_client.labelling.promise import what_would_do
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
