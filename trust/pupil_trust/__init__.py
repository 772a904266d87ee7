"""Calibration and certificates: numbers in, numbers out. No files, no models, no wire."""

from pupil_trust.accuracy import Discordant, mcnemar, wilson_interval
from pupil_trust.brier import brier_score
from pupil_trust.calibration import Calibration, fixed_grid, pool_grid
from pupil_trust.certificates import (
    Certificate,
    Guarantee,
    NotCertifiable,
    fixed_certificate,
    no_certificate,
    promise_is_idle,
)
from pupil_trust.fdr import fdr_accept, fdr_threshold, needed_for_fdr
from pupil_trust.pac import needed_images, p_value, pac_certificate
from pupil_trust.prior import prior_shift
from pupil_trust.reliability import (
    ReliabilityBin,
    equal_mass_bins,
    equal_mass_calibration_error,
    equal_width_bins,
    expected_calibration_error,
)
from pupil_trust.temperature import fit_temperature, negative_log_likelihood

__all__ = [
    "Calibration",
    "Certificate",
    "Discordant",
    "Guarantee",
    "NotCertifiable",
    "ReliabilityBin",
    "brier_score",
    "equal_mass_bins",
    "equal_mass_calibration_error",
    "equal_width_bins",
    "expected_calibration_error",
    "fdr_accept",
    "fdr_threshold",
    "fit_temperature",
    "fixed_certificate",
    "fixed_grid",
    "mcnemar",
    "needed_for_fdr",
    "needed_images",
    "negative_log_likelihood",
    "no_certificate",
    "p_value",
    "pac_certificate",
    "pool_grid",
    "prior_shift",
    "promise_is_idle",
    "wilson_interval",
]
