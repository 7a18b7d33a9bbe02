"""A fallback ends only when all whose fallback it is have ended; who would wait for itself so is refused."""

import pytest
from graphs import takes, tried

from flowkit.errors import CycleError


@pytest.mark.parametrize(
    "tasks",
    [
        pytest.param(dict(f=takes(), t=takes("f", options={"fallback": "f"})), id="takes its own fallback"),
        pytest.param(
            dict(f=takes(), u=takes("f"), t=takes("u", options={"fallback": "f"})), id="takes what takes it"
        ),
        pytest.param(
            dict(g=takes(), f=takes(options={"fallback": "g"}), t=takes("g", options={"fallback": "f"})),
            id="takes the fallback of its fallback",
        ),
    ],
)
def test_a_task_that_would_wait_for_itself_by_way_of_its_fallback_is_a_cycle(tasks):
    _, [error] = tried(**tasks)
    assert isinstance(error, CycleError)
    assert "t" in str(error)
    assert "f" in str(error)


def test_a_fallback_may_be_asked_for_by_who_comes_after_its_task():
    _, errors = tried(f=takes(), t=takes(options={"fallback": "f"}), u=takes("f", "t"))
    assert errors == []


def test_a_shared_fallback_is_no_cycle():
    _, errors = tried(f=takes(), a=takes(options={"fallback": "f"}), b=takes("a", options={"fallback": "f"}))
    assert errors == []
