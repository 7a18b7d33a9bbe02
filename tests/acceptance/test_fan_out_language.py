"""Fan-out: a mapped task multiplies what uses it, until something collects (language.md §5)."""

import time

import pytest

import flowkit
from flowkit import Collected, Skipped

STATIONS = """
    @task
    def stations() -> list[str]: return {stations}

    @task(each={{"station": "stations"}})
    def readings(station: str): return {reading}

    @task
    def mean(readings): return readings * 10

    @task
    def report(mean: {collects}): return list(mean.items())
"""


def weather(flow, stations='["LHR", "BUD"]', reading="len(station) + ord(station[0])", collects="Collected[float]"):
    return flow(STATIONS.format(stations=stations, reading=reading, collects=collects))


FAILING = "1 if station != 'LHR' else 1 / 0"
FILTER = "1 if station != 'LHR' else skip('closed')"

# Mapping, following, collecting


def test_a_mapped_task_has_one_node_per_element(flow):
    words = weather(flow).words()
    assert set(words) == {"stations", "readings[LHR]", "readings[BUD]", "mean[LHR]", "mean[BUD]", "report"}


def test_what_uses_a_mapped_task_follows_element_by_element(flow):
    run = weather(flow).run()
    assert run["mean[LHR]"] == run["readings[LHR]"] * 10


def test_a_collector_is_one_node_with_the_elements_in_source_order(flow):
    assert weather(flow).value("report") == [("LHR", 790), ("BUD", 690)]


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_the_order_of_a_collection_is_the_sources_not_that_of_completion(flow, executor):
    f = flow("""
        import time
        @task(each={"x": [3, 2, 1, 0]})
        def m(x): time.sleep(x / 200); return x
        @task
        def c(m: Collected[int]): return list(m), m.ids
    """)
    assert f.value("c", executor=executor, n=4) == ([3, 2, 1, 0], ("3", "2", "1", "0"))


def test_a_follower_starts_as_soon_as_its_element_is_there(flow):
    f = flow("""
        import threading
        followed = threading.Event()
        @task(each={"x": ["fast", "slow"]})
        def m(x):
            if x == "slow": assert followed.wait(10)
            return x
        @task
        def after(m):
            if m == "fast": followed.set()
    """)
    assert f.run(executor="threads", n=2).ok


def test_a_task_is_mapped_over_a_parameter(flow):
    f = flow("""
        @task(each={"x": "numbers"})
        def double(x: int): return 2 * x
    """)
    assert list(f.value("double", params={"numbers": ["1", 2]})) == [2, 4]


def test_a_parameter_named_only_in_each_is_a_required_list_of_the_arguments_type(flow):
    f = flow("""
        @task
        def number(): return 1
        @task(each={"x": "numbers"})
        def double(x: int): Path("ran").touch()
    """)
    text = f.refusal()
    assert "'numbers'" in text
    assert "Did you mean 'number'?" in text
    assert "many" in f.refusal(params={"numbers": ["many"]})


def test_a_parameter_in_each_that_another_task_declares_has_its_type_and_default(flow):
    f = flow("""
        @task(each={"x": "numbers"})
        def double(x: int): return 2 * x
        @task
        def all(numbers: list[int] = [7]): return numbers
    """)
    assert list(f.value("double")) == [14]


def test_a_task_is_mapped_over_a_literal_list(flow):
    f = flow("""
        @task(each={"x": [1, 2]})
        def double(x): return 2 * x
    """)
    assert f.run()["double"] == Collected([2, 4], ["1", "2"])


def test_the_keys_of_a_literal_dict_are_the_ids(flow):
    f = flow("""
        @task(each={"x": {"one": 1, "two": 2}})
        def double(x): return 2 * x
    """)
    assert f.run()["double[two]"] == 4


def test_the_keys_of_a_mapping_from_a_task_are_the_ids(flow):
    f = flow("""
        @task
        def src(): return {"one": 1, "two": 2}
        @task(each={"x": "src"})
        def double(x): return 2 * x
    """)
    assert f.run()["double[two]"] == 4


def test_an_entry_with_a_comma_unpacks(flow):
    f = flow("""
        @task
        def pairs(): return [(1, 10), (2, 20)]
        @task(each={"x,y": "pairs"})
        def add(x, y): return x + y
        @task(each={"x, y": [(3, 4)]})
        def mul(x, y): return x * y
    """)
    run = f.run()
    assert list(run["add"]) == [11, 22]
    assert list(run["mul"]) == [12]


def test_what_cannot_be_unpacked_fails_that_element_alone(flow):
    f = flow("""
        @task
        def pairs(): return [(1, 10), (2, 20, 30), 4]
        @task(each={"x,y": "pairs"})
        def add(x, y): return x + y
    """)
    outcomes = f.run().outcomes["add"]
    assert [type(o).__name__ for o in outcomes.values()] == ["Success", "Failure", "Failure"]


def test_several_entries_multiply_in_the_order_written_the_last_fastest(flow):
    f = flow("""
        @task(each={"x": ["a", "b"], "y": [1, 2]})
        def m(x, y): return f"{x}{y}"
        @task
        def c(m: Collected[str]): return list(m.items())
    """)
    assert f.value("c") == [("a-1", "a1"), ("a-2", "a2"), ("b-1", "b1"), ("b-2", "b2")]


def test_two_tasks_with_equal_literals_multiply(flow):
    f = flow("""
        @task(each={"x": [1, 2]})
        def a(x): return x
        @task(each={"x": [1, 2]})
        def b(x): return x
        @task
        def both(a, b): return a, b
    """)
    assert list(f.run()["both"]) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_two_arguments_with_equal_literals_multiply(flow):
    f = flow("""
        @task(each={"x": [1, 2], "y": [1, 2]})
        def m(x, y): return x, y
    """)
    assert len(f.run()["m"]) == 4


def test_the_same_axis_reached_by_two_ways_stays_aligned(flow):
    f = flow("""
        @task
        def xs(): return [1, 2, 3]
        @task(each={"x": "xs"})
        def left(x): return x
        @task(each={"x": "xs"})
        def right(x): return -x
        @task
        def zip(left, right): return left, right
    """)
    assert list(f.run()["zip"]) == [(1, -1), (2, -2), (3, -3)]


def test_a_diamond_over_one_axis_stays_aligned(flow):
    f = flow("""
        @task(each={"x": [1, 2]})
        def top(x): return x
        @task
        def left(top): return top
        @task
        def right(top): return top * 10
        @task
        def bottom(left, right, top): return left, right, top
    """)
    assert list(f.run()["bottom"]) == [(1, 10, 1), (2, 20, 2)]


def test_different_axes_multiply_inherited_first_in_argument_order_then_own(flow):
    f = flow("""
        @task(each={"x": ["a", "b"]})
        def m(x): return x
        @task(each={"y": ["p", "q"]})
        def n(y): return y
        @task(each={"z": [1, 2]})
        def all(z, n, m): return f"{n}{m}{z}"
    """)
    run = f.run()
    assert list(run["all"].ids)[:3] == ["p-a-1", "p-a-2", "p-b-1"]
    assert run["all[q-b-2]"] == "qb2"


def test_an_axis_and_its_own_source_again_stay_aligned(flow):
    f = flow("""
        @task
        def xs(): return [1, 2]
        @task(each={"x": "xs"})
        def m(x): return x
        @task(each={"x": "xs"})
        def again(x, m): return x, m
    """)
    assert list(f.run()["again"]) == [(1, 1), (2, 2)]


def test_each_over_a_mapped_task_nests_and_may_be_ragged(flow):
    f = flow("""
        @task(each={"n": [0, 1, 3]})
        def rows(n): return list(range(n))
        @task(each={"row": "rows"})
        def cell(row): return row
        @task
        def c(cell: Collected[int]): return list(cell.items())
    """)
    assert f.value("c") == [("1-0", 0), ("3-0", 0), ("3-1", 1), ("3-2", 2)]


def test_an_argument_annotated_as_a_list_follows_all_the_same(flow):
    f = flow("""
        @task(each={"x": [1, 2]})
        def m(x) -> list[int]: return [x]
        @task
        def after(m: list[int]): return m
    """)
    assert list(f.run()["after"]) == [[1], [2]]


# Groups

SALES = """
    @task(each={"region": ["eu", "us"], "day": ["mon", "tue"]})
    def sale(region: str, day: str): return f"{region}{day}"
"""


def test_collected_gathers_the_axes_that_no_other_argument_carries(flow):
    f = flow("""
        @task
        def regions(): return ["eu", "us"]
        @task
        def days(): return ["mon", "tue"]
        @task(each={"region": "regions", "day": "days"})
        def sale(region, day): return f"{region}{day}"
        @task(each={"region": "regions"})
        def total(region, sale: Collected[str]): return region, list(sale), sale.ids
    """)
    run = f.run()
    assert run["total[eu]"] == ("eu", ["eumon", "eutue"], ("mon", "tue"))
    assert run["total[us]"] == ("us", ["usmon", "ustue"], ("mon", "tue"))


def test_the_other_axis_can_be_gathered_as_well(flow):
    f = flow("""
        @task
        def regions(): return ["eu", "us"]
        @task
        def days(): return ["mon", "tue"]
        @task(each={"region": "regions", "day": "days"})
        def sale(region, day): return f"{region}{day}"
        @task(each={"day": "days"})
        def total(day, sale: Collected[str]): return list(sale), sale.ids
    """)
    assert f.run()["total[tue]"] == (["eutue", "ustue"], ("eu", "us"))


def test_other_collected_arguments_carry_no_axis(flow):
    f = flow("""
        @task(each={"x": [1, 2]})
        def m(x): return x
        @task
        def n(m): return -m
        @task
        def c(m: Collected[int], n: Collected[int]): return list(m), list(n)
    """)
    assert f.value("c") == ([1, 2], [-1, -2])


def test_collecting_what_is_not_mapped_is_an_error_with_the_remedy(flow):
    text = flow("""
        @task
        def m(): return [1]
        @task
        def c(m: Collected[int]): return m
    """).refusal()
    assert "'m'" in text
    assert "list[T]" in text


def test_collecting_what_is_carried_already_is_an_error(flow):
    text = flow("""
        @task
        def xs(): return [1]
        @task(each={"x": "xs"})
        def m(x): return x
        @task(each={"x": "xs"})
        def c(x, m: Collected[int]): return m
    """).refusal()
    assert "'m'" in text


def test_collected_is_a_read_only_sequence_with_ids_and_items(flow):
    f = flow("""
        from collections.abc import Sequence, MutableSequence
        @task(each={"x": ["a", "b", "c"]})
        def m(x): return x.upper()
        @task
        def c(m: Collected[str]):
            assert isinstance(m, Sequence) and not isinstance(m, MutableSequence)
            return len(m), m[0], m[-1], list(m[1:]), m.ids, list(m.items()), "B" in m, list(reversed(m)), m.index("C")
    """)
    assert f.value("c") == (
        3, "A", "C", ["B", "C"], ("a", "b", "c"), [("a", "A"), ("b", "B"), ("c", "C")], True, ["C", "B", "A"], 2
    )  # fmt: skip


def test_an_ordinary_list_stands_in_for_a_collection_in_a_unit_test():
    @flowkit.task
    def total(prices: Collected[int]) -> int:
        return sum(prices)

    assert total([1, 2]) == 3


# Failures and filters in a collection


def test_a_collector_of_values_is_upstream_when_an_element_failed_and_says_how_many_and_which(flow):
    f = weather(flow, reading=FAILING)
    run = f.run()
    words = {n.node: n.word for n in run.report.nodes}
    assert words["readings[LHR]"] == "failed"
    assert words["mean[LHR]"] == "upstream"
    assert words["mean[BUD]"] == "ran"
    assert words["report"] == "upstream"
    assert "1 of 2 `mean` failed: LHR" in {n.node: n.reason for n in run.report.nodes}["report"]


def test_many_failed_elements_are_named(flow):
    f = flow("""
        @task(each={"x": list(range(40))})
        def m(x): return 1 / (x % 20)
        @task
        def c(m: Collected[int]): pass
    """)
    assert "2 of 40 `m` failed: 0, 20" in f.reasons()["c"]


def test_collected_success_takes_those_that_succeeded(flow):
    f = flow("""
        @task(each={"x": [0, 1, 2]})
        def m(x): return 1 // x
        @task
        def c(m: Collected[Success[int]]): return [(i, s.value) for i, s in m.items()]
    """)
    assert f.run()["c"] == [("1", 1), ("2", 0)]


def test_collected_outcome_takes_what_became_of_each(flow):
    f = flow("""
        @task
        def xs(): return [0, 1, 2]
        @task(each={"x": "xs"})
        def m(x): return 1 // x if x < 2 else skip("two")
        @task
        def after(m): return m
        @task
        def c(after: Collected[Outcome[int]], m: Collected[Outcome[int]]):
            return [type(o).__name__ for o in after], [type(o).__name__ for o in m], after[2].reason, after.ids
    """)
    after, m, reason, ids = f.run()["c"]
    assert after == ["Skipped", "Success", "Skipped"]
    assert m == ["Failure", "Success", "Skipped"]
    assert "two" in reason
    assert ids == ("0", "1", "2")


def test_collected_failure_takes_those_that_failed(flow):
    f = flow("""
        @task(each={"x": [0, 1]})
        def m(x): return 1 // x
        @task
        def c(m: Collected[Failure]): return [(i, type(e.error).__name__) for i, e in m.items()]
    """)
    assert f.run()["c"] == [("0", "ZeroDivisionError")]


def test_collected_value_or_failure_takes_both(flow):
    f = flow("""
        @task(each={"x": [0, 1]})
        def m(x): return 1 // x
        @task
        def c(m: Collected[int | Failure]): return [x if x == 1 else type(x).__name__ for x in m]
    """)
    assert f.run()["c"] == ["Failure", 1]


@pytest.mark.parametrize("collects", ["Collected[float]", "Collected[Success[float]]"])
def test_skip_in_a_mapped_task_is_a_filter(flow, collects):
    run = weather(flow, reading=FILTER, collects=collects).run()
    assert run.ok
    assert run["report"][0][0] == "BUD"
    assert len(run["report"]) == 1


def test_what_follows_a_skipped_element_is_skipped_with_its_reason_and_no_trouble(flow):
    run = weather(flow, reading=FILTER).run()
    mean = run.report.named("mean[LHR]")
    assert mean.word == "skipped"
    assert mean.reason == "`readings[LHR]` was skipped: closed"
    assert run.exit_code == 0


def test_a_filter_beside_a_failure_still_counts_as_trouble_for_the_collector(flow):
    f = flow("""
        @task(each={"x": [0, 1, 2]})
        def m(x): return 1 // x if x < 2 else skip("two")
        @task
        def c(m: Collected[int]): pass
    """)
    assert "1 of 3 `m` failed: 0" in f.reasons()["c"]


def test_all_elements_filtered_give_an_empty_collection(flow):
    f = flow("""
        @task(each={"x": [0, 1]})
        def m(x): skip("no")
        @task
        def c(m: Collected[int]): return list(m)
    """)
    assert f.value("c") == []


# Ids


@pytest.mark.parametrize(
    ("source", "ids"),
    [
        ("['a', 'b c']", ["a", "b c"]),
        ("[1, 2.5, True, None]", ["1", "2.5", "True", "None"]),
        ("[Mode.fast]", ["fast"]),
        ("[(1, 2), {}, object]", ["0", "1", "2"]),
        ("['q', 'q', 'q']", ["q", "q_1", "q_2"]),
        ("['q', 'q', 'q_1']", None),
        ("['', 'x' * 300, 'x' * 80]", ["0", "1", "x" * 80]),
        ("['a\\\\nb', '\\\\x1b[31m']", None),
        ("[Path('a/x.csv'), Path('b/x.csv')]", ["x.csv", "x.csv_1"]),
        ("range(2)", ["0", "1"]),
        ("(1, 2)", ["1", "2"]),
        ("{'k': 1}", ["k"]),
        ("{3, 1, 2}", ["1", "2", "3"]),
        ("frozenset({'b', 'a'})", ["a", "b"]),
        ("[]", []), ("{}", []), ("set()", []),
        ("[1, 'one', 1.0]", ["1", "one", "1.0"]),
    ],
)  # fmt: skip
def test_node_ids_are_readable_and_unique(flow, source, ids):
    f = flow(f"""
        import enum
        class Mode(enum.Enum): fast = 1
        @task
        def src(): return {source}
        @task(each={{"x": "src"}})
        def m(x): return 1
        @task
        def c(m: Collected[int]): return m.ids
    """)
    got = list(f.value("c"))
    assert len(set(got)) == len(got)
    assert all(name.isprintable() for name in got)
    if ids is not None:
        assert got == ids


def test_ids_select(flow):
    f = weather(flow)
    assert f.words("::readings[BUD]") == {"stations": "ran", "readings[BUD]": "ran"}


def test_k_selects_elements_by_id(flow):
    assert set(weather(flow).words(k="BUD")) == {"stations", "readings[BUD]", "mean[BUD]"}


def test_an_id_that_no_element_has_is_an_error_with_the_nearest_once_the_source_ran(flow):
    with pytest.raises(flowkit.FlowError, match="BUD"):
        weather(flow).run("::readings[BAD]")


def test_a_selected_element_of_a_follower_brings_its_element_only(flow):
    assert set(weather(flow).words("::mean[BUD]")) == {"stations", "readings[BUD]", "mean[BUD]"}


def test_a_collector_needs_all_elements_even_if_one_is_selected(flow):
    f = weather(flow)
    run = f.project.run("m.py::readings[BUD]", "m.py::report", executor="inline")
    assert run.ok
    assert len(run["report"]) == 2


# Sources


def test_an_empty_source_gives_no_nodes_and_an_empty_collection(flow):
    run = weather(flow, stations="[]").run()
    assert {n.node for n in run.report.nodes} == {"stations", "report"}
    assert run["report"] == []
    assert run.ok


@pytest.mark.parametrize("value", ["5", "'text'", "b'x'", "None", "object()", "3.5", "iter([1])"])
def test_a_source_that_is_no_list_fails_the_mapped_task_and_names_the_type(flow, value):
    f = flow(f"""
        @task
        def src(): return {value}
        @task(each={{"x": "src"}}, cache=False)
        def m(x): return 1
        @task
        def c(m: Collected[int]): return list(m)
    """)
    run = f.run()
    words = {n.node: n.word for n in run.report.nodes}
    assert words["src"] == "ran"
    assert words["m"] == "failed"
    assert words["c"] == "upstream"
    assert type(eval(value)).__name__ in str(run.report.named("m").error)


def test_a_source_that_failed_leaves_one_node_without_brackets_which_is_upstream(flow):
    words = weather(flow, stations="1 / 0").words()
    assert words == {"stations": "failed", "readings": "upstream", "mean": "upstream", "report": "upstream"}


def test_a_source_that_was_skipped_leaves_one_node_without_brackets_which_is_skipped(flow):
    run = weather(flow, stations="skip('holiday')").run()
    words = {n.node: n.word for n in run.report.nodes}
    assert words == {"stations": "skipped", "readings": "skipped", "mean": "skipped", "report": "skipped"}
    assert run.ok


def test_a_misspelt_source_is_an_error_with_the_nearest_name(flow):
    text = flow("""
        @task
        def stations(): return []
        @task(each={"s": "statoins"})
        def m(s): pass
    """).refusal()
    assert "'statoins'" in text
    assert "Did you mean 'stations'?" in text


def test_each_of_an_argument_that_the_task_lacks_is_an_error(flow):
    text = flow("""
        @task(each={"station": [1]})
        def m(statio): pass
    """).refusal()
    assert "'station'" in text


def test_each_over_a_resource_is_an_error(flow):
    text = flow("""
        @resource
        def r(): yield [1]
        @task(each={"x": "r"})
        def m(x): pass
    """).refusal()
    assert "'r'" in text


def test_an_argument_mapped_by_two_entries_is_an_error(flow):
    text = flow("""
        @task(each={"x": [1], "x,y": [(1, 2)]})
        def m(x, y): pass
    """).refusal()
    assert "'x'" in text


def test_a_collection_is_a_source_too(flow):
    f = flow("""
        @task(each={"x": ["a", "b"]})
        def m(x): return x
        @task
        def chosen(m: Collected[str]): return m
        @task(each={"y": "chosen"})
        def n(y): return y * 2
    """)
    assert f.run()["n"] == Collected(["aa", "bb"], ["a", "b"])


# needs, fallback, override


def test_needs_of_a_mapped_task_waits_for_all_elements_without_following(flow):
    f = flow("""
        seen = []
        @task(each={"x": [1, 2]})
        def m(x): seen.append(x)
        @task(needs=["m"])
        def after(): return list(seen)
    """)
    assert f.value("after") == [1, 2]


def test_needs_of_a_mapped_task_fails_if_any_element_failed(flow):
    f = flow("""
        @task(each={"x": [0, 1]})
        def m(x): return 1 / x
        @task(needs=["m"])
        def after(): pass
    """)
    assert f.words()["after"] == "upstream"


def test_needs_of_a_mapped_task_whose_axis_is_carried_is_aligned(flow):
    f = flow("""
        @task
        def xs(): return [0, 1]
        @task(each={"x": "xs"})
        def m(x): return 1 / x
        @task(each={"x": "xs"}, needs=["m"])
        def after(x): return x
    """)
    words = f.words()
    assert words["after[0]"] == "upstream"
    assert words["after[1]"] == "ran"


def test_an_override_of_a_mapped_task_by_a_list_stands_for_its_elements(flow):
    f = weather(flow)
    assert f.value("report", override={"readings": [1, 2]}) == [("LHR", 10), ("BUD", 20)]


def test_an_override_of_a_mapped_task_by_a_mapping_goes_by_ids(flow):
    f = weather(flow)
    assert f.value("report", override={"readings": {"BUD": 2, "LHR": 1}}) == [("LHR", 10), ("BUD", 20)]


def test_an_override_of_a_mapped_task_by_anything_else_is_an_error(flow):
    f = weather(flow)
    with pytest.raises(flowkit.FlowError, match="readings"):
        f.run(override={"readings": 5})


def test_an_override_of_the_source_changes_the_elements(flow):
    f = weather(flow)
    assert [i for i, _ in f.value("report", override={"stations": ["X"]})] == ["X"]


# Asking a run


def test_a_run_gives_a_collection_the_outcomes_and_an_element(flow):
    run = weather(flow).run()
    assert run["readings"].ids == ("LHR", "BUD")
    assert set(run.outcomes["readings"]) == {"LHR", "BUD"}
    assert isinstance(run.outcomes["readings"]["BUD"], flowkit.Success)
    assert run["readings[BUD]"] == 69


def test_asking_for_a_mapped_task_of_which_one_failed_raises_its_error(flow):
    with pytest.raises(ZeroDivisionError):
        weather(flow, reading=FAILING).run()["readings"]


EQUAL = """
    @task(each={{"x": ["q", "q"]}}{options})
    def m(x):
        with open("calls", "a") as file: file.write(x)
        return x
"""


def test_equal_elements_are_two_nodes_computed_once(flow, project):
    run = flow(EQUAL.format(options="")).run()
    assert project.read("calls") == "q"
    assert list(run["m"]) == ["q", "q"]
    assert run.report.named("m[q]").word == "ran"
    assert run.report.named("m[q_1]").word == "cached"


def test_equal_elements_that_are_ready_at_once_are_computed_once(flow, project):
    run = flow(EQUAL.format(options="")).run(executor="threads", n=4)
    assert project.read("calls") == "q"
    assert list(run["m"]) == ["q", "q"]


def test_equal_elements_with_cache_false_each_run(flow, project):
    assert flow(EQUAL.format(options=", cache=False")).run().ok
    assert project.read("calls") == "qq"


def test_ten_thousand_elements_are_ordinary(flow):
    f = flow("""
        @task
        def xs(): return range(10_000)
        @task(each={"x": "xs"})
        def m(x): return x
        @task
        def after(m): return m + 1
        @task
        def c(after: Collected[int]): return sum(after)
    """)
    began = time.perf_counter()
    assert f.run("::c", p=["no:cache"])["c"] == sum(range(1, 10_001))
    assert time.perf_counter() - began < 10


def test_k_of_an_element_and_a_follower_brings_what_the_follower_needs(flow):
    words = weather(flow).words(k="readings[BUD] or mean")
    assert set(words) == {"stations", "readings[LHR]", "readings[BUD]", "mean[LHR]", "mean[BUD]"}


def test_elements_of_two_axes_are_selected_alone_with_what_they_need(flow):
    f = flow(SALES + """
    @task
    def taxed(sale): return sale + "!"
    """)
    assert f.words("::taxed[eu-tue]") == {"sale[eu-tue]": "ran", "taxed[eu-tue]": "ran"}
    assert f.words(k="us-mon") == {"sale[us-mon]": "ran", "taxed[us-mon]": "ran"}


@pytest.mark.parametrize("values", [[1], [1, 2, 3], {"LHR": 1}])
def test_an_override_that_lacks_elements_or_has_more_fails_the_run(flow, values):
    run = weather(flow).run(override={"readings": values})
    assert not run.ok
    assert "override" in str([n.error for n in run.report.nodes])


def test_an_override_of_a_mapped_task_typed_as_text_is_read_as_a_list_of_its_results(flow, project):
    flow("""
        @task(each={"x": [1, 2]})
        def m(x) -> float: return x
        @task
        def c(m: Collected[float]): Path("x").write_text(repr(list(m)))
    """)
    assert project.flowkit("run", "m.py", "-O", "m=[3, 4]").exit_code == 0
    assert project.read("x") == "[3.0, 4.0]"


def test_an_override_of_a_follower_by_a_list_stands_for_its_elements(flow):
    f = weather(flow)
    assert f.value("report", override={"mean": [1, 2]}) == [("LHR", 1), ("BUD", 2)]


def test_an_override_of_a_mapped_task_by_a_list_goes_by_position_whatever_was_selected(flow):
    f = weather(flow)
    assert f.run("::readings[BUD]", override={"stations": ["LHR", "BUD"]}).ok
    run = f.run("::mean[BUD]", override={"readings": [1, 2]})
    assert run["mean[BUD]"] == 20


def test_an_override_by_a_mapping_with_an_element_too_many_fails_the_run(flow):
    run = weather(flow).run(override={"readings": {"LHR": 1, "BUD": 2, "CDG": 3}})
    assert "3 elements, and the task has 2" in str([n.error for n in run.report.nodes])


def test_an_override_over_two_axes_by_a_list_goes_by_the_order_of_their_ids(flow):
    f = flow("""
        @task(each={"a": [1, 2], "b": ["x", "y"]})
        def m(a, b): return 0
        @task
        def c(m: Collected[int]): return dict(m.items())
    """)
    assert f.value("c", override={"m": [1, 2, 3, 4]}) == {"1-x": 1, "1-y": 2, "2-x": 3, "2-y": 4}
    assert not f.run(override={"m": [1, 2, 3, 4, 5]}).ok


NESTED = """
    @task
    def lists(): return [[1], [2, 3]]
    @task(each={"l": "lists"})
    def outer(l): return l
    @task(each={"e": "outer"})
    def inner(e): return e
    @task
    def c(inner: Collected[int]): return dict(inner.items())
"""


def test_an_override_of_nested_elements_goes_by_ids_and_a_list_is_refused(flow):
    assert flow(NESTED).value("c", override={"inner": {"0-1": 10, "1-2": 20, "1-3": 30}}) == {
        "0-1": 10,
        "1-2": 20,
        "1-3": 30,
    }
    with pytest.raises(flowkit.FlowError, match="dict by id"):
        flow(NESTED).run(override={"inner": [10, 20, 30]})


def test_an_override_of_a_follower_typed_as_text_is_read_as_a_list_of_its_results(flow, project):
    flow("""
        @task(each={"x": [1, 2]})
        def m(x): return x
        @task
        def follower(m) -> float: return m
        @task
        def c(follower: Collected[float]): Path("x").write_text(repr(list(follower)))
    """)
    assert project.flowkit("run", "m.py", "-O", "follower=[3, 4]").exit_code == 0
    assert project.read("x") == "[3.0, 4.0]"


@pytest.mark.parametrize("value", [(8, 9), {"train": 8, "test": 9}])
def test_an_override_of_a_task_that_provides_is_taken_apart(flow, value):
    f = flow("""
        @task(provides=["train", "test"])
        def split(): return 1, 2
        @task
        def t(test): return test
    """)
    assert f.value("t", override={"split": value}) == 9
    with pytest.raises(flowkit.FlowError, match="train, test"):
        f.run(override={"split": (1, 2, 3)})
    with pytest.raises(flowkit.FlowError, match="lacks test"):
        f.run(override={"split": {"train": 1}})


def test_the_elements_of_what_is_overridden_are_taken_apart_too(flow):
    f = flow("""
        @task(provides=["a", "b"], each={"x": [1, 2]})
        def m(x): return x, x
        @task
        def c(b: Collected[int]): return list(b)
    """)
    assert f.value("c", override={"m": [(1, 2), (3, 4)]}) == [2, 4]


def test_a_value_of_a_mapped_task_raises_the_first_failure_rather_than_what_it_held_up(flow):
    run = flow("""
        @task(each={"x": [1, 2, 3]})
        def above(x):
            if x == 1: raise KeyError(x)
            return x
        @task
        def m(above):
            if above == 3: raise ValueError(above)
            return above
    """).run()
    with pytest.raises(ValueError, match="3"):
        run["m"]


def test_a_mapped_task_whose_source_was_skipped_did_not_run(flow):
    run = flow("""
        @task
        def src(): skip("closed")
        @task(each={"x": "src"})
        def m(x): return x
    """).run()
    with pytest.raises(LookupError, match="closed"):
        run["m"]
    assert isinstance(run.outcomes["m"], Skipped)
    assert "closed" in run.outcomes["m"].reason


def test_several_arguments_unpacked_from_a_parameter_are_converted_each_by_its_own_annotation(flow):
    f = flow("""
        @task(each={"x,y": "pairs"})
        def c(x: int, y: str): return y * x
    """)
    assert list(f.run(params={"pairs": [["2", "a"], (1, "b")]})["c"]) == ["aa", "b"]
    assert "pairs" in f.refusal(params={"pairs": [[1]]})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("@task(each={'x': 'ps'})\ndef c(x: int): ...", "@task(each={'x': 'ps'})\ndef d(x: str): ..."),
        ("@task(each={'x': 'ps'})\ndef c(x: int): ...", "@task\ndef d(ps: list[str] = ['7']): ..."),
        ("@task\ndef d(ps: dict[str, str]): ...", "@task(each={'x': 'ps'})\ndef c(x: int): ..."),
        ("@task\ndef d(ps: tuple[str, ...]): ...", "@task(each={'x': 'ps'})\ndef c(x: int): ..."),
    ],
)
def test_a_parameter_whose_elements_are_wanted_otherwise_than_declared_is_an_error(flow, one, other):
    for first, second in ((one, other), (other, one)):
        text = flow(f"\n{first}\n{second}\n").refusal()
        assert "parameter 'ps' is declared in two ways" in text
        assert "m.py" in text


@pytest.mark.parametrize(
    "declared",
    ["list[int]", "list[float]", "tuple[int, ...]", "set[int]", "dict[str, int]", "list", "int | list[int]", "tuple[str, int]", "object"],
)
def test_a_parameter_whose_elements_may_fit_is_taken(flow, declared):
    f = flow(f"""
        @task(each={{"x": "ps"}})
        def c(x: int): return x
        @task(each={{"x": "ps"}})
        def e(x): return x
        @task
        def d(ps: {declared} = None): return 1
    """)
    assert f.words("::d") == {"d": "ran"}


# What is wrong with each=


@pytest.mark.parametrize("each", ['{"z": "src"}', '"src"', '{"x": 5}', "{}", '{"x": iter([1])}', '{"x,y": [(1, 2), (3,)]}'])
def test_a_wrong_each_is_told_and_not_that_its_elements_cannot_be_collected(flow, each):
    said = flow(f"""
        @task
        def src(): return [1]
        @task(each={each})
        def t(x, y=1): return x
        @task
        def mean(t): return t
        @task
        def col(t: Collected[int], mean: Collected[int]): return 1
    """).refusal()
    assert "task 't' (m.py:4): each" in said
    assert "col" not in said


def test_an_argument_that_leads_nowhere_does_not_make_its_task_one_that_cannot_be_collected(flow):
    said = flow("""
        @task(each={"x": [1]})
        def one(x): return x
        @task
        def t(one: Annotated[int, From(one)]): return one
        @task
        def col(t: Collected[int]): return 1
    """).refusal()
    assert "From(" in said
    assert "col" not in said


def test_an_empty_each_is_called_empty(flow):
    assert "each={} is empty" in flow("\n@task(each={})\ndef t(x): return x").refusal()


@pytest.mark.parametrize(
    ("source", "said"),
    [("(i for i in range(3))", "it is a generator"), ("iter([1])", "it is a list_iterator"), ("5", "it is an int"),
     ("b'ab'", "it is a bytes")],
)  # fmt: skip
def test_a_literal_source_that_is_no_list_is_told_before_anything_runs(flow, source, said):
    told = flow(f"\n@task(each={{'x': {source}}})\ndef t(x): return x").refusal()
    assert "task 't' (m.py:2): each: cannot map over " in told
    assert said in told


@pytest.mark.parametrize("source", ["[(1, 2), (3,)]", "{'a': (1, 2), 'b': 3}", "['ab']", "[None]", "[(1, 2, 3)]"])
def test_an_element_of_a_literal_source_that_cannot_be_unpacked_is_told_before_anything_runs(flow, source):
    told = flow(f"\n@task(each={{'x,y': {source}}})\ndef t(x, y): return x").refusal()
    assert "task 't' (m.py:2): each unpacks an element into x, y, but it is " in told


def test_elements_of_a_literal_source_are_not_used_up_by_looking_at_them(flow):
    f = flow("""
        @task(each={"x,y": [iter((1, 2)), (3, 4)]}, cache=False)
        def t(x, y): return x + y
    """)
    assert list(f.value("t")) == [3, 7]


@pytest.mark.parametrize(
    "annotation",
    ["Collected[int] | None", "Outcome[Collected[int]]", "Success[Collected[int]]", "Collected | Failure",
     "Collected[Collected[int]]", "Collected[Collected[int] | None]", "'Optional[Collected[int]]'"],
)  # fmt: skip
def test_collected_stands_outermost(flow, annotation):
    said = flow(f"""
        @task(each={{"x": [1]}})
        def m(x): return x
        @task
        def total(m: {annotation}): return 1
    """).refusal()
    assert "task 'total' (m.py:4), argument 'm': " in said
    assert "a Collected inside of something else" in said
    assert "write Collected[T]" in said


# Names that a mapped task provides


def test_an_element_is_asked_for_by_a_name_that_its_task_provides(flow):
    run = flow("""
        @task(each={"n": [1, 2]}, provides=["p", "q"])
        def a(n): return n, -n
    """).run()
    assert (run["p[1]"], run["m.py::q[2]"], run["m.py::a[1]"], run["a[2]"]) == (1, -2, (1, -1), (2, -2))
    assert list(run["m.py::q"]) == [-1, -2]
    assert run.outcomes["q[2]"].value == -2
    with pytest.raises(KeyError):
        run["p[3]"]


def test_a_provided_name_means_its_task_for_deselect(flow):
    f = flow("""
        @task(each={"n": [1, 2]}, provides=["p", "q"])
        def a(n): return n, -n
        @task(provides=["train"])
        def split(): return (3,)
    """)
    assert set(f.words(deselect=["m.py::train", "m.py::p[1]"])) == {"a[2]"}
    assert set(f.words(deselect=["q"])) == {"split"}


@pytest.mark.parametrize("how", ["def __iter__(self): raise RuntimeError('no')", "def __repr__(self): raise RuntimeError('no')"])
def test_an_element_that_raises_when_it_is_unpacked_fails_its_node_alone(flow, how):
    f = flow(f"""
        class Odd:
            {how}
        @task
        def pairs(): return [Odd(), (1, 2)]
        @task(each={{"x,y": "pairs"}})
        def both(x, y): return x + y
    """)
    assert f.words() == {"pairs": "ran", "both[0]": "error", "both[1]": "ran"}


def test_a_literal_element_whose_text_raises_is_refused_like_any(flow):
    text = flow("""
        class Odd:
            def __repr__(self): raise RuntimeError("no")
        @task(each={"x,y": [Odd()]})
        def both(x, y): return x
    """).refusal()
    assert "each unpacks an element into x, y, but it is an Odd" in text
