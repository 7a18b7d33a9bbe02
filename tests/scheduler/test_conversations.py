"""The scheduler as a conversation: what happened, and what it wants done about it."""

import pytest
from graphs import graph, takes

from flowkit import Collected, Failure, Outcome, Success
from flowkit.scheduler.events import NodeSucceeded, RunStarted
from flowkit.scheduler.states import TRANSITIONS, IllegalTransition, State

COLLECTED = Collected[object]


# Order, and room


def test_an_empty_graph_is_finished_at_once(scheduler):
    s = scheduler(graph())
    assert s.begins() == ["finish"]


def test_a_task_starts_when_what_it_takes_has_a_value(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a")))
    assert s.begins() == ["start a"]
    assert s.succeeds("a") == ["start b"]
    assert s.succeeds("b") == ["release a", "release b", "finish"]


def test_no_more_start_than_there_are_slots(scheduler):
    s = scheduler(graph(a=takes(), b=takes(), c=takes()), slots=2)
    assert s.begins() == ["start a", "start b"]
    assert s.succeeds("b") == ["release b", "start c"]


def test_among_ready_nodes_the_one_unlocked_last_goes_first(scheduler):
    s = scheduler(graph(a=takes(), b=takes(), c=takes("a")))
    assert s.begins() == ["start a"]
    assert s.succeeds("a") == ["start c"]  # not b, which was ready before: depth first
    assert s.succeeds("c")[-1] == "start b"


def test_nodes_unlocked_together_go_in_definition_order(scheduler):
    s = scheduler(graph(c=takes(), b=takes("c"), a=takes("c"), d=takes("c")), slots=2)
    s.begins()
    assert s.succeeds("c") == ["start b", "start a"]


def test_a_map_of_loads_and_saves_does_not_load_everything_first(scheduler):
    s = scheduler(graph(days=takes(), load=takes(each=["days"]), save=takes("load")))
    s.begins()
    s.succeeds("days")
    assert s.lists("days", "mon", "tue") == ["start load[mon]"]
    assert s.succeeds("load[mon]") == ["start save[mon]"]
    assert s.succeeds("save[mon]") == ["release load[mon]", "release save[mon]", "start load[tue]"]


def test_nothing_starts_while_a_list_is_read_whose_elements_go_first(scheduler):
    s = scheduler(graph(xs=takes(), other=takes(), also=takes("xs"), m=takes(each=["xs"])))
    s.begins()
    assert s.succeeds("xs") == ["expand xs"]
    assert s.lists("xs", "1", "2") == ["start also"]  # unlocked by the same end, and defined before
    assert s.succeeds("also")[-1] == "start m[1]"
    assert s.succeeds("m[1]")[-1] == "start m[2]"
    assert s.succeeds("m[2]")[-1] == "start other"


def test_a_given_value_takes_no_slot_and_what_takes_it_is_ready_at_the_start(scheduler):
    given = {"given": lambda path: [1]}
    s = scheduler(graph(v=takes(options=given), w=takes(options=given), a=takes(), b=takes("v"), c=takes(each=["w"])))
    assert s.begins() == ["start v", "start w"]
    assert s.succeeds("v") == []
    assert s.succeeds("w") == ["expand w"]
    assert s.lists("w", "1") == ["start a"]
    assert s.succeeds("a")[-1] == "start b"
    assert s.succeeds("b")[-1] == "start c[1]"


def test_a_parked_node_gives_its_slot_to_another(scheduler):
    s = scheduler(graph(a=takes(), b=takes()))
    assert s.begins() == ["start a"]
    assert s.at(1).puts_back("a", until=60) == ["start b", "wake at 60"]
    assert s.at(2).succeeds("b") == ["release b"]
    assert s.ticks(60) == ["start a"]
    assert s.at(61).succeeds("a") == ["release a", "finish"]


def test_a_node_put_back_until_now_starts_again_at_once(scheduler):
    s = scheduler(graph(a=takes()))
    s.begins()
    assert s.at(5).puts_back("a", until=5) == ["start a"]


def test_only_the_earliest_time_is_asked_for(scheduler):
    s = scheduler(graph(a=takes(), b=takes()), slots=2)
    s.begins()
    assert s.puts_back("a", until=60) == ["wake at 60"]
    assert s.puts_back("b", until=90) == []
    assert s.ticks(60) == ["start a", "wake at 90"]


def test_a_tick_that_comes_early_is_asked_for_again(scheduler):
    s = scheduler(graph(a=takes()))
    s.begins()
    s.puts_back("a", until=60)
    assert s.ticks(30) == ["wake at 60"]


def test_a_transition_that_is_not_in_the_table_is_refused(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a")))
    s.begins()
    with pytest.raises(IllegalTransition, match="b is waiting and cannot become succeeded"):
        s.succeeds("b")


def test_whatever_has_failed_or_did_not_run_stays_so():
    for state in (State.FAILED, State.SKIPPED, State.UPSTREAM, State.NOT_RUN):
        assert TRANSITIONS[state] == frozenset()


# Named limits


def test_a_node_waits_for_its_limit_while_others_pass(scheduler):
    db = {"demands": {"db": 1}}
    s = scheduler(
        graph(a=takes(options=db), b=takes(options=db), c=takes()), slots=3, limits={"db": 1}
    )
    assert s.begins() == ["start a", "start c"]
    assert s.succeeds("a") == ["release a", "start b"]


def test_a_node_that_waits_for_its_limit_holds_no_slot(scheduler):
    db = {"demands": {"db": 1}}
    s = scheduler(graph(a=takes(options=db), b=takes(options=db), c=takes()), slots=2, limits={"db": 1})
    assert s.begins() == ["start a", "start c"]


def test_a_parked_node_gives_back_what_it_demanded(scheduler):
    db = {"demands": {"db": 2}}
    s = scheduler(graph(a=takes(options=db), b=takes(options=db)), slots=2, limits={"db": 2})
    assert s.begins() == ["start a"]
    assert s.puts_back("a", until=9) == ["start b", "wake at 9"]
    assert s.ticks(9) == []
    assert s.fails("b") == ["start a"]


def test_a_node_may_demand_of_two_limits_and_takes_both_or_none(scheduler):
    s = scheduler(
        graph(
            a=takes(options={"demands": {"x": 1}}),
            b=takes(options={"demands": {"x": 1, "y": 1}}),
            c=takes(options={"demands": {"y": 1}}),
        ),
        slots=3,
        limits={"x": 1, "y": 1},
    )
    assert s.begins() == ["start a", "start c"]
    assert s.succeeds("a") == ["release a"]
    assert s.succeeds("c") == ["release c", "start b"]


def test_a_rate_gives_back_by_time_and_not_by_ending(scheduler):
    api = {"demands": {"api": 1}}
    tasks = {name: takes(options=api) for name in "abcd"}
    s = scheduler(graph(**tasks), slots=4, limits={"api": (2, 60.0)})
    assert s.begins() == ["start a", "start b", "wake at 60"]
    assert s.at(10).succeeds("a") == ["release a"]
    assert s.ticks(60) == ["start c", "start d"]


def test_a_rate_counts_each_start_on_its_own(scheduler):
    api = {"demands": {"api": 1}}
    tasks = {name: takes(options=api) for name in "abcd"}
    s = scheduler(graph(**tasks), slots=1, limits={"api": (2, 60.0)})
    assert s.begins() == ["start a"]
    assert s.at(30).succeeds("a") == ["release a", "start b"]
    assert s.at(31).succeeds("b") == ["release b", "wake at 60"]
    assert s.ticks(60) == ["start c", "wake at 90"]
    assert s.at(61).succeeds("c") == ["release c"]
    assert s.ticks(90) == ["start d"]


def test_nobody_is_woken_for_a_rate_that_nobody_waits_for(scheduler):
    s = scheduler(graph(a=takes(options={"demands": {"api": 1}})), limits={"api": (1, 60.0)})
    assert s.begins() == ["start a"]


def test_what_waits_for_a_limit_keeps_depth_first_order(scheduler):
    db = {"demands": {"db": 1}}
    s = scheduler(
        graph(a=takes(), b=takes(options=db), c=takes("a", options=db), d=takes("a", options=db)),
        slots=4,
        limits={"db": 1},
    )
    assert s.begins() == ["start a", "start b"]
    assert s.succeeds("a") == []
    assert s.succeeds("b") == ["release b", "start c"]
    assert s.succeeds("c")[-1] == "start d"


# Deadlines


def test_a_node_is_timed_out_when_its_deadline_has_passed(scheduler):
    s = scheduler(graph(a=takes(options={"deadline": 30.0})))
    assert s.begins() == ["start a"]
    assert s.at(2).called("a") == ["wake at 32"]  # from the call, not from the start
    assert s.ticks(32) == ["time out a"]
    assert s.at(33).fails("a", TimeoutError()) == ["finish"]


def test_a_deadline_of_an_attempt_that_ended_is_forgotten(scheduler):
    s = scheduler(graph(a=takes(options={"deadline": 30.0}), b=takes("a")))
    s.begins()
    s.called("a")
    s.at(5).succeeds("a")
    assert s.ticks(30) == []


def test_each_attempt_has_its_own_deadline(scheduler):
    s = scheduler(graph(a=takes(options={"deadline": 30.0})))
    s.begins()
    s.called("a")
    assert s.at(10).puts_back("a", until=10) == ["start a"]
    assert s.at(20).called("a") == []
    assert s.ticks(30) == ["wake at 50"]
    assert s.ticks(50) == ["time out a"]


def test_a_flow_that_takes_longer_than_its_timeout_is_stopped(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), deadlines={"flow": 100.0}))
    assert s.begins() == ["start a", "wake at 100"]
    assert s.ticks(100) == ["time out a", "not run b"]
    assert s.at(101).fails("a", TimeoutError()) == ["finish"]
    assert s.reason("b") == "the run took longer than its timeout"


# Stopping (A10, A21)


def test_after_the_first_failure_of_x_nothing_new_starts(scheduler):
    s = scheduler(graph(a=takes(), b=takes(), c=takes("b")), slots=1, maxfail=1)
    assert s.begins() == ["start a"]
    assert s.fails("a") == ["not run b", "not run c", "finish"]
    assert s.states() == {"a": "failed", "b": "not run", "c": "not run"}


def test_what_runs_when_x_stops_the_run_is_let_end(scheduler):
    s = scheduler(graph(a=takes(), b=takes(), c=takes("b")), slots=2, maxfail=1)
    s.begins()
    assert s.fails("a") == ["not run c"]
    assert s.succeeds("b") == ["release b", "finish"]


def test_maxfail_counts_failures_but_not_those_that_are_allowed_or_stood_in_for(scheduler):
    s = scheduler(
        graph(
            f=takes(),
            a=takes(options={"fallback": "f"}),
            b=takes(options={"allow_failure": True}),
            c=takes(),
            d=takes(),
            e=takes(),
        ),
        slots=9,
        maxfail=2,
    )
    s.begins()
    s.fails("a")
    s.succeeds("f")
    s.fails("b")
    s.fails("c")
    assert not s.machine.stopped
    s.fails("d")
    assert list(s.machine.stopped.values()) == ["the run stopped after 2 failures"]


def test_always_runs_after_x_and_all_done_does_not(scheduler):
    s = scheduler(
        graph(
            a=takes(),
            b=takes("a"),
            c=takes(needs=["b"], options={"trigger": "always"}),
            d=takes(needs=["b"], options={"trigger": "all_done"}),
        ),
        maxfail=1,
    )
    s.begins()
    assert s.fails("a") == ["upstream b", "not run d", "start c"]
    assert s.succeeds("c") == ["release c", "finish"]


def test_what_the_failure_decided_is_upstream_though_x_stopped_the_run(scheduler):
    """A1: also where something else that it needs did not end, and whatever hangs off it."""
    s = scheduler(
        graph(
            a=takes(),
            w=takes(),
            b=takes("a", "w"),
            c=takes("w", "b"),
            handler=takes("w", b=Failure),
            d=takes("w"),
            e=takes(a=Failure),
            some=takes(needs=["a", "w"], options={"trigger": "any_succeeded"}),
            f=takes("b"),
            g=takes("w", options={"fallback": "f"}),
        ),
        maxfail=1,
    )
    assert s.begins() == ["start a"]
    s.fails("a")
    assert s.states() == {
        "a": "failed", "w": "not run", "b": "upstream", "c": "upstream", "handler": "skipped", "d": "not run", "e": "not run",
        "some": "not run", "f": "not run", "g": "not run",
    }  # fmt: skip
    assert (s.reason("b"), s.roots("b"), s.roots("c")) == ("`a` failed", ["a"], ["a"])


def test_a_collector_is_upstream_after_x_where_every_element_ended_and_one_failed(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), r=takes(m=Collected[int]), q=takes("r")), slots=1, maxfail=1)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    s.succeeds("m[1]")
    s.fails("m[2]")
    assert (s.states()["r"], s.states()["q"]) == ("upstream", "upstream")
    assert s.reason("r") == "1 of 2 `m` failed: 2"


def test_a_collector_is_not_run_after_x_where_elements_did_not_end(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), r=takes(m=Collected[int])), slots=1, maxfail=1)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    s.fails("m[1]")
    assert (s.states()["m[2]"], s.states()["r"]) == ("not run", "not run")


def test_what_is_mapped_over_the_list_that_failed_is_upstream_after_x_and_what_gathers_it(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), f=takes("m"), r=takes(f=Collected[int])), slots=1, maxfail=1)
    s.begins()
    s.fails("xs")
    assert s.states() == {"xs": "failed", "m": "upstream", "f": "upstream", "r": "upstream"}


def test_always_does_not_run_after_an_interrupt(scheduler):
    s = scheduler(graph(a=takes(), c=takes(needs=["a"], options={"trigger": "always"})))
    s.begins()
    assert s.stops("interrupted", cancel=True, final=True) == ["cancel a", "not run c"]
    assert s.cancelled("a") == ["finish"]
    assert s.states() == {"a": "not run", "c": "not run"}
    assert s.reason("a") == "interrupted"


def test_an_always_task_waiting_when_x_came_does_not_survive_an_interrupt(scheduler):
    s = scheduler(graph(a=takes(), b=takes(), c=takes(needs=["b"], options={"trigger": "always"})), slots=2, maxfail=1)
    s.begins()
    assert s.fails("a") == []
    assert s.stops("interrupted", cancel=True, final=True) == ["cancel b", "not run c"]


def test_an_always_task_may_be_put_back_after_x(scheduler):
    """Somebody else is computing it, say: it waits like any other."""
    s = scheduler(graph(a=takes(), c=takes(needs=["a"], options={"trigger": "always"})), maxfail=1)
    s.begins()
    assert s.fails("a") == ["start c"]
    assert s.puts_back("c", until=5) == ["wake at 5"]
    assert s.ticks(5) == ["start c"]


def test_a_node_put_back_after_the_stop_is_not_run(scheduler):
    s = scheduler(graph(a=takes()))
    s.begins()
    s.stops("enough")
    assert s.puts_back("a", until=9) == ["not run a", "finish"]
    assert s.reason("a") == "enough"


def test_a_parked_node_is_not_run_when_the_run_stops(scheduler):
    s = scheduler(graph(a=takes()))
    s.begins()
    s.puts_back("a", until=9)
    assert s.stops("enough") == ["not run a", "finish"]
    assert "start a" not in s.ticks(9)


def test_one_flow_may_be_stopped_alone(scheduler):
    s = scheduler(graph(a=takes(), b=takes(), c=takes("a", flow="other"), d=takes("b")), slots=2)
    s.begins()
    assert s.stops("late", flow=s["b"].task.flow) == ["not run d"]
    assert s.succeeds("a") == ["start c"]


def test_elements_made_after_the_stop_are_not_run(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), r=takes(m=COLLECTED)))
    s.begins()
    assert s.stops("enough") == ["not run r"]
    assert s.succeeds("xs") == ["expand xs"]
    assert s.lists("xs", "1", "2") == ["not run m[1]", "not run m[2]", "release xs", "finish"]


def test_what_waits_for_a_limit_is_not_run_when_the_run_stops(scheduler):
    db = {"demands": {"db": 1}}
    s = scheduler(graph(a=takes(options=db), b=takes(options=db)), slots=2, limits={"db": 1})
    s.begins()
    assert s.stops("enough") == ["not run b"]
    assert s.succeeds("a") == ["release a", "finish"]


# Fallback (A17, A18)


def test_a_fallback_is_not_needed_when_its_task_succeeds(scheduler):
    s = scheduler(graph(f=takes(), a=takes(options={"fallback": "f"}), b=takes("a")))
    assert s.begins() == ["start a"]
    assert s.succeeds("a") == ["skipped f", "start b"]
    assert s.reason("f") == "not needed"
    assert s.succeeds("b")[-1] == "finish"


def test_the_value_of_a_fallback_stands_in(scheduler):
    s = scheduler(
        graph(f=takes(), a=takes(options={"fallback": "f"}), b=takes("a"), h=takes(a=Failure)), slots=4
    )
    s.begins()
    assert s.fails("a") == ["start f"]
    assert s.succeeds("f") == ["skipped h", "start b"]
    assert s.reason("h") == "`a` succeeded"
    assert s.states()["a"] == "failed"
    assert s.machine.failures == 0
    assert s.succeeds("b") == ["release f", "release b", "finish"]


def test_the_failure_stands_if_the_fallback_fails_too(scheduler):
    s = scheduler(graph(f=takes(), a=takes(options={"fallback": "f"}), b=takes("a"), h=takes(a=Failure)), slots=4)
    s.begins()
    s.fails("a")
    assert s.fails("f") == ["upstream b", "start h"]
    assert s.roots("b") == ["a"]
    assert s.machine.failures == 2


def test_a_fallback_is_not_called_for_a_task_that_did_not_run(scheduler):
    s = scheduler(graph(a=takes(), f=takes(), b=takes("a", options={"fallback": "f"})))
    s.begins()
    assert s.fails("a") == ["upstream b", "skipped f", "finish"]


def test_a_fallback_waits_for_what_it_takes(scheduler):
    s = scheduler(graph(x=takes(), f=takes("x"), a=takes(options={"fallback": "f"})), slots=2)
    s.begins()
    assert s.fails("a") == []
    assert s.succeeds("x") == ["start f"]
    assert s.succeeds("f")[-1] == "finish"


def test_two_tasks_may_share_a_fallback_that_runs_once(scheduler):
    s = scheduler(graph(f=takes(), a=takes(options={"fallback": "f"}), b=takes(options={"fallback": "f"})), slots=2)
    s.begins()
    assert s.fails("a") == ["start f"]
    assert s.succeeds("f") == []
    assert s.fails("b") == ["release f", "finish"]
    assert s["a"].stand_in is s["b"].stand_in is s["f"]


def test_a_fallback_of_a_mapped_task_stands_in_element_by_element(scheduler):
    s = scheduler(
        graph(
            xs=takes(),
            f=takes(each=["xs"]),
            m=takes(each=["xs"], options={"fallback": "f"}),
            r=takes(m=COLLECTED),
        ),
        slots=9,
    )
    s.begins()
    s.succeeds("xs")
    assert s.lists("xs", "1", "2") == ["start m[1]", "start m[2]"]
    assert s.fails("m[1]") == ["start f[1]"]
    assert "skipped f[2]" in s.succeeds("m[2]")
    assert s.succeeds("f[1]")[-1] == "start r"
    assert s.succeeds("r")[-1] == "finish"
    assert {"release f[1]", "release m[2]"} <= set(s.heard)


def test_a_fallback_of_a_mapped_task_with_no_elements_is_not_needed(scheduler):
    s = scheduler(graph(xs=takes(), f=takes(), m=takes(each=["xs"], options={"fallback": "f"})))
    s.begins()
    s.succeeds("xs")
    assert s.lists("xs") == ["release xs", "skipped f", "finish"]


def test_a_fallback_is_not_called_after_the_stop(scheduler):
    s = scheduler(graph(f=takes(), a=takes(options={"fallback": "f"})))
    s.begins()
    assert s.stops("enough") == ["not run f"]
    assert s.fails("a") == ["finish"]
    assert s["a"].stand_in is None


def test_a_fallback_that_runs_when_the_run_stops_still_stands_in(scheduler):
    s = scheduler(graph(f=takes(), a=takes(options={"fallback": "f"})))
    s.begins()
    s.fails("a")
    assert s.stops("enough") == []
    assert s.succeeds("f") == ["release f", "finish"]
    assert s["a"].stand_in is s["f"]


def test_the_run_ends_though_an_always_fallback_is_asked_for_after_the_stop(scheduler):
    s = scheduler(
        graph(x=takes(), f=takes(needs=["x"], options={"trigger": "always"}), a=takes(options={"fallback": "f"})),
        slots=2,
    )
    s.begins()
    s.succeeds("x")
    s.stops("enough")
    assert s.fails("a") == ["start f"]
    assert s.succeeds("f")[-1] == "finish"


def test_a_fallback_asked_for_by_its_name_runs_by_itself(scheduler):
    whole = graph(f=takes(), a=takes(options={"fallback": "f"}))
    s = scheduler(whole.restricted([whole.named("f")]))
    assert s.begins() == ["start f"]
    assert s.succeeds("f")[-1] == "finish"


def test_a_fallback_asked_for_by_its_name_does_not_wait_for_who_may_call_it(scheduler):
    whole = graph(f=takes(), a=takes(options={"fallback": "f"}), b=takes("a"))
    s = scheduler(whole.restricted([whole.named(name) for name in "fab"]))
    assert s.begins() == ["start f"]
    assert s.succeeds("f") == ["start a"]
    assert s.fails("a") == ["start b"]
    assert s.succeeds("b") == ["release f", "release b", "finish"]


def test_a_fallback_asked_for_by_its_name_stands_in_if_it_is_running_when_its_task_fails(scheduler):
    whole = graph(f=takes(), a=takes(options={"fallback": "f"}))
    s = scheduler(whole.restricted([whole.named(name) for name in "fa"]), slots=2)
    assert s.begins() == ["start f", "start a"]
    assert s.fails("a") == []
    assert s.succeeds("f")[-1] == "finish"


def test_a_fallback_that_only_a_user_brings_along_is_not_needed(scheduler):
    whole = graph(f=takes(), a=takes(options={"fallback": "f"}), u=takes(f=Outcome))
    s = scheduler(whole.restricted([whole.named("u")]))
    assert s.begins() == ["skipped f", "start u"]


# Letting go of values


def test_a_value_is_released_when_its_last_user_has_ended(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), c=takes("a")))
    s.begins()
    s.succeeds("a")
    assert "release a" not in s.succeeds("b")
    assert "release a" in s.succeeds("c")


def test_a_need_does_not_hold_a_value(scheduler):
    s = scheduler(graph(a=takes(), b=takes(needs=["a"])))
    s.begins()
    assert s.succeeds("a") == ["release a", "start b"]


def test_a_user_that_does_not_run_lets_go_too(scheduler):
    s = scheduler(graph(a=takes(), x=takes(), b=takes("a", "x")), slots=2)
    s.begins()
    s.succeeds("a")
    assert s.fails("x") == ["upstream b", "release a", "finish"]


@pytest.mark.parametrize("length", [1, 2, 10])
def test_a_chain_holds_at_most_two_values_at_a_time(scheduler, length):
    tasks = {"t0": takes()} | {f"t{i}": takes(f"t{i - 1}") for i in range(1, length)}
    s = scheduler(graph(**tasks))
    heard = s.begins()
    held = most = 0
    for i in range(length):
        assert f"start t{i}" in heard
        held += 1
        most = max(most, held)
        heard = s.succeeds(f"t{i}")
        held -= sum(text.startswith("release") for text in heard)
    assert (held, most) == (0, min(2, length))


def test_the_list_is_kept_until_the_last_element_was_called_with_it(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"])))
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    assert s.succeeds("m[1]") == ["release m[1]", "start m[2]"]
    assert s.succeeds("m[2]") == ["release xs", "release m[2]", "finish"]


def test_elements_are_kept_for_a_collector_and_then_let_go(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), r=takes(m=COLLECTED)))
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    assert s.succeeds("m[1]") == ["start m[2]"]
    assert s.succeeds("m[2]") == ["release xs", "start r"]
    assert sorted(s.succeeds("r")) == ["finish", "release m[1]", "release m[2]", "release r"]


# Values that are not at hand


def test_a_hollow_value_is_computed_when_somebody_needs_it(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a")))
    s.begins()
    assert s.succeeds("a", hollow=True) == ["start b"]
    assert s.misses("b", "a") == ["start a"]
    assert s["a"].forced
    assert s.succeeds("a") == ["start b"]
    assert s["b"].forced
    assert sorted(s.succeeds("b")) == ["finish", "release a", "release b"]


def test_a_hollow_value_nobody_needs_is_never_computed(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), c=takes("b")))
    s.begins()
    s.succeeds("a", hollow=True)
    assert s.succeeds("b", hollow=True) == ["start c"]
    heard = s.succeeds("c")
    assert [text for text in heard if text.startswith("start")] == []
    assert sorted(heard) == ["finish", "release a", "release b", "release c"]


def test_a_hollow_value_above_a_hollow_value_is_computed_too(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), c=takes("b")))
    s.begins()
    s.succeeds("a", hollow=True)
    s.succeeds("b", hollow=True)
    assert s.misses("c", "b") == ["start b"]
    assert s.misses("b", "a") == ["start a"]
    assert s.succeeds("a") == ["start b"]
    assert s.succeeds("b") == ["release a", "start c"]
    assert sorted(s.succeeds("c")) == ["finish", "release b", "release c"]


def test_a_long_chain_of_hollow_values_is_let_go_without_recursion(scheduler):
    length = 3000
    tasks = {"t0": takes()} | {f"t{i}": takes(f"t{i - 1}") for i in range(1, length)}
    machine = scheduler(graph(**tasks)).machine  # without looking at all its books each time
    commands = machine.handle(RunStarted(0.0))
    released = 0
    while commands:
        [started] = [c.node for c in commands if type(c).__name__ == "Start"] or [None]
        released += sum(type(c).__name__ == "Release" for c in commands)
        commands = machine.handle(NodeSucceeded(0.0, started, started.task.order < length - 1)) if started else []
    assert machine.finished
    assert released == length


def test_several_may_wait_for_one_value_that_is_computed_again(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), c=takes("a")), slots=2)
    s.begins()
    s.succeeds("a", hollow=True)
    assert s.misses("b", "a") == ["start a"]
    assert s.misses("c", "a") == []
    assert s.succeeds("a") == ["start b", "start c"]


def test_a_value_that_fails_when_computed_again_is_a_failure_above(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a")))
    s.begins()
    s.succeeds("a", hollow=True)
    s.misses("b", "a")
    assert s.fails("a") == ["upstream b", "finish"]
    assert s.roots("b") == ["a"]


def test_a_stored_value_that_is_damaged_has_its_own_inputs_held_again(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), c=takes("b")))
    s.begins()
    s.succeeds("a")
    assert s.succeeds("b") == ["release a", "start c"]
    assert s.misses("c", "b") == ["start b"]
    assert s.misses("b", "a") == ["start a"]
    assert s.succeeds("a") == ["start b"]
    assert s.succeeds("b") == ["release a", "start c"]


def test_a_node_whose_inputs_are_missing_after_the_stop_is_not_run(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a")))
    s.begins()
    s.succeeds("a", hollow=True)
    s.stops("enough")
    assert s.misses("b", "a")[0] == "not run b"
    assert s.heard[-1] == "finish"


def test_a_missing_value_of_a_fallback_is_computed_again(scheduler):
    s = scheduler(graph(f=takes(), a=takes(options={"fallback": "f"}), b=takes("a")))
    s.begins()
    s.fails("a")
    assert s.succeeds("f", hollow=True) == ["start b"]
    assert s.misses("b", "a") == ["start f"]
    assert s.succeeds("f") == ["start b"]
    assert sorted(s.succeeds("b")) == ["finish", "release b", "release f"]


def test_a_list_that_cannot_be_read_is_computed_again_and_read(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"])))
    s.begins()
    assert s.succeeds("xs", hollow=True) == ["expand xs"]
    assert s.loses("xs") == ["start xs"]
    assert s.succeeds("xs") == ["expand xs"]
    assert s.lists("xs", "1") == ["start m[1]"]


def test_two_lists_of_one_node_that_cannot_be_read_have_it_computed_once(scheduler):
    s = scheduler(graph(pair=takes(), m=takes(each=["pair.left"]), n=takes(each=["pair.right"])))
    s.begins()
    assert s.succeeds("pair", hollow=True) == ["expand pair.left", "expand pair.right"]
    assert s.loses("pair") == []
    assert s.loses("pair") == ["start pair"]
    assert s.succeeds("pair") == ["expand pair.left", "expand pair.right"]
    assert s.lists("pair", "1", part="left") == []
    assert s.lists("pair", part="right") == ["start m[1]"]
    assert s.succeeds("m[1]")[-1] == "finish"


def test_a_list_of_a_fallback_that_cannot_be_read_is_computed_again(scheduler):
    s = scheduler(graph(f=takes(), xs=takes(options={"fallback": "f"}), m=takes(each=["xs"])))
    s.begins()
    s.fails("xs")
    assert s.succeeds("f", hollow=True) == ["expand xs"]
    assert s.loses("xs") == ["start f"]
    assert s.succeeds("f") == ["expand xs"]
    assert s.lists("xs", "1") == ["start m[1]"]
    assert sorted(s.succeeds("m[1]")) == ["finish", "release f", "release m[1]"]


def test_a_list_that_cannot_be_read_after_the_stop_ends_what_is_mapped_over_it(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), r=takes(m=COLLECTED)))
    s.begins()
    s.stops("enough")
    s.succeeds("xs", hollow=True)
    assert s.loses("xs") == ["not run m", "release xs", "finish"]
    assert s.reason("m") == "enough"


# Fan-out


def test_a_mapped_task_has_one_node_per_element(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"])), slots=9)
    s.begins()
    assert s.succeeds("xs") == ["expand xs"]
    assert s.lists("xs", "a", "b") == ["start m[a]", "start m[b]"]


def test_a_follower_starts_as_soon_as_its_own_element_is_there(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), f=takes("m")), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "a", "b")
    assert s.succeeds("m[b]") == ["start f[b]"]


def test_an_empty_source_gives_no_nodes_and_an_empty_collection(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), f=takes("m"), r=takes(f=COLLECTED)))
    s.begins()
    s.succeeds("xs")
    assert s.lists("xs")[-1] == "start r"
    assert s.arguments("r") == [[]]
    assert s.succeeds("r")[-1] == "finish"
    assert set(s.states()) == {"xs", "r"}


def test_entries_of_each_multiply_the_last_fastest(scheduler):
    s = scheduler(graph(xs=takes(), ys=takes(), m=takes(each=["xs", "ys"]), r=takes(m=COLLECTED)), slots=9)
    s.begins()
    s.succeeds("ys")
    s.lists("ys", "1", "2")
    s.succeeds("xs")
    assert s.lists("xs", "a", "b") == ["start m[a-1]", "start m[a-2]", "start m[b-1]", "start m[b-2]"]


def test_grouping_gathers_the_axes_that_no_other_argument_carries(scheduler):
    s = scheduler(
        graph(
            regions=takes(),
            days=takes(),
            sale=takes(each=["regions", "days"]),
            total=takes(each=["regions"], sale=COLLECTED),
        ),
        slots=9,
    )
    s.begins()
    s.succeeds("regions")
    s.succeeds("days")
    s.lists("regions", "eu", "us")
    s.lists("days", "mon", "tue")
    for name in ("eu-mon", "us-mon", "us-tue"):
        s.succeeds(f"sale[{name}]")
    assert s.states()["total[us]"] == "running"
    assert s.states()["total[eu]"] == "waiting"
    assert s.arguments("total[us]") == [["sale[us-mon]", "sale[us-tue]"]]
    node = s["total[us]"]
    [(edge, nodes)] = s.machine.upstreams(node)
    assert s.machine.gathered_ids(node, edge, nodes) == ["mon", "tue"]


def test_each_over_a_mapped_task_nests_and_may_be_ragged(scheduler):
    s = scheduler(graph(xs=takes(), ys=takes(each=["xs"]), m=takes(each=["ys"]), r=takes(m=COLLECTED)), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "a", "b", "c")
    for name in "cab":
        s.succeeds(f"ys[{name}]")
    s.lists("ys[c]", "1")
    s.lists("ys[b]")
    assert s.lists("ys[a]", "1", "2")[-3:] == ["start m[a-1]", "start m[a-2]", "start m[c-1]"]
    assert "release ys[b]" in s.heard
    for name in ("a-2", "c-1", "a-1"):
        s.succeeds(f"m[{name}]")
    assert s.arguments("r") == [["m[a-1]", "m[a-2]", "m[c-1]"]]


def test_only_the_elements_that_are_wanted_are_made(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), r=takes(m=COLLECTED)), slots=9)
    s.begins()
    s.succeeds("xs")
    assert s.lists("xs", "a", "b", "c", only=[2]) == ["start m[c]"]
    s.succeeds("m[c]")
    assert s.arguments("r") == [["m[c]"]]


def test_a_skip_in_a_mapped_task_is_a_filter(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), f=takes("m"), r=takes(f=COLLECTED)), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    assert s.skips("m[1]", "odd") == ["skipped f[1]"]
    assert s.reason("f[1]") == "`m[1]` was skipped: odd"
    s.succeeds("m[2]")
    assert s.succeeds("f[2]")[-1] == "start r"


def test_a_collector_needs_every_element(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), f=takes("m"), r=takes(f=COLLECTED)), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "LHR", "BUD", "JFK")
    s.fails("m[LHR]")
    s.succeeds("m[BUD]")
    s.succeeds("m[JFK]")
    s.fails("f[BUD]")
    s.succeeds("f[JFK]")
    assert s.states()["r"] == "upstream"
    assert s.reason("r") == "2 of 3 `f` failed: LHR, BUD"
    assert s.roots("r") == ["m[LHR]", "f[BUD]"]


# Lists that are not there (C14)


def mapped_over(source="xs"):
    """A mapped task, its follower, and collectors of both kinds."""
    return {
        "m": takes(each=[source]),
        "f": takes("m"),
        "r": takes(f=COLLECTED),
        "o": takes(f=Collected[Outcome[object]]),
    }


def test_over_a_failed_source_there_is_one_node_without_brackets(scheduler):
    s = scheduler(graph(xs=takes(), **mapped_over()))
    s.begins()
    assert s.fails("xs")[-1] == "finish"
    assert s.states() == {"xs": "failed", "m": "upstream", "f": "upstream", "r": "upstream", "o": "upstream"}
    for name in ("m", "f", "r", "o"):
        assert s.roots(name) == ["xs"]
        assert s.reason(name) == "`xs` failed"


def test_over_a_skipped_source_there_is_one_node_that_is_skipped(scheduler):
    s = scheduler(graph(xs=takes(), **mapped_over()))
    s.begins()
    assert s.skips("xs", "holiday")[-1] == "finish"
    assert s.states() == {"xs": "skipped", "m": "skipped", "f": "skipped", "r": "skipped", "o": "skipped"}
    assert s.reason("m") == s.reason("r") == "`xs` was skipped: holiday"


def test_over_what_is_no_list_one_node_fails_and_its_followers_are_upstream(scheduler):
    s = scheduler(graph(xs=takes(), **mapped_over(), other=takes(each=["xs"]), under=takes("other")))
    s.begins()
    s.succeeds("xs")
    assert s.lists_nothing("xs", TypeError("an int"))[-1] == "finish"
    assert s.states() == {
        "xs": "succeeded",
        "m": "failed", "f": "upstream", "r": "upstream", "o": "upstream",
        "other": "failed", "under": "upstream",
    }  # fmt: skip
    assert s.roots("f") == s.roots("r") == s.roots("o") == ["m"]
    assert s.roots("under") == ["other"]
    assert s.reason("under") == "`other` failed"
    assert s.machine.failures == 2
    assert "release xs" in s.heard


def test_a_list_missing_inside_a_list_stops_only_its_branch(scheduler):
    s = scheduler(
        graph(xs=takes(), ys=takes(each=["xs"]), m=takes(each=["ys"]), f=takes("m"), g=takes(each=["xs"], f=COLLECTED)),
        slots=9,
    )
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "a", "b", "c")
    s.fails("ys[a]")
    s.skips("ys[b]", "none")
    s.succeeds("ys[c]")
    s.lists("ys[c]", "1")
    s.succeeds("m[c-1]")
    s.succeeds("f[c-1]")
    assert s.succeeds("g[c]")[-1] == "finish"
    states = s.states()
    assert (states["m[a]"], states["f[a]"], states["g[a]"]) == ("upstream", "upstream", "upstream")
    assert (states["m[b]"], states["f[b]"], states["g[b]"]) == ("skipped", "skipped", "skipped")
    assert (states["m[c-1]"], states["f[c-1]"], states["g[c]"]) == ("succeeded", "succeeded", "succeeded")


def test_a_wrong_list_inside_a_list_fails_in_its_branch(scheduler):
    s = scheduler(graph(xs=takes(), ys=takes(each=["xs"]), m=takes(each=["ys"]), f=takes("m")), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "a", "b")
    s.succeeds("ys[a]")
    s.succeeds("ys[b]")
    s.lists_nothing("ys[a]", TypeError("an int"))
    s.lists_nothing("ys[b]", TypeError("an int"))
    assert s.states() | {"xs": "", "ys[a]": "", "ys[b]": ""} == {
        "xs": "", "ys[a]": "", "ys[b]": "",
        "m[a]": "failed", "m[b]": "failed", "f[a]": "upstream", "f[b]": "upstream",
    }  # fmt: skip
    assert (s.roots("f[a]"), s.roots("f[b]")) == (["m[a]"], ["m[b]"])


@pytest.mark.parametrize("first", ["xs", "ys"])
def test_which_of_two_missing_lists_came_first_does_not_matter(scheduler, first):
    s = scheduler(graph(xs=takes(), ys=takes(), m=takes(each=["xs", "ys"]), r=takes(m=COLLECTED)), slots=2)
    s.begins()
    ends = [lambda: s.fails("xs"), lambda: s.skips("ys", "none")]
    for end in ends if first == "xs" else reversed(ends):
        end()
    assert s.states() == {"xs": "failed", "ys": "skipped", "m": "skipped", "r": "skipped"}


@pytest.mark.parametrize("first", ["xs", "ys"])
def test_two_missing_lists_that_failed_are_both_the_cause(scheduler, first):
    s = scheduler(graph(xs=takes(), ys=takes(), m=takes(each=["xs", "ys"])), slots=2)
    s.begins()
    for name in ("xs", "ys") if first == "xs" else ("ys", "xs"):
        s.fails(name)
    assert s.states()["m"] == "upstream"
    assert s.roots("m") == ["xs", "ys"]


@pytest.mark.parametrize("early", [True, False])
def test_a_missing_list_stands_for_all_though_another_one_is_ragged(scheduler, early):
    s = scheduler(graph(xs=takes(), ys=takes(each=["xs"]), zs=takes(), m=takes(each=["ys", "zs"])), slots=9)
    s.begins()
    if early:
        s.fails("zs")
    s.succeeds("xs")
    s.lists("xs", "a", "b")
    s.fails("ys[a]")
    s.succeeds("ys[b]")
    s.lists("ys[b]", "1")
    if not early:
        s.fails("zs")
    assert [name for name in s.states() if name.startswith("m")] == ["m"]
    assert s.roots("m") == ["zs"]
    assert s.heard[-1] == "finish"


def test_a_list_that_is_read_twice_counts_once(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"])), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "a")
    assert s.lists("xs", "a") == []


def test_a_collector_with_a_trigger_runs_over_a_missing_list(scheduler):
    s = scheduler(
        graph(xs=takes(), m=takes(each=["xs"]), r=takes(m=COLLECTED, options={"trigger": "all_done"}))
    )
    s.begins()
    assert s.fails("xs") == ["upstream m", "start r"]


def test_a_need_of_a_mapped_task_waits_for_all_elements(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), n=takes(needs=["m"])), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    s.succeeds("m[1]")
    assert "start n" in s.succeeds("m[2]")


def test_a_need_of_a_mapped_task_is_aligned_where_the_axis_is_carried(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), n=takes(each=["xs"], needs=["m"])), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    assert "start n[2]" in s.succeeds("m[2]")


def test_an_element_failed_is_that_need_failed(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), n=takes(needs=["m"])), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    s.succeeds("m[1]")
    assert "upstream n" in s.fails("m[2]")


def test_success_collections_take_what_there_is(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"]), r=takes(m=Collected[Success[object]])), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    s.fails("m[1]")
    assert "start r" in s.succeeds("m[2]")


def test_a_branch_without_elements_because_of_a_skip_is_absent_from_a_collection(scheduler):
    """skip() in a mapped task is a filter, also where its result would have been a list."""
    s = scheduler(graph(xs=takes(), ys=takes(each=["xs"]), m=takes(each=["ys"]), r=takes(m=COLLECTED)), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "a", "b")
    assert s.skips("ys[a]", "closed") == ["skipped m[a]"]
    s.succeeds("ys[b]")
    s.lists("ys[b]", "1")
    assert "start r" in s.succeeds("m[b-1]")


def test_a_branch_without_elements_because_of_a_failure_is_a_failed_element(scheduler):
    s = scheduler(graph(xs=takes(), ys=takes(each=["xs"]), m=takes(each=["ys"]), r=takes(m=COLLECTED)), slots=9)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "a", "b")
    s.fails("ys[a]")
    s.succeeds("ys[b]")
    s.lists("ys[b]", "1")
    s.succeeds("m[b-1]")
    assert s.reason("r") == "1 of 2 `m` failed: a"
    assert s.roots("r") == ["ys[a]"]


# Values that are computed again: whoever has not started waits for them, too


def test_a_node_that_is_ready_waits_for_a_value_that_is_being_computed_again(scheduler):
    s = scheduler(graph(x=takes(), a=takes(), b=takes("a"), c=takes("a", "x")), slots=3)
    s.begins()
    s.succeeds("a", hollow=True)
    assert s.misses("b", "a") == ["start a"]
    assert s.succeeds("x") == []  # c has all it needs, but for the value of a
    assert s.succeeds("a") == ["start b", "start c"]


def test_a_handler_does_not_take_a_value_that_is_being_computed_again_for_a_skip(scheduler):
    s = scheduler(graph(x=takes(), a=takes(), b=takes("a"), c=takes(a=object, x=Failure)), slots=3)
    s.begins()
    s.succeeds("a", hollow=True)
    s.misses("b", "a")
    assert s.fails("x") == []
    assert s.succeeds("a") == ["start b", "start c"]


def test_a_node_that_waits_for_a_slot_waits_for_a_value_that_is_lost_meanwhile(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), d=takes(), c=takes("a")), slots=2)
    assert s.begins() == ["start a", "start d"]
    assert s.succeeds("a", hollow=True) == ["start b"]
    assert s.misses("b", "a") == ["start a"]
    assert s.succeeds("d") == ["release d"]  # a slot is free, but c waits again
    assert s.succeeds("a") == ["start b", "start c"]


def test_a_list_that_fails_when_computed_again_stops_the_elements_left(scheduler):
    s = scheduler(graph(xs=takes(), m=takes(each=["xs"])))
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "1", "2")
    assert s.misses("m[1]", "xs") == ["start xs"]
    assert s.fails("xs") == ["upstream m[1]", "upstream m[2]", "finish"]
    assert s.roots("m[2]") == ["xs"]


def test_a_ready_node_does_not_start_when_its_value_is_lost_and_fails(scheduler):
    s = scheduler(graph(a=takes(), b=takes("a"), c=takes("a"), h=takes(a=Outcome)))
    s.begins()
    assert s.succeeds("a", hollow=True) == ["start b"]
    assert s.misses("b", "a") == ["start a"]
    assert s.fails("a") == ["upstream b", "upstream c", "start h"]


def test_a_fallback_of_a_fallback_stands_in_for_both(scheduler):
    s = scheduler(
        graph(g=takes(), f=takes(options={"fallback": "g"}), a=takes(options={"fallback": "f"}), b=takes("a"))
    )
    s.begins()
    assert s.fails("a") == ["start f"]
    assert s.fails("f") == ["start g"]
    assert s.succeeds("g") == ["start b"]
    assert s["a"].stand_in is s["f"].stand_in is s["g"]
    assert s.succeeds("b") == ["release g", "release b", "finish"]


def test_a_fallback_that_fails_when_computed_again_stands_in_no_more(scheduler):
    s = scheduler(graph(f=takes(), a=takes(options={"fallback": "f"}), b=takes("a")))
    s.begins()
    s.fails("a")
    s.succeeds("f", hollow=True)
    assert s.misses("b", "a") == ["start f"]
    assert s.fails("f") == ["upstream b", "finish"]
    assert s.roots("b") == ["a"]


def test_a_collector_stopped_before_its_lists_were_known_lets_go_of_what_it_had(scheduler):
    s = scheduler(graph(xs=takes(), ys=takes(each=["xs"]), m=takes(each=["ys"]), r=takes(m=COLLECTED)), slots=1)
    s.begins()
    s.succeeds("xs")
    s.lists("xs", "a", "b")
    s.succeeds("ys[a]")
    s.lists("ys[a]", "1")
    s.stops("enough")
    s.succeeds(next(node.id for node in s.machine.running))
    if s.heard[-1] != "finish":
        s.lists("ys[b]", "1")
    assert s.heard[-1] == "finish"
