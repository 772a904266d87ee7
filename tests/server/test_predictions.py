"""The messages of an answer, which are read from bytes of ours: they are what the library makes field by field."""

import asyncio
import threading

import numpy as np
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.answers import PredictionWriter, written
from pupil_server.inference import BESIDE_BOTH


def scores_of(images: int, classes: int) -> np.ndarray:
    return np.random.default_rng(images).dirichlet(np.ones(classes), images).astype(np.float32)


def field_by_field(scores: np.ndarray, classes: tuple[str, ...], top_k: int, everything: bool) -> pb.ClassifyResponse:
    response = pb.ClassifyResponse()
    for row in scores:
        ranked = sorted(range(len(classes)), key=lambda place: (-row[place], place))[:top_k]
        top = [pb.ScoredClass(label=classes[place], index=place, score=row[place]) for place in ranked]
        response.predictions.add(top=top, scores=row.tolist() if everything else None)
    return response


NAMES = {
    "short": ("a", "b", "c"),
    "none ASCII": ("Käfer", "猫", "🐈‍⬛", "été"),
    "one without a name": ("", "b"),
    "long": tuple("x" * length for length in (100, 110, 120, 127, 128, 129, 200, 16_384)),
    "many": tuple(f"class {number}" for number in range(300)),
}


@pytest.mark.parametrize("everything", [False, True], ids=["best", "all scores"])
@pytest.mark.parametrize("classes", NAMES.values(), ids=NAMES)
def test_an_answer_has_the_bytes_that_the_library_writes(classes, everything):
    for images in (1, 2, 33):
        scores = scores_of(images, len(classes))
        for top_k in sorted({1, 2, 5, len(classes)}):
            found = PredictionWriter(classes).response(scores, top_k=top_k, everything=everything)
            assert found.SerializeToString() == field_by_field(scores, classes, top_k, everything).SerializeToString()


@pytest.mark.parametrize("top_k", [1, 3])
def test_scores_of_zero_and_equal_scores_are_told_as_they_are(top_k):
    scores = np.array([[0, 0, 0], [0, 1, 0], [0.25, 0.5, 0.5]], np.float32)
    expected = field_by_field(scores, NAMES["short"], top_k, everything=True)
    assert PredictionWriter(NAMES["short"]).response(scores, top_k=top_k, everything=True) == expected


def test_equal_scores_are_told_in_the_order_of_their_classes_among_few_classes_and_among_many():
    for classes in (10, 1000):
        scores = np.zeros((2, classes), np.float32)
        scores[1, [3, 5, 7, 9]] = 0.25
        for top_k in (1, 3, 5):
            found = PredictionWriter(list(map(str, range(classes)))).predictions(scores, top_k=top_k, everything=False)
            assert [[entry.index for entry in each.top] for each in found] == [
                [0, 1, 2, 3, 4][:top_k],
                [3, 5, 7, 9, 0][:top_k],
            ]


def test_nothing_asked_means_the_best_class_and_too_many_mean_all_of_them():
    scores = scores_of(4, 3)
    assert [
        len(each.top) for each in PredictionWriter(NAMES["short"]).predictions(scores, top_k=0, everything=False)
    ] == [1] * 4
    assert [
        len(each.top) for each in PredictionWriter(NAMES["short"]).predictions(scores, top_k=2**31, everything=False)
    ] == [3] * 4


def test_scores_that_lie_anyhow_in_memory_and_none_at_all_are_read_row_by_row():
    scores = scores_of(6, 3)
    turned = np.asfortranarray(scores)
    expected = list(PredictionWriter(NAMES["short"]).predictions(scores, top_k=2, everything=True))
    assert list(PredictionWriter(NAMES["short"]).predictions(turned, top_k=2, everything=True)) == expected
    assert list(PredictionWriter(NAMES["short"]).predictions(scores[::-1], top_k=2, everything=True)) == expected[::-1]
    assert not PredictionWriter(NAMES["short"]).predictions(scores[:0], top_k=2, everything=True)


@pytest.mark.parametrize("everything", [False, True], ids=["best", "all scores"])
@pytest.mark.parametrize("classes", NAMES.values(), ids=NAMES)
def test_a_prediction_becomes_as_long_as_it_is_said_and_no_longer(classes, everything):
    scores, writer = scores_of(33, len(classes)), PredictionWriter(classes)
    longest = np.argsort([-len(name.encode()) for name in classes], kind="stable")
    worst = np.empty((1, len(classes)), np.float32)
    worst[0, longest] = np.linspace(1, 0, len(classes), endpoint=False)
    for top_k in (0, 1, 2, len(classes), 10**6):

        def size(rows: np.ndarray, top_k: int = top_k) -> int:
            return writer.response(rows, top_k=top_k, everything=everything).ByteSize()

        most = writer.most_bytes(top_k=top_k, everything=everything)
        assert max(size(row[None]) for row in scores) <= most
        assert most - 2 <= size(worst) <= most  # equally long names may have longer numbers


@pytest.mark.parametrize("classes", NAMES.values(), ids=NAMES)
def test_a_comparison_becomes_no_longer_than_two_predictions_and_what_stands_beside_them(classes):
    writer = PredictionWriter(classes)
    for prediction in writer.predictions(scores_of(33, len(classes)), top_k=len(classes), everything=True):
        both = pb.Comparison(student=prediction, teacher=prediction, agree=True, kl=0.5)
        most = 2 * writer.most_bytes(top_k=len(classes), everything=True) + BESIDE_BOTH
        assert pb.CompareResponse(comparisons=[both]).ByteSize() <= most


@pytest.mark.parametrize(("size", "aside"), [(1000, False), (10_000_000, True)])
def test_a_large_answer_is_written_beside_the_loop(size, aside):
    thread = asyncio.run(written(threading.current_thread, size))
    assert (thread is not threading.main_thread()) == aside
