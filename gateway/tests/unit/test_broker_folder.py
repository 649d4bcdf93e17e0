"""A data folder that lost its metadata is refused: its data would be taken for nobody's."""

import asyncio
from pathlib import Path

import pytest

from tailrace_core.errors import DataCorrupt
from tailrace_core.settings_load import load
from tailrace_gateway.broker import Broker


@pytest.mark.parametrize("left", ["wal/wal-00000000.log", "objects/data/0000000000000000"])
def test_data_without_metadata_is_refused_before_anything_is_made(tmp_path: Path, left: str) -> None:
    (tmp_path / left).parent.mkdir(parents=True)
    (tmp_path / left).write_bytes(b"data")
    broker = Broker(load(None, {}, [f"broker.data_dir={tmp_path}"]))
    with pytest.raises(DataCorrupt, match=r"metadata\.sqlite is missing"):
        asyncio.run(broker.start())
    assert not (tmp_path / "metadata.sqlite").exists()
