import hashlib
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2
from pupil_server.errors import PermissionDenied, SettingsError, Unauthenticated
from pupil_server.token_cli import token as token_command
from pupil_server.tokens import Scope, Tokens, parse_tokens

PATIENCE = 20.0
STUDENT = pb.ModelSpec(name="student")
REFUSED = "a valid token is needed; send it as metadata: authorization: Bearer TOKEN"


def entry(name: str, *scopes: str, **more: object) -> str:
    """An entry of the file; the token itself is `NAME-secret`."""
    lines = {
        "name": f'"{name}"',
        "sha256": f'"{hashlib.sha256(f"{name}-secret".encode()).hexdigest()}"',
        "scopes": list(scopes),
        **more,
    }
    return "\n[[token]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def bearer(name: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {name}-secret"),)


def images(toolbox, count: int = 1) -> pb.Images:
    data = toolbox.random_pixels(count, seed=0).tobytes()
    return pb.Images(pixels=pb.Pixels(data=data, count=count, height=6, width=6, channels=3))


def rejected(http: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=PATIENCE) as page:
        found = re.findall(r'pupil_rejected_total{reason="(\w+)"} ([\d.]+)', page.read().decode())
    return {reason: float(count) for reason, count in found}


def failure(call: Callable[..., object], request: object, who: str | None) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as raised:
        found = call(request, timeout=PATIENCE, metadata=bearer(who) if who else ())
        if isinstance(found, Iterator):
            list(found)
    return raised.value.code().name, raised.value.details()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tokens.toml"
    file.write_text(
        entry("shop", "infer")
        + entry("labeller", "label", images_per_second=100, burst=64)
        + entry("slow", "infer", images_per_second=0.001, burst=4)
        + entry("operator", "admin")
        + entry("gone", "infer", "label", "admin", expires="2020-01-01T00:00:00Z")
    )
    return file


# The file


def test_a_token_is_known_by_its_hash_and_has_the_scopes_of_its_entry(file: Path) -> None:
    tokens = Tokens(file)
    assert tokens.check("Bearer shop-secret", Scope.INFER).name == "shop"
    assert tokens.check("bearer operator-secret", Scope.ANY).name == "operator"
    with pytest.raises(PermissionDenied, match="lacks the scope label"):
        tokens.check("Bearer shop-secret", Scope.LABEL)
    with pytest.raises(PermissionDenied):
        tokens.check("Bearer operator-secret", Scope.INFER)  # no scope holds another one


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer wrong", "shop-secret", "Basic shop-secret", "Bearer gone-secret", "Bearer é\n"],
)
def test_every_token_that_is_not_valid_hears_the_same_words(file: Path, header: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        Tokens(file).check(header, Scope.ANY)
    assert str(refused.value) == REFUSED


def test_a_hash_that_leaked_is_no_token(file: Path) -> None:
    with pytest.raises(Unauthenticated):
        Tokens(file).check(f"Bearer {hashlib.sha256(b'shop-secret').hexdigest()}", Scope.ANY)


def test_reading_the_file_again_does_not_fill_a_quota_that_was_used_up(file: Path) -> None:
    tokens = Tokens(file)
    first = tokens.check("Bearer slow-secret", Scope.INFER).quota
    with first.charge(4):
        pass
    tokens.file.reload()
    again = tokens.check("Bearer slow-secret", Scope.INFER).quota
    with pytest.raises(Exception, match="used up"), again.charge(1):
        pass


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[token]]\nname = ", "not TOML"),
        ('[[token]]\nname = "a"\nscopes = ["infer"]', "token 0 sha256: Field required"),
        (entry("a", "root"), "token 0 scopes 0: wanted: infer, label, admin or some of them"),
        (entry("our shop", "infer"), "token 0 name: wanted: letters, digits, '.', '_' and '-'"),
        ('[[token]]\nname = "a"\nsha256 = "AB"\nscopes = ["infer"]', "token 0 sha256: wanted: 64 hexadecimal digits"),
        (entry("a"), "token 0 scopes"),
        (
            entry("a", "infer", tokn=1),
            "token 0 tokn: unknown; known: name, sha256, scopes, images_per_second, burst, expires",
        ),
        (entry("a", "infer", scope=1), "token 0 scope: unknown; did you mean 'scopes'?"),
        ("[[tokens]]", "tokens: unknown; did you mean 'token'?"),
        (entry("a", "infer", expires="2027-01-01T00:00:00"), "token 0 expires"),
        (entry("a", "infer", images_per_second=0), "token 0 images_per_second"),
        (entry("a", "infer", burst=5), "burst: means nothing without images_per_second"),
        (entry("a", "infer") * 2, "the name a stands there twice"),
    ],
)
def test_a_file_that_is_not_understood_says_where(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_tokens(text)
    assert says in str(raised.value)


def test_a_token_that_was_written_down_instead_of_its_hash_is_not_shown() -> None:
    with pytest.raises(SettingsError) as raised:
        parse_tokens('[[token]]\nname = "a"\nsha256 = "the-secret"\nscopes = ["infer"]')
    assert "the-secret" not in str(raised.value)


def test_the_command_makes_an_entry_that_the_server_reads_and_shows_the_token_once(tmp_path: Path) -> None:
    options = ["--scope", "infer", "--scope", "label", "--images-per-second", "5", "--expires", "2999-12-31"]
    made = CliRunner().invoke(token_command, ["shop", *options], catch_exceptions=False)
    secret = made.stderr.split()[-1]
    assert secret not in made.stdout
    (tmp_path / "tokens.toml").write_text(made.stdout)
    tokens = Tokens(tmp_path / "tokens.toml")
    assert tokens.check(f"Bearer {secret}", Scope.LABEL).name == "shop"
    assert tokens.file.content[0].expires == datetime(2999, 12, 31, tzinfo=UTC)
    again = CliRunner().invoke(token_command, ["shop", "--scope", "infer"])
    assert again.stderr.split()[-1] != secret


# On a server


def test_each_caller_may_do_what_its_token_says_and_every_refusal_is_counted(start, connect, toolbox, file) -> None:
    with start("--tokens", str(file)) as server:
        stubs = connect(server.address)
        classify = pb.ClassifyRequest(model=STUDENT, images=images(toolbox))
        unload = models_pb2.UnloadModelRequest(name="teacher")
        plan = pb.PseudoLabelRequest(plan=pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_NONE))
        for who in (None, "nobody", "gone"):
            assert failure(stubs.inference.Classify, classify, who) == ("UNAUTHENTICATED", REFUSED)
            assert failure(stubs.models.List, models_pb2.ListModelsRequest(), who) == ("UNAUTHENTICATED", REFUSED)
        for call, request, who, scope in (
            (stubs.models.Unload, unload, "shop", "admin"),
            (stubs.inference.Classify, classify, "operator", "infer"),
            (stubs.inference.PseudoLabel, iter([plan]), "shop", "label"),
            (stubs.inference.ClassifyStream, iter([classify]), "labeller", "infer"),
        ):
            assert failure(call, request, who) == ("PERMISSION_DENIED", f"the token lacks the scope {scope}")
        assert rejected(server.http) == {"unauthenticated": 6, "permission_denied": 4}
        stubs.inference.Classify(classify, timeout=PATIENCE, metadata=bearer("shop"))
        stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE, metadata=bearer("shop"))
        stubs.models.Unload(unload, timeout=PATIENCE, metadata=bearer("operator"))
        log = server.log.read_text()
    assert "secret" not in log
    assert "the token gone has expired" in log


def test_the_gateway_asks_for_the_same_tokens(start, toolbox, file) -> None:
    def posted(http: str, **headers: str) -> tuple[int, str]:
        headers = {"Content-Type": "image/png", "X-Request-Id": "order-66", **headers}
        request = urllib.request.Request(
            f"http://{http}/v1/models/student:classify", toolbox.png(toolbox.random_pixels(1, seed=0)[0]), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.headers["X-Request-Id"]
        except urllib.error.HTTPError as error:
            return error.code, error.headers["X-Request-Id"]

    with start("--tokens", str(file), "--http-gateway") as server:
        assert posted(server.http) == (401, "order-66")
        assert posted(server.http, Authorization="Bearer operator-secret") == (403, "order-66")
        assert posted(server.http, Authorization="Bearer shop-secret") == (200, "order-66")
        assert rejected(server.http) == {"unauthenticated": 1, "permission_denied": 1}


def test_a_probe_needs_no_token_and_reflection_does(start, connect, file) -> None:
    with start("--tokens", str(file)) as server:
        channel = connect(server.address).channel
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(service="student"), timeout=PATIENCE).status == 1
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        asked = reflection_pb2.ServerReflectionRequest(list_services="*")
        assert failure(reflection, iter([asked]), None)[0] == "UNAUTHENTICATED"
        (found,) = reflection(iter([asked]), timeout=PATIENCE, metadata=bearer("shop"))
        assert "pupil.v1.Inference" in {service.name for service in found.list_services_response.service}


@pytest.mark.parametrize("how", ["signal", "change"])
def test_a_token_that_was_taken_out_of_the_file_is_refused_from_then_on(
    start, connect, toolbox, file, becomes, how
) -> None:
    with start("--tokens", str(file)) as server:
        stubs = connect(server.address)
        asked = pb.ClassifyRequest(model=STUDENT, images=images(toolbox))
        stream_open = iter(lambda: asked, None)
        stream = stubs.inference.ClassifyStream(stream_open, timeout=PATIENCE, metadata=bearer("shop"))
        assert next(stream).predictions
        stubs.inference.Classify(asked, timeout=PATIENCE, metadata=bearer("shop"))
        file.write_text(entry("other", "infer"))
        if how == "signal":
            server.process.send_signal(signal.SIGHUP)
        becomes(lambda: f"read again: {file}" in server.log.read_text())
        assert failure(stubs.inference.Classify, asked, "shop") == ("UNAUTHENTICATED", REFUSED)
        with pytest.raises(grpc.RpcError) as ended:  # also where the caller was inside already
            list(stream)
        assert (ended.value.code().name, ended.value.details()) == ("UNAUTHENTICATED", REFUSED)
        stubs.inference.Classify(asked, timeout=PATIENCE, metadata=bearer("other"))


def test_a_file_that_breaks_while_the_server_runs_leaves_the_old_tokens_in_force(
    start, connect, toolbox, file, becomes
) -> None:
    with start("--tokens", str(file)) as server:
        file.write_text("[[token]]\nname =")
        server.process.send_signal(signal.SIGHUP)
        becomes(lambda: "not TOML" in server.log.read_text())
        asked = pb.ClassifyRequest(model=STUDENT, images=images(toolbox))
        connect(server.address).inference.Classify(asked, timeout=PATIENCE, metadata=bearer("shop"))


def test_a_quota_counts_images_and_says_when_to_come_back(start, connect, toolbox, file) -> None:
    with start("--tokens", str(file)) as server:
        classify = connect(server.address).inference.Classify
        for count in (3, 1):
            classify(pb.ClassifyRequest(model=STUDENT, images=images(toolbox, count)), metadata=bearer("slow"))
        with pytest.raises(grpc.RpcError) as refused:
            classify(pb.ClassifyRequest(model=STUDENT, images=images(toolbox, 1)), metadata=bearer("slow"))
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.value.details() == "the token's quota of 0.001 images/s is used up; try again later"
        after = {key: int(value) for key, value in refused.value.trailing_metadata() if key == "retry-after-ms"}
        assert 900_000 < after["retry-after-ms"] <= 1_000_000  # one image takes 1,000 seconds
        assert rejected(server.http) == {"quota": 1}
        classify(pb.ClassifyRequest(model=STUDENT, images=images(toolbox, 50)), metadata=bearer("shop"))


def test_an_image_that_is_compared_is_charged_once(start, connect, toolbox, file) -> None:
    with start("--tokens", str(file)) as server:
        compare = connect(server.address).inference.Compare
        request = pb.CompareRequest(student=STUDENT, images=images(toolbox, 4))
        assert len(compare(request, timeout=PATIENCE, metadata=bearer("slow")).comparisons) == 4
        assert failure(compare, request, "slow")[0] == "RESOURCE_EXHAUSTED"


def test_a_labelling_stream_is_slowed_down_to_its_quota_and_loses_nothing(start, connect, toolbox, file) -> None:
    with start("--tokens", str(file), "--default-deadline", "0.3") as server:  # a part waits for twice as long
        plan = pb.PseudoLabelRequest(plan=pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_NONE))
        parts = [pb.PseudoLabelRequest(images=images(toolbox, 64)) for _ in range(4)]
        answers = connect(server.address).inference.PseudoLabel(
            iter([plan, *parts]), timeout=PATIENCE, metadata=bearer("labeller")
        )
        assert sum(len(answer.labels) for answer in answers) == 256
        assert rejected(server.http) == {}


def test_a_tokens_file_that_makes_no_sense_ends_the_start_with_one_line(repository, tmp_path) -> None:
    (tmp_path / "tokens.toml").write_text("token = 3")
    command = [sys.executable, "-m", "pupil_client", "serve", "--repository", str(repository), "--http-port", "0"]
    ended = subprocess.run(
        [*command, "--tokens", str(tmp_path / "tokens.toml")], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-1].startswith(f"Error: {tmp_path}/tokens.toml: token: ")
    assert "Traceback" not in ended.stderr
