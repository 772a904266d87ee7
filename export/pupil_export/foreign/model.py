"""A classifier that somebody else exported: what its graph takes and gives, or why it cannot be served."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto

from pupil_export.errors import ExportError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while the library loads
import onnxruntime

DTYPES: dict[int, type[np.floating[Any]]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
}
LAYOUTS = {"nchw": (2, 3, 1), "nhwc": (1, 2, 3)}  # where height, width and channels stand


@dataclass(frozen=True)
class ForeignModel:
    """One image tensor in, one row of numbers an image out."""

    path: Path
    graph: onnx.ModelProto
    input: str
    output: str
    kind: int  # the input's TensorProto.DataType
    layout: str
    size: tuple[int, int, int]  # height, width, channels
    batch: int | None  # None: free

    def run(self, images: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """The output for normalised images (N, H, W, C) as (N, K). Raises ExportError where it does not run."""
        fed = (images if self.layout == "nhwc" else images.transpose(0, 3, 1, 2)).astype(DTYPES[self.kind])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its errors are raised, they need not be printed too
        try:
            session = onnxruntime.InferenceSession(
                self.graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            batches = [fed[i : i + self.batch] for i in range(0, len(fed), self.batch)] if self.batch else [fed]
            rows = np.concatenate([session.run([self.output], {self.input: batch})[0] for batch in batches])
        except Exception as error:  # the runtime raises a type of its own for each status
            raise ExportError(f"{self.path}: ONNX Runtime refuses it: {str(error).splitlines()[0]}") from None
        return rows.reshape(len(rows), -1).astype(np.float32)


def read_model(path: Path, *, layout: str | None, size: tuple[int, int] | None, output: str | None) -> ForeignModel:
    """The classifier in an ONNX file. Raises ExportError, in one line, for what cannot be served."""
    graph = _load(path)
    inputs = _inputs(graph)
    if len(inputs) != 1:
        raise ExportError(f"{path}: takes {_spell(inputs)}; only a graph with one input, the images, can be served")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in DTYPES:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise ExportError(f"{path}: takes {kind} {_spell(inputs)}; float images are wanted")
    shape = [side.dim_value or None for side in tensor.shape.dim]
    layout = layout or _layout(path, shape)
    return ForeignModel(
        path=path,
        graph=graph,
        input=inputs[0].name,
        output=_output(path, graph, output),
        kind=tensor.elem_type,
        layout=layout,
        size=_size(path, shape, layout, size),
        batch=shape[0],
    )


def _load(path: Path) -> onnx.ModelProto:
    try:
        graph = onnx.load(path)  # takes in weights that lie in a second file
    except DecodeError:
        raise ExportError(f"{path}: not an ONNX file") from None
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise ExportError(f"{path}: cannot be read ({reason})") from None
    if not graph.graph.node:
        raise ExportError(f"{path}: not an ONNX file, or one without a graph")
    return graph


def _inputs(graph: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Old files list their weights among the inputs."""
    weights = {weight.name for weight in graph.graph.initializer}
    return [value for value in graph.graph.input if value.name not in weights]


def _layout(path: Path, shape: list[int | None]) -> str:
    if len(shape) == 4:
        for layout, (_, _, channels) in LAYOUTS.items():
            if shape[channels] in (1, 3):
                return layout
    sides = "×".join(str(side or "?") for side in shape)
    raise ExportError(f"{path}: takes {sides}; images are wanted, N×C×H×W or N×H×W×C with 1 or 3 channels")


def _size(path: Path, shape: list[int | None], layout: str, asked: tuple[int, int] | None) -> tuple[int, int, int]:
    height, width, channels = (shape[place] for place in LAYOUTS[layout])
    if channels not in (1, 3):
        raise ExportError(f"{path}: takes {channels or 'any number of'} channels as {layout}; 1 or 3 are wanted")
    found = (height or (asked and asked[0]), width or (asked and asked[1]))
    if not found[0] or not found[1]:
        raise ExportError(f"{path}: takes images of any size; say which with --size HxW")
    if asked and found != asked:
        raise ExportError(f"{path}: takes {found[0]}×{found[1]} images, not {asked[0]}×{asked[1]}; leave --size out")
    return found[0], found[1], channels


def _output(path: Path, graph: onnx.ModelProto, asked: str | None) -> str:
    names = [value.name for value in graph.graph.output]
    if asked is None and len(names) == 1:
        return names[0]
    if asked in names:
        return asked
    what = f"has no output {asked!r}" if asked else f"gives {len(names)} outputs"
    raise ExportError(f"{path}: {what}; say with --output which are the scores or logits: {', '.join(names)}")


def _spell(inputs: list[onnx.ValueInfoProto]) -> str:
    return ", ".join(repr(value.name) for value in inputs) or "no input"
