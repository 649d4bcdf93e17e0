"""Where settings come from, which one wins, and what a wrong one says."""

from pathlib import Path

import pytest

from tailrace_core.addresses import Address, Listener
from tailrace_core.errors import InvalidSettings
from tailrace_core.kafka_configs import static_broker_configs
from tailrace_core.settings import Place, Settings, each_field, kafka_names
from tailrace_core.settings_load import PLACES, load


def config(folder: Path, text: str) -> Path:
    file = folder / "broker.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(overrides: list[str], file: Path | None = None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(InvalidSettings) as refused:
        load(file, environ or {}, overrides)
    return str(refused.value)


def test_nothing_said_gives_the_defaults() -> None:
    settings = load(None, {"PATH": "/bin", "TAILRACE_OTHER": "x"}, [])
    assert settings == Settings()
    assert settings.kafka.listeners == (Listener("PLAINTEXT", "127.0.0.1", 9092),)
    assert settings.http.listen == Address("127.0.0.1", 9644)
    assert settings.wal.sync == "always"
    assert settings.log.message_max_bytes == 1_048_588


def test_the_environment_wins_over_the_file_and_set_over_both(tmp_path: Path) -> None:
    file = config(tmp_path, "[wal]\nsync_interval_ms = 1\n[upload]\ninterval_ms = 100\n[broker]\nnode_id = 7\n")
    environ = {"TAILRACE__UPLOAD__INTERVAL_MS": "200", "TAILRACE__BROKER__NODE_ID": "8"}
    settings = load(file, environ, ["broker.node_id=8", "broker.node_id=9"])
    assert settings.wal.sync_interval_ms == 1
    assert settings.upload.interval_ms == 200
    assert settings.broker.node_id == 9


def test_kafkas_names_work_with_set_and_in_the_file(tmp_path: Path) -> None:
    file = config(tmp_path, "num.partitions = 4\n[log]\nretention.ms = 5\nsegment_ms = 6\n")
    settings = load(file, {}, ["auto.create.topics.enable=false", "listeners=A://h:1,B://[::1]:2"])
    assert settings.kafka.num_partitions == 4
    assert (settings.log.retention_ms, settings.log.segment_ms) == (5, 6)
    assert settings.kafka.auto_create_topics_enable is False
    assert settings.kafka.listeners == (Listener("A", "h", 1), Listener("B", "::1", 2))
    assert str(settings.kafka.listeners[1]) == "B://[::1]:2"


def test_one_setting_under_two_names_in_a_file_is_refused(tmp_path: Path) -> None:
    file = config(tmp_path, "[log]\nretention.ms = 5\nretention_ms = 6\n")
    text = refusal([], file)
    assert str(file) in text
    assert "log.retention.ms and log.retention_ms are the same setting" in text


def test_no_name_means_two_settings() -> None:
    names = [f"{place.section}.{place.key}" for place, _ in each_field()]
    names += [kafka for _, field in each_field() if (kafka := kafka_names(field).broker) is not None]
    assert len(names) == len(PLACES) + names.count("broker.rack") - 1
    assert all(PLACES[f"{place.section}.{place.key}"] == place for place, _ in each_field())
    assert PLACES["broker.rack"] == Place("broker", "rack")


def test_every_setting_is_explained() -> None:
    for place, field in each_field():
        assert field.description, place
        assert field.description.endswith("."), place


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("wal.snyc=always", ["--set", "'wal.snyc'", "wal.sync"]),
        ("wall.sync=always", ["'wall.sync'", "wal.sync"]),
        ("zookeeper.connect=a:1", ["'zookeeper.connect'", "broker, kafka, http, wal"]),
        ("wal.sync=never", ["--set wal.sync=never", "'always' or 'interval'"]),
        ("log.retention.ms=soon", ["--set log.retention.ms=soon", "a valid integer"]),
        ("wal.segment_bytes=5000000", ["wal.segment_bytes=5000000", "a multiple of 4096"]),
        ("wal.segment_bytes=4096", ["greater than or equal to 4194304"]),
        ("wal.capacity_bytes=20000000", ["wal.capacity_bytes=20000000", "at least four segments"]),
        ("engine.validation=full", ["engine.validation=full", "not built yet", "'header'"]),
        ("engine.durability=object", ["not built yet", "'local'"]),
        ("cleanup.policy=compact", ["'cleanup.policy'", "log.cleanup_policy"]),
        ("object_store.url=s3://bucket", ["file:///PATH", "'s3://bucket'"]),
        ("http.listen=9644", ["HOST:PORT", "'9644'"]),
        ("http.listen=h:70000", ["0 to 65535"]),
        ("listeners=here", ["NAME://HOST:PORT", "'here'"]),
        ("listeners=", ["at least one"]),
        ("listeners=A://h:1,A://h:2", ["every name stands once"]),
        ("listeners=A://h:1,B://h:1", ["the same address"]),
        ("listeners=SASL_SSL://h:1", ["not built yet"]),
        ("listeners=A://0.0.0.0:1", ["clients cannot connect to A://0.0.0.0:1"]),
        ("advertised.listeners=OTHER://h:1", ["OTHER is not among listeners (PLAINTEXT)"]),
        ("cache.read_ahead_bytes_max=1000", ["read_ahead_bytes_min"]),
        ("kafka.response_pending_bytes_max=2000000", ["fetch_max_bytes"]),
        ("nonsense", ["--set nonsense", "section.key=value"]),
    ],
)
def test_a_wrong_override_is_named_with_what_is_allowed(override: str, said: list[str]) -> None:
    text = refusal([override])
    assert all(part in text for part in said), text


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "absent.toml") in refusal([], tmp_path / "absent.toml")
    assert "not a TOML file" in refusal([], config(tmp_path, "wal = = 1"))
    text = refusal([], config(tmp_path, '[wal]\nsync_interval_ms = "fast"\n'))
    assert f'{tmp_path / "broker.toml"}: wal.sync_interval_ms = "fast": allowed: a valid integer' in text
    assert "wal.sync_interval_ms" in refusal([], config(tmp_path, "[wal]\nsync_interval = 5\n"))


def test_a_wrong_environment_variable_is_named() -> None:
    assert "TAILRACE__WAL__SINC" in refusal([], environ={"TAILRACE__WAL__SINC": "always"})
    assert "TAILRACE__WAL__SYNC=no: allowed:" in refusal([], environ={"TAILRACE__WAL__SYNC": "no"})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert refusal(["wal.sync=no", "num.partitions=0"]).count("\n") == 1


def test_clients_are_told_the_advertised_listeners_in_the_order_of_the_listeners() -> None:
    settings = load(None, {}, ["listeners=A://0.0.0.0:1,B://h:2", "advertised.listeners=B://b:20,A://a:10"])
    assert settings.kafka.advertised == (Listener("A", "a", 10), Listener("B", "b", 20))
    assert load(None, {}, ["listeners=A://h:0"]).kafka.advertised == (Listener("A", "h", 0),)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().wal.sync = "interval"  # type: ignore[misc]


def test_the_hot_log_takes_a_quarter_of_memory_and_at_most_a_gibibyte() -> None:
    engine = Settings().engine
    assert engine.hot_bytes_for(2 << 30) == 512 << 20
    assert engine.hot_bytes_for(64 << 30) == 1 << 30
    assert load(None, {}, ["engine.hot_bytes=67108864"]).engine.hot_bytes_for(64 << 30) == 64 << 20


def test_objects_are_kept_in_the_data_folder_by_default() -> None:
    assert Settings().object_store.url_for(Path("/data")) == "file:///data/objects"
    given = load(None, {}, ["object_store.url=file:///elsewhere"])
    assert given.object_store.url_for(Path("/data")) == "file:///elsewhere"


def test_what_was_given_is_a_static_broker_config_under_kafkas_name() -> None:
    given = static_broker_configs(load(None, {}, ["log.retention_ms=9", "wal.sync=interval", "broker.rack="]))
    assert given == {"log.retention.ms": "9", "tailrace.wal.sync": "interval"}
    assert static_broker_configs(Settings()) == {}


def test_retention_is_in_hours_minutes_or_milliseconds_as_in_kafka() -> None:
    given = load(None, {}, ["log.retention.hours=1", "log.retention.minutes=2", "log.roll.hours=3"]).log
    assert (given.retention_ms, given.retention_minutes, given.retention_hours) == (None, 2, 1)
    assert (given.segment_ms, given.segment_hours) == (None, 3)
