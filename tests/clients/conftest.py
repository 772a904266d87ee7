"""Servers for clients: one on a free port that answers by what an image's bytes say; and a real one."""

import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc
import numpy as np
import pytest

from pupil_client import Client
from pupil_client.labelling.job import SHARD_IMAGES, Job
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.sources import open_source
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc as pb_grpc
from pupil_proto.v1 import models_pb2 as models_pb
from pupil_proto.v1 import models_pb2_grpc as models_pb_grpc

CLASSES = ("cat", "dog", "fox")
BY = pb.AnsweredBy(model="student", version=2, precision="fp32", fingerprint="9f", queue_seconds=0.25)


def label_of(image: bytes) -> str:
    """The class that stands in the image: b"dog 3" is a dog."""
    return image.split()[0].decode()


def prediction(image: bytes) -> pb.Prediction:
    label = label_of(image)
    best, others = (0.375, 0.3125) if label == "fox" else (0.75, 0.125)  # of a fox it is not sure
    rest = [name for name in CLASSES if name != label]
    top = [pb.ScoredClass(label=name, index=CLASSES.index(name), score=score)
           for name, score in zip([label, *rest], (best, others, others), strict=True)]  # fmt: skip
    return pb.Prediction(top=top, scores=[best if name == label else others for name in CLASSES])


@dataclass
class Rules:
    """What the server does beside answering, and what it was asked."""

    failures: list[tuple[grpc.StatusCode, str, int | None]] = field(default_factory=list)  # taken one a call
    silent: threading.Event = field(default_factory=threading.Event)  # set: it never answers
    released: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    calls: list[str] = field(default_factory=list)
    plans: list[pb.LabelPlan] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    loads: list[models_pb.LoadModelRequest] = field(default_factory=list)

    def enter(self, name: str, context: grpc.ServicerContext) -> None:
        self.calls.append(name)
        self.asked.set()
        if self.silent.is_set():
            self.released.wait(30)
        if self.failures:
            code, details, retry_after_ms = self.failures.pop(0)
            if retry_after_ms is not None:
                context.set_trailing_metadata((("retry-after-ms", str(retry_after_ms)),))
            context.abort(code, details)


class Inference(pb_grpc.InferenceServicer):
    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def Classify(self, request, context):
        self.rules.enter("Classify", context)
        return self._classify(request)

    def _classify(self, request):
        answers = [prediction(image) for image in request.images.encoded]
        if request.images.HasField("pixels"):
            pixels = request.images.pixels
            size = len(pixels.data) // pixels.count
            firsts = [pixels.data[index * size] for index in range(pixels.count)]
            answers = [prediction(CLASSES[first].encode()) for first in firsts]
        for answer in answers:
            del answer.top[request.top_k or 1 :]
            if not request.scores:
                del answer.scores[:]
        return pb.ClassifyResponse(predictions=answers, answered_by=BY)

    def ClassifyStream(self, requests, context):
        self.rules.enter("ClassifyStream", context)
        for request in requests:
            if request.images.encoded[0].startswith(b"bad"):
                error = pb.Error(code=3, message="not a picture")
                yield pb.ClassifyResponse(error=error)
            else:
                yield self._classify(request)

    def PseudoLabel(self, requests, context):
        self.rules.enter("PseudoLabel", context)
        plan = next(requests).plan
        self.rules.plans.append(plan)
        certificate = pb.Certificate(guarantee=plan.guarantee, precision=plan.precision, delta=plan.delta,
                                     threshold=0.5, calibration=450, accepted=300, wrong=1)  # fmt: skip
        answers = pb.CalibrationAnswers(confidence=[0.75] * 450, predicted=[150] * 3) if plan.calibration else None
        for request in requests:
            self.rules.batches.append(len(request.images.encoded))
            labels = [self._label(image) for image in request.images.encoded]
            yield pb.PseudoLabelResponse(labels=labels, certificate=certificate, answered_by=BY)
            certificate = None  # in the first response only
        if certificate:
            yield pb.PseudoLabelResponse(certificate=certificate, answered_by=BY, calibration=answers)

    def _label(self, image):
        if image.startswith(b"bad"):
            return pb.PseudoLabel(error=pb.Error(code=3, message="not a picture"))
        return pb.PseudoLabel(prediction=prediction(image), accepted=not image.startswith(b"fox"))

    def Compare(self, request, context):
        self.rules.enter("Compare", context)
        pairs = [(prediction(image), prediction(b"cat")) for image in request.images.encoded]
        for pair in pairs:
            for side in pair:
                del side.top[request.top_k :]
        return pb.CompareResponse(
            comparisons=[
                pb.Comparison(student=student, teacher=teacher, agree=student.top[0].label == "cat", kl=0.5)
                for student, teacher in pairs
            ],
            student=BY,
            teacher=pb.AnsweredBy(model=request.teacher.name or "teacher", version=1),
        )


class Models(models_pb_grpc.ModelsServicer):
    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def List(self, request, context):
        self.rules.enter("List", context)
        return models_pb.ListModelsResponse(models=[self._info("student", 1), self._info("student", 2)])

    def Get(self, request, context):
        self.rules.enter("Get", context)
        if request.model.name != "student":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model.name!r}; there is student")
        return self._info("student", request.model.version or 2)

    def Load(self, request, context):
        self.rules.enter("Load", context)
        self.rules.loads.append(request)
        return self._info(request.name, request.version or 2)

    def Unload(self, request, context):
        self.rules.enter("Unload", context)
        return models_pb.UnloadModelResponse()

    def SetAlias(self, request, context):
        self.rules.enter("SetAlias", context)
        return models_pb.SetAliasResponse()

    def _info(self, name, version):
        return models_pb.ModelInfo(name=name, version=version, state=models_pb.STATE_READY, classes=CLASSES,
                                   height=28, width=28, channels=1, fingerprint="9f", precision="fp32",
                                   aliases=["stable"], by_name=version == 2)  # fmt: skip


@dataclass
class LocalServer:
    address: str
    rules: Rules


@pytest.fixture
def server() -> Iterator[LocalServer]:
    rules = Rules()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    pb_grpc.add_InferenceServicer_to_server(Inference(rules), server)
    models_pb_grpc.add_ModelsServicer_to_server(Models(rules), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield LocalServer(f"127.0.0.1:{port}", rules)
    rules.released.set()
    server.stop(None).wait()


@pytest.fixture
def unused_address() -> Iterator[str]:
    """An address at which nothing listens, held so that nothing can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(scope="module")
def real(toolbox, tmp_path_factory):
    """A `pupil serve` of `teacher`."""
    folder = tmp_path_factory.mktemp("served") / "repository"
    toolbox.write_bundle(folder, "teacher", seed=1)
    with toolbox.run_server(folder) as running:
        yield running


@pytest.fixture(scope="session")
def pool(toolbox, tmp_path_factory):
    """An array of over two shards of pictures of the model's size, and a folder of forty files, two of them broken."""
    folder = tmp_path_factory.mktemp("pool")
    np.save(folder / "pool.npy", toolbox.random_pixels(2 * SHARD_IMAGES + 300, seed=5))
    (folder / "photos").mkdir()
    for number, pixels in enumerate(toolbox.random_pixels(40, seed=6)):
        (folder / f"photos/{number:02}.png").write_bytes(toolbox.png(pixels))
    (folder / "photos/07.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "photos/08.png").write_bytes(b"")
    return folder


@pytest.fixture
def make_job(real, pool, tmp_path):
    """A client, and what makes a job for `teacher` over that array, with what the test changes."""
    with Client(real.address) as client:

        def job(**changes):
            about = {"source": open_source(pool / "pool.npy"), "output": tmp_path / "labels.jsonl",
                     "model": client.model("teacher"), "promise": Promise("pac", 0.9, 0.1),
                     "served_by": "here"}  # fmt: skip
            return Job(**{**about, **changes})

        yield client, job
