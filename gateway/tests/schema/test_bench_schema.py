"""The bench does the work that it claims to time."""

from __future__ import annotations

import runpy
from pathlib import Path

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "bench_schema.py"))


def test_bench_produce() -> None:
    request, response = BENCH["produce"]()()
    assert request.topic_data[0].partition_data[0].records == BENCH["BATCH"]
    assert b"\x07orders" in response


def test_bench_fetch() -> None:
    request, parts = BENCH["fetch"]()()
    assert [asked.partition for asked in request.topics[0].partitions] == list(range(8))
    assert sum(part is BENCH["BATCH"] for part in parts) == 8
