"""deploy/: whatever Prometheus and Grafana ask for is what the service tells."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are not installed for a file or two
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics
from tests.conftest import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "recommender.json").read_text("utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
INTERVAL = {"$__rate_interval": "5m"}
"""Grafana's own."""


def expressions() -> dict[str, str]:
    """PromQL by whose it is."""
    asked = {rule["alert"]: rule["expr"] for rule in RULES}
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in INTERVAL.items():
                expression = expression.replace(variable, value)
            asked[f"{panel['title']} {target['refId']}"] = expression
    return asked


EXPRESSIONS = expressions()


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Names of series at /metrics, and their labels."""
    metrics = Metrics()
    metrics.model.info(dict.fromkeys(("version", "backbone", "device"), "told"))
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase) and metric._labelnames:
            metric.labels(*metric._labelnames)  # a series is told once it was counted
    found = {"up": {"job", "instance"}}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    return found


def read(expression: promql_parser.Expr) -> Iterator[promql_parser.VectorSelector]:
    """The series that an expression reads."""
    match expression:
        case promql_parser.VectorSelector():
            yield expression
        case promql_parser.MatrixSelector():
            yield expression.vector_selector
        case promql_parser.BinaryExpr():
            yield from read(expression.lhs)
            yield from read(expression.rhs)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr():
            yield from read(expression.expr)
        case promql_parser.Call():
            for argument in expression.args:
                yield from read(argument)
        case promql_parser.NumberLiteral():
            pass
        case _:
            raise NotImplementedError(type(expression))


def grouped(expression: promql_parser.Expr) -> Iterator[str]:
    """The labels by which it adds up."""
    for found in re.findall(r"\bby \(([^)]*)\)", expression.prettify()):
        yield from (label.strip() for label in found.split(","))


@pytest.mark.parametrize("whose", EXPRESSIONS)
def test_every_expression_reads_what_the_service_tells(whose: str, told: dict[str, set[str]]) -> None:
    expression = promql_parser.parse(EXPRESSIONS[whose])
    selectors = [(selector.name or "", selector.matchers.matchers) for selector in read(expression)]
    assert selectors
    for name, matchers in selectors:
        assert name in told, f"{whose}: the service tells no {name}"
        labels = {matcher.name for matcher in matchers}
        assert labels <= told[name], f"{whose}: {name} has no {labels - told[name]}"
    labels = set(grouped(expression))
    assert labels <= set().union(*(told[name] for name, _ in selectors)), f"{whose}: {labels}"


def test_the_dashboard_shows_every_metric(told: dict[str, set[str]]) -> None:
    targets = [target["expr"] for panel in PANELS for target in panel["targets"]]
    shown = {re.sub("_(total|bucket|sum|count)$", "", name) for name in told if any(name in one for one in targets)}
    missing = {re.sub("_(total|bucket|sum|count|created)$", "", name) for name in told} - shown
    assert not missing, f"no panel of deploy/grafana/dashboards/recommender.json shows {missing}"


def test_the_dashboard_is_laid_out_without_holes_and_asks_the_datasource_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text("utf-8"))
    (source,) = provisioned["datasources"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        asked = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(one == {"type": source["type"], "uid": source["uid"]} for one in asked), panel["title"]
    widths: dict[int, int] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] == widths.get(place["y"], 0), panel["title"]
        widths[place["y"]] = place["x"] + place["w"]
    assert set(widths.values()) == {24}


def test_the_files_are_where_compose_puts_them() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "recommender.yaml").read_text("utf-8"))
    (path,) = (one["options"]["path"] for one in provider["providers"])
    assert f"./deploy/grafana/dashboards:{path}:ro" in services["grafana"]["volumes"]
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    assert all((PROMETHEUS / name).is_file() for name in config["rule_files"])
    (scrape,) = config["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["service:8000"]}]
    assert scrape["authorization"]["credentials_file"] == f"/run/secrets/{services['prometheus']['secrets'][0]}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize(
    "check",
    [
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
)
def test_prometheus_takes_its_configuration_and_alerts_fire_when_they_are_to(check: tuple[str, ...]) -> None:
    ended = subprocess.run(["promtool", *check], cwd=PROMETHEUS, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_is_tried() -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text("utf-8"))["tests"]
    tried = [(one["alertname"], bool(one.get("exp_alerts"))) for test in tests for one in test["alert_rule_test"]]
    for rule in RULES:
        assert {(rule["alert"], True), (rule["alert"], False)} <= set(tried)
