import grpc
import pytest

from pupil_proto.v1 import inference_pb2 as pb

PATIENCE = 20.0
STUDENT = pb.ModelSpec(name="student")
BULK = [("pupil-priority", "bulk")]


def images(toolbox, count: int) -> pb.Images:
    data = toolbox.random_pixels(count, seed=0).tobytes()
    return pb.Images(pixels=pb.Pixels(data=data, count=count, height=6, width=6, channels=3))


def classify(toolbox, count: int) -> pb.ClassifyRequest:
    return pb.ClassifyRequest(model=STUDENT, images=images(toolbox, count))


def test_a_bulk_call_gets_the_answer_that_an_interactive_one_gets(stubs, toolbox) -> None:
    request = classify(toolbox, 5)
    bulk = stubs.inference.Classify(request, timeout=PATIENCE, metadata=BULK)
    interactive = stubs.inference.Classify(request, timeout=PATIENCE, metadata=[("pupil-priority", "interactive")])
    assert bulk.predictions == interactive.predictions


def test_a_priority_that_does_not_exist_is_refused_before_any_work(stubs, toolbox) -> None:
    urgent = [("pupil-priority", "urgent")]
    with pytest.raises(grpc.RpcError) as unary:
        stubs.inference.Classify(classify(toolbox, 1), timeout=PATIENCE, metadata=urgent)
    with pytest.raises(grpc.RpcError) as stream:
        list(stubs.inference.ClassifyStream(iter([classify(toolbox, 1)]), timeout=PATIENCE, metadata=urgent))
    for refused in (unary.value, stream.value):
        assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert refused.details() == "pupil-priority: 'urgent' is not known; interactive or bulk"


def test_labelling_and_bulk_calls_leave_a_quarter_of_the_queue_to_interactive_ones(start, connect, toolbox) -> None:
    with start("--max-queue-images", "100") as server:
        inference = connect(server.address).inference
        assert len(inference.Classify(classify(toolbox, 80), timeout=PATIENCE).predictions) == 80
        plan = pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_NONE)
        requests = [pb.PseudoLabelRequest(plan=plan), pb.PseudoLabelRequest(images=images(toolbox, 80))]
        with pytest.raises(grpc.RpcError) as labelling:
            list(inference.PseudoLabel(iter(requests), timeout=PATIENCE))
        with pytest.raises(grpc.RpcError) as bulk:
            inference.Classify(classify(toolbox, 80), timeout=PATIENCE, metadata=BULK)
    for refused in (labelling.value, bulk.value):
        assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "80 images in one request, at most 75 are allowed" in refused.details()
