"""The manifests are what Kubernetes takes, and fit the server, its image and each other."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import grpc
import kubernetes_validate
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pupil_client.command import main
from pupil_server.cli import serve
from pupil_server.lifecycle import LEAVE
from pupil_server.settings import ServerSettings

ROOT = Path(__file__).parent.parent
MANIFESTS = ROOT / "deploy/kubernetes"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IMAGE = dict(re.findall(r"^(?:ENV)? +(\w+)=(\S+?)(?: \\)?$", DOCKERFILE, flags=re.MULTILINE))  # its environment
COMPONENTS = ("guarded", "gpu", "monitored")
SCHEMAS = ("1.27", "1.37")  # the oldest and the newest that this was written for
SETTINGS = {str(each.envvar): each for each in serve.params if isinstance(each, click.Option) and each.envvar}
PROGRESS = 600  # seconds in which a new pod must be ready, unless a Deployment says otherwise


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))


def settings_of_the_base() -> dict[str, str]:
    lines = (MANIFESTS / "base/settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


PLAIN = {
    document["kind"]: document
    for name in documents(MANIFESTS / "base/kustomization.yaml")[0]["resources"]
    for document in documents(MANIFESTS / "base" / name)
}
(COURIER,) = documents(MANIFESTS / "courier.yaml")
POD = PLAIN["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
PROBES = {name: CONTAINER[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}


def require_valid(document: dict[str, Any]) -> None:
    for version in SCHEMAS:
        kubernetes_validate.validate(document, version, strict=True)  # raises with the path of what is wrong


def built(folder: Path, *components: str) -> dict[str, dict[str, Any]]:
    """What `kubectl apply -k` would send for our kustomization.yaml with these components, by its kind."""
    shutil.copytree(MANIFESTS, folder, dirs_exist_ok=True)
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({**kustomization, "components": list(components)}))
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}


kustomized = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")


def test_every_manifest_is_valid_by_kubernetes_own_schemas() -> None:
    assert PLAIN.keys() == {
        "Deployment",
        "Service",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
    }
    for document in [*PLAIN.values(), COURIER]:
        require_valid(document)
    with pytest.raises(kubernetes_validate.ValidationError):
        require_valid({**COURIER, "sepc": {}})


@kustomized
@pytest.mark.parametrize("components", [(), *((each,) for each in COMPONENTS), COMPONENTS], ids="+".join)
def test_any_choice_of_components_makes_valid_manifests(components: tuple[str, ...], tmp_path: Path) -> None:
    found = built(tmp_path, *components)
    for kind, document in found.items():
        if kind != "ServiceMonitor":  # the operator's own
            require_valid(document)
    assert ("HorizontalPodAutoscaler" in found) == ("gpu" not in components)
    assert ("ServiceMonitor" in found) == ("monitored" in components)
    deployment = found["Deployment"]["spec"]
    assert ("replicas" in deployment) == ("gpu" in components)
    assert ("annotations" in deployment["template"]["metadata"]) == ("monitored" not in components)
    (container,) = deployment["template"]["spec"]["containers"]
    name = "pupil-cuda" if "gpu" in components else "pupil"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container["image"] == f"registry.example.com/{name}:{version}"
    (settings,) = container["envFrom"]
    assert settings["configMapRef"]["name"] == found["ConfigMap"]["metadata"]["name"] != "pupil-settings"
    assert found["ConfigMap"]["data"] == settings_of_the_base()
    environment = {each["name"]: each["value"] for each in container.get("env", [])}
    assert environment.get("PUPIL_DEVICE") == ("cuda" if "gpu" in components else None)
    assert ("grpc" in container["readinessProbe"]) == ("guarded" not in components)


def test_what_the_server_is_told_it_understands() -> None:
    patches = [documents(MANIFESTS / component / "deployment.yaml")[0] for component in ("guarded", "gpu")]
    told = settings_of_the_base()
    for patch in patches:
        (container,) = patch["spec"]["template"]["spec"]["containers"]
        told |= {each["name"]: each["value"] for each in container["env"]}
    for name, value in told.items():
        SETTINGS[name].type.convert(value, SETTINGS[name], None)  # raises for what would end the start
    (command,) = CONTAINER["args"]
    assert main.get_command(click.Context(main), command) is not None


def test_no_variable_that_kubernetes_sets_for_a_service_is_taken_for_a_setting() -> None:
    name = PLAIN["Service"]["metadata"]["name"].upper().replace("-", "_")
    assert {f"{name}_PORT", f"{name}_SERVICE_HOST", f"{name}_SERVICE_PORT"} & SETTINGS.keys() == {"PUPIL_PORT"}
    assert POD["spec"]["enableServiceLinks"] is False


def test_the_grace_of_the_orchestrator_covers_the_drain() -> None:
    defaults, told = ServerSettings(repository=Path()), settings_of_the_base()
    drain = float(told["PUPIL_DRAIN_DELAY"]) + float(told["PUPIL_DRAIN_GRACE"])
    assert POD["spec"]["terminationGracePeriodSeconds"] == drain + 10 > drain + LEAVE
    (compose,) = documents(ROOT / "deploy/compose.yaml")
    drain = float(IMAGE["PUPIL_DRAIN_DELAY"]) + defaults.drain_grace
    assert compose["services"]["pupil"]["stop_grace_period"] == f"{drain + 10:.0f}s"


def test_a_slow_start_is_given_up_by_its_probe_before_the_rollout_is() -> None:
    startup = PROBES["startup"]
    assert 120 <= startup["periodSeconds"] * startup["failureThreshold"] < PROGRESS


def test_ports_are_those_of_the_server_and_of_its_image() -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    defaults = ServerSettings(repository=Path())
    assert ports == {"grpc": defaults.port, "http": defaults.http_port}
    (exposed,) = re.findall(r"^EXPOSE (.+)$", DOCKERFILE, flags=re.MULTILINE)
    assert {int(port) for port in exposed.split()} == set(ports.values())
    for port in PLAIN["Service"]["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    assert PROBES["readiness"]["grpc"]["port"] == ports["grpc"]
    assert {PROBES[name]["httpGet"]["port"] for name in ("startup", "liveness")} == {"http"}
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == str(ports["http"])


def test_the_server_reads_and_the_courier_writes_the_folder_that_the_image_names() -> None:
    for pod in (POD, COURIER):
        (container,) = pod["spec"]["containers"]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == volumes.keys()
        mount = mounts[IMAGE["PUPIL_REPOSITORY"]]
        claim = volumes[mount["name"]]["persistentVolumeClaim"]
        assert claim["claimName"] == PLAIN["PersistentVolumeClaim"]["metadata"]["name"]
        assert mount.get("readOnly", False) == claim.get("readOnly", False) == (pod is POD)


def test_no_pod_has_a_right_that_it_does_not_need() -> None:
    """What Kubernetes' own standard calls restricted, and a file system that nobody can write to."""
    (user,) = re.findall(r"^USER (\d+)$", DOCKERFILE, flags=re.MULTILINE)
    for pod in (POD, COURIER):
        (container,) = pod["spec"]["containers"]
        whole, own = pod["spec"]["securityContext"], container["securityContext"]
        assert whole["runAsNonRoot"]
        assert whole["runAsUser"] == int(user)
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["spec"]["automountServiceAccountToken"] is False


def test_everything_that_selects_selects_the_pods_of_the_server() -> None:
    labels = POD["metadata"]["labels"]
    (monitor,) = documents(MANIFESTS / "monitored/servicemonitor.yaml")
    (spread,) = POD["spec"]["topologySpreadConstraints"]
    for spec in (
        PLAIN["Deployment"]["spec"],
        PLAIN["PodDisruptionBudget"]["spec"],
        spread | {"selector": spread["labelSelector"]},
    ):
        assert spec["selector"]["matchLabels"] == labels
    assert PLAIN["Service"]["spec"]["selector"] == labels
    assert monitor["spec"]["selector"]["matchLabels"] == PLAIN["Service"]["metadata"]["labels"]
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in PLAIN["Service"]["spec"]["ports"]}
    job = PLAIN["Service"]["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    assert f'up{{job="{job}"}}' in (ROOT / "deploy/alerts.yml").read_text()


def test_the_autoscaler_has_something_to_measure_and_nobody_who_contradicts() -> None:
    scaler = PLAIN["HorizontalPodAutoscaler"]["spec"]
    target = PLAIN["Deployment"]
    assert scaler["scaleTargetRef"]["name"] == target["metadata"]["name"]
    assert "replicas" not in target["spec"]
    assert scaler["minReplicas"] >= 2 > PLAIN["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    resources = CONTAINER["resources"]
    assert resources["requests"] == resources["limits"]
    assert int(resources["limits"]["cpu"]) >= 1  # whole cores: the server takes as many threads


def test_secrets_lie_where_the_settings_look_and_are_made_as_it_is_said() -> None:
    (patch,) = documents(MANIFESTS / "guarded/deployment.yaml")
    spec = patch["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert not [mount for mount in mounts.values() if "subPath" in mount]  # those never change
    said = (MANIFESTS / "guarded/kustomization.yaml").read_text()
    for file in (Path(each["value"]) for each in container["env"]):
        secret = secrets[mounts[str(file.parent)]["name"]]
        assert re.search(rf"kubectl create secret \w+ {secret} .*{re.escape(file.name)}", said)


def test_the_image_for_a_gpu_can_be_built_as_it_is_said() -> None:
    (lock,) = re.findall(r"--build-arg LOCK=(\S+) -t pupil-cuda", (MANIFESTS / "gpu/kustomization.yaml").read_text())
    assert "onnxruntime-gpu==" in (ROOT / lock).read_text()
    assert f"!{lock}" in (ROOT / ".dockerignore").read_text().splitlines()
    (default,) = re.findall(r"^ARG LOCK=(\S+)$", DOCKERFILE, flags=re.MULTILINE)
    assert "onnxruntime==" in (ROOT / default).read_text()


def test_a_real_server_answers_every_probe_and_the_scrape(server) -> None:
    paths = [PROBES["startup"]["httpGet"]["path"], PROBES["liveness"]["httpGet"]["path"]]
    (guarded,) = documents(MANIFESTS / "guarded/deployment.yaml")
    (container,) = guarded["spec"]["template"]["spec"]["containers"]
    paths.append(container["readinessProbe"]["httpGet"]["path"])
    paths.append(POD["metadata"]["annotations"]["prometheus.io/path"])
    (monitor,) = documents(MANIFESTS / "monitored/servicemonitor.yaml")
    paths.append(monitor["spec"]["endpoints"][0]["path"])
    for path in paths:
        assert server.get(path.removeprefix("/"))[0] == 200, path
    with grpc.insecure_channel(server.address) as channel:
        asked = health_pb2.HealthCheckRequest(service=PROBES["readiness"]["grpc"].get("service", ""))
        answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
