"""Judges a soak and writes docs/soak.md and docs/soak.svg."""

from __future__ import annotations

import datetime
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.process import Settings

from soak.actors import Shared
from soak.samples import MIB, Life, Sample, pause_quantile, quantile, slope

ROOT = Path(__file__).resolve().parents[2]
WARM_UP_SECONDS = 60.0
JUDGED_SECONDS = 60.0
"""Shorter lives after the warm-up are told and not judged."""
MEMORY_GROWTH_BYTES_MAX = 16 * MIB
"""By the fitted line, over a life: caches that are still filling and holes of the heap stay below it, a leak of one
kilobyte a request (some 100 a second) does not, over ten minutes."""
FILES_GROWTH_MAX = 8
"""Median of the last third over that of the first: WAL segments and objects that are read come and go."""
THREADS_GROWTH_MAX = 4
"""Threads of the pool start when they are first needed."""
DRIFT_RATIO_MAX, DRIFT_MS_MIN = 2.5, 20.0
"""p99 of the last third of a life to that of the first; the machine is shared, so small differences say nothing."""
PAUSE_GOAL_SECONDS = 0.005


@dataclass
class Findings:
    """What is printed, and whether something is wrong."""

    lines: list[str]
    failed: bool


def findings(lives: list[Life], shared: Shared, failures: list[str], minutes: float) -> Findings:
    """The lines of the report."""
    bad = [f"FAILED: {failure}" for failure in failures]
    lines = []
    for number, life in enumerate(lives, 1):
        told, wrong = _life(number, life)
        lines.append(told)
        bad += [f"FAILED: life {number}: {what}" for what in wrong]
    for name, which in (("produce, acks=all", "produce"), ("produce to consume", "delivery")):
        both = [found for life in lives for sample in life.samples if (found := getattr(sample, which))]
        if both:
            p50, p99 = quantile([p50 for p50, _ in both], 0.5), quantile([p99 for _, p99 in both], 0.5)
            worst = max(p99 for _, p99 in both)
            lines.append(
                f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms (medians over seconds), worst second {worst:.0f} ms"
            )
    for share in (0.99, 0.999, 0.9999):
        end, total = pause_quantile(lives, share)
        lines.append(f"pauses of the event loop, p{100 * share:.6g}: <= {1000 * end:.3g} ms ({total} measured)")
    met = 0 < pause_quantile(lives, 0.999)[0] <= PAUSE_GOAL_SECONDS
    lines.append(f"goal p99.9 <= {1000 * PAUSE_GOAL_SECONDS:.0f} ms: {'met' if met else 'MISSED'}")
    spans = [
        (life.samples[-1].waited - life.samples[0].waited, _length(life.samples)) for life in lives if life.samples
    ]
    waited, watched = (sum(each) for each in zip(*spans, strict=True)) if spans else (0.0, 0.0)
    lines.append(
        f"the loop's thread waited for a core {1000 * waited / watched if watched else 0:.1f} ms in each second"
    )
    ledger = shared.ledger
    lines.append(
        f"{ledger.acknowledged} batches acknowledged, {ledger.verified} comparisons of one with what was read back"
    )
    lines.append("counted: " + ", ".join(f"{count} {what}" for what, count in sorted(shared.counts.items())))
    lines += bad or ["nothing acknowledged was lost; nothing grew beyond its bound"]
    return Findings(lines, bool(bad))


def _length(samples: list[Sample]) -> float:
    return samples[-1].at - samples[0].at if samples else 0.0


def _life(number: int, life: Life) -> tuple[str, list[str]]:
    settled = life.settled(WARM_UP_SECONDS)
    length = _length(settled)
    if length < JUDGED_SECONDS:
        seconds = life.samples[-1].at - life.began if life.samples else 0.0
        peak = max((sample.resident for sample in life.samples), default=0) / MIB
        return (
            f"life {number} ({seconds:.0f} s, ended by {life.ended_by}): at most {peak:.0f} MiB; too short to judge",
            [],
        )
    wrong = []
    a_second = slope([(sample.at, sample.resident) for sample in settled])
    if a_second * length > MEMORY_GROWTH_BYTES_MAX:
        wrong.append(f"memory grows by {a_second * length / MIB:.1f} MiB in {length:.0f} s")
    thirds = settled[: len(settled) // 3], settled[-(len(settled) // 3) :]
    files, threads = ([_median(third, what) for third in thirds] for what in ("files", "threads"))
    if files[1] - files[0] > FILES_GROWTH_MAX:
        wrong.append(f"open files grow from {files[0]:.0f} to {files[1]:.0f}")
    if threads[1] - threads[0] > THREADS_GROWTH_MAX:
        wrong.append(f"threads grow from {threads[0]:.0f} to {threads[1]:.0f}")
    drifts = []
    for which in ("produce", "delivery"):
        first, last = (
            quantile([found[1] for sample in third if (found := getattr(sample, which))] or [0.0], 0.5)
            for third in thirds
        )
        drifts.append(f"{which} p99 {first:.1f} to {last:.1f} ms")
        if last > first * DRIFT_RATIO_MAX and last - first > DRIFT_MS_MIN:
            wrong.append(f"{which}: p99 drifts from {first:.1f} to {last:.1f} ms")
    resident = [sample.resident / MIB for sample in settled]
    told = (
        f"life {number} ({life.samples[-1].at - life.began:.0f} s, ended by {life.ended_by}): memory "
        f"{min(resident):.0f} to {max(resident):.0f} MiB, slope {a_second * 3600 / MIB:+.1f} MiB/hour; "
        f"open files {files[0]:.0f} to {files[1]:.0f}, "
        f"threads {threads[0]:.0f} to {threads[1]:.0f}; {', '.join(drifts)}"
    )
    return told, wrong


def _median(samples: list[Sample], what: str) -> float:
    return quantile([float(getattr(sample, what)) for sample in samples], 0.5)


def write(lives: list[Life], found: Findings, settings: Settings, minutes: float) -> None:
    """docs/soak.md and docs/soak.svg."""
    _plot(lives, ROOT / "docs" / "soak.svg")
    commit = _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else "")
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    text = [
        "# Soak",
        "",
        "Rendered by `make soak`; do not edit. Mixed load on one broker: producers, plain and idempotent, a group of",
        "three consumers of which one comes and goes, a late reader, topics, groups and connections that come and go,",
        "configs that change, records that are deleted, retention of a minute, restarts by SIGTERM and kill -9. After",
        "each restart and at the end everything that was acknowledged is read back and compared; `compat-tests/soak/`",
        "has the clients and the bounds.",
        "",
        f"- {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, commit `{commit}`, {minutes:g} minutes.",
        f"- {os.cpu_count()} cores {model}, shared with the clients and other work.",
        "- " + ", ".join(f"{name}={value}" for name, value in settings.items()) + "; the rest is the default.",
        "",
        *(f"- {line}" for line in found.lines),
        "",
        "![Memory, latencies, files and the WAL over time](soak.svg)",
        "",
    ]
    (ROOT / "docs" / "soak.md").write_text("\n".join(text))


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _plot(lives: list[Life], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "soak"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(4, 1, figsize=(10, 11), sharex=True, layout="constrained")
    samples = [sample for life in lives for sample in life.samples]
    for life in lives:
        minutes = [sample.at / 60 for sample in life.samples]
        panels[0].plot(minutes, [sample.resident / MIB for sample in life.samples], color="tab:blue")
        panels[2].plot(minutes, [sample.files for sample in life.samples], color="tab:green")
        panels[2].plot(minutes, [sample.threads for sample in life.samples], color="tab:gray")
        for name, colour in (("wal", "tab:red"), ("hot", "tab:orange"), ("worker", "tab:olive")):
            scraped = [(at / 60, gauges[name] / MIB) for at, gauges in life.gauges]
            panels[3].plot([at for at, _ in scraped], [size for _, size in scraped], color=colour)
        for panel in panels:
            panel.axvline(life.began / 60, color="black", linewidth=0.5, linestyle=":")
    for which, colour in (("produce", "tab:purple"), ("delivery", "tab:brown")):
        for place, style in ((0, "-"), (1, ":")):
            points = [(sample.at / 60, found[place]) for sample in samples if (found := getattr(sample, which))]
            panels[1].plot(*zip(*points, strict=True), style, color=colour, linewidth=0.8) if points else None
    panels[0].set(ylabel="resident memory, MiB", ylim=(0, None))
    panels[1].set(ylabel="produce (purple), to consume (brown)\np50, p99 (dotted), ms", yscale="log")
    panels[2].set(ylabel="open files (green), threads (gray)", ylim=(0, None))
    panels[3].set(
        ylabel="WAL (red), hot log (orange),\nworker (olive), MiB", ylim=(0, None), xlabel="minutes; dotted: a start"
    )
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
