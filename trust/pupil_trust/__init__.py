"""Calibration and certificates: numbers in, numbers out. No files, no models, no wire."""

from pupil_trust.accuracy import Discordant, mcnemar, wilson_interval
from pupil_trust.anytime import confidence_sequence, evidence_against
from pupil_trust.brier import brier_score
from pupil_trust.calibration import Calibration, fixed_grid, pool_grid
from pupil_trust.cascade import (
    DEFER_ALL,
    CascadeCertificate,
    CascadePoint,
    Goal,
    Losses,
    cascade_certificate,
    cascade_curve,
    disagreements,
    losses_of,
    pair_name,
    setbacks,
    wrong_answers,
)
from pupil_trust.certificates import (
    Certificate,
    Guarantee,
    NotCertifiable,
    fixed_certificate,
    no_certificate,
    promise_is_idle,
)
from pupil_trust.drift import drift_evidence
from pupil_trust.fdr import fdr_accept, fdr_threshold, needed_for_fdr
from pupil_trust.not_worse import evidence_not_worse, is_not_worse, needed_for_not_worse
from pupil_trust.pac import needed_images, p_value, pac_certificate
from pupil_trust.per_class import per_class_certificates
from pupil_trust.prior import prior_shift
from pupil_trust.reliability import (
    ReliabilityBin,
    equal_mass_bins,
    equal_mass_calibration_error,
    equal_width_bins,
    expected_calibration_error,
)
from pupil_trust.seen import SEEN, are_among, mark, marks_of
from pupil_trust.shift import Shift, shift_test
from pupil_trust.temperature import fit_temperature, negative_log_likelihood

__all__ = [
    "DEFER_ALL",
    "SEEN",
    "Calibration",
    "CascadeCertificate",
    "CascadePoint",
    "Certificate",
    "Discordant",
    "Goal",
    "Guarantee",
    "Losses",
    "NotCertifiable",
    "ReliabilityBin",
    "Shift",
    "are_among",
    "brier_score",
    "cascade_certificate",
    "cascade_curve",
    "confidence_sequence",
    "disagreements",
    "drift_evidence",
    "equal_mass_bins",
    "equal_mass_calibration_error",
    "equal_width_bins",
    "evidence_against",
    "evidence_not_worse",
    "expected_calibration_error",
    "fdr_accept",
    "fdr_threshold",
    "fit_temperature",
    "fixed_certificate",
    "fixed_grid",
    "is_not_worse",
    "losses_of",
    "mark",
    "marks_of",
    "mcnemar",
    "needed_for_fdr",
    "needed_for_not_worse",
    "needed_images",
    "negative_log_likelihood",
    "no_certificate",
    "p_value",
    "pac_certificate",
    "pair_name",
    "per_class_certificates",
    "pool_grid",
    "prior_shift",
    "promise_is_idle",
    "setbacks",
    "shift_test",
    "wilson_interval",
    "wrong_answers",
]
