"""Many nodes and long chains: constant work for each, and no recursion.

Work is counted in calls of Python functions, which no other program on the machine disturbs.
"""

import sys

import pytest
from graphs import graph, takes

from flowkit import Collected
from flowkit.scheduler import Scheduler
from flowkit.scheduler.commands import Expand, Finish, Release, Start
from flowkit.scheduler.events import (
    Expanded,
    InputsMissing,
    NodeFailed,
    NodePutBack,
    NodeSucceeded,
    RunStarted,
    StopRequested,
    Tick,
)


def driven(machine, many, *, end=NodeSucceeded):
    """Run to the end, each list having ``many`` elements; return how many started and were released."""
    ids = [str(i) for i in range(many)]
    events = [RunStarted(0.0)]
    started = released = 0
    while events:
        for command in machine.handle(events.pop()):
            kind = type(command)
            if kind is Start:
                started += 1
                events.append(end(0.0, command.node))
            elif kind is Expand:
                events.append(Expanded(0.0, command.node, command.axis, ids))
            elif kind is Release:
                released += 1
    assert machine.finished
    return started, released


def calls(work):
    """Return how many Python and C functions are called while ``work`` is done."""
    count = 0

    def note(frame, kind, argument):
        nonlocal count
        if kind in ("call", "c_call"):
            count += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def chain(length):
    return graph(t0=takes(), **{f"t{i}": takes(f"t{i - 1}") for i in range(1, length)})


SHAPES = {
    "a chain": lambda: graph(xs=takes(), m=takes(each=["xs"]), f=takes("m"), r=takes(f=Collected[object])),
    "two loops": lambda: graph(
        xs=takes(), ys=takes(), m=takes(each=["ys", "xs"]), r=takes(each=["xs"], m=Collected[object])
    ),
    "branches": lambda: graph(xs=takes(), ys=takes(each=["xs"]), z=takes(needs=["ys"])),
    "a fallback": lambda: graph(xs=takes(), f=takes(each=["xs"]), m=takes(each=["xs"], options={"fallback": "f"})),
    "a limit": lambda: graph(xs=takes(), m=takes(each=["xs"], options={"demands": {"db": 1}})),
    "deadlines": lambda: graph(xs=takes(), m=takes(each=["xs"], options={"deadline": 5.0})),
    "a trigger": lambda: graph(xs=takes(), m=takes(each=["xs"]), f=takes("m", options={"trigger": "all_done"})),
}


def test_a_hundred_thousand_elements_and_their_followers():
    machine = Scheduler(SHAPES["a chain"](), slots=8)
    assert driven(machine, 100_000) == (200_002, 200_002)


def test_a_chain_of_ten_thousand():
    machine = Scheduler(chain(10_000), slots=2)
    assert driven(machine, 0) == (10_000, 10_000)


def test_a_failure_at_the_head_of_a_chain_of_ten_thousand():
    machine = Scheduler(chain(10_000), slots=2)
    assert driven(machine, 0, end=lambda at, node: NodeFailed(at, node, OSError())) == (1, 0)


def test_a_chain_of_ten_thousand_whose_values_are_not_at_hand():
    """The last one needs them all computed again, each finding the next one above missing."""
    machine = Scheduler(chain(10_000))
    hollow = set()
    events = [RunStarted(0.0)]
    started = 0
    while events:
        for command in machine.handle(events.pop()):
            if type(command) is not Start:
                continue
            started += 1
            node = command.node
            ups = [up for _, nodes in machine.upstreams(node) for up in nodes]
            if node.task.order < 9_999 and not node.forced:
                hollow.add(node)
                events.append(NodeSucceeded(0.0, node, hollow=True))
            elif any(up in hollow for up in ups):
                events.append(InputsMissing(0.0, node, ups))
            else:
                hollow.discard(node)
                events.append(NodeSucceeded(0.0, node))
    assert machine.finished
    assert started == 10_000 + 10_000 + 9_999 - 1


@pytest.mark.parametrize("end", ["succeeds", "fails"])
@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_nodes_and_no_faster(shape, end):
    def work(many):
        machine = Scheduler(SHAPES[shape](), slots=4, limits={"db": 2})
        if end == "succeeds":
            ends = NodeSucceeded
        else:
            ends = lambda at, node: (NodeFailed(at, node, OSError()) if node.coords else NodeSucceeded(at, node))  # noqa: E731
        return calls(lambda: driven(machine, many, end=ends))

    small, large = (10, 40) if shape == "two loops" else (500, 5_000)
    growth = (large / small) ** (2 if shape == "two loops" else 1)
    assert work(large) <= 1.3 * growth * work(small)


@pytest.mark.parametrize("many", [1_000, 10_000])
def test_an_event_costs_what_follows_from_it_however_many_nodes_there_are(many):
    machine = Scheduler(SHAPES["a chain"](), slots=4, limits={"db": 2})
    [first] = machine.handle(RunStarted(0.0))
    [expand] = machine.handle(NodeSucceeded(0.0, first.node))
    started = machine.handle(Expanded(0.0, expand.node, expand.axis, [str(i) for i in range(many)]))
    node = started[0].node
    assert calls(lambda: machine.handle(NodePutBack(0.0, node, 5.0))) < 40
    assert calls(lambda: machine.handle(Tick(5.0))) < 40
    other = started[1].node
    assert calls(lambda: machine.handle(NodeSucceeded(5.0, other))) < 60
    assert calls(lambda: machine.handle(NodeFailed(5.0, started[2].node, OSError()))) < 100


def test_ten_thousand_wrong_lists_inside_a_list_cost_the_same_each():
    def work(many):
        machine = Scheduler(
            graph(xs=takes(), ys=takes(each=["xs"]), m=takes(each=["ys"]), f=takes("m"), r=takes(f=Collected[object])),
            slots=4,
        )

        def drive():
            events = [RunStarted(0.0)]
            while events:
                for command in machine.handle(events.pop()):
                    if type(command) is Start:
                        events.append(NodeSucceeded(0.0, command.node))
                    elif type(command) is Expand and command.node.coords:
                        events.append(Expanded(0.0, command.node, command.axis, error=TypeError()))
                    elif type(command) is Expand:
                        events.append(Expanded(0.0, command.node, command.axis, [str(i) for i in range(many)]))

        found = calls(drive)
        assert machine.finished
        return found

    assert work(2_000) <= 13 * work(200)


class Positions(list):
    """Wanted elements that must not be searched."""

    def __contains__(self, position):
        raise AssertionError("looked through all wanted elements for one")


def test_no_collector_looks_for_its_element_among_all_that_are_wanted():
    machine = Scheduler(SHAPES["two loops"](), slots=4)
    events = [RunStarted(0.0)]
    while events:
        for command in machine.handle(events.pop()):
            if type(command) is Start:
                events.append(NodeSucceeded(0.0, command.node))
            elif type(command) is Expand:
                wanted = Positions([1, 3, 4])
                events.append(Expanded(0.0, command.node, command.axis, "abcde", only=wanted))
    assert machine.finished


def test_a_stop_ends_a_hundred_thousand_waiting_nodes():
    machine = Scheduler(SHAPES["a chain"](), slots=1)
    [first] = machine.handle(RunStarted(0.0))
    [expand] = machine.handle(NodeSucceeded(0.0, first.node))
    [start] = machine.handle(Expanded(0.0, expand.node, expand.axis, [str(i) for i in range(50_000)]))
    machine.handle(StopRequested(0.0, "enough"))
    assert type(machine.handle(NodeSucceeded(0.0, start.node))[-1]) is Finish
