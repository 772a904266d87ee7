"""The certificate file: a promise made from a user's own labelled sample of a pool, for one model in one precision.

It is signed by the SHA-256 of its own content, so that a changed one is noticed. Read and applied without NumPy.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from pupil_client.labelling.evidence import Answers, Verdict
from pupil_client.labelling.promise import ABOVE_ALL
from pupil_client.labelling.ranking import fdr_certificate
from pupil_client.labelling.whole import whole_file
from pupil_client.results import Certificate, ModelInfo

FORMAT = 1


@dataclass(frozen=True)
class CertificateFile:
    """Its content, which docs/files.md describes; `Evidence` of a labelling job."""

    facts: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> "CertificateFile":
        """Raises ValueError for what is no certificate, or was changed; OSError."""
        try:
            facts = json.loads(file.read_bytes())
            signed, format_ = facts["signature"] == signature(facts), facts["format"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{file}: not a certificate that pupil certify wrote") from None
        if not signed:
            raise ValueError(f"{file}: changed since it was written (its signature differs); make it again")
        if format_ != FORMAT:
            raise ValueError(f"{file}: of format {format_}, this pupil reads {FORMAT}; make it again")
        return cls(facts)

    def write(self, file: Path) -> None:
        """Whole or not at all. Raises OSError."""
        with whole_file(file) as content:
            content.write(json.dumps(self.facts, ensure_ascii=False, indent=1).encode() + b"\n")

    def check(self, model: ModelInfo) -> None:
        """Raises ValueError unless it was made for this model, with these weights."""
        made_for = (self.facts["model"], self.facts["version"], self.facts["fingerprint"], self.facts["precision"])
        if made_for != (model.name, model.version, model.fingerprint, model.precision):
            name, version, fingerprint, precision = made_for
            raise ValueError(
                f"the certificate is for {name}/{version}:{precision} with fingerprint {fingerprint[:12]}, not for "
                f"{model.exactly} with {model.fingerprint[:12]}; ask for --model {name}/{version}:{precision}, or "
                "make another one with pupil certify"
            )

    @cached_property
    def answers(self) -> Answers:
        """On the sample."""
        predicted = [0] * len(self.facts["classes"])
        for number in self.facts["sample"]["predicted"]:
            predicted[number] += 1
        return Answers(self.facts["sample"]["confidence"], predicted)

    @property
    def by_class(self) -> dict[str, Certificate]:
        """Of each class that has its own; empty where one holds for all."""
        return {name: Certificate(**plain) for name, plain in (self.facts["by_class"] or {}).items()}

    def decide(self, pool: Answers) -> Verdict:
        """FDR ranks this pool; the others were decided when the file was made."""
        asked, about = self.facts["promise"], {"signature": self.facts["signature"]}
        if asked["guarantee"] == "fdr":
            found = fdr_certificate(pool.confidence, precision=asked["precision"], certificate_at=self.at)
            return Verdict(found, about=about)
        if self.facts["certificate"]:
            return Verdict(Certificate(**self.facts["certificate"]), about=about)
        nothing = self.at(ABOVE_ALL, guarantee="pac", precision=asked["precision"], delta=asked["delta"])
        return Verdict(nothing, self.by_class, about)

    def at(self, threshold: float, guarantee: str = "fixed", precision: float = 0.0, delta: float = 1.0) -> Certificate:
        """A threshold, with the counts that the sample gives it."""
        images, wrong = len(self._confidence), len(self._wrong) - bisect_left(self._wrong, threshold)
        accepted = images - bisect_left(self._confidence, threshold)
        return Certificate(
            guarantee, precision, delta, threshold, images, accepted, wrong,
            p_value=1.0, coverage=accepted / images, fingerprint=self.facts["fingerprint"],
        )  # fmt: skip

    def sentence(self) -> str:
        """`teacher/1:fp32 on 500 labelled images, 6 wrong: accepted from confidence 0.93 on, 410 of them, 1 wrong`."""
        exactly = f"{self.facts['model']}/{self.facts['version']}:{self.facts['precision']}"
        asked = self.facts["promise"]
        told = f"{exactly} on {len(self._confidence):,} labelled images, {len(self._wrong):,} of them wrong: "
        if self.facts["certificate"]:
            found = Certificate(**self.facts["certificate"])
            told += (
                f"accepted from confidence {found.threshold:.6g} on, {found.accepted:,} images, {found.wrong:,} wrong"
            )
        elif self.by_class:
            told += f"{len(self.by_class)} of {len(self.facts['classes'])} classes certified"
        else:
            told += "accepted is what keeps the promise in each pool"
        return f"{told}; {asked['guarantee']}, precision {asked['precision']}, delta {asked['delta']}"

    @cached_property
    def _confidence(self) -> list[float]:
        return sorted(self.facts["sample"]["confidence"])

    @cached_property
    def _wrong(self) -> list[float]:
        sample = self.facts["sample"]
        answers = zip(sample["confidence"], sample["predicted"], sample["label"], strict=True)
        return sorted(confidence for confidence, predicted, label in answers if predicted != label)


def signature(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the content without this key, spelled as a bundle's fingerprint is."""
    rest = {key: value for key, value in facts.items() if key != "signature"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()
