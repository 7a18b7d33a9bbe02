"""Timeouts: what a user may write, and the deadline that is written down for it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from plugin_attempts import a_graph, a_session, a_task

from flowkit.errors import OptionError
from flowkit.graph import BoundFlow
from flowkit_plugins import timeout
from flowkit_plugins.timeout import Timeout


def option(hook):
    (found,) = a_session(timeout).plugins.all(hook)[0][1]
    assert found.name == "timeout"
    assert found.default is None
    return found


def collected(written):
    """A task with this ``timeout``, after the plugin saw it."""
    task = a_task(timeout=option("flowkit_task_options").convert(written))
    a_session(timeout).plugins.all("flowkit_task_collected", task=task)
    return task


@pytest.mark.parametrize(
    "written", [30, 30.0, "30s", "0.5m", timedelta(seconds=30), {"seconds": "30s"}, Timeout("30s")]
)
def test_every_form_gives_the_deadline_in_seconds(written):
    task = collected(written)
    assert task.deadline == 30.0
    assert task.hard is False


def test_no_timeout_gives_no_deadline():
    task = a_task()
    a_session(timeout).plugins.all("flowkit_task_collected", task=task)
    assert task.deadline is None
    assert collected(None).deadline is None


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (0, "longer than 0"),
        ("0s", "longer than 0"),
        (-1, "not negative"),
        (True, "a duration is seconds"),
        ("soon", "no duration"),
        (float("inf"), "finite"),
        ([30], "a duration is seconds"),
        ({"second": 30}, "Did you mean 'seconds'"),
        ({"hard": True}, "needs seconds"),
        ({"seconds": 30, "hard": "yes"}, "hard: True or False"),
    ],
)
def test_what_does_not_fit_is_refused(written, complaint):
    with pytest.raises((TypeError, ValueError), match=re.escape(complaint)):
        collected(written)


def test_a_hard_timeout_is_refused_before_anything_runs():
    soft = collected(30)
    hard = collected({"seconds": 90, "hard": True})
    assert hard.hard
    ((_, errors),) = a_session(timeout).plugins.all("flowkit_collected", graph=a_graph(soft, hard))
    (error,) = errors
    assert isinstance(error, OptionError)
    assert "hard timeout of 1m30s" in error.what
    assert "worker process" in error.known
    assert "Drop hard=True" in error.remedy


def test_a_flows_timeout_becomes_its_deadline():
    flow = BoundFlow("weather", "weather.py")
    a_session(timeout).plugins.all("flowkit_flow_collected", flow=flow)
    assert flow.deadline is None
    flow.options["timeout"] = option("flowkit_flow_options").convert("2m")
    a_session(timeout).plugins.all("flowkit_flow_collected", flow=flow)
    assert flow.deadline == 120.0


@pytest.mark.parametrize("written", [0, -3, False, "x", {"seconds": 3}])
def test_a_flows_timeout_is_a_duration_above_zero(written):
    with pytest.raises((TypeError, ValueError)):
        option("flowkit_flow_options").convert(written)
