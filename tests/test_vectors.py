"""Behaviour tables of Prefect 1 and of crons: every row is met here, or listed as a difference in the documentation.

The tables are in ``tests/data/vectors``; the differences in ``docs/reference/differences.md``.
"""

import csv
import json
import sys
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import flowkit
from flowkit import Failure, Skipped, Success
from flowkit.axes import assign_axes
from flowkit.graph import BoundFlow, BoundTask, Edge, Graph
from flowkit.scheduler import Scheduler
from flowkit.scheduler.commands import Start
from flowkit.scheduler.events import NodeFailed, NodeSkipped, NodeSucceeded, RunStarted

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "tests/data/vectors"
DIFFERENCES = ROOT / "docs/reference/differences.md"


def rows(file):
    return json.loads((VECTORS / file).read_text())["rows"]


def listed(file):
    """The first column of the file's table of differences."""
    section = DIFFERENCES.read_text().split(f"## {file}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [line.split(" | ")[0].removeprefix("| ").strip() for line in lines[2:]]


def differs(text, file):
    return any(text == row or (row.endswith("…") and text.startswith(row[:-1])) for row in listed(file))


# Triggers

TRIGGERS = {
    "all_successful": "all_succeeded",
    "all_failed": "all_failed",
    "always_run": "always",
    "all_finished": "all_done",
    "any_successful": "any_succeeded",
    "any_failed": "any_failed",
}


def trigger_text(row):
    args = ", ".join(f"{k}={v}" for k, v in row["args"].items())
    upstream = ", ".join(f"{state} {n}" for state, n in row["upstream"].items())
    return f"{row['trigger']}{f'[{args}]' if args else ''}({upstream}) → {row['outcome']}"


TRIGGER_ROWS = {trigger_text(row): row for row in rows("triggers_prefect1.json")}
MET_TRIGGERS = [t for t in TRIGGER_ROWS if not differs(t, "triggers_prefect1.json")]


def after(trigger, upstream):
    """What becomes of a task with this trigger after so many upstreams of each state."""
    flow = BoundFlow("flow", "flow.py")
    states = [state for state, many in upstream.items() for _ in range(many)]
    tasks = [BoundTask(f"u{i}", f"u{i}", flow, None, order=i) for i in range(len(states))]
    last = BoundTask("last", "last", flow, None, order=len(states), trigger=trigger)
    last.edges = [Edge(task) for task in tasks]
    graph = Graph([*tasks, last], [flow])
    assert assign_axes(graph.tasks) == []
    machine = Scheduler(graph)
    how = dict(zip(tasks, states, strict=True))
    events = [RunStarted(0.0)]
    while events:
        for command in machine.handle(events.pop()):
            if type(command) is Start:
                node, state = command.node, how.get(command.node.task, "success")
                events.append(
                    {
                        "success": lambda: NodeSucceeded(0.0, node),
                        "failed": lambda: NodeFailed(0.0, node, ValueError()),
                        "skipped": lambda: NodeSkipped(0.0, node, "why"),
                    }[state]()
                )
    return machine.node(last).state.value


@pytest.mark.parametrize("text", MET_TRIGGERS)
def test_a_trigger_is_met_by_the_same_endings(text):
    row = TRIGGER_ROWS[text]
    became = after(TRIGGERS[row["trigger"]], row["upstream"])
    assert (became == "succeeded") is (row["outcome"] == "run")


# Maps and branches: a flow for each row

MET: dict[str, set[str]] = {"map_prefect1.json": set(), "branching_prefect1.json": set()}


def meets(file, *ids):
    """Mark a test as the one that meets these rows."""
    known = {row["id"]: row for row in rows(f"{file}_prefect1.json")}

    def mark(test):
        MET[f"{file}_prefect1.json"].update(ids)
        return pytest.mark.parametrize("row", [known[i] for i in ids], ids=ids)(test)

    return mark


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a flow given as text; return the run."""
    (tmp_path / "flowkit.toml").touch()
    monkeypatch.chdir(tmp_path)

    def run(text, **options):
        head = "from flowkit import Collected, Failure, Outcome, Skipped, Success, skip, task\nfrom typing import Any\n"
        (tmp_path / "m.py").write_text(head + textwrap.dedent(text))
        return flowkit.run("m.py", executor="inline", **options)

    yield run
    sys.modules.pop("m", None)


def shown(outcome):
    """An outcome as the tables write it."""
    if isinstance(outcome, Success):
        return outcome.value
    if isinstance(outcome, Failure):
        return "failed"
    return "trigger_failed" if outcome.failures else "skipped"


def children(run, name):
    found = run.outcomes[name]  # of a list that is not there, the one node stands for all (ruling C14)
    return [shown(outcome) for outcome in (found.values() if isinstance(found, Mapping) else [found])]


ADD_ONE = """
@task
def xs() -> list[int]:
    return [1, 2, 3]

@task(each={"x": "xs"})
def more(x: int) -> int:
    return x + 1
"""


@meets("map", "map over two mapped arguments")
def test_two_mapped_arguments_of_one_list_are_aligned(run, row):
    done = run(ADD_ONE + """
@task(each={"x": "xs"})
def total(x: int, more: int) -> int:
    return x + more
""")
    assert list(done["total"]) == row["expected"]


@meets("map", "map-map-reduce")
def test_a_map_of_a_map_is_reduced(run, row):
    done = run(ADD_ONE + """
@task
def again(more: int) -> int:
    return more + 1

@task
def total(again: Collected[int]) -> int:
    return sum(again)
""")
    assert done["total"] == row["expected"]


@meets("map", "unmapped constant")
def test_what_is_not_mapped_is_the_same_for_each_element(run, row):
    done = run(ADD_ONE + """
@task(each={"x": "xs"})
def total(x: int, constant: int = 5) -> int:
    return x + constant
""")
    assert list(done["total"]) == row["expected"]


@meets("map", "all inputs unmapped")
def test_a_task_without_each_is_called_once(run, row):
    done = run("""
@task
def total(a: int = 1, b: int = 2) -> int:
    return a + b
""")
    assert done["total"] == row["expected"]


@meets("map", "all inputs unmapped lists")
def test_a_list_is_taken_whole_without_each(run, row):
    done = run("""
@task
def a() -> list[int]:
    return [0, 2]

@task
def both(a: list[int], b: list[int] = [1, 7]) -> list[int]:
    return a + b
""")
    assert done["both"] == row["expected"]


@meets("map", "empty")
def test_an_empty_list_gives_no_elements_and_no_trouble(run, row):
    done = run("""
@task
def xs() -> list[int]:
    return []

@task(each={"x": "xs"})
def one(x: int) -> int:
    return x

@task
def two(one: int) -> int:
    return one
""")
    assert [list(done["one"]), list(done["two"])] == row["expected"]
    assert done.ok


@meets("map", "one child fails, chain goes on")
def test_a_failed_element_stops_only_what_follows_it(run, row):
    done = run("""
@task
def xs() -> list[int]:
    return [-1, 0, 1]

@task(each={"x": "xs"})
def more(x: int) -> int:
    return x + 1

@task
def inverse(more: int) -> float:
    return 1 / more

@task
def same(inverse: float) -> float:
    return inverse
""")
    assert children(done, "same") == row["children"]
    assert not done.ok


@meets("map", "one child fails, sibling branches")
def test_a_failed_element_stops_the_collector_and_its_own_follower(run, row):
    done = run("""
@task
def xs() -> list[int]:
    return [1, 0, 3]

@task(each={"x": "xs"})
def d(x: int) -> float:
    return 1 / x

@task
def append(d: Collected[float]) -> list[float]:
    return [*d, 4]

@task
def again(d: float) -> float:
    return 1 / d
""")
    assert children(done, "d") == [eval(c) if "/" in str(c) else c for c in row["children_d"]]  # noqa: S307 - "1/3"
    assert shown(done.outcomes["append"]) == row["append"]
    assert children(done, "again") == row["again"]
    assert not done.ok


@meets("map", "reduce over a failed child")
def test_a_collector_needs_every_element(run, row):
    done = run("""
@task
def xs() -> list[int]:
    return [0, 1]

@task(each={"x": "xs"})
def inverse(x: int) -> float:
    return 1 / x

@task
def total(inverse: Collected[float]) -> float:
    return sum(inverse)
""")
    assert shown(done.outcomes["total"]) == row["reduce"]
    assert not done.ok


SKIP_ONE = """
@task
def xs() -> list[int]:
    return [1, 2, 3]

@task(each={"x": "xs"})
def one(x: int) -> int:
    return skip("one") if x == 1 else x + 1

@task
def two(one: int) -> int:
    return skip("one") if one == 1 else one + 1
"""


@meets("map", "one child skips")
def test_an_element_that_skips_itself_is_skipped(run, row):
    done = run(SKIP_ONE)
    assert children(done, "one") == row["children"]
    assert done.ok


@meets("map", "skip passes down its own chain only")
def test_a_skip_passes_down_its_own_chain_only(run, row):
    done = run(SKIP_ONE)
    assert children(done, "two") == row["children"]
    assert done.ok


@meets("map", "mapped source skipped", "mapped source failed")
def test_over_a_list_that_is_not_there_one_node_does_not_run(run, row):
    done = run(f"""
@task
def xs() -> list[int]:
    {'skip("none")' if row["mapped"] == "skipped" else "raise ValueError"}

@task(each={{"x": "xs"}})
def one(x: int) -> int:
    return x
""")
    [child] = children(done, "one")
    assert child == {"skipped": "skipped", "failed": "trigger_failed"}[row["mapped"]]
    assert done.ok is (row["flow"] == "success")


@meets("map", "one input not iterable")
def test_over_what_is_no_list_the_mapped_task_fails(run, row):
    done = run("""
@task
def xs():
    return 1

@task
def ys() -> list[int]:
    return [1]

@task(each={"x": "xs", "y": "ys"})
def total(x: int, y: int) -> int:
    return x + y
""")
    assert children(done, "total") == [row["mapped"]]
    assert not done.ok


@meets("map", "use both mapped and whole")
def test_a_mapped_task_may_be_followed_and_collected(run, row):
    done = run(ADD_ONE + """
@task
def append(more: Collected[int]) -> list[int]:
    return [*more, 4]

@task
def again(more: int) -> int:
    return more + 1
""")
    assert done["append"] == row["append"]
    assert list(done["again"]) == row["again"]
    assert done.ok


@meets("map", "unmapped of a mapped result")
def test_a_mapped_result_may_be_taken_whole(run, row):
    done = run(ADD_ONE + """
@task
def twice(more: Collected[int]) -> list[int]:
    return [*more, *more]
""")
    assert done["twice"] == row["expected"]


@meets("map", "each child called once")
def test_each_element_is_called_once(run, row, capfd, tmp_path):
    run("""
from pathlib import Path

def note(name: str) -> None:
    with Path("calls").open("a") as file:
        print(name, file=file)

@task
def xs() -> list[int]:
    return list(range(5))

@task(each={"x": "xs"}, cache=False)
def a(x: int) -> int:
    note("a")
    return x + 1

@task(cache=False)
def b(a: int) -> int:
    note("b")
    return a + 1

@task(cache=False)
def c(a: int) -> int:
    note("c")
    return a + 1
""")
    assert len((tmp_path / "calls").read_text().split()) == row["prints"]


def test_equal_elements_are_each_called_with_the_cache_off(run):
    """The way out that the list of differences names."""
    done = run("""
import random

@task
def xs() -> list[int]:
    return [1, 1, 1]

@task(each={"x": "xs"}, cache=False)
def drawn(x: int) -> float:
    return random.random()
""")
    assert len(set(done["drawn"])) == 3


def test_lists_that_belong_together_are_one_list_of_pairs(run):
    """The way out that the list of differences names."""
    done = run("""
@task
def pairs() -> list[tuple[int, int]]:
    return list(zip(range(3), range(2)))

@task(each={"x,y": "pairs"})
def total(x: int, y: int) -> int:
    return x + y
""")
    assert list(done["total"]) == [0, 2]


# Branches

IF = """
@task
def condition() -> Any:
    return {value!r}

@task
def yes(condition: Any) -> Any:
    return {true!r} if condition else skip("no")

@task
def no(condition: Any) -> Any:
    return skip("yes") if condition else {false!r}

@task
def merge(yes: Any | Skipped, no: Any | Skipped) -> Any:
    return no if isinstance(yes, Skipped) else yes
"""


@meets("branching", "truthy goes to the true branch", "falsy goes to the false branch")
def test_the_branch_that_is_not_taken_is_skipped(run, row):
    for value in row["values"]:
        done = run(IF.format(value=value, true=1, false=2), no_cache=True)
        names = {"true": "yes", "false": "no"}
        states = {k: "skipped" if isinstance(done.outcomes[n], Skipped) else "success" for k, n in names.items()}
        assert states == {k: row[k] for k in names}
        assert done.ok


@meets("branching", "merge value", "merge value 2", "merge of a real None", "merge list value")
def test_a_merge_gives_the_value_of_the_branch_that_ran(run, row):
    done = run(IF.format(value=row["condition"], true=row["true_value"], false=row["false_value"]))
    assert done["merge"] == row["merge"]


@meets("branching", "merge of two that ran")
def test_a_merge_of_two_that_ran_gives_the_first(run, row):
    one, two = row["values"]
    done = run(f"""
@task
def yes() -> str:
    return {one!r}

@task
def no() -> str:
    return {two!r}

@task
def merge(yes: str | Skipped, no: str | Skipped) -> str:
    return no if isinstance(yes, Skipped) else yes
""")
    assert done["merge"] == row["merge"]


@meets("branching", "switch")
def test_a_switch_takes_the_one_branch_that_is_meant(run, row):
    text = "@task\ndef condition(choice: str = 'x') -> str:\n    return choice\n"
    for case in row["cases"]:
        text += (
            f"@task\ndef {case}(condition: str) -> str:\n"
            f"    return condition if condition == {case!r} else skip('other')\n"
        )
    for choice in [*row["cases"], "x"]:
        done = run(text, params={"choice": choice})
        ran = [case for case in row["cases"] if isinstance(done.outcomes[case], Success)]
        assert ran == ([choice] if choice != "x" else [])
        assert all(isinstance(done.outcomes[c], Skipped) for c in row["cases"] if c not in ran)
        assert done.ok


@meets("branching", "diamond")
def test_a_skip_goes_down_its_branch_and_ends_at_the_merge(run, row):
    done = run("""
@task
def t1() -> int:
    return 1

@task
def t2(t1: int) -> int:
    return t1

@task
def t3(t2: int) -> int:
    return t2

@task
def f1() -> int:
    skip("no")

@task
def f2(f1: int) -> int:
    return f1

@task
def f3(f2: int) -> int:
    return f2

@task
def merge(t3: int | Skipped, f3: int | Skipped) -> int:
    return f3 if isinstance(t3, Skipped) else t3
""")
    assert [shown(done.outcomes[n]) for n in ("t1", "t2", "t3")] == [1, 1, 1]
    assert [shown(done.outcomes[n]) for n in ("f1", "f2", "f3")] == ["skipped"] * 3
    assert done["merge"] == 1
    assert done.ok


@meets("branching", "merge all skipped")
def test_a_merge_of_nothing_is_skipped(run, row):
    done = run("""
@task
def yes() -> int:
    skip("one")

@task
def no() -> int:
    skip("two")

@task(trigger="any_succeeded")
def merge(yes: int | Skipped, no: int | Skipped) -> int:
    return no if isinstance(yes, Skipped) else yes
""")
    assert shown(done.outcomes["merge"]) == row["merge"]
    assert done.ok


@meets("branching", "merge must not compare values")
def test_a_value_that_cannot_be_compared_passes_through(run, row):
    done = run("""
class Stubborn:
    def __eq__(self, other):
        raise TypeError("not comparable")
    __hash__ = None
    def __bool__(self):
        raise TypeError("neither true nor false")

@task(cache=False)
def yes() -> Any:
    return Stubborn()

@task
def no() -> int:
    skip("yes")

@task(cache=False)
def merge(yes: Any | Skipped, no: int | Skipped) -> Any:
    return no if isinstance(yes, Skipped) else yes
""")
    assert done.ok
    assert type(done["merge"]).__name__ == "Stubborn"


@meets("branching", "mapped switch + merge")
def test_a_switch_and_merge_of_each_element(run, row):
    text = f"@task\ndef items() -> list[str]:\n    return {row['items']!r}\n"
    text += "@task(each={'item': 'items'})\ndef case(item: str) -> str:\n    return item\n"
    for name in "abc":
        text += f"@task\ndef {name}(case: str) -> str:\n    return case if case == {name!r} else skip('other')\n"
    text += """
@task
def merge(a: str | Skipped, b: str | Skipped, c: str | Skipped) -> str:
    return next(x for x in (a, b, c) if not isinstance(x, Skipped))
"""
    done = run(text)
    for name in "abc":
        assert children(done, name) == [x if x is not None else "skipped" for x in row[name]]
    assert list(done["merge"]) == row["merge"]


@meets("branching", "mapped if + merge")
def test_an_if_and_merge_of_each_element(run, row):
    done = run(f"""
@task
def items() -> list[int]:
    return {row["items"]!r}

@task(each={{"item": "items"}})
def odd(item: int) -> str:
    return "odd" if item % 2 else skip("even")

@task(each={{"item": "items"}})
def even(item: int) -> str:
    return skip("odd") if item % 2 else "even"

@task
def merge(odd: str | Skipped, even: str | Skipped) -> str:
    return even if isinstance(odd, Skipped) else odd
""")
    assert list(done["merge"]) == row["merge"]


@meets("branching", "filter drops None and exceptions")
def test_a_filter_is_a_skip_and_a_collection_of_successes(run, row):
    done = run(f"""
@task
def items() -> list[Any]:
    return {row["items"]!r}

@task(each={{"item": "items"}}, allow_failure=True)
def wanted(item: Any) -> Any:
    if item == "<ValueError>":
        raise ValueError
    return skip("nothing") if item is None else item

@task
def kept(wanted: Collected[Success[Any]]) -> list[Any]:
    return [success.value for success in wanted]
""")
    assert done["kept"] == row["kept"]
    assert done.ok


# Cron: what several crons agree on, and what robfig's (Go) does


def cron_next(expression, tz, start):
    """The first time after ``start``, or what is wrong with the expression."""
    from flowkit_plugins.schedule import Cron

    try:
        schedule = Cron(expression)
    except ValueError as error:
        return error.problem
    return next(schedule.instants(cron_time(start), ZoneInfo(tz) if tz else UTC))


def cron_time(text):
    """Times without an offset are of one zone without changes."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def robfig():
    """Text of a row → the row as (expression, zone, start, the time it gives or None)."""
    tables = json.loads((VECTORS / "cron_robfig.json").read_text())
    found = {}
    for row in tables["next"]:
        expression = row.get("expr5", row["expr6"])
        expected = row["expected"] and cron_time(row["expected"])
        found[f"{expression} from {row['start']}"] = (expression, row["tz"], row["start"], expected)
    for row in tables["fires"]:
        before = (datetime.fromisoformat(row["time"]) - timedelta(seconds=1)).isoformat()
        found[f"{row['expr']} at {row['time']}"] = (row["expr"], None, before, (cron_time(row["time"]), row["fires"]))
    for expression in tables["invalid"]:
        found[f"{expression} is refused"] = (expression, None, "2026-01-01", None)
    return found


def robfig_differs(row):
    expression, tz, start, expected = row
    got = cron_next(expression, tz, start)
    if isinstance(expected, tuple):
        return (got == expected[0]) is not expected[1]
    return not isinstance(got, str) if expected is None else got != expected


def test_a_cron_expression_means_what_all_crons_agree_on():
    with (VECTORS / "cron_agreed.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 762
    wrong = [row for row in table if cron_next(row["expr"], row["tz"], row["start_exclusive"]) != cron_time(row["expected"])]
    assert wrong == []


def test_a_cron_expression_means_what_it_means_to_robfig_or_is_listed_as_a_difference():
    table = robfig()
    assert len(table) > 70
    assert sorted(text for text, row in table.items() if robfig_differs(row)) == sorted(listed("cron_robfig.json"))


# All of them


@pytest.mark.parametrize("file", [*MET, "triggers_prefect1.json"])
def test_every_row_is_met_or_listed_as_a_difference(file):
    if file == "triggers_prefect1.json":
        texts, met = list(TRIGGER_ROWS), set(MET_TRIGGERS)
    else:
        texts, met = [row["id"] for row in rows(file)], MET[file]
    assert [t for t in texts if t not in met and not differs(t, file)] == []
    assert [t for t in met if differs(t, file)] == []
    for row in listed(file):
        assert any(t == row or (row.endswith("…") and t.startswith(row[:-1])) for t in texts), f"no such row: {row}"


@pytest.mark.parametrize("text", [t for t in TRIGGER_ROWS if differs(t, "triggers_prefect1.json")])
def test_a_trigger_that_is_listed_as_different_is_different(text):
    """A list of differences that is out of date is worse than none."""
    row = TRIGGER_ROWS[text]
    if row["trigger"] not in TRIGGERS or not row["upstream"] or {"pending", "retrying"} & set(row["upstream"]):
        return  # there is nothing of the kind
    became = after(TRIGGERS[row["trigger"]], row["upstream"])
    assert (became == "succeeded") is not (row["outcome"] == "run")
