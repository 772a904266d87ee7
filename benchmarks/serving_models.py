"""How benchmarks/serving.py and shadow.py serve a graph: as a bundle, and by the barest server on grpcio.

python benchmarks/serving_models.py GRAPH serves it, and prints a line of JSON with its address.
"""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
from PIL import Image

from pupil_export.bundle import fingerprint, sha256
from pupil_export.repository import write_bundle
from pupil_proto.oip.v2 import infer_pb2 as oip
from pupil_proto.v1 import inference_pb2 as pb

SMALL, MEDIUM, LARGE = (28, 28, 1), (32, 32, 3), (224, 224, 3)
CLASSES = {SMALL: 10, MEDIUM: 10, LARGE: 1000}
KINDS = {"UINT8": np.uint8, "FP32": np.float32}


def bundle(repository: Path, name: str, shape: tuple[int, int, int], graph: bytes, teacher: str | None = None) -> Path:
    """A graph as a bundle that `pupil serve` takes; returns its file."""
    white = io.BytesIO()
    Image.new("RGB" if shape[2] == 3 else "L", shape[:2], "white").save(white, "PNG")
    scores = session(graph).run(["scores"], {"images": np.full((1, *shape), 255, np.uint8)})[0][0].tolist()
    files = {
        "model.onnx": graph,
        "golden/white.png": white.getvalue(),
        "golden/golden.json": json.dumps(
            {"tolerance": 0.001, "images": [{"file": "white.png", "scores": scores}]}
        ).encode(),
    }
    facts = {
        "format": 1,
        "model": name,
        "version": 1,
        "created": "2026-01-01T00:00:00Z",
        "classes": [str(number) for number in range(CLASSES[shape])],
        "input": dict(zip(("height", "width", "channels"), shape, strict=True)),
        "resize": {"shortest_side": round(shape[0] * 8 / 7), "crop": "center", "interpolation": "bilinear"},
        "precision": "fp32",
        "temperature": 1.0,
        "teacher": {"name": teacher, "version": 1, "fingerprint": None} if teacher else None,
        "certificates": [],
        "files": {file: sha256(content) for file, content in files.items()},
    }
    facts["fingerprint"] = fingerprint(facts)
    write_bundle(repository / name / "1", {**files, "bundle.json": json.dumps(facts).encode()})
    return repository / name / "1/model.onnx"


def session(graph: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def barest(graph: Path) -> None:
    """What one writes in a first hour: 64 threads, and one run of the session a request."""
    model = session(graph)

    def classify(request: pb.ClassifyRequest, context: object) -> pb.ClassifyResponse:
        pixels = request.images.pixels
        images = np.frombuffer(pixels.data, np.uint8).reshape(pixels.count, *SMALL)
        (scores,) = model.run(["scores"], {"images": images})
        best = int(scores[0].argmax())
        top = pb.ScoredClass(label=str(best), index=best, score=scores[0, best])
        return pb.ClassifyResponse(predictions=[pb.Prediction(top=[top])])

    def infer(request: oip.ModelInferRequest, context: object) -> oip.ModelInferResponse:
        kind = KINDS[request.inputs[0].datatype]
        images = np.frombuffer(request.raw_input_contents[0], kind).reshape(request.inputs[0].shape)
        values = dict(
            zip(("logits", "scores"), model.run(["logits", "scores"], {"images": images.astype(np.uint8)}), strict=True)
        )
        tensor = oip.ModelInferResponse.InferOutputTensor
        outputs = [tensor(name=name, datatype="FP32", shape=rows.shape) for name, rows in values.items()]
        raw = [rows.tobytes() for rows in values.values()]
        return oip.ModelInferResponse(model_name=request.model_name, outputs=outputs, raw_output_contents=raw)

    def handler(answer: Any, request: Any, response: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(answer, request.FromString, response.SerializeToString)

    server = grpc.server(ThreadPoolExecutor(64))
    table = {
        "pupil.v1.Inference": {"Classify": handler(classify, pb.ClassifyRequest, pb.ClassifyResponse)},
        "inference.GRPCInferenceService": {"ModelInfer": handler(infer, oip.ModelInferRequest, oip.ModelInferResponse)},
    }
    for service, handlers in table.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    print(json.dumps({"grpc": f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"}), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    barest(Path(sys.argv[1]))
