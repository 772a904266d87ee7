"""What Grafana is given to show is what the server has: metrics, labels, values and words."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pupil_proto.v1 import inference_pb2, models_pb2
from pupil_server.errors import Code
from pupil_server.metrics import Metrics, SupervisorMetrics
from pupil_server.table import SERVICES

DEPLOY = Path(__file__).parent.parent / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/pupil.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
ENDINGS = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
OF_PROMETHEUS = {"instance"}  # the label that every scrape adds


def samples() -> dict[str, tuple[str, set[str]]]:
    """Each series that a server or its supervisor can have: its type, and its labels."""
    metrics = Metrics()
    collectors = [*vars(metrics).values(), *vars(SupervisorMetrics(metrics.registry)).values()]
    found = {}
    for collector in collectors[1:]:  # the registry is the first
        labels = set(getattr(collector, "_labelnames", None) or getattr(collector, "_labels", ()))
        for metric in collector.describe():
            for ending in ENDINGS[metric.type]:
                own = {"le"} if ending == "_bucket" else set()
                found[metric.name + ending] = (metric.type, labels | own | OF_PROMETHEUS)
    return found


SAMPLES = samples()
SERIES = re.compile(r"\b(pupil_\w+)(?:\{([^}]*)\})?")


def expressions() -> Iterator[tuple[str, str, str]]:
    """The title, the expression and the legend of everything that is asked."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], annotation["titleFormat"]


ASKED = list(expressions())


def matched(expression: str, label: str) -> set[str]:
    """The values by which an expression selects a label, those of an alternative one by one."""
    said = re.findall(rf'\b{label}(?:=|!=|=~|!~)"([^"$]+)"', expression)
    return {value for each in said for value in each.split("|")}


def test_the_dashboard_has_what_grafana_needs_to_open_it() -> None:
    assert DASHBOARD.keys() >= {"uid", "title", "schemaVersion", "panels", "templating", "annotations", "time"}
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert DASHBOARD["panels"][0]["type"] == "row"
    for panel in PANELS:
        asked = [target["refId"] for target in panel["targets"]]
        assert len(set(asked)) == len(asked) > 0
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources), panel["title"]


def test_no_panel_covers_another_one_or_leaves_the_page() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_every_panel_says_what_it_shows_in_which_unit_and_what_to_do() -> None:
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    for panel in PANELS:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len(panel["description"].split()) >= 8, panel["title"]


def test_seconds_bytes_and_shares_have_their_units() -> None:
    for panel in PANELS:
        unit = panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            expression = target["expr"]
            if "_seconds" in expression and "_seconds_sum" not in expression:
                assert unit == "s", panel["title"]
            if "_bytes" in expression:
                assert unit == "bytes", panel["title"]
            if re.search(r"\* 0\) / ", expression):
                assert unit == "percentunit", panel["title"]


def test_an_expression_names_metrics_and_labels_that_a_server_has() -> None:
    for title, expression, legend in ASKED:
        has: set[str] = set()
        for name, matchers in SERIES.findall(expression):
            assert name in SAMPLES, title
            _, labels = SAMPLES[name]
            assert set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", matchers)) <= labels, title
            assert 'instance=~"$instance"' in matchers, title
            assert "model" not in labels or 'model=~"$model"' in matchers, title
            has |= labels
        groups = [set(group.split(", ")) for group in re.findall(r"\bby \(([^)]+)\)", expression)]
        assert all(group <= has for group in groups), title
        if re.search(r"\b(sum|min|max|count)\b", expression):
            has = groups[0] if groups else set()
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= has, title


def test_what_only_grows_is_asked_for_its_rate_and_what_is_now_is_not() -> None:
    for title, expression, _ in ASKED:
        for found in SERIES.finditer(expression):
            kind, _ = SAMPLES[found[1]]
            rated = re.search(r"\b(rate|increase)\($", expression[: found.start()])
            ranged = re.match(r"\[(\$__rate_interval|1h)\]", expression[found.end() :])
            assert bool(rated) == bool(ranged) == (kind != "gauge"), title
            if found[1].endswith("_bucket"):
                kept = re.search(r"sum by \(le\b[^)]*\) \(\w+\($", expression[: found.start()])
                assert kept, f"{title}: le must outlive the sum"


def test_no_metric_of_the_server_is_left_out() -> None:
    shown = {name for _, expression, _ in ASKED for name, _ in SERIES.findall(expression)}
    base = re.compile(r"_(total|bucket|sum|count)$")
    assert {base.sub("", name) for name in SAMPLES} == {base.sub("", name) for name in shown}


def test_the_values_that_expressions_select_are_values_that_the_server_gives() -> None:
    everything = " ".join(expression for _, expression, _ in ASKED)
    assert matched(everything, "code") <= {code.name for code in Code}
    routes = {name.removeprefix("ROUTE_").lower() for name, _ in inference_pb2.Route.items()}
    for pattern in matched(everything, "route"):
        assert any(re.fullmatch(pattern, route) for route in routes)
    assert matched(everything, "agree") == {"yes"}
    assert matched(everything, "decision") == {"accepted"}
    service, _, name = next(iter(matched(everything, "method"))).partition("/")
    assert service in SERVICES
    assert name in inference_pb2.DESCRIPTOR.services_by_name["Inference"].methods_by_name
    by_title = {title: expression for title, expression, _ in ASKED}
    assert by_title["Versions ready"].split(" or ")[0].endswith(f"== {models_pb2.STATE_READY})")
    assert by_title["Versions that failed"].split(" or ")[0].endswith(f"== {models_pb2.STATE_FAILED})")


def test_the_states_of_versions_are_spelled_as_the_contract_spells_them() -> None:
    (panel,) = (panel for panel in PANELS if panel["title"] == "States of versions")
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    spelled = {int(number): said["text"] for number, said in mapping["options"].items()}
    states = {number: name.removeprefix("STATE_").lower() for name, number in models_pb2.State.items()}
    del states[models_pb2.STATE_UNSPECIFIED]
    assert spelled == states


def test_every_variable_is_asked_for_from_a_metric_and_used() -> None:
    builtin = {"__rate_interval", "__all"}
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r"\$\{?(\w+)", text)) - builtin == {variable["name"] for variable in VARIABLES}
    for variable in VARIABLES:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["definition"]).groups()
            assert label in SAMPLES[name][1]
            assert variable["query"]["query"] == variable["definition"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
def test_prometheus_understands_every_expression_and_every_alert(tmp_path: Path) -> None:
    known = [expression.replace("$__rate_interval", "1m") for _, expression, _ in ASKED]
    rules = [{"record": f"asked:{place}", "expr": expression} for place, expression in enumerate(known)]
    (tmp_path / "asked.yml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    for file in (tmp_path / "asked.yml", DEPLOY / "alerts.yml"):
        done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_compose_shows_the_dashboard_with_the_numbers_of_its_own_prometheus() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    for service in services.values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).exists(), mount
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    (provider,) = yaml.safe_load((DEPLOY / "grafana/dashboards.yaml").read_text())["providers"]
    assert mounts["./grafana/pupil.json"] == f"{provider['options']['path']}/pupil.json"
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in mounts.values()
    (source,) = yaml.safe_load((DEPLOY / "grafana/datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert services["prometheus"]["ports"] == ["9090:9090"]
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
