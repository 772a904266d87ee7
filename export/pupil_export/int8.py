"""A graph with 8-bit weights and activations: static quantisation, the best of several ways, behind a gate.

Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference.
"""

import copy
from itertools import product
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QDQQuantizer, QuantType, TensorsData

from pupil_export.answers import OnnxModel
from pupil_export.cost import Cost, cost
from pupil_export.gate import Gate
from pupil_export.layers import LAYERS, layers, outside
from pupil_export.ranges import METHODS, tensor_ranges
from pupil_export.splits import labels_of
from pupil_training.data import ImageSet

# Between the layers, what passes 8 bits on: without these, ONNX Runtime would go to float and back around each.
OP_TYPES = [*LAYERS, "Relu", "Clip", "MaxPool", "Add"]
# A logit of 8 bits would move the scores further than all that comes before; a float costs nothing there.
OPTIONS = {"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]}


class Way(NamedTuple):
    """One way to quantise, in the words of bundle.json."""

    ends: str  # the precision of the first and the last layer
    weights: str  # their scales: per-channel or per-tensor
    ranges: str  # of the activations

    def __str__(self) -> str:
        return f"{self.weights} weights, {self.ranges} ranges, first and last layer in {self.ends}"


class Tried(NamedTuple):
    """What one way gave."""

    way: Way
    graph: bytes
    cost: Cost

    @property
    def rank(self) -> tuple[int, float]:
        """Larger is better: more best classes in common with fp32, then scores closer to its own."""
        return self.cost.same, -self.cost.mean_difference


def to_int8(graph: bytes, images: NDArray[np.uint8], validation: ImageSet, gate: Gate) -> Tried:
    """Of the quantised graphs that pass the gate, the one that agrees best with `graph` on the validation split.

    `images` (N, H, W, C), of training, give the ranges of the activations. The first and the last layer stay in fp32
    only where no way passes without. Raises ExportError, with the numbers, where none passes with it either.
    """
    pixels, labels = validation.images.numpy(), labels_of(validation)
    reference = OnnxModel(graph)(pixels)
    model = onnx.load_from_string(graph)
    found = {method: tensor_ranges(model, images, method=method, op_types=OP_TYPES) for method in METHODS}
    tried: list[Tried] = []
    for ends in ("int8", "fp32") if len(layers(model.graph)) > 2 else ("int8",):
        for weights, (method, ranges) in product(("per-channel", "per-tensor"), found.items()):
            if ranges is not None:
                way = Way(ends, weights, method)
                quantised = quantise(model, way, ranges)
                tried.append(Tried(way, quantised, cost(OnnxModel(quantised)(pixels), reference, labels)))
        if passing := [one for one in tried if gate.passes(one.cost)]:
            return max(passing, key=lambda one: one.rank)
    best = max(tried, key=lambda one: one.rank)
    raise gate.refusal("int8", f"the best of {len(tried)} ways ({best.way})", best.cost)


def quantise(model: onnx.ModelProto, way: Way, ranges: TensorsData) -> bytes:
    """The graph with a QuantizeLinear and a DequantizeLinear around each layer that `way` takes.

    Activations are unsigned and weights signed, which ONNX Runtime's kernels are fastest with. Its pre-processing
    is left out: the exporter has inferred every shape and folded every batch norm that can be.
    """
    ends = layers(model.graph)
    quantizer = QDQQuantizer(
        copy.deepcopy(model),  # it changes what it is given
        per_channel=way.weights == "per-channel",
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],  # all of these types
        nodes_to_exclude=outside(model.graph) + ([ends[0], ends[-1]] if way.ends == "fp32" else []),
        op_types_to_quantize=OP_TYPES,
        extra_options=OPTIONS,
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()  # it appends what it adds
    quantised: onnx.ModelProto = quantizer.model.model
    return quantised.SerializeToString(deterministic=True)
