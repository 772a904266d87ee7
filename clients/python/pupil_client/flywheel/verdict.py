"""Whether the new version may take the old one's place, and why, in words."""

from typing import Any

from pupil_trust import Discordant, evidence_not_worse, is_not_worse, needed_for_not_worse


def verdict(shadow: dict[str, int], *, margin: float, delta: float) -> dict[str, Any]:
    """`adopted` where the shadow shows that the new one is not worse by `margin`, with the numbers behind that.

    McNemar's p-value of a difference is told beside it; it decides nothing.
    """
    images, counts = shadow["images"], (shadow["only_old"], shadow["only_new"])
    adopted = is_not_worse(*counts, images, margin=margin, delta=delta)
    told = (
        f"on {images:,} images {counts[0]:,} are right with the old version alone, {counts[1]:,} with the new one alone"
    )
    if adopted:
        reason = f"not worse by {margin:g} of all images (delta {delta:g}): {told}"
    else:
        needed = needed_for_not_worse(margin, delta, *counts)
        reason = (
            f"not shown to be no worse by {margin:g} of all images (delta {delta:g}): {told}; with such counts it "
            f"takes {needed:,} images, so give more of them (--validation) or allow more (--margin)"
        )
    return {
        "adopted": adopted,
        "reason": reason,
        "margin": margin,
        "delta": delta,
        "evidence": evidence_not_worse(*counts, images, margin),
        "mcnemar_p_value": Discordant(*counts).p_value,
    }
