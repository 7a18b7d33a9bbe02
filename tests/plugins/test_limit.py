"""Limits: what a user may write, what nodes then demand, and how much of it there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_attempts import a_graph, a_session, a_task

from flowkit.errors import OptionError
from flowkit.settings import Settings
from flowkit_plugins import limit
from flowkit_plugins.limit import Limit


def session_with(**limits):
    """A session whose pyproject.toml has these ``[tool.flowkit.limits]``."""
    settings = Settings(Path("/p"), Path("/p/pyproject.toml"), {"limits": limits} if limits else {})
    assert settings.check(limit.flowkit_settings()) == []
    return a_session(limit, settings=settings)


def convert(written):
    (option,) = session_with().plugins.all("flowkit_task_options")[0][1]
    assert option.name == "limit"
    assert option.default is None
    return option.convert(written)


def judged(session, **limits):
    """Return (graph, errors) for tasks of these names with these limits."""
    tasks = [a_task(name, limit=convert(written)) for name, written in limits.items()]
    for task in tasks:
        session.plugins.all("flowkit_task_collected", task=task)
    graph = a_graph(*tasks)
    return graph, [
        e for _, found in session.plugins.all("flowkit_collected", graph=graph) for e in found
    ]


def capacity(session, graph):
    ((_, sizes),) = session.plugins.all("flowkit_capacity", graph=graph)
    return sizes


def demands(graph, name):
    return graph.named(name).demands


def test_a_number_limits_the_task_itself():
    session = session_with()
    graph, errors = judged(session, page=4, other=4)
    assert errors == []
    assert demands(graph, "page") == {"task weather.py::page": 1}
    assert capacity(session, graph) == {"task weather.py::page": 4, "task weather.py::other": 4}


def test_a_name_is_a_pool_of_the_settings():
    session = session_with(db=2, api="30/m", unused=1)
    graph, errors = judged(session, load="db", call=["api", "db"])
    assert errors == []
    assert demands(graph, "load") == {"db": 1}
    assert demands(graph, "call") == {"api": 1, "db": 1}
    assert capacity(session, graph) == {"db": 2, "api": (30, 60.0)}


def test_the_size_may_be_said_in_a_task_for_all():
    session = session_with()
    graph, errors = judged(session, load="db", save={"db": 2, "api": "5/s"})
    assert errors == []
    assert capacity(session, graph) == {"db": 2, "api": (5, 1.0)}


def test_a_rate_limits_the_starts_of_the_task_itself():
    session = session_with()
    graph, errors = judged(session, call="30/m")
    assert errors == []
    assert capacity(session, graph) == {"task weather.py::call": (30, 60.0)}


def test_the_typed_value_may_have_both():
    session = session_with(api=3)
    graph, errors = judged(session, call=Limit(2, pools={"db": "1/s"}), read=Limit(pools="api"))
    assert errors == []
    assert demands(graph, "call") == {"task weather.py::call": 1, "db": 1}
    assert capacity(session, graph) == {"task weather.py::call": 2, "db": (1, 1.0), "api": 3}


def test_no_limit_demands_nothing():
    session = session_with(db=2)
    graph, errors = judged(session, free=None)
    assert errors == []
    assert demands(graph, "free") == {}
    assert capacity(session, graph) == {}


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (7, 7),
        ("30/m", (30, 60.0)),
        ("5/s", (5, 1.0)),
        ("100/h", (100, 3600.0)),
        ("10/30s", (10, 30.0)),
        ("1 / 1m30s", (1, 90.0)),
        ("1000/d", (1000, 86400.0)),
    ],
)
def test_a_size_is_an_amount_or_a_rate(written, size):
    assert limit.size(written) == size


@pytest.mark.parametrize(
    "written",
    [0, -1, True, 1.5, None, "", "two", "0/s", "5/0s", "5/", "/s", "5/fortnight", [1], {}],
)
def test_what_is_no_size_is_refused(written):
    with pytest.raises(ValueError, match=r"."):
        limit.size(written)


@pytest.mark.parametrize(
    "written", [0, -2, True, 2.5, "", [], {}, [3], [""], {"db": 0}, {"db": None}, {3: 3}, object()]
)
def test_an_option_that_does_not_fit_is_refused(written):
    with pytest.raises((TypeError, ValueError)):
        convert(written)


def test_a_pool_without_a_size_names_the_nearest():
    _, (error,) = judged(session_with(database=2, api=1), load="databse")
    assert isinstance(error, OptionError)
    assert error.what.startswith("task 'load' (")
    assert error.what.endswith("): limit 'databse' has no size")
    assert "api, database" in error.known
    assert error.remedy == "Did you mean 'database'?"


def test_a_pool_that_is_like_no_other_says_where_to_give_it_a_size():
    _, (error,) = judged(session_with(), load="db")
    assert "[tool.flowkit.limits]" in error.remedy


def test_two_sizes_for_one_pool_name_both_places():
    _, (error,) = judged(session_with(), load={"db": 2}, save={"db": "2/m"})
    assert error.what == "limit 'db' has two sizes"
    assert "2: task 'load'" in error.known
    assert "2 in 1m: task 'save'" in error.known
    _, (error,) = judged(session_with(db=3), load={"db": 2})
    assert "3: [tool.flowkit.limits] in pyproject.toml" in error.known


def test_the_same_size_twice_is_no_conflict():
    assert judged(session_with(db=2), load={"db": 2}, save={"db": 2})[1] == []


def test_a_setting_that_is_no_size_is_an_error_of_its_own():
    _, (error,) = judged(session_with(db="two"), load="db")
    assert error.what.startswith("[tool.flowkit.limits] in pyproject.toml: db = 'two' does not fit")
