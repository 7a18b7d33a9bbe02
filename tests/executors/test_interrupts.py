"""Stopping a call leaves the interpreter as it was."""

import subprocess
import sys
import threading
import time

from flowkit.executors.coroutines import EventLoop
from flowkit.executors.interrupts import Interrupt
from flowkit.executors.threads import ThreadExecutor

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


def test_a_call_is_not_stopped_while_it_starts_the_thread_of_the_event_loop(monkeypatch):
    """Up to Python 3.12 the signal meets the new thread, and the call waits for that one for good."""
    starting, sent = threading.Event(), []
    start = threading.Thread.start

    def slowly(thread):
        if thread.name == "flowkit-loop":
            starting.set()
            time.sleep(0.1)
            assert sent == []
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slowly)
    interrupt, loop = Interrupt(), EventLoop()

    async def at_once():
        return 1

    def stop():
        starting.wait(10)
        sent.append(interrupt.send())

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        interrupt.guard(loop.wait, at_once())
    except BaseException:  # it was stopped right after
        pass
    stopper.join()
    assert len(sent) == 1
    loop.stop()


def test_a_pool_knows_how_many_of_its_threads_are_idle():
    ended = threading.Semaphore(0)
    pool = ThreadExecutor(2)

    def done(attempt):
        ended.release()

    pool.start(lambda attempt, interrupt: None, done)
    for attempt in range(2_000):
        pool.submit(attempt)
    for _ in range(2_000):
        assert ended.acquire(timeout=10)
    until = time.monotonic() + 10
    while pool.idle != len(pool._threads) and time.monotonic() < until:
        time.sleep(0.001)
    assert pool.idle == len(pool._threads) <= 2
    pool.stop()
