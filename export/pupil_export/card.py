"""The model card of a bundle, written from nothing but its bundle.json (Mitchell et al. 2019)."""

from collections.abc import Iterable
from typing import Any

from pupil_trust import wilson_interval

Facts = dict[str, Any]


def model_card(facts: Facts) -> str:
    """README.md of a bundle, in Markdown."""
    sections = (_what, _input, _accuracy, _precisions, _calibration, _certificates, _data, _limits, how_to_use)
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


def _each(facts: Facts) -> dict[str, Facts]:
    """What is said of each precision, fp32 first."""
    return {facts["precision"]: facts, **facts["precisions"]}


def _precisions(facts: Facts) -> str:
    split = facts["calibration_error"]["split"]
    machine = facts["machine"]
    rows = [
        f"| {precision} | {said['bytes']:,} | {_share(**said['metrics'][f'{split}_accuracy'])} | {_likeness(said)} | "
        f"{said['milliseconds']['1']:.3g} ms | {said['milliseconds']['32']:.3g} ms |"
        for precision, said in _each(facts).items()
    ]
    return (
        "## Precisions\n\n"
        f"| weights | bytes | {split}: right | of | accuracy | 95 % interval | like fp32 (validation) | largest score "
        "difference | 1 image | 32 images |\n| --- | --: | --: | --: | --: | --- | --: | --: | --: | --: |\n"
        + "\n".join(rows)
        + f"\n\nTimed with ONNX Runtime on {machine['processor']}, {machine['threads']} threads, decoding left out."
        + (" fp16 is for GPUs, and judged as they round; a CPU uses fp32." if "fp16" in facts["precisions"] else "")
        + _quantisation(facts)
    )


def _likeness(said: Facts) -> str:
    if "agreement" not in said:
        return " | "
    return f"{said['agreement']['right'] / said['agreement']['of']:.2%} | {said['largest_difference']:.2g}"


def _quantisation(facts: Facts) -> str:
    if "int8" not in facts["precisions"]:
        return ""
    way = facts["precisions"]["int8"]["quantisation"]
    return (
        f" In int8: {way['weights']} weights, {way['ranges']} ranges of activations on {way['images']} training "
        f"images, the first and the last layer in {way['ends']}."
    )


def _calibration(facts: Facts) -> str:
    errors = {precision: said["calibration_error"] for precision, said in _each(facts).items()}
    of, split = facts["calibration_error"]["of"], facts["calibration_error"]["split"]
    rows = [
        f"| {precision} | {error['ece_uncalibrated']:.4f} → {error['ece']:.4f} | "
        f"{error['nll_uncalibrated']:.4f} → {error['nll']:.4f} nats |"
        for precision, error in errors.items()
    ]
    return (
        "## Calibration\n\n"
        f"On the {of:,} {split} images, without the temperature and with it:\n\n"
        "| weights | expected calibration error (15 bins) | negative log-likelihood |\n| --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n\nThe temperature was fitted on the validation split, in fp32; it is the same in every precision."
    )


def _certificates(facts: Facts) -> str:
    head = "## Certificates\n\n"
    if facts["calibration"] is None:
        return head + "None: there was no calibration set. Labels of this model carry no promise."
    found = [(precision, one) for precision, said in _each(facts).items() for one in said["certificates"]]
    if not found:
        return head + "The calibration set is too small, or the model too often wrong, for a precision of 0.9 or more."
    rows = [
        f"| {weights} | {one['precision']:g} | {one['delta']:g} | {one['threshold']:.6g} | {one['accepted']:,} of "
        f"{one['calibration']:,} | {one['wrong']} | {one['coverage']:.1%} | {one['p_value']:.2g} |"
        for weights, one in found
    ]
    return (
        head + "With probability 1 − delta over calibration sets, at least this share of the labels accepted at the "
        "threshold are right. Each holds for the scores of its own weights alone.\n\n"
        "| weights | precision | delta | confidence ≥ | accepted | wrong | coverage | p-value |\n"
        "| --- | --: | --: | --: | --: | --: | --: | --: |\n" + "\n".join(rows) + _idle(one for _, one in found)
    )


def _idle(certificates: Iterable[Facts]) -> str:
    if all(one["coverage"] < 1 for one in certificates):
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
        "- A certificate belongs to this fingerprint and to one precision of the weights: another one, another resize "
        "or another version needs its own." + _rounds(facts)
    )


def _rounds(facts: Facts) -> str:
    if facts["recipe"]["labels"]["file"] is None:
        return ""
    return (
        "\n- It learned from labels that another model gave. If those were accepted by a certificate from this same "
        "calibration set, the certificates above are approximate."
    )


def how_to_use(facts: Facts) -> str:
    """A card's last section: the commands that serve the bundle and ask it."""
    return (
        "## Use\n\n"
        "```console\n"
        "$ pupil serve --repository REPOSITORY\n"
        f"$ pupil classify picture.png --model {facts['model']}\n"
        "```\n\n"
        "REPOSITORY is the folder two levels above this one."
    )
