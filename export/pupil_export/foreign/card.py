"""The model card of a bundle whose model came from elsewhere, written from nothing but its bundle.json."""

from pupil_export.card import Facts, how_to_use

MOST_CLASSES = 20  # that are named; bundle.json has them all


def model_card(facts: Facts) -> str:
    """README.md of the bundle, in Markdown."""
    return "\n\n".join(section(facts) for section in (_what, _input, _limits, how_to_use)) + "\n"


def _what(facts: Facts) -> str:
    graph = facts["graph"]
    return (
        f"# {facts['model']} {facts['version']}\n\n"
        f"An image classifier for {len(facts['classes'])} classes, weights in {facts['precision']}. Imported from "
        f"`{graph['file']}` (SHA-256 `{graph['sha256']}`) by Pupil {facts['code']} on {facts['created']}.\n\n"
        f"Licence: {facts['licence'] or 'not stated'}. Fingerprint: `{facts['fingerprint']}`."
    )


def _input(facts: Facts) -> str:
    size, resize, graph = facts["input"], facts["resize"], facts["graph"]
    colour = "grey" if size["channels"] == 1 else "RGB"
    batch = facts["max_batch"] or "N"
    return (
        "## Input and output\n\n"
        f"`model.onnx` takes uint8 `images` {batch}×{size['height']}×{size['width']}×{size['channels']} ({colour}) and "
        f"gives float32 `logits` and `scores`, {batch}×{len(facts['classes'])}. Before it: {resize['interpolation']} "
        f"resize of the shorter side to {resize['shortest_side']}, {resize['crop']} crop. Inside it: (pixel / 255 − "
        f"mean) / std with mean {_list(graph['mean'])} and std {_list(graph['std'])}, then the imported graph with the "
        f"output `{graph['output']}`, the softmax {graph['softmax']} of that graph.\n\n"
        f"Classes, in order: {', '.join(facts['classes'][:MOST_CLASSES])}{_more(facts)}."
    )


def _limits(facts: Facts) -> str:
    return (
        "## Limits\n\n"
        "- Nothing is known here of its accuracy or its training data. The goldens prove that a server answers as the "
        "file did when it was imported, not that the answers are right: a wrong mean, std, resize or order of classes "
        "passes.\n"
        "- Its scores are not calibrated, and it has no certificate: labels of this model carry no promise.\n"
        f"- Every image is given one of the {len(facts['classes'])} classes, also an image of none of them."
    )


def _list(numbers: list[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _more(facts: Facts) -> str:
    more = len(facts["classes"]) - MOST_CLASSES
    return f" and {more:,} more" if more > 0 else ""
