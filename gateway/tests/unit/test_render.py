"""Rendered files say what the code says."""

from pathlib import Path

import pytest

from tailrace_core.render import rendered
from tailrace_core.settings import Settings, each_field
from tailrace_core.settings_load import load
from tailrace_core.telemetry import METRICS

CHECKOUT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", rendered())
def test_the_committed_file_is_what_is_rendered(path: str) -> None:
    assert (CHECKOUT / path).read_text(encoding="utf-8") == rendered()[path], "run `make docs`"


def test_the_rendered_settings_parse_back_to_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_text(rendered()["config/broker.toml"], encoding="utf-8")
    assert load(file, {}, []) == Settings()


def test_every_setting_stands_in_the_rendered_files() -> None:
    files = rendered()
    for place, field in each_field():
        assert f"`{place.key}`" in files["config/REFERENCE.md"]
        shown = f"# {place.key} =" if field.default is None else f"\n{place.key} = "
        assert shown in files["config/broker.toml"]


@pytest.mark.parametrize("path", [path for path in rendered() if path.startswith("config/dev/")])
def test_a_development_file_is_accepted(path: str, tmp_path: Path) -> None:
    file = tmp_path / "dev.toml"
    file.write_text(rendered()[path], encoding="utf-8")
    assert load(file, {}, []) != Settings()


def test_every_metric_stands_in_the_rendered_table() -> None:
    for metric in METRICS:
        assert f"| `{metric.name}` | {metric.kind.value} |" in rendered()["docs/metrics.md"]
