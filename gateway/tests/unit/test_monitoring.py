"""What watches a broker names metrics and labels that there are, in forms that say something."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tailrace_core.monitoring.alerts import ALERTS
from tailrace_core.monitoring.dashboard import ROWS, dashboard
from tailrace_core.telemetry import METRICS, Kind, Metric

FOLDER = Path(__file__).parents[3] / "config" / "telemetry"
TABLE = {row.name: row for row in METRICS}
PROMETHEUS_LABELS = {"instance", "job", "le"}

NAME = re.compile(r"\b((?:tailrace|process)_\w+|up)(?:\{([^}]*)\})?(\[[^]]+\])?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!=|=|!~)")
GROUPING = re.compile(r"\bby \(([^)]*)\)")
WORD = re.compile(r"[a-z_]+(?=\s*\()")

PANELS = [panel for _, panels in ROWS for panel in panels]
EXPRESSIONS = [(panel.title, query.expression) for panel in PANELS for query in panel.queries]
EXPRESSIONS += [(alert.name, alert.expression) for alert in ALERTS]


def row_of(name: str) -> Metric:
    """The table's row of a series; of a histogram there are only buckets, sum and count."""
    if name in TABLE and TABLE[name].kind is not Kind.HISTOGRAM:
        return TABLE[name]
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    assert base in TABLE, f"{name} is not in the table"
    assert TABLE[base].kind is Kind.HISTOGRAM, f"{name} is no part of a histogram"
    assert base != name, f"{name} is a histogram, which has buckets, a sum and a count"
    return TABLE[base]


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS)
def test_an_expression_has_names_and_labels_of_the_table(place: str, expression: str) -> None:
    found = NAME.findall(expression)
    assert found
    allowed = set(PROMETHEUS_LABELS)
    for name, matchers, window in found:
        if name == "up":
            continue
        row = row_of(name)
        allowed |= set(row.labels)
        assert set(LABEL.findall(matchers)) <= {*row.labels, *PROMETHEUS_LABELS}, name
        # Counters and buckets only say something by how they grow.
        assert bool(window) == (row.kind is not Kind.GAUGE) or "_over_time(" in expression, name
    for grouping in GROUPING.findall(expression):
        assert {label.strip() for label in grouping.split(",")} <= allowed
    functions = {"by", "sum", "rate", "increase", "histogram_quantile", "min_over_time"}
    assert set(WORD.findall(expression)) <= functions
    assert expression.count("(") == expression.count(")")


def test_every_metric_has_a_panel() -> None:
    shown = {
        row_of(name).name
        for panel in PANELS
        for query in panel.queries
        for name, _, _ in NAME.findall(query.expression)
    }
    assert sorted(set(TABLE) - shown) == []


def test_panels_lie_beside_each_other_and_ids_are_theirs_alone() -> None:
    panels = json.loads(dashboard())["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert grid["x"] + grid["w"] <= 24
        assert not cells & taken
        taken |= cells


def test_alerts_have_names_of_their_own_and_say_what_to_do() -> None:
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
    for alert in ALERTS:
        assert alert.severity in ("page", "ticket")
        assert re.fullmatch(r"\d+[mh]", alert.holds)
        assert alert.what_to_do.endswith(".")


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
@pytest.mark.parametrize("arguments", [("config", "prometheus.yaml"), ("rules", "alerts.yaml")])
def test_prometheus_takes_the_files(arguments: tuple[str, str]) -> None:
    what, name = arguments
    done = subprocess.run([str(PROMTOOL), "check", what, FOLDER / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": "shown", "expr": query.expression.replace("$__rate_interval", "1m").replace("$instance", ".*")}
        for panel in PANELS
        for query in panel.queries
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))  # JSON is YAML
    done = subprocess.run([str(PROMTOOL), "check", "rules", "--lint=none", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_alerts_fire_when_it_is_so_and_not_before(tmp_path: Path) -> None:
    quiet = [
        ("up{job='tailrace',instance='b'}", "1x30"),
        ("tailrace_ready{instance='b'}", "1x30"),
        ("tailrace_wal_fenced{instance='b'}", "0x30"),
        ("tailrace_throttle_seconds{instance='b'}", "0x30"),
        ("tailrace_partitions_offline{instance='b'}", "0x30"),
        ("tailrace_corrupt_total{instance='b',place='wal'}", "0x30"),
        ("tailrace_object_errors_total{instance='b',operation='put'}", "0x30"),
        ("tailrace_coordinator_loading{instance='b',topic='__consumer_offsets'}", "0x30"),
    ]
    bad = {
        "TailraceDown": ("up", "0x30"),
        "TailraceNotReady": ("tailrace_ready", "0x30"),
        "TailraceWalFenced": ("tailrace_wal_fenced", "1x30"),
        "TailraceHoldsBack": ("tailrace_throttle_seconds", "0.2x30"),
        "TailracePartitionsOffline": ("tailrace_partitions_offline", "2x30"),
        "TailraceCorruptData": ("tailrace_corrupt_total", "0+1x30"),
        "TailraceUploadsFail": ("tailrace_object_errors_total", "0+3x30"),
        "TailraceCoordinatorLoads": ("tailrace_coordinator_loading", "4x30"),
    }
    tests = []
    for name, (series, values) in bad.items():
        for is_bad in (False, True):
            lines = [
                {"series": one, "values": values if is_bad and one.startswith(series + "{") else still}
                for one, still in quiet
            ]
            # Labels and annotations are the rules' own affair: the alert's series says whether it fires.
            said = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
            samples = [{"labels": "{}", "value": int(is_bad)}]
            tests.append(
                {
                    "interval": "1m",
                    "input_series": lines,
                    "promql_expr_test": [{"expr": said, "eval_time": "25m", "exp_samples": samples}],
                }
            )
    file = tmp_path / "tests.yaml"
    file.write_text(json.dumps({"rule_files": [str(FOLDER / "alerts.yaml")], "tests": tests}))
    done = subprocess.run([str(PROMTOOL), "test", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
