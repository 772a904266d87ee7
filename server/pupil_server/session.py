"""One ONNX Runtime session: images in, logits and scores out, on a device that is what it says."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_server.errors import BundleError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while the library loads: what is served stays here
import onnxruntime as ort

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Outputs(NamedTuple):
    """What the graph says of N images, each (N, K)."""

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]


class Session:
    """A graph, ready to run. `device` is where its nodes really are; `fallback` says why it is not CUDA, if asked."""

    buckets: tuple[int, ...] = ()  # sizes that a batch is padded to, from small to large; a CPU does not profit from it

    def __init__(self, graph: Path, *, device: str, threads: int) -> None:
        self.fallback = ""
        if device == "auto":
            device, self.fallback = _best_device()
        self._session = _create(graph, device, threads)
        self.device = device

    def run(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Logits and scores of `pixels` (N, H, W, C). Blocks, and lets go of the GIL meanwhile."""
        return Outputs(*self._session.run(["logits", "scores"], {"images": pixels}))

    def check_shape(self, height: int, width: int, channels: int, *, batch: int | None = None) -> None:
        """Raises BundleError unless the graph takes uint8 N×H×W×C images and gives logits and scores.

        `batch` is what N may be fixed at.
        """
        inputs = {value.name: (value.type, value.shape) for value in self._session.get_inputs()}
        outputs = {value.name for value in self._session.get_outputs()}
        kind, shape = inputs.get("images", ("nothing", []))
        if len(inputs) != 1 or kind != "tensor(uint8)" or shape[1:] != [height, width, channels]:
            raise BundleError(f"model.onnx: takes {inputs}, wanted uint8 images N×{height}×{width}×{channels}")
        if isinstance(shape[0], int) and shape[0] != batch:
            raise BundleError(f"model.onnx: takes exactly {shape[0]} images, wanted a dynamic batch")
        if not {"logits", "scores"} <= outputs:
            raise BundleError(f"model.onnx: gives {sorted(outputs)}, wanted logits and scores")


def _best_device() -> tuple[str, str]:
    available = ort.get_available_providers()
    if PROVIDERS["cuda"] not in available:
        return "cpu", "this build of ONNX Runtime has no CUDA provider"
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return "cpu", "no NVIDIA device is visible"
    return "cuda", ""


def _create(graph: Path, device: str, threads: int) -> ort.InferenceSession:
    provider = PROVIDERS[device]
    if provider not in ort.get_available_providers():
        raise BundleError(
            f"--device {device}: this build of ONNX Runtime has no {provider}; pip install 'pupil[{device}]'"
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads  # explicit: ONNX Runtime's own guess ignores a container's limits
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle cores must idle
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if device == "cuda":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        # Bytes, not the path: a graph cannot then refer to files outside the bundle.
        session = ort.InferenceSession(graph.read_bytes(), options, providers=[provider])
    except Exception as error:  # the runtime raises its own types, all of them RuntimeError's kin or not
        raise BundleError(f"{graph}: ONNX Runtime refuses it on {device}: {error}") from error
    if session.get_providers()[0] != provider:
        raise BundleError(f"--device {device}: ONNX Runtime fell back to {session.get_providers()[0]}")
    return session
