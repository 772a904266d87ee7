"""The model card of a bundle, written from nothing but its bundle.json (Mitchell et al. 2019)."""

from typing import Any

from pupil_trust import wilson_interval

Facts = dict[str, Any]


def model_card(facts: Facts) -> str:
    """README.md of a bundle, in Markdown."""
    sections = (_what, _input, _accuracy, _calibration, _certificates, _data, _limits, _use)
    return "\n\n".join(section(facts) for section in sections) + "\n"


def _what(facts: Facts) -> str:
    teacher = facts["teacher"]
    origin = "trained on labels alone" if teacher is None else f"distilled from {_bundle_name(teacher)}"
    return (
        f"# {facts['model']} {facts['version']}\n\n"
        f"An image classifier for {len(facts['classes'])} classes, {origin}: {facts['recipe']['model']['name']} with "
        f"{facts['parameters']:,} parameters and {facts['multiply_adds']:,} multiply-adds an image, weights in "
        f"{facts['precision']}. Made by Pupil {facts['code']} on {facts['created']}.\n\n"
        f"Licence: {facts['licence'] or 'not stated'}. Fingerprint: `{facts['fingerprint']}`."
    )


def _bundle_name(teacher: dict[str, Any]) -> str:
    version = teacher["version"]
    return f"`{teacher['name']}`" + ("" if version is None else f" version {version}")


def _input(facts: Facts) -> str:
    size, resize = facts["input"], facts["resize"]
    colour = "grey" if size["channels"] == 1 else "RGB"
    return (
        "## Input and output\n\n"
        f"`model.onnx` takes uint8 `images` N×{size['height']}×{size['width']}×{size['channels']} ({colour}) and gives "
        f"float32 `logits` and `scores`, N×{len(facts['classes'])}. Before it: {resize['interpolation']} resize of the "
        f"shorter side to {resize['shortest_side']}, {resize['crop']} crop. Inside it: normalisation, the temperature "
        f"{facts['temperature']:.4g} and the softmax.\n\n"
        f"Classes, in order: {', '.join(facts['classes'])}."
    )


def _accuracy(facts: Facts) -> str:
    rows = [f"| {split.removesuffix('_accuracy')} | {_share(**seen)} |" for split, seen in facts["metrics"].items()]
    parity = facts["parity"]
    return (
        "## Accuracy\n\n"
        "| split | right | of | accuracy | 95 % interval (Wilson) |\n| --- | --: | --: | --: | --- |\n"
        + "\n".join(rows)
        + "\n\nMeasured with ONNX Runtime on the exported graph. Its scores differ from PyTorch's by at most "
        f"{parity['largest_difference']:.1g} on {parity['images']} images, in batches of 1, 3 and 8."
    )


def _share(right: int, of: int) -> str:
    low, high = wilson_interval(right, of)
    return f"{right:,} | {of:,} | {right / of:.2%} | {low:.2%} to {high:.2%}"


def _calibration(facts: Facts) -> str:
    error = facts["calibration_error"]
    return (
        "## Calibration\n\n"
        f"On the {error['of']:,} {error['split']} images, without the temperature and with it: expected "
        f"calibration error (15 bins) {error['ece_uncalibrated']:.4f} → {error['ece']:.4f}, negative log-likelihood "
        f"{error['nll_uncalibrated']:.4f} → {error['nll']:.4f} nats. "
        "The temperature was fitted on the validation split."
    )


def _certificates(facts: Facts) -> str:
    head = "## Certificates\n\n"
    if "calibration.json" not in facts["files"]:
        return head + "None: there was no calibration set. Labels of this model carry no promise."
    if not facts["certificates"]:
        return head + "The calibration set is too small, or the model too often wrong, for a precision of 0.9 or more."
    rows = [
        f"| {one['precision']:g} | {one['delta']:g} | {one['threshold']:.6g} | {one['accepted']:,} of "
        f"{one['calibration']:,} | {one['wrong']} | {one['coverage']:.1%} | {one['p_value']:.2g} |"
        for one in facts["certificates"]
    ]
    return (
        head + "With probability 1 − delta over calibration sets, at least this share of the labels accepted at the "
        "threshold are right.\n\n"
        "| precision | delta | confidence ≥ | accepted | wrong | coverage | p-value |\n"
        "| --: | --: | --: | --: | --: | --: | --: |\n" + "\n".join(rows) + _idle(facts)
    )


def _idle(facts: Facts) -> str:
    if all(one["coverage"] < 1 for one in facts["certificates"]):
        return ""
    return (
        "\n\nWhere the coverage is 100 %, the promise is no stricter than the model itself: it selects nothing, and "
        "its labels teach a student little."
    )


def _data(facts: Facts) -> str:
    rows = [f"| {part} | {images:,} | {_digest(facts, part)} |" for part, images in facts["images"].items()]
    return "## Data\n\n| part | images | SHA-256 of its files and labels |\n| --- | --: | --- |\n" + "\n".join(rows)


def _digest(facts: Facts, part: str) -> str:
    return f"`{facts['data'][part]}`" if part in facts["data"] else ""


def _limits(facts: Facts) -> str:
    return (
        "## Limits\n\n"
        f"- Every image is given one of the {len(facts['classes'])} classes, also an image of none of them.\n"
        "- Accuracy and certificates hold for images from the same source as the data above. They say nothing about "
        "other sources, nor about one class alone.\n"
        "- A certificate belongs to this fingerprint: another precision of the weights, another resize or another "
        "version needs its own." + _rounds(facts)
    )


def _rounds(facts: Facts) -> str:
    if facts["recipe"]["labels"]["file"] is None:
        return ""
    return (
        "\n- It learned from labels that another model gave. If those were accepted by a certificate from this same "
        "calibration set, the certificates above are approximate."
    )


def _use(facts: Facts) -> str:
    return (
        "## Use\n\n"
        "```console\n"
        "$ pupil serve --repository REPOSITORY\n"
        f"$ pupil classify picture.png --model {facts['model']}\n"
        "```\n\n"
        "REPOSITORY is the folder two levels above this one."
    )
