"""A foreign graph inside one that takes raw pixels and gives logits and scores, like every graph of a bundle."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, compose, helper, numpy_helper

from pupil_export.errors import ExportError
from pupil_export.foreign.model import ForeignModel
from pupil_export.graph import MOST_BYTES

INSIDE = "model/"  # before every name of the foreign graph, so that none meets ours


def wrap(model: ForeignModel, *, mean: Sequence[float], std: Sequence[float], softmax: str, classes: int) -> bytes:
    """uint8 `images` N×H×W×C in; float32 `logits` and `scores` N×K out. `softmax` tells which of them it gives."""
    whole = compose.add_prefix(model.graph, INSIDE)
    whole.graph.CopyFrom(
        helper.make_graph(
            [*_before(model, mean, std), *whole.graph.node, *_after(model, softmax)],
            "classifier",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, [model.batch or "N", *model.size])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [model.batch or "N", classes])
                for name in ("logits", "scores")
            ],
            list(whole.graph.initializer),
            sparse_initializer=list(whole.graph.sparse_initializer),
        )
    )
    whole.ir_version = max(whole.ir_version, 4)  # older ones list the weights among the inputs
    for about in ("doc_string", "metadata_props", "producer_name", "producer_version", "domain"):
        whole.ClearField(about)
    if whole.ByteSize() > MOST_BYTES:
        raise ExportError(f"{model.path}: takes {whole.ByteSize():,} bytes, an ONNX file at most {MOST_BYTES:,}")
    return bytes(whole.SerializeToString(deterministic=True))


def normalised(images: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float64]:
    """What the foreign graph is fed, worked out without a graph."""
    fed: NDArray[np.float64] = (images / 255.0 - np.array(mean)) / np.array(std)
    return fed


def _before(model: ForeignModel, mean: Sequence[float], std: Sequence[float]) -> Iterator[NodeProto]:
    yield _constant("mean", 255.0 * np.array(mean))  # of pixels from 0 to 255
    yield _constant("std", 255.0 * np.array(std))
    yield helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT)
    yield helper.make_node("Sub", ["pixels", "mean"], ["centred"])
    yield helper.make_node("Div", ["centred", "std"], ["normalised"])
    yield helper.make_node("Transpose", ["normalised"], ["laid"], perm=_axes(model.layout))
    yield helper.make_node("Cast", ["laid"], [INSIDE + model.input], to=model.kind)


def _after(model: ForeignModel, softmax: str) -> Iterator[NodeProto]:
    yield helper.make_node("Cast", [INSIDE + model.output], ["floats"], to=TensorProto.FLOAT)
    if softmax == "outside":
        yield helper.make_node("Flatten", ["floats"], ["logits"], axis=1)  # some give N×K×1×1
        yield helper.make_node("Softmax", ["logits"], ["scores"], axis=1)
        return
    yield helper.make_node("Flatten", ["floats"], ["scores"], axis=1)
    yield _constant("least", np.finfo(np.float32).tiny)  # the logarithm of a score that underflowed must be finite
    yield helper.make_node("Max", ["scores", "least"], ["positive"])
    yield helper.make_node("Log", ["positive"], ["logits"])


def _axes(layout: str) -> list[int]:
    return [0, 3, 1, 2] if layout == "nchw" else [0, 1, 2, 3]


def _constant(name: str, value: object) -> NodeProto:
    # A node, not an initializer: that would have to be an input too in files of the first IR versions.
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value, np.float32), name))
