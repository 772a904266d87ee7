"""An exported bundle as a teacher."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pupil_training.bundles import load_bundle
from pupil_training.pixels import to_images


class BundleTeacher:
    """A graph that takes uint8 images, so that pixels are rounded to them: a live view loses up to half a level."""

    model = None  # a graph has no layers that could be watched

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Raises BundleError: no bundle of our format, or a graph that was changed; NotInstalled."""
        self._bundle = load_bundle(folder, device)
        self.name: str = self._bundle.facts["model"]
        self.temperature: float = self._bundle.facts["temperature"]
        self.classes = self._bundle.classes
        self.input = self._bundle.input

    def __call__(self, pixels: Tensor) -> Tensor:
        return self._bundle.logits(to_images(pixels)).to(pixels.device)

    def described(self) -> dict[str, Any]:
        known = {key: self._bundle.facts[key] for key in ("version", "fingerprint")}
        return {"name": self.name, "bundle": str(self._bundle.folder), **known}
