"""Bundles that mean harm: a BundleError of one line, whatever is wrong, and nothing outside the bundle is read."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pupil_server.bundle_facts import fingerprint
from pupil_server.errors import BundleError
from pupil_server.loading import prepare
from pupil_server.settings import ServerSettings

NAN, INF = float("nan"), float("inf")
CERTIFICATE = {
    "guarantee": "pac",
    "precision": 0.9,
    "delta": 0.05,
    "threshold": 0.5,
    "calibration": 400,
    "accepted": 300,
    "wrong": 2,
    "p_value": 0.01,
    "coverage": 0.75,
    "fingerprint": "",
}
Damage = Callable[[Path, dict[str, Any]], None]


@pytest.fixture
def bundle(toolbox, tmp_path: Path) -> Path:
    return toolbox.write_bundle(tmp_path / "repository", "student", 1, seed=5)


def refused(bundle: Path) -> str:
    with pytest.raises(BundleError) as raised:
        prepare(bundle, ServerSettings(repository=bundle.parent.parent, device="cpu"))
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 1_000
    return text


def facts_with(**changed: object) -> Damage:
    return lambda bundle, facts: facts.update(changed)


def certificate_with(**changed: object) -> Damage:
    return facts_with(certificates=[CERTIFICATE | changed])


def in_file(name: str, change: Callable[[dict[str, Any]], None]) -> Damage:
    def damage(bundle: Path, facts: dict[str, Any]) -> None:
        raw = json.loads((bundle / name).read_bytes())
        change(raw)
        (bundle / name).write_text(json.dumps(raw))

    return damage


def calibration_with(**changed: object) -> Damage:
    return in_file("calibration.json", lambda raw: raw.update(changed))


def first_golden_with(**changed: object) -> Damage:
    return in_file("golden/golden.json", lambda raw: raw["images"][0].update(changed))


def golden_file_with(**changed: object) -> Damage:
    return in_file("golden/golden.json", lambda raw: raw.update(changed))


def contents(name: str, data: bytes) -> Damage:
    return lambda bundle, facts: (bundle / name).write_bytes(data) and None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (facts_with(classes=[f"class-{place}" for place in range(1_000_000)]), "1000000 classes, the model gives 8"),
        (facts_with(model="a" * 100_000), "says that it is aaaa"),
        (facts_with(version=10**400), ""),
        (facts_with(temperature=INF), "temperature"),
        (facts_with(temperature=NAN), "temperature"),
        (facts_with(resize={"shortest_side": 10**9, "crop": "center", "interpolation": "bilinear"}), "golden/0.png"),
        (facts_with(certificates=[{"guarantee": "pac"}]), "lacks precision"),
        (certificate_with(accepted=2**70), "not understood"),
        (certificate_with(wrong="many"), "not understood"),
        (certificate_with(guarantee="gold"), "one of pac"),
        (calibration_with(confidence=[NAN] * 400), "NaN"),
        (calibration_with(grid=[INF]), "infinity"),
        (calibration_with(label=[1]), r"(1,) labels"),
        (calibration_with(brightness=[0.5]), "brightness of shape (1,) for 400 images"),
        (calibration_with(label=[10**30] * 400), "not understood"),
        (calibration_with(confidence=1.0, label=1, predicted=1), "not understood"),
        (contents("calibration.json", b"[" * 200_000), "not understood"),
        (contents("calibration.json", b"[1]"), "not understood"),
        (first_golden_with(scores=1.0), "shape ()"),
        (first_golden_with(scores=[[0.125] * 8]), "shape (1, 8)"),
        (first_golden_with(scores=[NAN] * 8), "differ by nan"),
        (first_golden_with(file="../../../secret"), "not listed"),
        (golden_file_with(tolerance=INF), "within inf"),
        (golden_file_with(tolerance=10**400), "not understood"),
        (golden_file_with(images=[]), "no golden image"),
        (contents("golden/0.png", b"no picture"), "golden/0.png: not a JPEG"),
        (contents("golden/0.png", b""), "golden/0.png: no bytes"),
    ],
)
def test_a_sealed_bundle_that_makes_no_sense_is_refused_in_one_line(
    bundle: Path, toolbox, damage: Damage, says: str
) -> None:
    facts = json.loads((bundle / "bundle.json").read_bytes())
    damage(bundle, facts)
    toolbox.seal(bundle, facts)
    assert says in refused(bundle)


@pytest.mark.parametrize(
    "text", [b"[" * 200_000, b'{"a":' * 200_000, b"[]", b"null", b"\xff\xfe\x80", b'{"model":"\\ud800"}', b""]
)
def test_a_bundle_json_that_is_no_object_is_refused(bundle: Path, text: bytes) -> None:
    (bundle / "bundle.json").write_bytes(text)
    assert "bundle.json" in refused(bundle)


def test_half_a_character_anywhere_in_the_facts_is_refused(bundle: Path) -> None:
    facts = json.loads((bundle / "bundle.json").read_bytes())
    (bundle / "bundle.json").write_text(json.dumps(facts | {"unknown": "\ud800"}))
    assert "bundle.json" in refused(bundle)


@pytest.mark.parametrize("name", ["a\0b", "a" * 100_000, ".", "", "golden", "a\nb", "\ud7ff"])
def test_a_file_of_an_impossible_name_is_refused(bundle: Path, toolbox, name: str) -> None:
    facts = json.loads((bundle / "bundle.json").read_bytes())
    facts["files"][name] = "0" * 64
    facts["fingerprint"] = fingerprint(facts)
    (bundle / "bundle.json").write_text(json.dumps(facts))
    refused(bundle)


def test_a_link_out_of_the_bundle_is_refused_and_one_within_it_followed(bundle: Path, tmp_path: Path) -> None:
    image = bundle / "golden/0.png"
    image.rename(bundle / "golden/real.png")
    image.symlink_to("real.png")
    prepare(bundle, ServerSettings(repository=tmp_path / "repository", device="cpu"))
    (bundle / "golden").rename(tmp_path / "elsewhere")
    (bundle / "golden").symlink_to(tmp_path / "elsewhere")
    assert "a link out of the bundle" in refused(bundle)


def test_a_pipe_or_a_device_in_a_files_place_is_not_waited_for(bundle: Path) -> None:
    image = bundle / "golden/0.png"
    image.unlink()
    os.mkfifo(image)
    assert "not a file" in refused(bundle)
    image.unlink()
    image.symlink_to("/dev/zero")
    assert "a link out of the bundle" in refused(bundle)
