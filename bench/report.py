"""Turns a run's raw numbers into docs/figures.md, .json and .svg, and into the tables on the terminal."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kafka_server
import tailrace_server
from goals import Medians, Verdict, medians_of, verdicts
from loads import BULK_PARTITIONS, FULL, LOADS, MIB

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def about(rounds: int) -> dict[str, Any]:
    """What a reader needs to compare with another run."""
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    return {
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else ""),
        "machine": f"{os.cpu_count()} cores {model}, {memory_kib / 2**20:.0f} GiB, "
        f"Linux {platform.release()}, {_filesystem()}",
        "versions": {
            "Apache Kafka": f"{kafka_server.VERSION}, {kafka_server.java_version()}",
            "Python": sys.version.split()[0],
            "librdkafka": f"of confluent-kafka {version('confluent-kafka')}",
        },
        "settings": {
            "kafka-default": f"one KRaft node, heap {kafka_server.HEAP}, Kafka's defaults (nothing is synced)",
            "kafka-synced": "the same with log.flush.interval.messages=1",
            "tailrace-always": f"wal.sync=always, engine.hot_bytes={tailrace_server.HOT_BYTES}",
            "tailrace-interval": f"wal.sync=interval, engine.hot_bytes={tailrace_server.HOT_BYTES}",
            "acks": "all, for every system and load",
            "bulk": f"{FULL.bulk_bytes / MIB:.0f} MiB of values, {BULK_PARTITIONS} partitions, librdkafka, "
            "linger 5 ms, idempotent; consumed is the newest "
            f"{100 // FULL.hot_passes} % of them, {FULL.hot_passes} times over",
        },
        "rounds": rounds,
    }


def table(found: list[Verdict]) -> list[list[str]]:
    """Header and rows of the goals."""
    rows = [["load", "system", "measured", "reference", "ratio", "goal", ""]]
    for v in found:
        reference = (
            f"{_number(v.reference)} {v.goal.unit} ({v.goal.against[1]})" if v.reference and v.goal.against else ""
        )
        rows.append(
            [
                v.goal.what,
                v.goal.system,
                f"{_number(v.value)} {v.goal.unit}",
                reference,
                f"{v.measure:.2f}x" if reference else "",
                v.bound_text,
                "met" if v.met else "MISSED",
            ]
        )
    return rows


def terminal(rows: list[list[str]]) -> str:
    """Columns aligned with spaces."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def figures_table(medians: Medians) -> list[list[str]]:
    """Every figure that was measured, a row each, systems side by side."""
    titles = {load.name: load.title for load in LOADS} | {"after_all": "after all loads"}
    systems = list(dict.fromkeys(system for per_system in medians.values() for system in per_system))
    rows = [["load", "figure", *systems]]
    for load, per_system in medians.items():
        for figure in dict.fromkeys(f for figures in per_system.values() for f in figures):
            values = [per_system.get(system, {}).get(figure) for system in systems]
            rows.append([titles[load], figure, *("" if v is None else _number(v) for v in values)])
    return rows


def write(about_run: dict[str, Any], rounds: dict[str, dict[str, list[dict[str, float]]]], failures: list[str]) -> None:
    """Renders the three files into docs/."""
    DOCS.mkdir(exist_ok=True)
    medians = medians_of(rounds)
    found = verdicts(medians)
    raw = {"about": about_run, "failures": failures, "rounds": rounds}
    (DOCS / "figures.json").write_text(json.dumps(raw, indent=1) + "\n")
    if found:
        _plot(found)
    lines = [
        "# Figures",
        "",
        "Rendered by `make bench`; do not edit. How each load works, and what it does not say, is in",
        "[bench/README.md](../bench/README.md); the numbers of every round are in [figures.json](figures.json).",
        "",
        f"- Commit `{about_run['commit']}`, medians of {about_run['rounds']} rounds, systems alternating.",
        f"- Machine: {about_run['machine']}; broker and client share it.",
        *(f"- {name}: {text}." for name, text in about_run["versions"].items()),
        *(f"- {name}: {text}." for name, text in about_run["settings"].items()),
        "",
    ]
    if found:
        met = sum(v.met for v in found)
        lines += [
            f"## Goals: {met} of {len(found)} met",
            "",
            *_markdown(table(found)),
            "",
            "![How far each goal is met](figures.svg)",
            "",
        ]
    if failures:
        lines += ["## Failed", "", *(f"- {failure}" for failure in failures), ""]
    lines += ["## All figures", "", *_markdown(figures_table(medians)), ""]
    (DOCS / "figures.md").write_text("\n".join(lines))


def _plot(found: list[Verdict]) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "tailrace"  # the same numbers give the same file
    from matplotlib import pyplot

    # One scale for all: how many times better than the goal, so that the line at 1 parts met from missed.
    margins = [v.measure / v.goal.bound if v.goal.higher else v.goal.bound / max(v.measure, 1e-9) for v in found]
    figure, axes = pyplot.subplots(figsize=(9, 0.32 * len(found) + 1.2), layout="constrained")
    places = range(len(found))
    axes.barh(places, margins, color=["#2a7f62" if v.met else "#c0392b" for v in found], left=0, height=0.65)
    axes.set_yticks(places, [f"{v.goal.what} ({v.goal.system.removeprefix('tailrace-')})" for v in found], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(0.25, *margins) * 0.8, max(4, *margins) * 1.6)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}x")
    axes.axvline(1, color="black", linewidth=1)
    for place, margin, v in zip(places, margins, found, strict=True):
        said = f"{v.measure:.2f}x of {v.goal.against[1]}" if v.goal.against else f"{_number(v.value)} {v.goal.unit}"
        axes.text(margin * 1.05, place, f"{said}, goal {v.bound_text}", va="center", fontsize=7)
    axes.set_xlabel("times better than the goal (right of the line: met)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(DOCS / "figures.svg", metadata={"Date": None})
    pyplot.close(figure)


def _markdown(rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]]]


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30)
    return run.stdout.strip()


def _filesystem() -> str:
    run = subprocess.run(["df", "--output=fstype", str(ROOT)], capture_output=True, text=True, timeout=30)
    return run.stdout.split()[-1] if run.stdout else "unknown file system"
