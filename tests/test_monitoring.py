"""The dashboard, the alerts and their page name what there is, and all there is has its words."""

import json
import re
from pathlib import Path

import pytest

from security.audit_store import SignedAt
from tests.server.test_metrics import Scene

DOCS = Path(__file__).parent.parent / "docs"
DASHBOARD, ALERTS, PAGE = (
    DOCS / "grafana" / "earwitness.json",
    DOCS / "prometheus-alerts.yml",
    DOCS / "operating.md",
)
NAME = re.compile(r"\b(?:earwitness|process)_[a-z_]+[a-z]\b")
PARTS = ("_bucket", "_sum", "_count")


def families() -> dict[str, str]:
    """What the registry holds: name as it is asked for, and kind."""
    scene = Scene()
    scene.trail.newest_checkpoint = SignedAt(1, 1)
    return {
        metric.name + ("_total" if metric.type == "counter" else ""): metric.type
        for metric in scene.metrics.registry.collect()
    }


def base_of(name: str, known: dict[str, str]) -> str:
    """The family of a part of a histogram."""
    for part in PARTS:
        if known.get(name.removesuffix(part)) == "histogram":
            return name.removesuffix(part)
    return name


def names_in(text: str) -> set[str]:
    return set(NAME.findall(text))


def dashboard() -> dict:
    return json.loads(DASHBOARD.read_text())


def expressions() -> list[str]:
    return [
        target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())
    ]


def rules() -> list[tuple[str, str]]:
    """Names and expressions of the alerts."""
    text = ALERTS.read_text()
    return re.findall(r"^ +- alert: (\w+)\n +expr: (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("expression", [*expressions(), *(expr for _, expr in rules())])
def test_every_expression_names_metrics_that_are_there_as_they_are_to_be_asked(expression):
    known = families()
    found = names_in(expression)
    assert found or "up{" in expression
    for name in found:
        assert base_of(name, known) in known, name
        is_histogram = known[base_of(name, known)] == "histogram"
        assert is_histogram == name.endswith(PARTS), name
        if known[base_of(name, known)] == "counter":
            assert re.search(rf"(?:rate|increase)\({name}\b|^sum\({name}\b", expression), name
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


def test_every_metric_is_on_the_page_and_nothing_else_is():
    ours = {name for name in families() if name.startswith("earwitness_")}
    table = set(re.findall(r"^\| `(earwitness_[a-z_]+)`", PAGE.read_text(), re.MULTILINE))
    assert table == ours


def test_every_metric_but_the_build_is_on_the_dashboard():
    known = families()
    shown = {base_of(name, known) for text in expressions() for name in names_in(text)}
    ours = {name for name in known if name.startswith("earwitness_")}
    assert ours - shown == {
        "earwitness_build_info",
        "earwitness_trail_checkpoint_timestamp_seconds",
    }


def test_metrics_are_named_as_prometheus_asks():
    for name, kind in families().items():
        if kind == "counter":
            assert name.endswith("_total")
        if kind == "histogram":
            assert name.endswith(("_seconds", "_utterances"))


def test_every_alert_says_what_to_do():
    named = [name for name, _ in rules()]
    text = ALERTS.read_text()
    assert len(named) == len(set(named)) == text.count("- alert:") == text.count("severity:")
    assert len(named) == text.count("summary:")
    assert set(named) == set(re.findall(r"^\| `(Earwitness\w+)`", PAGE.read_text(), re.MULTILINE))


def test_alerts_are_plain_yaml():
    lines = ALERTS.read_text().splitlines()
    assert not any("\t" in line or line != line.rstrip() for line in lines)
    assert all(len(line) - len(line.lstrip()) in {0, 2, 4, 6, 8, 10} for line in lines)
    assert [line for line in lines if line and line[0] not in " #"] == ["groups:"]


def test_the_dashboard_can_be_imported():
    board = dashboard()
    assert board["schemaVersion"] >= 38
    assert board["id"] is None
    [source] = [v for v in board["templating"]["list"] if v["type"] == "datasource"]
    assert source["query"] == "prometheus"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None


def test_no_two_panels_lie_on_one_another():
    taken = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells
        taken |= cells
