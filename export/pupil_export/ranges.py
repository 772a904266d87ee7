"""Between which values the tensors of a graph lie on real images: what int8 must cover with its 256 steps."""

import contextlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, TensorsData, create_calibrator

BATCH = 8  # images; the values of all tensors are held for one batch: 0.3 GB for a ResNet-18 at 224×224
METHODS: dict[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.99}),  # of the absolute values
    "entropy": (CalibrationMethod.Entropy, {}),  # the range whose steps keep the values' distribution best
}


def tensor_ranges(
    model: onnx.ModelProto, images: NDArray[np.uint8], *, method: str, op_types: list[str]
) -> TensorsData | None:
    """The ranges of what these kinds of nodes read and write, for uint8 images (N, H, W, C).

    None where a tensor, such as that of a dead layer, varies too little for a histogram; minmax takes any.
    """
    kind, options = METHODS[method]
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        graph = Path(folder) / "model.onnx"
        onnx.save(model, graph)
        collector = create_calibrator(
            graph, op_types, f"{folder}/observed.onnx", calibrate_method=kind, extra_options=options
        )
        # One call a batch: a call keeps every tensor of all that it is given. CalibMaxIntermediateOutputs is no way
        # out: onnxruntime 1.31 then drops what it collected.
        try:
            for start in range(0, len(images), BATCH):
                collector.collect_data(_OneBatch(images[start : start + BATCH]))
            return collector.compute_data()
        except ValueError:  # numpy's: "Too many bins for data range"
            if method == "minmax":
                raise
            return None


class _OneBatch(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._waiting = [images]

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return {"images": self._waiting.pop()} if self._waiting else None
