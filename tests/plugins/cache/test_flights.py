"""Single flight: one at a time, free the moment its owner is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from flowkit_plugins.cache.faults import StoreError
from flowkit_plugins.cache.flights import Flights

KEY = "abc123"


@pytest.fixture
def flights(tmp_path):
    return Flights(tmp_path / "locks", run="7f3")


def holder(flights, *, then="sys.stdin.read()"):
    """Another process that holds KEY until its input ends."""
    script = f"""
import sys, os, pathlib, subprocess
from flowkit_plugins.cache.flights import Flights
flights = Flights(pathlib.Path({str(flights.directory)!r}), run="other")
flight = flights.try_acquire({KEY!r})
{then if "print" in then else "print('held' if flight else 'not', flush=True); " + then}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_of_two_one_gets_it_until_it_is_released(flights):
    first = flights.try_acquire(KEY)
    assert first is not None
    assert flights.try_acquire(KEY) is None
    assert Flights(flights.directory).try_acquire(KEY) is None
    other = flights.try_acquire("abc124")
    assert other is not None
    first.release()
    first.release()
    with flights.try_acquire(KEY) as again:
        assert again is not None
    other.release()
    assert list(flights.directory.glob("*/*")) == []


def test_the_owner_is_known_by_name(flights):
    assert flights.owner(KEY) is None
    before = time.time()
    with flights.try_acquire(KEY):
        owner = flights.owner(KEY)
    assert (owner.pid, owner.run) == (os.getpid(), "7f3")
    assert before <= owner.since <= time.time()
    assert flights.owner(KEY) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_an_owner_that_cannot_be_read_is_unknown(flights, content):
    with flights.try_acquire(KEY):
        (flights.directory / "ab" / f"{KEY}.lock").write_text(content)
        assert flights.owner(KEY) is None


def test_a_killed_owner_frees_it_at_once(flights):
    process, said = holder(flights)
    assert said == "held"
    assert flights.try_acquire(KEY) is None
    assert flights.owner(KEY).pid == process.pid
    process.send_signal(signal.SIGKILL)
    process.wait()
    with flights.try_acquire(KEY) as flight:
        assert flight is not None
    process.communicate()


def test_a_child_that_outlives_a_killed_owner_does_not_keep_it(flights):
    then = """
pid = os.fork()
if pid == 0:
    import time; time.sleep(20); os._exit(0)
print(pid, flush=True)
sys.stdin.read()
"""
    process, child = holder(flights, then=then)
    try:
        process.kill()
        process.wait()
        deadline = time.monotonic() + 5
        while (flight := flights.try_acquire(KEY)) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert flight is not None
        os.kill(int(child), 0)  # it is still there
        flight.release()
    finally:
        os.kill(int(child), signal.SIGKILL)
        process.communicate()


def test_a_program_started_by_the_owner_does_not_keep_it(flights):
    # Only once Popen has returned is the program another one than a copy of the owner.
    then = """
program = subprocess.Popen(['sleep', '20'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(program.pid, flush=True)
sys.stdin.read()
"""
    process, program = holder(flights, then=then)
    process.kill()
    process.communicate()
    try:
        os.kill(int(program), 0)  # it is still there
        with flights.try_acquire(KEY) as flight:
            assert flight is not None
    finally:
        os.kill(int(program), signal.SIGKILL)


def test_a_child_of_a_fork_does_not_release_what_its_parent_holds(flights):
    flight = flights.try_acquire(KEY)
    child = os.fork()
    if child == 0:
        flight.release()
        os._exit(0 if flights.try_acquire(KEY) is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert flights.owner(KEY).pid == os.getpid()
    flight.release()


def test_two_never_hold_it_while_it_is_released_and_taken_over_and_over(flights):
    script = f"""
import os, pathlib, sys
from flowkit_plugins.cache.flights import Flights
flights = Flights(pathlib.Path({str(flights.directory)!r}))
mark = pathlib.Path({str(flights.directory.parent / "mark")!r})
won = 0
while won < 300:
    flight = flights.try_acquire({KEY!r})
    if flight is None:
        continue
    os.close(os.open(mark, os.O_CREAT | os.O_EXCL))  # raises if somebody is inside
    won += 1
    mark.unlink()
    flight.release()
"""
    running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]


def test_threads_of_one_process_exclude_each_other(flights):
    inside, most, won = [], [], []

    def work():
        while len(won) < 200:
            flight = flights.try_acquire(KEY)
            if flight is not None:
                inside.append(1)
                most.append(len(inside))
                won.append(1)
                inside.pop()
                flight.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert max(most) == 1


def test_old_files_of_killed_owners_are_swept_and_held_ones_stay(flights):
    process, _said = holder(flights)
    process.kill()
    process.communicate()
    held = flights.try_acquire("def456")
    assert flights.sweep() == 0
    assert flights.sweep(now=time.time() + 4000) == 1
    assert [path.stem for path in flights.directory.glob("*/*")] == ["def456"]
    held.release()


@pytest.mark.parametrize("key", ["../../x", "", "a/b/c", "a" * 300, "abc\n"])
def test_a_key_that_is_no_name_is_an_error(flights, key):
    with pytest.raises(ValueError, match="not a key"):
        flights.try_acquire(key)


def test_a_folder_that_cannot_be_made_is_a_store_error(flights):
    flights.directory.write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        flights.try_acquire(KEY)


def test_a_lock_file_that_cannot_be_opened_is_a_store_error(flights):
    (flights.directory / "ab" / f"{KEY}.lock").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot use"):
        flights.try_acquire(KEY)
