"""The collector's policy, in a process of its own: it is the whole process' collector."""

import subprocess
import sys

PROGRAM = """
import gc
from tailrace_core.telemetry import histogram
from tailrace_gateway.gc_policy import GcPolicy
from tailrace_gateway.system import SystemClock

class Cycle:
    def __init__(self):
        self.me = self

class Loop:
    def call_later(self, seconds, call, *args):
        self.call = call

gc.disable()
grown = [Cycle() for _ in range(100_000)]
loop, pauses, work = Loop(), histogram("tailrace_gc_pause_seconds"), iter(range(10**9))
GcPolicy(loop, SystemClock(), lambda: next(work), pauses).start()
generations, found = [], 0

def note(phase, info):
    global found
    if phase == "stop":
        generations.append(info["generation"])
        found += info["collected"]

gc.callbacks.append(note)
for _ in range(50):
    for _ in range(1_000):
        Cycle()
    loop.call()
print(max(generations), found >= 50_000, sum(pauses.counts) == len(generations), gc.get_freeze_count() >= 100_000)
"""


def test_garbage_of_a_running_broker_is_found_without_a_look_at_what_was_there_before() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.split() == ["1", "True", "True", "True"]
