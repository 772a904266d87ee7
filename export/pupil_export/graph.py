"""A classifier as an ONNX graph that takes raw pixels and gives calibrated scores."""

import onnx
import torch
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn
from torch.export import Dim

from pupil_export.errors import ExportError
from pupil_training.models import Classifier
from pupil_training.pixels import to_pixels

OPSET = 20
MOST_BYTES = 2**31 - 1  # of one protobuf message; larger graphs would need their weights in a second file


class Served(nn.Module):
    """What a bundle's graph computes: uint8 images in, logits and calibrated scores out."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and scores, each (N, K), of uint8 images (N, H, W, C)."""
        logits: Tensor = self.classifier(to_pixels(images))
        return logits, torch.softmax(logits / self.classifier.temperature, dim=1)


def export_graph(served: Served) -> bytes:
    """`served` as one ONNX file, its batch size free. The same weights always give the same bytes.

    Raises ExportError where the classes do not match the net's output, or where the graph exceeds 2 GiB.
    """
    served.eval()  # before the first call: in training mode that would move the statistics of a batch norm
    height, width, channels = served.classifier.input
    example = torch.zeros(2, height, width, channels, dtype=torch.uint8)  # a batch of 1 would become a constant
    with torch.no_grad():
        outputs = served(example)[0].shape[1]
    if outputs != len(served.classifier.classes):
        raise ExportError(
            f"{len(served.classifier.classes)} classes, but the net has {outputs} outputs; train it again"
        )
    program = torch.onnx.export(
        served,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["logits", "scores"],
        dynamic_shapes={"images": {0: Dim("N")}},
        external_data=False,
        verbose=False,
    )
    assert program is not None  # it is None only when a file was asked for
    # The exporter leaves arrays of zeros as nodes, and with them the weights of a partly connected layer.
    fold_constants(program.model, should_fold=lambda node: node.op_type == "ConstantOfShape" or None)
    graph = program.model_proto
    if graph.ByteSize() > MOST_BYTES:
        raise ExportError(f"the graph takes {graph.ByteSize():,} bytes, an ONNX file at most {MOST_BYTES:,}")
    _forget_the_source(graph)
    return graph.SerializeToString(deterministic=True)


def _forget_the_source(model: onnx.ModelProto) -> None:
    """Drops the stack traces that the exporter leaves everywhere: they name paths of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")
