"""The protocol's names, and ours in it."""

import re

from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_server.errors import BadRequest

SERVICE = "inference.GRPCInferenceService"
IMAGES, OUTPUTS = "images", ("logits", "scores")
VERSION = re.compile(r"[0-9]{1,18}\Z")


def model_spec(name: str, version: str) -> ModelSpec:
    """Raises BadRequest for a version that is no whole number: the protocol's clients do arithmetic with them."""
    if not version:
        return ModelSpec(name=name)
    if not VERSION.match(version):
        raise BadRequest(f"version {version!r}: a whole number is wanted, or nothing for the newest")
    return ModelSpec(name=name, version=int(version))
