"""An exported bundle as a teacher: its graph in ONNX Runtime (docs/files.md describes the folder)."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pupil_training.errors import TeacherError
from pupil_training.models import InputSize
from pupil_training.pixels import to_images

FORMAT = 1  # of bundle.json
GRAPH = "model.onnx"
BATCH = 64  # images at once; 224×224 pixels through a VGG take about 2 GB


class BundleTeacher:
    """A graph that takes uint8 images, so that pixels are rounded to them: a live view loses up to half a level."""

    model = None  # a graph has no layers that could be watched

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Raises TeacherError: no bundle of our format, a graph that was changed, or no onnxruntime."""
        self._folder = folder
        self._facts = read_facts(folder)
        self.name: str = self._facts["model"]
        self.temperature: float = self._facts["temperature"]
        self.classes: tuple[str, ...] = tuple(self._facts["classes"])
        self.input: InputSize = self._facts["input"]
        self._session = _session(folder / GRAPH, self._facts["files"][GRAPH], device)

    def __call__(self, pixels: Tensor) -> Tensor:
        batches = torch.split(to_images(pixels).cpu(), BATCH)
        logits = [self._session.run(["logits"], {"images": batch.numpy()})[0] for batch in batches]
        return torch.from_numpy(np.concatenate(logits)).to(pixels.device)

    def described(self) -> dict[str, Any]:
        known = {key: self._facts[key] for key in ("version", "fingerprint")}
        return {"name": self.name, "bundle": str(self._folder), **known}


def find_bundle(path: Path) -> Path | None:
    """The bundle that a path names: its own folder, or the newest version in a model's; None where it is neither."""
    if (path / "bundle.json").is_file():
        return path
    versions = [file.parent for file in path.glob("*/bundle.json") if re.fullmatch("[1-9][0-9]*", file.parent.name)]
    return max(versions, key=lambda folder: int(folder.name), default=None)


def read_facts(folder: Path) -> dict[str, Any]:
    """bundle.json, with all that a teacher needs of it."""
    file = folder / "bundle.json"
    try:
        facts: dict[str, Any] = json.loads(file.read_bytes())
        if facts["format"] != FORMAT:
            raise TeacherError(f"{file}: format {facts['format']}, this version reads {FORMAT}")
        known = {key: facts[key] for key in ("model", "version", "fingerprint", "classes", "temperature")}
        size = InputSize(*(facts["input"][side] for side in InputSize._fields))
        return {**known, "input": size, "files": {GRAPH: facts["files"][GRAPH]}}
    except (ValueError, KeyError, TypeError) as error:
        raise TeacherError(f"{file}: not a bundle's facts ({error!r}); export it again") from None


def _session(graph: Path, sha256: str, device: torch.device) -> Any:
    try:
        content = graph.read_bytes()
    except FileNotFoundError:
        raise TeacherError(f"{graph}: no such file; export the bundle again") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TeacherError(f"{graph}: not the file that bundle.json names by its SHA-256; export the bundle again")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while the library loads
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise TeacherError(f"{graph.parent}: a bundle teaches by onnxruntime: pip install 'pupil[export]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # its own default ignores the cores that we may use
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would starve PyTorch's threads
    options.log_severity_level = 3  # errors
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    return onnxruntime.InferenceSession(content, options, providers=providers)
