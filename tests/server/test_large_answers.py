"""Answers for which no message is large enough."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from pupil_proto.oip.v2 import infer_pb2 as oip
from pupil_proto.v1 import inference_pb2 as pb
from pupil_server import answers
from pupil_server.answers import PredictionWriter
from pupil_server.method import Failure
from pupil_server.oip.outputs import Answers, Wanted
from pupil_server.session import Outputs

MANY, CLASSES = 6000, 8
STUDENT, TEACHER = pb.ModelSpec(name="student"), pb.ModelSpec(name="teacher")
PIXELS = pb.Images(pixels=pb.Pixels(data=bytes(MANY * 108), count=MANY, height=6, width=6, channels=3))
FEW = pb.Images(pixels=pb.Pixels(data=bytes(108), count=1, height=6, width=6, channels=3))
SOME = pb.Images(pixels=pb.Pixels(data=bytes(1080), count=10, height=6, width=6, channels=3))
TENSOR = oip.ModelInferRequest.InferInputTensor(name="images", datatype="UINT8", shape=[MANY, 6, 6, 3])
TEXTS = oip.ModelInferRequest.InferRequestedOutputTensor(
    name="scores", parameters={"classification": oip.InferParameter(int64_param=CLASSES)}
)
ASKED = {
    "pupil.v1.Inference/Classify": pb.ClassifyRequest(model=STUDENT, images=PIXELS, top_k=CLASSES, scores=True),
    "pupil.v1.Inference/Compare": pb.CompareRequest(
        student=STUDENT, teacher=TEACHER, images=PIXELS, top_k=CLASSES, scores=True
    ),
    "inference.GRPCInferenceService/ModelInfer": oip.ModelInferRequest(
        model_name="student", inputs=[TENSOR], outputs=[TEXTS], raw_input_contents=[PIXELS.pixels.data]
    ),
}


@pytest.fixture
def small(serving):
    """A server whose messages may have a million bytes."""
    return lambda story: serving(story, max_message_mb=1, max_request_images=MANY, max_queue_images=2 * MANY)


@pytest.mark.parametrize("path", ASKED)
def test_an_answer_that_fits_no_message_is_refused_before_there_is_any_work(small, path: str) -> None:
    async def story(served) -> None:
        statistics = [model.statistics for model in served.repository.loaded()]
        before = [(each.images, each.failed.count) for each in statistics]
        with pytest.raises(Failure, match=r"an answer of [12],.* bytes, at most 1,000,000 are allowed"):
            await served.usually(path, ASKED[path].SerializeToString())
        assert [(each.images, each.failed.count) for each in statistics] == before

    small(story)


def test_who_asks_for_less_of_as_many_images_is_answered(small) -> None:
    async def story(served) -> None:
        asked = pb.ClassifyRequest(model=STUDENT, images=PIXELS)
        answer = await served.usually("pupil.v1.Inference/Classify", asked.SerializeToString())
        assert len(pb.ClassifyResponse.FromString(answer).predictions) == MANY

    small(story)


def test_who_asks_for_very_many_classes_is_not_answered_on_the_loop(small) -> None:
    async def story(served) -> None:
        for top_k, at_once in ((5, True), (1000, False)):
            asked = pb.ClassifyRequest(model=STUDENT, images=FEW, top_k=top_k).SerializeToString()
            (answer,) = served.at_once("pupil.v1.Inference/Classify", asked)
            assert (answer is not None) == at_once

    small(story)


def test_texts_about_classes_are_not_refused_for_one_class_with_a_long_name() -> None:
    classes = ("x" * 1000, *map(str, range(99)))
    model = SimpleNamespace(facts=SimpleNamespace(model="student", version=1, classes=classes))
    texts, scores = Answers(model), np.random.default_rng(0).dirichlet(np.ones(100), 10).astype(np.float32)  # type: ignore[arg-type]
    for best in (1, 5, 100):
        wanted = (Wanted("scores", best),)
        (written,) = texts.message("", wanted, Outputs(scores, scores)).raw_output_contents
        assert len(written) <= 10 * texts.most_bytes(wanted)
    assert len(written) > 10 * texts.most_bytes(wanted) / 2


def test_many_scores_of_a_pool_are_not_written_on_the_loop(serving, monkeypatch) -> None:
    monkeypatch.setattr(answers, "ASIDE", 100)
    seen: list[threading.Thread] = []
    write = PredictionWriter.predictions

    def watched(*rows, **how):
        seen.append(threading.current_thread())
        return write(*rows, **how)

    monkeypatch.setattr(PredictionWriter, "predictions", watched)

    async def story(served) -> None:
        async def asked():
            plan = pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_NONE, scores=True)
            for images in (FEW, SOME):
                yield pb.PseudoLabelRequest(plan=plan, images=images).SerializeToString()
                plan = None

        path = "pupil.v1.Inference/PseudoLabel"
        labelled = served.dispatcher.both_streams(served.methods[path], asked(), served.call(path))
        assert [len(pb.PseudoLabelResponse.FromString(each).labels) async for each in labelled] == [1, 10]
        assert [thread is threading.main_thread() for thread in seen] == [True, False]

    serving(story)
