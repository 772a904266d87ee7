"""Makes a graph that was exported for one image take any number of them, where that changes no answer."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from pupil_export.errors import ExportError
from pupil_export.foreign.model import ForeignModel

SAME = 1e-3  # of the largest output: another batch size adds up in another order


def free_batch(model: ForeignModel) -> ForeignModel:
    """`model` with a free batch (`batch` None) if it then answers one and three images alike; else as it was.

    Raises ExportError for one that cannot be freed and takes neither one image nor any number.
    """
    for freed in _attempts(model):
        with suppress(ExportError):  # it does not even run: a shape of one image is written out somewhere
            if _answers_alike(freed):
                return freed
    if model.batch not in (None, 1):
        raise ExportError(
            f"{model.path}: takes exactly {model.batch} images at a time; export it with a free batch, or one of 1"
        )
    return replace(model, batch=1)


def _attempts(model: ForeignModel) -> Iterator[ForeignModel]:
    if model.batch is None:
        yield model
        return
    graph = onnx.ModelProto()
    graph.CopyFrom(model.graph)
    for value in (*graph.graph.input, *graph.graph.output):
        if value.name in (model.input, model.output):
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.graph.value_info[:]  # they repeat the old batch
    yield replace(model, graph=graph, batch=None)
    _free_reshapes(graph.graph, model.batch)
    yield replace(model, graph=graph, batch=None)


def _free_reshapes(graph: onnx.GraphProto, batch: int) -> None:
    """A Reshape to 1×576 becomes one to 0×576: ONNX's 0 keeps the side that comes in."""
    constants = [node for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]
    written = {node.output[0]: node.attribute[0].t for node in constants}
    written |= {weight.name: weight for weight in graph.initializer}
    for node in (node for node in graph.node if node.op_type == "Reshape" and node.input[1] in written):
        tensor = written[node.input[1]]
        shape = numpy_helper.to_array(tensor).copy()
        if len(shape) > 1 and shape[0] in (0, batch):  # 0: two Reshapes may share one shape
            shape[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
            node.ClearField("attribute")  # allowzero, its only one, would make the 0 a side of length 0


def _answers_alike(model: ForeignModel) -> bool:
    images = np.random.default_rng(0).normal(size=(3, *model.size))
    together = model.run(images)
    alone = np.concatenate([model.run(images[i : i + 1]) for i in range(3)])
    if together.shape != alone.shape:
        return False
    return bool(np.abs(together - alone).max() <= SAME * np.abs(alone).max())
