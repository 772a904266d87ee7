"""An exported bundle, asked through ONNX Runtime: docs/files.md describes the folder."""

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pupil_training.commands import brought_by
from pupil_training.data.images import batch_for
from pupil_training.errors import BundleError
from pupil_training.evaluate import SOON
from pupil_training.models import InputSize
from pupil_training.runs import read_json

FORMAT = 1  # of bundle.json
GRAPH = "model.onnx"
NEEDED = ("model", "version", "fingerprint", "classes", "temperature", "input", "files")


@dataclass(frozen=True)
class Bundle:
    """The graph that is served, with its facts."""

    folder: Path
    facts: dict[str, Any] = field(repr=False)  # bundle.json
    bytes: int  # of the graph
    session: Any = field(repr=False)  # onnxruntime.InferenceSession

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.facts["classes"])

    @property
    def imported(self) -> bool:
        """Whether it was trained elsewhere: nothing is known of its recipe and its data then."""
        return "graph" in self.facts

    @property
    def input(self) -> InputSize:
        return InputSize(*(self.facts["input"][side] for side in InputSize._fields))

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K), on the CPU, of uint8 images (N, H, W, C)."""
        batches = torch.split(images.cpu(), self.facts.get("max_batch") or batch_for(images))
        shown = tqdm(batches, "answering", unit="batch", leave=False, disable=None, delay=SOON)
        answers = [self.session.run(["logits"], {"images": batch.numpy()})[0] for batch in shown]
        return torch.cat([torch.from_numpy(logits) for logits in answers])


def find_bundle(path: Path) -> Path | None:
    """The bundle that a path names: its own folder, or the newest version in a model's; None where it is neither."""
    if (path / "bundle.json").is_file():
        return path
    versions = [file.parent for file in path.glob("*/bundle.json") if re.fullmatch("[1-9][0-9]*", file.parent.name)]
    return max(versions, key=lambda folder: int(folder.name), default=None)


def load_bundle(folder: Path, device: torch.device) -> Bundle:
    """Raises BundleError: no bundle of our format, or a changed graph; NotInstalled without onnxruntime."""
    facts = _read_facts(folder / "bundle.json")
    file = folder / GRAPH
    try:
        graph = file.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{file}: no such file; export the bundle again") from None
    if hashlib.sha256(graph).hexdigest() != facts["files"].get(GRAPH):
        raise BundleError(f"{file}: not the file that bundle.json was written for; export the bundle again")
    return Bundle(folder, facts, len(graph), _session(graph, device))


def _read_facts(file: Path) -> dict[str, Any]:
    facts: dict[str, Any] = read_json(file)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise BundleError(f"{file}: not of format {FORMAT}, the only one that this version reads")
    if missing := [name for name in NEEDED if name not in facts]:
        raise BundleError(f"{file}: says nothing of {', '.join(missing)}; export it again")
    return facts


def _session(graph: bytes, device: torch.device) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while the library loads
    with brought_by("export", "a bundle"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # its own default ignores the cores that we may use
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would starve PyTorch's threads
    options.log_severity_level = 3  # errors
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    return onnxruntime.InferenceSession(graph, options, providers=providers)
