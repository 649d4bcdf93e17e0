"""The two load generators in C: compiled when first needed, run as children, answering one JSON object."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
from functools import cache
from pathlib import Path

from server import CACHE, prepare_child

_HERE = Path(__file__).resolve().parent


def requests(load: str, **settings: int | str) -> dict[str, float]:
    """requests.c: one Produce or OffsetCommit request after another, many at once, or the open loop of `latency`."""
    return _run(_build("requests.c"), load, settings)


def bulk(load: str, port: int, **settings: int | str) -> dict[str, float]:
    """bulk.c: librdkafka produces or consumes as fast as it can."""
    settings["bootstrap"] = f"127.0.0.1:{port}"
    library = _librdkafka()
    return _run(_build("bulk.c", str(library), f"-Wl,-rpath,{library.parent}"), load, settings)


def build() -> None:
    """Compiles both, so that no load pays for it."""
    _build("requests.c")
    library = _librdkafka()
    _build("bulk.c", str(library), f"-Wl,-rpath,{library.parent}")


@cache
def _build(source: str, *link: str) -> Path:
    command = ["gcc", "-O2", "-march=native", "-Wall", str(_HERE / source), *link]
    digest = hashlib.sha256((_HERE / source).read_bytes() + repr(command).encode()).hexdigest()[:12]
    program = CACHE / f"{Path(source).stem}-{digest}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = program.with_suffix(".new")
        subprocess.run([*command, "-o", str(fresh)], check=True, timeout=120)
        fresh.replace(program)
    return program


def _librdkafka() -> Path:
    """The shared library inside confluent-kafka's wheel: newer than any distribution's, and the same everywhere."""
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise RuntimeError("the bench needs the package confluent-kafka (its librdkafka)")
    found = sorted((Path(spec.origin).parent.parent / "confluent_kafka.libs").glob("librdkafka*.so*"))
    if not found:
        raise RuntimeError("confluent-kafka is installed without its bundled librdkafka (built from source?)")
    return found[0]


def _run(program: Path, load: str, settings: dict[str, int | str]) -> dict[str, float]:
    arguments = [f"{name}={value}" for name, value in settings.items()]
    run = subprocess.run(
        [str(program), load, *arguments],
        capture_output=True,
        text=True,
        timeout=700,
        start_new_session=True,
        preexec_fn=prepare_child,
    )
    if run.returncode:
        said = run.stderr.strip() or f"exit {run.returncode}"
        raise RuntimeError(f"{program.name} {load} {' '.join(arguments)}: {said}")
    result: dict[str, float] = json.loads(run.stdout)
    return result
