"""Which elements of mapped tasks a run is for, which come along, and what is said of those that do not exist (language.md §10)."""

import time

import pytest

import flowkit

SALES = """
    @task
    def regions(): return ["eu", "us"]
    @task
    def days(): return ["mon", "tue"]
    @task(each={"region": "regions", "day": "days"})
    def sale(region, day): return region + day
    @task(each={"region": "regions"})
    def total(region, sale: Collected): return list(sale)
    @task
    def rep(total): return total
"""
LISTS = {"regions", "days"}
US = {"sale[us-mon]", "sale[us-tue]"}

SHOPS = """
    @task
    def regions(): return ["eu", "us"]
    @task(each={"region": "regions"})
    def shops(region): return {shops}
    @task(each={"shop": "shops"})
    def visit(shop): return shop
    @task(each={"region": "regions"})
    def taken(region, visit: Collected): return list(visit)
""".replace("{shops}", '["a-1", "b"] if region == "eu" else ["c"]')


def nodes(*targets, **keywords):
    """The nodes that a run of ``m.py`` ran, each of which went well."""
    run = flowkit.run(*[f"m.py{target}" for target in targets or ("",)], executor="inline", **keywords)
    assert {n.word for n in run.report.nodes} <= {"ran", "cached"}
    return {n.node for n in run.report.nodes}


# What comes along


@pytest.mark.parametrize(
    ("targets", "keyword", "expected"),
    [
        ([""], "total[us]", LISTS | US | {"total[us]"}),
        (["::total[us]"], None, LISTS | US | {"total[us]"}),
        (["::sale[eu-tue]", "::total[us]"], None, LISTS | US | {"sale[eu-tue]", "total[us]"}),
        (["::sale[eu-tue]", "::rep[us]", "::rep[us]"], None, LISTS | US | {"sale[eu-tue]", "total[us]", "rep[us]"}),
        (["::sale[eu-tue]", "::sale[us-mon]"], None, LISTS | {"sale[eu-tue]", "sale[us-mon]"}),
        ([""], "eu-tue", LISTS | {"sale[eu-tue]"}),
        (["::regions", "::sale"], "not us and not days", LISTS | {"sale[eu-mon]", "sale[eu-tue]"}),
    ],
)  # fmt: skip
def test_of_what_a_group_needs_only_its_own_elements_come_along(flow, targets, keyword, expected):
    flow(SALES)
    assert nodes(*targets, k=keyword) == expected


def test_of_a_list_of_each_element_only_that_of_the_chosen_one_is_read(flow):
    flow(SHOPS)
    expected = {"regions", "shops[eu]", "visit[eu-a-1]", "visit[eu-b]"}
    assert nodes("::visit[eu-b]") == expected - {"visit[eu-a-1]"}
    assert nodes("::taken[eu]") == expected | {"taken[eu]"}
    # Whether -k means an element of ``visit`` is known once all lists of shops are.
    assert nodes(k="taken[us]") == {"regions", "shops[eu]", "shops[us]", "visit[us-c]", "taken[us]"}


def test_of_tasks_with_fewer_axes_only_those_that_an_element_needs_come_along(flow):
    flow("""
        @task(each={"region": ["eu", "us"]})
        def north(region): return region
        @task(each={"day": ["mon", "t-ue"]})
        def when(day): return day
        @task
        def sale(north, when): return north + when
        @task
        def twice(sale, north, when): return sale * 2
    """)
    assert nodes("::twice[us-t-ue]") == {"north[us]", "when[t-ue]", "sale[us-t-ue]", "twice[us-t-ue]"}


def test_many_diamonds_above_an_element_are_no_dearer_than_a_chain(flow):
    layers = "".join(
        f"""
    @task
    def a{i}(t{i}): return 1
    @task
    def b{i}(t{i}): return 1
    @task
    def t{i + 1}(a{i}, b{i}): return 1
"""
        for i in range(40)
    )
    flow(f"""
    @task(each={{"x": [1, 2]}})
    def t0(x): return 1
{layers}""")
    began = time.perf_counter()
    assert len(nodes("::t40[2]")) == 121
    assert time.perf_counter() - began < 5


# name+ and +name


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("::total[us]+", LISTS | US | {"total[us]", "rep[us]"}),
        ("::+rep[us]", LISTS | US | {"total[us]", "rep[us]"}),
        ("::+total[us]+", LISTS | US | {"total[us]", "rep[us]"}),
        ("::sale[us-mon]+", LISTS | US | {"total[us]", "rep[us]"}),
    ],
)
def test_a_plus_of_an_element_is_of_that_element(flow, target, expected):
    flow(SALES)
    assert nodes(target) == expected


def test_a_plus_before_an_element_makes_targets_of_what_it_needs(flow):
    flow(SALES)
    assert nodes("::+rep[us]") == nodes("::rep[us]")
    again = flowkit.run("m.py::+rep[us]", executor="inline", refresh=True)
    assert {n.node for n in again.report.nodes if n.word == "cached"} == set()
    assert again["sale[us-mon]"] == "usmon"


def test_what_collects_an_element_hangs_off_it_and_brings_the_others(flow):
    flow(SALES + """
    @task
    def best(rep: Collected): return max(rep)
    @task
    def told(best): return best
    """)
    assert nodes("::total[us]+") == nodes("::told")
    assert nodes("::regions") == {"regions"}


# What does not exist


def test_an_id_of_two_axes_that_does_not_exist_is_told_the_ids_of_nodes(flow, project):
    flow(SALES)
    ended = project.flowkit("run", "m.py::sale[us-mun]")
    assert ended.exit_code == 4
    assert "elements: sale[eu-mon], sale[eu-tue], sale[us-mon], sale[us-tue]" in ended.err
    assert "Did you mean 'sale[us-mon]'?" in ended.err
    assert "sale[eu-" in project.flowkit("run", "m.py::sale[eu]").err


def test_ids_of_lists_that_nobody_wanted_are_not_told(flow, project):
    flow(SHOPS)
    assert "elements: visit[eu-…], visit[us-…]" in project.flowkit("run", "m.py::visit[uk-b]").err
    assert "Did you mean 'visit[eu-a-1]'?" in project.flowkit("run", "m.py::visit[eu-a-2]").err


def test_of_very_many_elements_the_nearest_are_told_at_once(flow, project):
    flow("""
        @task(each={"x": range(1000), "day": [f"2024-{m}-{d}" for m in range(1, 13) for d in range(1, 31)]})
        def m(x, day): return 1
    """)
    began = time.perf_counter()
    ended = project.flowkit("run", "m.py::m[731-2024-7-32]")
    assert time.perf_counter() - began < 10
    assert ended.exit_code == 4
    assert "Did you mean 'm[731-2024-7-3" in ended.err
    assert "elements, for instance: " in ended.err


def test_the_nearest_of_one_long_list_is_found_wherever_it_stands(flow, project):
    flow("""
        @task(each={"x": [f"item{i:04}" for i in range(3000)]})
        def m(x): return 1
    """)
    ended = project.flowkit("run", "m.py::m[itm2987]")
    assert "Did you mean 'm[item2987]'?" in ended.err
    assert "(3000 in all)" in ended.err


@pytest.mark.parametrize(
    "words",
    [["::rep[us]", "-k", "zzz"], ["::rep[us]", "--deselect", "m.py::rep[us]"], ["::sale[us-mon]", "-k", "zzz"]],
    ids=" ".join,
)
def test_an_element_that_exists_and_was_left_out_is_nothing_to_run(flow, project, words):
    flow(SALES)
    ended = project.flowkit("run", f"m.py{words[0]}", *words[1:])
    assert ended.exit_code == 5
    assert "nothing to run" in ended.err


def test_an_element_of_a_task_that_was_left_out_is_not_missed(flow, project):
    flow(SALES)
    ended = project.flowkit("run", "m.py::rep[us]", "m.py::days", "--deselect", "m.py::rep")
    assert ended.exit_code == 0
    assert "1 ran" in ended.out
