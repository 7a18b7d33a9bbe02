"""Stopping a call leaves the interpreter as it was."""

import subprocess
import sys

STORY = """
import sys, time
from flowkit.errors import Cancelled
from flowkit.executors.interrupts import Interrupt
import threading

def stop_soon(interrupt):
    while not interrupt.send():
        time.sleep(0.001)

for body in (lambda: time.sleep(0.05), lambda: [None for _ in iter(lambda: time.sleep(0.001), 1)]):
    interrupt = Interrupt()
    threading.Thread(target=stop_soon, args=(interrupt,)).start()
    try:
        interrupt.guard(body)
    except Cancelled:
        print("stopped")

sys.setprofile(lambda *a: None)
(lambda: None)()
sys.setprofile(None)
print("and on")
"""


def test_a_profiler_works_after_a_call_was_stopped():
    """On 3.11 a signal that was taken back hung the next call under a tracer or profiler."""
    ended = subprocess.run(
        [sys.executable, "-c", STORY], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.stdout.split("\n")[:3] == ["stopped", "stopped", "and on"], ended.stderr
