"""Whose turn it is: nobody waits for it who could work, and nothing that ended is forgotten."""

import threading
from collections import deque

import pytest

from flowkit.turns import Turns


class Taken:
    """Takes in what ended, one turn at a time, and has the next number run after each."""

    def __init__(self, *, alone=False):
        self.turns = Turns(self.take_in, self.submit, alone=alone)
        self.rounds, self.submitted, self.inside = [], [], 0
        self.meanwhile = []

    def take_in(self, ended: deque):
        self.inside += 1
        assert self.inside == 1
        self.rounds.append(found := list(ended))
        ended.clear()
        if self.meanwhile:
            self.meanwhile.pop()()
        self.inside -= 1
        return [number + 10 for number in found]

    def submit(self, attempt):
        assert not self.turns._lock.acquire(blocking=False), "it is submitted under the lock"
        self.submitted.append(attempt)


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
    assert t.turns.ended(1) == 11
    assert (t.rounds, t.submitted) == ([[1]], [])


def test_who_finds_it_taken_leaves_its_attempt_to_the_one_whose_turn_it_is():
    t = Taken()
    with t.turns:
        assert elsewhere(t.turns.ended, 1) is None
        assert elsewhere(t.turns.ended, 2) is None
        assert t.rounds == []
    assert (t.rounds, t.submitted) == ([[1, 2]], [11, 12])


def test_what_ends_in_the_last_moment_of_a_turn_has_one_of_its_own():
    t = Taken()
    t.meanwhile = [lambda: elsewhere(t.turns.ended, 2)]
    assert t.turns.ended(1) == 11
    assert (t.rounds, t.submitted) == ([[1], [2]], [12])


def test_a_turn_that_fails_still_gives_way():
    t = Taken()
    with pytest.raises(ZeroDivisionError), t.turns:
        raise ZeroDivisionError
    assert elsewhere(t.turns.ended, 1) == 11


def test_one_thread_for_all_waits_for_its_turn():
    t = Taken(alone=True)
    found = []
    with t.turns:
        thread = threading.Thread(target=lambda: found.append(t.turns.ended(1)))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join(10)
    assert (t.rounds, t.submitted, found) == ([[1]], [], [11])


def test_of_many_threads_none_is_forgotten_and_none_taken_twice():
    t = Taken()
    counts = iter(range(10**9))

    def work():
        for _ in range(2_000):
            t.turns.ended(next(counts))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [number for found in t.rounds for number in found]
    assert sorted(taken) == list(range(16_000))
