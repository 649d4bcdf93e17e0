"""kill -9 under load, again and again: what was acknowledged is there once, at its offset.

The restarts go through all WAL backends and sync modes (a killed process leaves the page cache, so all promise the
same), and through uploads that are so small and frequent that records are found in the tier, in the WAL, and in both.
"""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

import pytest
from durability.load import Audit, Load
from harness.batches import simple_batch
from harness.process import Broker, Setting, poll

PARTITIONS = 4
BACKENDS = ("uring", "threads", "buffered")
SYNCS = ("always", "always", "interval")
UPLOADS = (
    {Setting.UPLOAD_BYTES: 64 << 20, Setting.UPLOAD_INTERVAL_MS: 60_000},
    {Setting.UPLOAD_BYTES: 1 << 20, Setting.UPLOAD_INTERVAL_MS: 300},
)


@pytest.mark.timeout(600)
def test_what_was_acknowledged_survives_every_kill_once_at_its_offset(
    start_broker, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    rounds = pytestconfig.getoption("--kills")
    seed = random.randrange(1 << 32)
    print(f"seed of the moments of the kills: {seed}")
    chance = random.Random(seed)
    variants = [
        {Setting.WAL_BACKEND: backend, Setting.WAL_SYNC: sync, **uploads}
        for uploads, sync, backend in itertools.islice(
            itertools.cycle(itertools.product(UPLOADS, SYNCS, BACKENDS)), rounds + 1
        )
    ]
    chance.shuffle(variants)
    broker: Broker = start_broker(tmp_path, variants[0])
    with broker.connect() as connection:
        topic = connection.create_usable_topic("killed", PARTITIONS)
    audit = Audit(topic, PARTITIONS)
    with Load(broker, topic, PARTITIONS) as load:
        for variant in variants[1:]:
            before = load.acknowledged_count
            poll("records are acknowledged after a restart", lambda: load.acknowledged_count > before + 100)  # noqa: B023
            time.sleep(chance.uniform(0.05, 0.6))
            broker.kill()
            acknowledged = load.acknowledged()
            broker.settings.update(variant)
            broker.start()
            audit.read(broker)
            assert not audit.faults, (variant, audit.faults[:5])
            assert not (lost := audit.missing(acknowledged)), (variant, len(lost), lost[:5])
    acknowledged = load.acknowledged()
    whole = Audit(topic, PARTITIONS).read(broker)
    assert not whole.faults, whole.faults[:5]
    assert not (lost := whole.missing(acknowledged)), (len(lost), lost[:5])
    assert len(whole.found) == len(acknowledged), "records that no producer had sent"
    print(f"{rounds} kills, {len(acknowledged)} records")


def test_a_producer_goes_on_with_its_sequences_over_a_kill(start_broker, tmp_path: Path) -> None:
    broker: Broker = start_broker(tmp_path)
    with broker.connect() as connection:
        topic = connection.create_usable_topic("sequences")
        producer_id = connection.new_producer_id()
        batches = [
            simple_batch(b"%d" % sequence, producer_id=producer_id, producer_epoch=0, base_sequence=sequence)
            for sequence in range(5)
        ]
        for offset, batch in enumerate(batches[:3]):
            assert connection.produce(topic, {0: batch})[0].base_offset == offset
    broker.kill()
    broker.start()
    with broker.connect() as connection:
        assert connection.end_offset(topic) == 3
        # Apache Kafka knows only the last batch of a producer after a restart.
        duplicate = connection.produce(topic, {0: batches[2]})[0]
        assert (duplicate.error_code, duplicate.base_offset) == (0, 2)
        assert connection.produce(topic, {0: batches[4]})[0].error_code == 45, "OUT_OF_ORDER_SEQUENCE_NUMBER"
        assert connection.produce(topic, {0: batches[3]})[0].base_offset == 3
        assert [record.value for batch in connection.read_all(topic) for record in batch.records()] == [
            b"0",
            b"1",
            b"2",
            b"3",
        ]
