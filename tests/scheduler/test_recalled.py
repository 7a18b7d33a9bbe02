"""What is known before anything starts is taken in at one go."""

import pytest
from graphs import graph, takes

from flowkit import Collected, Outcome
from flowkit.scheduler.states import State

DIAMOND = {"a": takes(), "b": takes("a"), "c": takes("a"), "d": takes("b", "c")}


def test_nothing_starts_before_it_is_said_what_is_known(scheduler):
    s = scheduler(graph(a=takes(), b=takes()), slots=2)
    assert s.begins(held=True) == []
    assert s.recalls() == ["start a", "start b"]


def test_what_is_known_is_taken_and_the_rest_starts(scheduler):
    s = scheduler(graph(**DIAMOND))
    s.begins(held=True)
    assert s.recalls("a", "b") == ["take a b", "start c"]
    assert s.succeeds("c") == ["release a", "start d"]
    assert s.succeeds("d") == ["release c", "release b", "release d", "finish"]


def test_a_run_in_which_all_is_known_is_over(scheduler):
    s = scheduler(graph(**DIAMOND))
    s.begins(held=True)
    assert s.recalls("a", "b", "c", "d") == ["take a b c d", "finish"]


def test_what_waits_for_something_unknown_is_not_taken(scheduler):
    s = scheduler(graph(**DIAMOND))
    s.begins(held=True)
    assert s.recalls("a", "c", "d") == ["take a c", "start b"]
    assert s.states()["d"] == "waiting"


def test_an_entry_of_needs_must_be_known_too(scheduler):
    s = scheduler(graph(a=takes(), b=takes(needs=["a"])))
    s.begins(held=True)
    assert s.recalls("b") == ["start a"]


def test_what_was_stopped_before_is_not_taken(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a")))
    s.begins(held=True)
    assert s.stops(final=True) == ["not run a", "not run b"]
    assert s.recalls("a", "b") == ["finish"]


def test_a_limit_is_not_asked_for(scheduler):
    s = scheduler(graph(a=takes(options={"demands": {"db": 1}}), b=takes(options={"demands": {"db": 1}})), limits={"db": 1})
    s.begins(held=True)
    assert s.recalls("a", "b") == ["take a b", "finish"]


def test_a_value_that_proves_lost_is_computed_again(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), c=takes("b")))
    s.begins(held=True)
    assert s.recalls("a", "b") == ["take a b", "start c"]
    assert s.misses("c", "b") == ["start b"]
    assert s.misses("b", "a") == ["start a"]
    assert s.succeeds("a") == ["start b"]
    assert s.succeeds("b") == ["release a", "start c"]
    assert s.succeeds("c") == ["release b", "release c", "finish"]


@pytest.mark.parametrize(
    ("sketches", "names"),
    [
        ({"a": takes(), "b": takes("a")}, ["a", "b"]),
        ({"a": takes(), "b": takes(each=["a"]), "c": takes(b=Collected[int])}, ["a", "c"]),
        ({"a": takes(options={"fallback": "b"}), "b": takes()}, []),
        ({"a": takes(), "b": takes(needs=["a"], options={"trigger": "always"})}, ["a"]),
        ({"a": takes(), "b": takes(a=Outcome[int])}, ["a", "b"]),
        ({"a": takes(options={"given": lambda path: 1}), "b": takes("a")}, ["b"]),
    ],
)
def test_only_plain_nodes_can_be_known_before(scheduler, sketches, names):
    s = scheduler(graph(**sketches))
    s.begins(held=True)
    assert [node.id for node in s.machine.recallable] == names


def test_the_lists_in_what_is_known_are_read_before_anything_starts(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), c=takes(each=["b"]), d=takes()))
    s.begins(held=True)
    assert s.recalls("a", "b") == ["take a b", "expand b"]
    assert s.lists("b", "x", "y") == ["start c[x]"]


def test_of_two_known_lists_both_are_read_first(scheduler):
    s = scheduler(graph(a=takes(), b=takes(), c=takes(each=["a"]), d=takes(each=["b"])))
    s.begins(held=True)
    assert s.recalls("a", "b") == ["take a b", "expand a", "expand b"]
    assert s.lists("a", "x") == []
    assert s.lists("b", "y") == ["start c[x]"]


def test_a_known_list_that_cannot_be_read_is_computed_again(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), c=takes(each=["b"])))
    s.begins(held=True)
    assert s.recalls("a", "b") == ["take a b", "expand b"]
    assert s.loses("b") == ["start b"]
    assert "expand b" in s.succeeds("b")
    assert s.lists("b", "x")[-1] == "start c[x]"
