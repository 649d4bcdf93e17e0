"""The power goes while producers run: nothing acknowledged may be missing on the disk as it was.

kill -9 keeps the page cache and proves nothing about syncing. Here the data folder is on a loop-mounted image: the
broker is stopped, the image copied, the broker goes on; a second broker recovers from the copy. A write with O_DIRECT
is in the image even without a sync, so for those backends the flags of the open WAL files are read as well.

Builds with a planted fault (planted/) must lose records, else this test would prove nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from durability.image import copy_image, make_image, mounted, require_loop_devices
from durability.load import Audit, Load
from harness.batches import simple_batch
from harness.process import RUNNING, Broker, Setting, poll

PARTITIONS = 4
CUTS = 3
PLANTED = Path(__file__).parent / "planted"
BACKENDS = ("uring", "threads", "buffered")


@dataclass
class Rig:
    """A broker on an image, producers that never stop, and cuts of its power."""

    start_broker: Callable[..., Broker]
    folder: Path
    settings: dict[Setting, str]
    image: Path
    broker: Broker
    topic: str
    load: Load
    cuts: int = 0

    def cut(self) -> tuple[Audit, Sequence[str]]:
        """Cut the power at once after more was acknowledged; what the recovered broker serves, and what it lost."""
        before = self.load.acknowledged_count
        poll("records are acknowledged", lambda: self.load.acknowledged_count > before + 300)
        self.cuts += 1
        folder = self.folder / f"cut-{self.cuts}"
        folder.mkdir()
        self.broker.pause()
        try:
            copy = copy_image(self.image, folder / "disk.img")
            acknowledged = self.load.acknowledged()
        finally:
            self.broker.resume()
        with mounted(copy, folder / "disk") as disk:
            recovered = self.start_broker(folder, self.settings, data_dir=disk / "data")
            try:
                audit = Audit(self.topic, PARTITIONS).read(recovered)
            finally:
                recovered.close()
        copy.unlink()
        return audit, audit.missing(acknowledged)


MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(start_broker: Callable[..., Broker], tmp_path: Path) -> Iterator[MakeRig]:
    """make_rig(settings, program=...): a rig under load; all of it is undone in order, whatever failed."""
    require_loop_devices()
    with ExitStack() as stack:

        def make(settings: dict[Setting, str], **more: object) -> Rig:
            image = make_image(tmp_path / "disk.img")
            stack.callback(image.unlink)
            disk = stack.enter_context(mounted(image, tmp_path / "disk"))
            started = len(RUNNING)
            stack.callback(lambda: [broker.close() for broker in RUNNING[started:]])
            broker = start_broker(tmp_path, settings, data_dir=disk / "data", **more)
            with broker.connect() as connection:
                topic = connection.create_usable_topic("cut", PARTITIONS)
            load = stack.enter_context(Load(broker, topic, PARTITIONS))
            return Rig(start_broker, tmp_path, settings, image, broker, topic, load)

        yield make


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_power_cut_loses_nothing_that_was_acknowledged(make_rig: MakeRig, backend: str) -> None:
    cutting = make_rig({Setting.WAL_SYNC: "always", Setting.WAL_BACKEND: backend})
    for _ in range(CUTS):
        audit, lost = cutting.cut()
        assert not audit.faults, audit.faults[:5]
        assert not lost, (len(lost), lost[:5])


def test_without_a_sync_per_batch_a_power_cut_leaves_a_prefix(make_rig: MakeRig, system: str) -> None:
    rig = make_rig({Setting.WAL_SYNC: "interval", Setting.WAL_BACKEND: "threads"})
    audit, lost = rig.cut()
    assert not audit.faults, audit.faults[:5]
    if system == "kafka":
        assert lost, "Apache Kafka does not sync by default: a copy that lost nothing is not the disk after a power cut"


@pytest.mark.parametrize("backend", ["uring", "threads"])
def test_direct_backends_open_wal_files_for_synced_direct_writes(
    start_broker: Callable[..., Broker], tmp_path: Path, system: str, backend: str
) -> None:
    if system != "tailrace":
        pytest.skip("about the files of Tailrace's WAL")
    broker = start_broker(tmp_path, {Setting.WAL_SYNC: "always", Setting.WAL_BACKEND: backend})
    with broker.connect() as connection:
        topic = connection.create_usable_topic("flags")
        assert connection.produce(topic, {0: simple_batch(b"written")})[0].error_code == 0
    wal = tmp_path / "data" / "wal"
    # The next segment is zero-written ahead of its use, without a sync per write: wait until that is over.
    poll("only synced direct files are open for writing", lambda: all_synced_and_direct(broker.pid, wal))


def all_synced_and_direct(pid: int, wal: Path) -> bool:
    flags = wal_write_flags(pid, wal)
    return bool(flags) and all(bits & os.O_DIRECT and bits & os.O_DSYNC for bits in flags.values())


def wal_write_flags(pid: int, wal: Path) -> dict[str, int]:
    """Descriptor -> open flags, of all that the process has open for writing below the WAL folder."""
    found = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
            info = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
        except FileNotFoundError:
            continue  # closed between the listing and the look at it
        if Path(target).is_relative_to(wal):
            flags = int(next(line.split()[1] for line in info.splitlines() if line.startswith("flags:")), 8)
            if flags & os.O_ACCMODE != os.O_RDONLY:
                found[f"{descriptor.name} {target}"] = flags
    return found


@pytest.mark.parametrize(
    ("fault", "backend"),
    [("acknowledge_early", "threads"), ("acknowledge_early", "uring"), ("buffered_without_sync", "buffered")],
)
def test_a_planted_fault_is_found(make_rig: MakeRig, system: str, fault: str, backend: str) -> None:
    if system != "tailrace":
        pytest.skip("the faults are planted in Tailrace")
    program = [sys.executable, str(PLANTED / f"{fault}.py")]
    cutting = make_rig({Setting.WAL_SYNC: "always", Setting.WAL_BACKEND: backend}, program=program)
    assert any(cutting.cut()[1] for _ in range(5)), "five power cuts lost nothing that was acknowledged"
