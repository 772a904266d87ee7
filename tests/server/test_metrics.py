import json
import re
import urllib.request

import grpc
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2
from pupil_server import errors
from pupil_server.metrics import Metrics, SupervisorMetrics

PATIENCE = 20.0
STUDENT = pb.ModelSpec(name="student")


def read(http: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=PATIENCE) as page:
        lines = page.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def raw(toolbox, count: int) -> pb.Images:
    data = toolbox.random_pixels(count, seed=0).tobytes()
    return pb.Images(pixels=pb.Pixels(data=data, count=count, height=6, width=6, channels=3))


def test_the_numbers_move_when_things_happen(start, connect, toolbox) -> None:
    with start() as server:
        stubs = connect(server.address)
        stubs.inference.Classify(pb.ClassifyRequest(model=STUDENT, images=raw(toolbox, 5)), timeout=PATIENCE)
        encoded = pb.Images(encoded=[toolbox.png(image) for image in toolbox.random_pixels(3, seed=1)])
        stubs.inference.Classify(pb.ClassifyRequest(model=STUDENT, images=encoded), timeout=PATIENCE)
        stubs.inference.Compare(pb.CompareRequest(student=STUDENT, images=raw(toolbox, 20)), timeout=PATIENCE)
        plan = pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_FIXED, threshold=0.3)
        labels = pb.Images(encoded=[*encoded.encoded, b"rubbish"])
        requests = [pb.PseudoLabelRequest(plan=plan), pb.PseudoLabelRequest(images=labels)]
        list(stubs.inference.PseudoLabel(iter(requests), timeout=PATIENCE))
        with pytest.raises(grpc.RpcError):
            stubs.inference.Classify(pb.ClassifyRequest(model=STUDENT), timeout=PATIENCE)
        found = read(server.http)

    classify, model = 'method="pupil.v1.Inference/Classify"', 'model="student",version="1"'
    assert found[f'pupil_requests_total{{code="OK",{classify}}}'] == 2
    assert found[f'pupil_requests_total{{code="INVALID_ARGUMENT",{classify}}}'] == 1
    assert found['pupil_rejected_total{reason="bad_request"}'] == 1
    assert found[f"pupil_request_seconds_count{{{classify}}}"] == 3
    assert found[f"pupil_batch_images_sum{{{model}}}"] == 5 + 3 + 20 + 3
    assert found[f"pupil_batch_images_count{{{model}}}"] == found[f"pupil_inference_seconds_count{{{model}}}"] == 4
    assert found[f"pupil_queue_seconds_count{{{model}}}"] == 4
    assert found["pupil_decode_seconds_count"] == 2
    assert found['pupil_agreement_total{agree="yes"}'] + found.get('pupil_agreement_total{agree="no"}', 0) == 20
    assert found["pupil_kl_nats_count"] == 20
    decisions = {name: value for name, value in found.items() if name.startswith("pupil_pseudo_labels_total")}
    assert sum(decisions.values()) == 4
    assert decisions['pupil_pseudo_labels_total{decision="error"}'] == 1
    assert found["pupil_in_flight_requests"] == found[f"pupil_queue_images{{{model}}}"] == 0


def test_every_metric_carries_the_prefix_and_the_alerts_name_only_metrics_that_exist(request) -> None:
    samples, registry = {"up"}, Metrics().registry
    SupervisorMetrics(registry)
    for metric in registry.collect():
        assert metric.name.startswith("pupil_")
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}[metric.type]
        samples |= {metric.name + ending for ending in endings}
    rules = (request.config.rootpath / "deploy/alerts.yml").read_text()
    assert set(re.findall(r"\bpupil_\w+", rules)) <= samples


def test_the_alerts_select_by_values_that_the_server_gives(request) -> None:
    rules = (request.config.rootpath / "deploy/alerts.yml").read_text()
    reasons = {reason for said in re.findall(r'reason=~?"([^"]+)"', rules) for reason in said.split("|")}
    assert reasons <= {error.rejected for error in vars(errors).values() if hasattr(error, "rejected")} - {""}
    (unpromised,) = re.findall(r'route=~"([^"]+)"', rules)
    routes = {name.removeprefix("ROUTE_").lower() for name, _ in pb.Route.items()}
    found = {route for route in routes if re.fullmatch(unpromised, route)}
    assert found == {"student_overloaded", "student_late", "student_unavailable"}
    assert f"pupil_model_state == {models_pb2.STATE_FAILED}\n" in rules


def test_an_alert_tells_only_of_labels_that_its_expression_keeps(request) -> None:
    _, *rules = (request.config.rootpath / "deploy/alerts.yml").read_text().split("- alert: ")
    for rule in rules:
        told = set(re.findall(r"\$labels\.(\w+)", rule))
        kept = {label for labels in re.findall(r" by \(([^)]+)\)", rule) for label in labels.split(", ")}
        if not re.search(r"\b(sum|min|max)\b", rule):
            kept = {"instance", "model", "version"}
        assert told <= kept, rule


@pytest.mark.parametrize(("interpolation", "decoded"), [("bilinear", 1), ("bicubic", 2)])
def test_a_comparison_decodes_once_where_both_models_want_the_same_pixels(
    repository, start, connect, toolbox, interpolation: str, decoded: int
) -> None:
    """A teacher that resizes in another way cannot share the student's pixels."""
    teacher = repository / "teacher/1"
    facts = json.loads((teacher / "bundle.json").read_bytes())
    facts["resize"]["interpolation"] = interpolation  # goldens are 6×6 already
    toolbox.seal(teacher, facts)
    pixels = toolbox.random_pixels(3, seed=1)
    images = pb.Images(encoded=[toolbox.png(image) for image in pixels])
    with start() as server:
        request = pb.CompareRequest(student=STUDENT, images=images, scores=True)
        answer = connect(server.address).inference.Compare(request, timeout=PATIENCE)
        assert read(server.http)["pupil_decode_seconds_count"] == decoded
    for role, seed in (("student", 2), ("teacher", 1)):
        scores = [list(getattr(each, role).scores) for each in answer.comparisons]
        assert scores == pytest.approx(toolbox.linear_scores(pixels, seed=seed), abs=1e-5)


def test_the_nodes_of_each_loaded_graph_are_counted_by_where_they_run(server) -> None:
    found = read(server.http)
    for model in ("student", "teacher"):
        assert found[f'pupil_nodes{{device="cpu",model="{model}",precision="fp32",version="1"}}'] == 5
