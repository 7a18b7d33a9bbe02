"""Whose turn it is: nobody waits for it who could work, and nothing that ended is forgotten."""

import threading
import time

import pytest

from flowkit.turns import PATIENCE, Turns


class Taken:
    """Takes in numbers, and has each one's tenfold run next."""

    def __init__(self, *, alone=False):
        self.turns = Turns(self.take_in, self.submit, self.wake, time.monotonic, alone=alone)
        self.taken, self.submitted, self.woken, self.inside = [], [], 0, 0
        self.meanwhile, self.given_up = [], set()

    def take_in(self, number):
        self.inside += 1
        assert self.inside == 1
        self.taken.append(number)
        if self.meanwhile:
            self.meanwhile.pop()()
        self.inside -= 1
        return None if number in self.given_up else [number * 10]

    def submit(self, attempt):
        assert not self.turns._lock.acquire(blocking=False), "it is submitted under the lock"
        self.submitted.append(attempt)

    def wake(self):
        assert self.turns._lock.acquire(blocking=False), "who is woken has to find the lock free"
        self.turns._lock.release()
        self.woken += 1


def elsewhere(call, *arguments):
    """What a call returns in another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call(*arguments)))
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits"
    return found[0]


def test_who_finds_nobody_there_goes_on_with_what_follows():
    t = Taken()
    assert t.turns.ended(1) == 10
    assert (t.taken, t.submitted, t.woken) == ([1], [], 0)


def test_who_finds_it_taken_leaves_its_attempt_to_the_one_whose_turn_it_is():
    t = Taken()
    with t.turns:
        assert elsewhere(t.turns.ended, 1) is None
        assert elsewhere(t.turns.ended, 2) is None
        assert t.taken == []
    assert (t.taken, t.submitted) == ([1, 2], [10, 20])


def test_what_ends_in_the_last_moment_of_a_turn_is_taken_in_after_it():
    t = Taken()
    t.meanwhile = [lambda: elsewhere(t.turns.ended, 2)]
    assert t.turns.ended(1) == 10
    assert (t.taken, t.submitted) == ([1, 2], [20])


def test_a_thread_that_was_given_up_is_given_nothing_to_run():
    t = Taken()
    t.given_up = {1}
    t.meanwhile = [lambda: elsewhere(t.turns.ended, 2)]
    assert t.turns.ended(1) is None
    assert (t.taken, t.submitted) == ([1, 2], [20])


def test_neither_if_another_thread_has_found_out_that_it_was():
    t = Taken()
    t.given_up = {1}
    t.turns._ended.append(2)
    with t.turns:
        pass
    assert t.submitted == [20]
    assert t.turns.ended(1) is None


def test_who_has_other_work_leaves_the_rest_to_the_thread_that_drives():
    t = Taken()

    def slow():
        t.meanwhile.append(slow)
        elsewhere(t.turns.ended, t.taken[-1] + 1)
        time.sleep(1.5 * PATIENCE)

    t.meanwhile = [slow]
    assert t.turns.ended(1) == 10
    assert t.woken == 1
    assert len(t.taken) <= 3
    assert len(t.turns._ended) == 1
    t.turns.catch_up()  # neither does that one go on for ever
    assert t.woken == 2
    assert len(t.turns._ended) == 1
    t.meanwhile.clear()
    t.turns.catch_up()
    assert t.taken == list(range(1, t.taken[-1] + 1))
    assert t.submitted == [10 * number for number in t.taken[1:]]


def test_in_a_call_whose_time_runs_nothing_of_others_is_taken_in():
    t = Taken()
    with t.turns.brief():
        elsewhere(t.turns.ended, 1)
    assert (t.taken, t.woken) == ([], 1)
    t.turns.catch_up()
    assert t.submitted == [10]
    with t.turns.brief():
        pass
    assert t.woken == 1
    with pytest.raises(ZeroDivisionError), t.turns.brief():
        elsewhere(t.turns.ended, 2)
        raise ZeroDivisionError
    assert t.woken == 2


def test_a_turn_that_fails_still_gives_way():
    t = Taken()
    for turn in (t.turns, t.turns.brief()):
        with pytest.raises(ZeroDivisionError), turn:
            raise ZeroDivisionError
        assert elsewhere(t.turns.ended, 1) == 10


def test_one_thread_for_all_waits_for_its_turn():
    t = Taken(alone=True)
    found = []
    with t.turns:
        thread = threading.Thread(target=lambda: found.append(t.turns.ended(1)))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join(10)
    assert (t.taken, t.submitted, found) == ([1], [], [10])


def test_of_many_threads_none_is_forgotten_and_none_taken_twice():
    t = Taken()
    t.wake = lambda: None
    t.turns._wake = t.wake
    counts = iter(range(10**9))
    over = threading.Event()

    def work():
        for _ in range(2_000):
            t.turns.ended(next(counts))

    def drive():
        while not over.is_set():
            t.turns.catch_up()
            time.sleep(0.001)

    driver = threading.Thread(target=drive)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in (driver, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    driver.join()
    t.turns.catch_up()
    assert sorted(t.taken) == list(range(16_000))
