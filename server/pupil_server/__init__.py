"""Bundles in, gRPC out: the server of Pupil. It never imports torch."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while ONNX Runtime loads: what is served stays here
