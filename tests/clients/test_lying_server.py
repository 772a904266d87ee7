"""A server that answers nonsense: an error of ours that says so, never an IndexError, never a shifted answer."""

import asyncio
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from pupil_client import AsyncClient, Client, ServerError
from pupil_client.images import RawImage
from pupil_client.labelling.asking import Asker
from pupil_client.labelling.pictures import Picture
from pupil_client.labelling.promise import Promise
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc as pb_grpc
from pupil_proto.v1 import models_pb2 as models_pb
from pupil_proto.v1 import models_pb2_grpc as models_pb_grpc

CAT = pb.Prediction(top=[pb.ScoredClass(label="cat", score=0.75)])
NOTHING = pb.Prediction()


class Liar(pb_grpc.InferenceServicer, models_pb_grpc.ModelsServicer):
    """Says the same whatever it is asked."""

    def __init__(self) -> None:
        self.predictions: list[pb.Prediction] = []
        self.comparisons: list[pb.Comparison] = []

    def Classify(self, request, context):
        return pb.ClassifyResponse(predictions=self.predictions)

    def ClassifyStream(self, requests, context):
        for _ in requests:
            yield pb.ClassifyResponse(predictions=self.predictions)

    def Compare(self, request, context):
        return pb.CompareResponse(comparisons=self.comparisons)

    def PseudoLabel(self, requests, context):
        for _ in (request for request in requests if request.HasField("images")):
            yield pb.PseudoLabelResponse(labels=[pb.PseudoLabel(prediction=each) for each in self.predictions])

    def Get(self, request, context):
        return models_pb.ModelInfo(name="student", version=1, state=77)


@pytest.fixture
def liar() -> Iterator[tuple[Liar, str]]:
    servicer, server = Liar(), grpc.server(futures.ThreadPoolExecutor(4))
    pb_grpc.add_InferenceServicer_to_server(servicer, server)
    models_pb_grpc.add_ModelsServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait(10)


def ask_async(address: str, images: list[bytes]) -> object:
    async def ask() -> object:
        async with AsyncClient(address) as client:
            return await client.classify(images, model="student")

    return asyncio.run(ask())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_more_or_fewer_answers_than_images_are_an_error_and_not_somebody_elses_labels(liar, count: int) -> None:
    servicer, address = liar
    servicer.predictions = [CAT] * count
    servicer.comparisons = [pb.Comparison(student=CAT, teacher=CAT)] * count
    with Client(address) as client:
        for ask in (client.classify, lambda images, model: client.compare(images, student=model)):
            with pytest.raises(ServerError, match=f"{count} answers came back for 2 images"):
                ask([b"one", b"two"], model="student")
    with pytest.raises(ServerError, match=f"{count} answers came back for 2 images"):
        ask_async(address, [b"one", b"two"])


def test_an_empty_answer_to_one_image_is_an_error(liar) -> None:
    _, address = liar
    with Client(address) as client:
        with pytest.raises(ServerError, match="0 answers came back for 1 images"):
            client.classify(b"one", model="student")
        with pytest.raises(ServerError, match="0 answers came back for 1 images"):
            list(client.classify_stream([b"one"], model="student"))


def test_a_prediction_without_a_class_is_an_error(liar) -> None:
    servicer, address = liar
    servicer.predictions = [NOTHING]
    servicer.comparisons = [pb.Comparison()]
    with Client(address) as client:
        for ask in (
            lambda: client.classify(b"one", model="student"),
            lambda: client.compare(b"one", student="student"),
            lambda: list(client.pseudo_label([b"one"], model="student")),
        ):
            with pytest.raises(ServerError, match="a prediction without a class came back"):
                ask()


def test_a_state_of_a_newer_server_is_unknown(liar) -> None:
    _, address = liar
    with Client(address) as client:
        assert client.model("student").state == "unknown"


@pytest.mark.parametrize(
    ("predictions", "says"),
    [([CAT] * 3, "more labels than it was sent images"), ([NOTHING], "a prediction without a class came back")],
)
def test_the_labelling_job_hears_nonsense_as_one_error(liar, predictions: list[pb.Prediction], says: str) -> None:
    servicer, address = liar
    servicer.predictions = predictions
    with Client(address) as client:
        asker = Asker(client, client.model("student"), Promise("none"), patience=5, progress=lambda images: None)
        with pytest.raises(ServerError, match=says):
            asker.label([Picture("one", 3, RawImage(b"one"))])
