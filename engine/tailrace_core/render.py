"""Files that are rendered from the code, so that they cannot drift from it: `make docs` writes them, a test compares.

config/broker.toml and config/dev/*.toml are settings files, config/REFERENCE.md is all settings in one table,
docs/configs.md all configs that clients see, docs/metrics.md all metrics, and config/telemetry/ what shows and watches
them. `python -m tailrace_core.render [FOLDER]` writes them into a checkout.
"""

import json
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, MultipleOf
from pydantic.fields import FieldInfo

from tailrace_core.config_states import ConfigState
from tailrace_core.kafka_configs import ConfigDefinition, UpdateMode, definitions
from tailrace_core.membership import ResourceType
from tailrace_core.monitoring.alerts import alert_rules, scrape_config
from tailrace_core.monitoring.dashboard import dashboard
from tailrace_core.settings import Place, Section, Settings, each_field, kafka_names
from tailrace_core.settings_load import ENVIRONMENT_PREFIX
from tailrace_core.telemetry import METRICS, Kind

GENERATED: Final = (
    "Rendered from the settings' models by `make docs`; a test compares. Change the models, not this file."
)

DEV_FILES: Final[Mapping[str, tuple[str, Mapping[Place, object]]]] = {
    "docker.toml": (
        "One broker in a container: other containers connect to broker:29092, the host to 127.0.0.1:9092.",
        {
            Place("broker", "data_dir"): "/var/lib/tailrace",
            Place("kafka", "listeners"): ["INTERNAL://0.0.0.0:29092", "EXTERNAL://0.0.0.0:9092"],
            Place("kafka", "advertised_listeners"): ["INTERNAL://broker:29092", "EXTERNAL://127.0.0.1:9092"],
            Place("http", "listen"): "0.0.0.0:9644",
        },
    ),
    "small.toml": (
        "A broker that shows the tier within seconds: little memory, small objects, uploaded often.",
        {
            Place("wal", "segment_bytes"): 16 << 20,
            Place("wal", "capacity_bytes"): 512 << 20,
            Place("engine", "hot_bytes"): 64 << 20,
            Place("upload", "bytes"): 8 << 20,
            Place("upload", "interval_ms"): 5_000,
        },
    ),
}


def plain(value: object) -> object:
    """value as TOML and JSON have it."""
    if isinstance(value, tuple):
        # Addresses and listeners are tuples with a text of their own; the rest are lists of such.
        return str(value) if hasattr(value, "_fields") else [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def toml_value(value: object) -> str:
    """JSON's text of strings, numbers, booleans and lists of strings is TOML's too; large integers get underscores."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    return json.dumps(plain(value), ensure_ascii=False)


def _sections() -> dict[str, list[tuple[Place, FieldInfo]]]:
    sections: dict[str, list[tuple[Place, FieldInfo]]] = {}
    for place, field in each_field():
        sections.setdefault(place.section, []).append((place, field))
    return sections


def _theory(section: str) -> str:
    model = Settings.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, Section)
    return " ".join((model.__doc__ or "").split())


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, 116, break_on_hyphens=False))


def broker_toml() -> str:
    """All settings with their defaults. What has no default stands there as a comment."""
    blocks = [_comment(f"All settings of `tailrace serve`, with their defaults. {GENERATED}")]
    for section, fields in _sections().items():
        blocks.append(f"{_comment(_theory(section))}\n[{section}]")
        for place, field in fields:
            kafka = kafka_names(field).broker
            about = (field.description or "") + (f" Kafka: {kafka}." if kafka else "")
            line = f"# {place.key} =" if field.default is None else f"{place.key} = {toml_value(field.default)}"
            blocks.append(f"{_comment(about)}\n{line}")
    return "\n\n".join(blocks) + "\n"


def dev_toml(about: str, values: Mapping[Place, object]) -> str:
    """A settings file that says only what differs from the defaults."""
    blocks = [_comment(f"{about} {GENERATED}")]
    for section, fields in _sections().items():
        lines = [f"{place.key} = {toml_value(values[place])}" for place, _ in fields if place in values]
        if lines:
            blocks.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    parts = []
    for bound in field.metadata:
        match bound:
            case Ge(ge=low):
                parts.append(f"≥ {_count(low)}")
            case Gt(gt=low):
                parts.append(f"> {_count(low)}")
            case Le(le=high):
                parts.append(f"≤ {_count(high)}")
            case MultipleOf(multiple_of=step):
                parts.append(f"a multiple of {_count(step)}")
    return ", ".join(parts)


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def reference() -> str:
    """config/REFERENCE.md."""
    kafka_example, environment_example = "log.retention.ms", f"{ENVIRONMENT_PREFIX}LOG__RETENTION_MS"
    parts = [
        f"# Settings\n\n{GENERATED}",
        "Later ones win: the defaults, the file of `--config FILE.toml`, the environment, `--set section.key=value`. "
        f"A setting `log.retention_ms` is `retention_ms` in the file's table `[log]`, `{environment_example}` in the "
        "environment and `--set log.retention_ms=…` on the command line. Where Kafka has the setting, its name works "
        f"in the file and with `--set` too (`--set {kafka_example}=…`). A wrong name or value stops the start and is "
        "named. [broker.toml](broker.toml) has everything with its defaults, [dev/](dev/) has examples.",
    ]
    for section, fields in _sections().items():
        parts.append(f"## [{section}]\n\n{_theory(section)}")
        rows = ["| key | default | allowed | meaning | Kafka's names |", "|---|---|---|---|---|"]
        for place, field in fields:
            default = "" if field.default is None else f"`{_default_text(field.default)}`"
            names = kafka_names(field)
            kafka = [f"`{names.broker}`"] if names.broker else []
            if names.topic and names.topic != names.broker:
                kafka.append(f"of a topic: `{names.topic}`")
            cells = [f"`{place.key}`", default, _allowed(field), field.description or "", ", ".join(kafka)]
            rows.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _default_text(value: object) -> str:
    value = plain(value)
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


CONFIG_TABLES: Final = (
    (ResourceType.TOPIC, "Topics", "A topic's own value goes before the broker's, which goes before the default."),
    (
        ResourceType.BROKER,
        "Brokers",
        "What is dynamic can be changed while the broker runs, of one broker or (cluster-wide) of all, and is kept; "
        "the rest are settings of the start, and may be in its file under these names. `tailrace.…` are settings that "
        "Kafka does not have: in the file without `tailrace.`.",
    ),
    (ResourceType.GROUP, "Groups", "The defaults and bounds are the brokers' `group.…`."),
    (ResourceType.CLIENT_METRICS, "Client metrics", "Subscriptions by name."),
)


def configs() -> str:
    """docs/configs.md."""
    parts = [
        "# Configs\n\nRendered from `tailrace_core/kafka_configs.py` by `make docs`; a test compares.",
        "Every config of Apache Kafka 4.3 that DescribeConfigs shows, and what it does here. It **works**, or it is "
        "**accepted without effect** so that tools which set it go on, or it is **refused**. DescribeConfigs says the "
        "same in its documentation.",
    ]
    for resource_type, title, about in CONFIG_TABLES:
        found = definitions(resource_type).values()
        counts = ", ".join(f"{sum(one.state is state for one in found)} {state.value}" for state in _STATES)
        dynamic = resource_type is ResourceType.BROKER
        rows = ["| name | default | state | dynamic | what we do |", "|---|---|---|---|---|"]
        if not dynamic:
            rows = ["| name | default | state | what we do |", "|---|---|---|---|"]
        rows += [_config_row(one, dynamic) for one in found]
        parts.append(f"## {title}\n\n{about} {counts}.\n\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


_STATES: Final = (ConfigState.WORKS, ConfigState.WITHOUT_EFFECT, ConfigState.REFUSED)


def _config_row(definition: ConfigDefinition, dynamic: bool) -> str:
    default = "" if definition.default is None else f"`{definition.default}`" if definition.default else "empty"
    cells = [f"`{definition.name}`", default, definition.state.value]
    if dynamic:
        fixed = definition.update_mode is UpdateMode.READ_ONLY or definition.state is ConfigState.REFUSED
        cells.append("no" if fixed else definition.update_mode.value)
    about = definition.about.removeprefix(f"{definition.state.value.capitalize()}: ")
    return "| " + " | ".join([*cells, about[0].upper() + about[1:]]) + " |"


def metrics() -> str:
    """docs/metrics.md."""
    parts = [
        "# Metrics\n\nRendered from `tailrace_core/telemetry.py` by `make docs`; a test compares. Served at "
        "`/metrics` in Prometheus' text format.",
        "A counter only grows until the process ends; a gauge is what is now. Bytes are bytes and times are seconds.",
    ]
    rows = ["| name | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.meaning} |")
    parts.append("\n".join(rows))
    buckets = ["| histogram | buckets, each the upper end |", "|---|---|"]
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            bounds = ", ".join(f"{bound / metric.scale:.9g}" for bound in metric.bounds)
            buckets.append(f"| `{metric.name}` | {bounds}, +Inf |")
    parts.append("\n".join(buckets))
    return "\n\n".join(parts) + "\n"


def rendered() -> dict[str, str]:
    """Path in the checkout and content of every rendered file."""
    files = {"config/broker.toml": broker_toml(), "config/REFERENCE.md": reference(), "docs/metrics.md": metrics()}
    files["docs/configs.md"] = configs()
    files |= {
        "config/telemetry/dashboard.json": dashboard(),
        "config/telemetry/alerts.yaml": alert_rules(),
        "config/telemetry/prometheus.yaml": scrape_config(["127.0.0.1:9644"]),
    }
    for name, (about, values) in DEV_FILES.items():
        files[f"config/dev/{name}"] = dev_toml(about, values)
    return files


def main(folder: Path) -> None:
    """Write every rendered file below folder."""
    for path, text in rendered().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
