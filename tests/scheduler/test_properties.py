"""The scheduler in a made-up world: random graphs, random endings, random order, virtual time.

The world below answers commands as a runner would, and holds what must be true at every step:
nothing starts before what it needs has ended, never more running than there is room for, no value
let go that somebody needs, no value kept that nobody needs, and every run ends, once.
"""

import heapq
import random
from collections import Counter

from graphs import Skip, all_nodes, check_books, graph, shown, takes
from hypothesis import event, example, given, settings, strategies as st

from flowkit import Collected, Failure, Outcome, Skipped, Success
from flowkit.scheduler import Scheduler, State
from flowkit.scheduler.commands import Announce, Cancel, Expand, Finish, Release, Start, WakeAt
from flowkit.scheduler.events import (
    AttemptStarted,
    Expanded,
    InputsMissing,
    NodeCancelled,
    NodeFailed,
    NodePutBack,
    NodeSkipped,
    NodeSucceeded,
    Recalled,
    RunStarted,
    StopRequested,
    Tick,
    ValueLost,
)
from flowkit.scheduler.states import ENDED

LIMITS = {"db": 2, "gpu": 1, "api": (2, 5.0)}
TRIGGERS = ["all_succeeded", "all_failed", "all_done", "any_succeeded", "any_failed", "none_failed", "always"]
ANNOTATIONS = [object] * 8 + [
    Success[int], Failure, Failure[ValueError], Skipped, Outcome[int], int | Failure, int | Skipped,
]  # fmt: skip


def drawn_graph(rng, size):
    """Return a random graph: arguments of every kind, needs, maps, triggers, fallbacks, limits, deadlines."""
    sketches, axes, used = {}, {}, set()

    def some(names, most):
        names = list(names)
        return rng.sample(names, min(len(names), rng.choice(range(most + 1))))

    for number in range(size):
        name = f"t{number}"
        flow = rng.choice(["one", "one", "two"])
        known = [k for k in axes if sketches[k].flow == flow]
        args, each = some(known, 2), some(known, 1)
        own = axes_of(axes, args, each)
        if len(own) > 2:
            args, each = args[:1], []
            own = axes_of(axes, args, each)
        if len(own) > 2:
            args, own = [], []
        gatherable = [k for k in known if k not in args and set(axes[k]) - set(own)]
        collects = some(gatherable, 2)
        needs = some(known, 1)
        used.update(args, each, collects, needs)
        options = {}
        if (args or collects or needs) and rng.random() < 0.25:
            options["trigger"] = rng.choice(TRIGGERS)
        # A fallback that is asked for by what its task needs would wait for itself.
        fallbacks = [
            k
            for k in known
            if not used & chain(sketches, k) and set(axes[k]) <= set(own) and "given" not in sketches[k].options
        ]
        if fallbacks and rng.random() < 0.4:
            options["fallback"] = rng.choice(fallbacks)
        if rng.random() < 0.3:
            options["demands"] = rng.choice([{"db": 1}, {"db": 2}, {"gpu": 1}, {"api": 1}, {"db": 1, "gpu": 1, "api": 1}])
        if rng.random() < 0.2:
            options["deadline"] = float(rng.randint(1, 6))
        if not (args or collects or needs or each) and rng.random() < 0.1:
            options = {"given": lambda path: None}
        options["allow_failure"] = rng.random() < 0.1
        axes[name] = own
        asked = {a: rng.choice(ANNOTATIONS) for a in args}
        asked |= {c: Collected[rng.choice(ANNOTATIONS)] for c in collects}
        sketches[name] = takes(flow=flow, each=each, needs=needs, options=options, **asked)
    flows = {sketch.flow for sketch in sketches.values()}
    return graph({f: float(rng.randint(5, 40)) for f in sorted(flows) if rng.random() < 0.1}, **sketches)


def chain(sketches, name):
    """A task, its fallback, the fallback of that …"""
    found = set()
    while name is not None:
        found.add(name)
        name = sketches[name].options.get("fallback")
    return found


def axes_of(axes, args, each):
    found = [axis for name in args for axis in axes[name]]
    for source in each:
        found += [*axes[source], source]
    return list(dict.fromkeys(found))


class World:
    """Answers the scheduler as a runner would, by the draw of one random source.

    Attributes:
        at_hand: Nodes whose value is at hand.
        hollow: Nodes known to be good, whose value is not at hand.
    """

    def __init__(self, rng, size, *, stop=False):
        self.rng = rng
        self.slots = rng.randint(1, 4)
        maxfail = rng.choice([None, None, 1, 2]) if stop else None
        self.machine = Scheduler(drawn_graph(rng, size), slots=self.slots, limits=LIMITS, maxfail=maxfail)
        self.now = 0.0
        self.heard = []
        self.at_hand, self.hollow = set(), set()
        self.running = {}
        self.finished = 0
        self._happenings = []
        self._count = 0
        self._wake = None
        self._puts = Counter()
        self._losses = rng.choice([0, 2])
        self._again = False
        self._api = []
        self._stops = {}
        self._final = False
        self._recalls = rng.random() < 0.5
        self._later(0.0, self._begin)
        for _ in range(rng.choice([0, 1, 1, 2]) if stop else 0):
            self._later(float(rng.randint(0, 30)), self._stop)

    def run(self):
        """Let everything happen until nothing is left to happen."""
        for _ in range(100_000):
            if self._wake is not None and (not self._happenings or self._wake <= self._happenings[0][0]):
                self.now, self._wake = self._wake, None
                self._say(Tick(self.now))
            elif self._happenings:
                self.now, _, _, happens = heapq.heappop(self._happenings)
                said = happens()
                if said is not None:
                    self._say(said)
            else:
                break
            if self.finished:
                break
        assert self.finished == 1, "the run does not end"
        self._check_end()
        return self

    def _begin(self):
        if self._recalls:
            self._later(self.rng.choice([0.0, 0.0, 40.0]), self._recall)  # 40: it may be stopped before
        return RunStarted(self.now, held=self._recalls)

    def _recall(self):
        """Some nodes are known, whatever they wait for."""
        often = self.rng.choice([0.3, 0.9, 1.0])
        return Recalled(self.now, [node for node in self.machine.recallable if self.rng.random() < often])

    def _later(self, after, happens):
        self._count += 1
        heapq.heappush(self._happenings, (self.now + after, self.rng.random(), self._count, happens))

    def _say(self, said):
        commands = self.machine.handle(said)
        check_books(self.machine)
        self._let_go = {command.node for command in commands if isinstance(command, Release)}
        for command in commands:
            assert not self.finished, "commands after Finish"
            self.heard.append(f"{self.now:g} {shown(command)}")
            getattr(self, f"_{type(command).__name__.lower()}")(command)

    # What is wanted

    def _start(self, command):
        node = command.node
        assert node.state is State.RUNNING
        if node.task.given is not None:
            self.at_hand.add(node)
            self._later(0.0, lambda: NodeSucceeded(self.now, node))
            return
        assert node not in self.running, "started twice"
        self._check_start(node)
        self.running[node] = node.serial
        lost = [up for up in self._inputs(node) if self._value(up) not in self.at_hand]
        # What is called again may find that what it took the first time was let go since; so may who takes a fallback
        # instead of a value that was good at first, was lost, and failed the second time.
        late = [up for up in lost if self._again and self._value(up) is not up]
        assert node.forced or all(self._value(up) in self.hollow or up in late for up in lost), "a value was let go that was needed"
        if not lost and self._losses and self.rng.random() < 0.03:
            lost = [up for up in self._inputs(node)][:1]
            for up in lost:
                self._losses -= 1
                self._again = True
                self.at_hand.discard(self._value(up))
                self.hollow.add(self._value(up))
        if lost:
            self._later(0.0, self._end(node, lambda: InputsMissing(self.now, node, lost)))
            return
        if node.task.deadline is not None:
            self._later(0.0, lambda: AttemptStarted(self.now, node) if self.running.get(node) == node.serial else None)
        self._later(self.rng.choice([0.0, 0.0, 1.0, 2.0, 5.0, 20.0]), self._end(node, lambda: self._ending(node)))

    def _end(self, node, ending):
        serial = node.serial

        def happens():
            if self.running.get(node) != serial:
                return None  # it was cancelled, and has ended already
            said = ending()
            del self.running[node]
            return said

        return happens

    def _ending(self, node):
        draw = self.rng.random()
        self.at_hand.discard(node)  # an earlier value, if it was called again
        if draw < 0.12 and self._puts[node] < 3:
            self._puts[node] += 1
            return NodePutBack(self.now, node, self.now + self.rng.choice([0.0, 1.0, 3.0]))
        if draw < 0.3:
            return NodeFailed(self.now, node, self.rng.choice([ValueError(), KeyError()]))
        if draw < 0.4:
            return NodeSkipped(self.now, node, "why")
        hollow = draw < 0.6 and not node.forced
        (self.hollow if hollow else self.at_hand).add(node)
        self.hollow.discard(node) if not hollow else None
        return NodeSucceeded(self.now, node, hollow)

    def _take(self, command):
        for node in command.nodes:
            assert node.settled and node.state is State.SUCCEEDED
            assert all(up.succeeded for _, ups in self.machine.upstreams(node) for up in ups)
            if node.holders or node in self._let_go:  # by somebody who ended as soon as this was known
                self.at_hand.add(node)

    def _expand(self, command):
        node, axis = command.node, command.axis
        if self._value(node) not in self.at_hand:
            assert self._value(node) in self.hollow
            self._again = self._again or node.stand_in is not None
            self._later(0.0, lambda: ValueLost(self.now, node))
            return
        if self.rng.random() < 0.1:
            self._later(0.0, lambda: Expanded(self.now, node, axis, error=TypeError("no list")))
            return
        ids = [str(i) for i in range(self.rng.randint(0, 4))]
        only = None if self.rng.random() < 0.9 else ids and [0]
        self._later(0.0, lambda: Expanded(self.now, node, axis, ids, only=only))

    def _cancel(self, command):
        node = command.node
        assert node in self.running, "cancelled, but not running"
        ended = NodeFailed(self.now, node, TimeoutError()) if command.timeout else NodeCancelled(self.now, node)
        if self.rng.random() < 0.8:  # else it ends by itself, in time
            self._later(0.0, self._end(node, lambda: ended))

    def _release(self, command):
        node = command.node
        # What was to be called again had held its inputs again, which may be gone already.
        assert node in self.at_hand or node in self.hollow or self._again, "let go twice"
        self.at_hand.discard(node)
        self.hollow.discard(node)

    def _announce(self, command):
        assert command.node.state in (State.SKIPPED, State.UPSTREAM, State.NOT_RUN, State.FAILED)

    def _wakeat(self, command):
        assert command.at >= self.now or self._wake is None
        self._wake = command.at if self._wake is None else min(self._wake, command.at)

    def _finish(self, command):
        self.finished += 1

    def _stop(self):
        flow = self.rng.choice([None, *self.machine.graph.flows])
        final = self.rng.random() < 0.3
        self._final = self._final or final
        return StopRequested(self.now, "stop", cancel=self.rng.random() < 0.5, final=final, flow=flow)

    # What must be true

    def _inputs(self, node):
        """The upstreams whose value a call of the node takes."""
        ups = [
            up
            for edge, nodes in self.machine.upstreams(node)
            if edge.argument is not None
            for up in nodes
            if up.succeeded
        ]
        taken = {element.axis for element in node.task.elements}
        for (source, _), axis in zip(self.machine.element_sources(node), node.task.axes, strict=False):
            if axis in taken:
                ups.append(source)
        return ups

    @staticmethod
    def _value(node):
        return node.stand_in or node

    def _check_start(self, node):
        for _, ups in self.machine.upstreams(node):
            for up in ups:
                assert up.settled, (node, up)
                assert up.state in ENDED, (node, up)
                assert (up.stand_in or up).settled, (node, up.stand_in)
        taken = {element.axis for element in node.task.elements}
        for (source, _), axis in zip(self.machine.element_sources(node), node.task.axes, strict=False):
            assert source.succeeded or axis not in taken, (node, source)
        machine = self.machine
        assert len(self.running) < self.slots, "more running than slots"
        for name, limit in LIMITS.items():
            demanded = node.task.demands.get(name, 0)
            if isinstance(limit, int):
                assert demanded + sum(n.task.demands.get(name, 0) for n in self.running) <= limit, name
            elif demanded:
                amount, period = limit
                self._api = [at for at in self._api if at > self.now - period]
                assert len(self._api) + demanded <= amount, "more often than the rate"
                self._api += [self.now] * demanded
        if node.task.given is None and node.task.flow in machine.stopped:
            assert node.task.trigger == "always", "started after the stop"
            assert not self._final, "started after the interrupt"
        if node.task.is_fallback:
            callers = [n for n in all_nodes(machine) if n.task.fallback is node.task]
            assert any(n.state is State.FAILED for n in callers), "a fallback that nobody called"

    def _check_end(self):
        nodes = list(all_nodes(self.machine))
        assert all(n.state in ENDED and n.settled for n in nodes)
        assert not self.running
        kept = [n for n in self.at_hand | self.hollow if n.state is State.SUCCEEDED]
        assert not kept, "values that nobody needs were kept"
        for node in nodes:
            if node.state is State.UPSTREAM:
                assert node.reason
            if node.state is State.NOT_RUN:
                assert node.task.flow in self.machine.stopped


@settings(max_examples=4 * settings.default.max_examples)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 12))
@example(seed=18412263, size=12)
def test_every_run_ends_and_keeps_the_rules(seed, size):
    world = World(random.Random(seed), size).run()
    event(f"{len(world.heard) // 50 * 50}+ commands")
    assert not any(n.state is State.NOT_RUN for n in all_nodes(world.machine)) or world.machine.stopped


@settings(max_examples=4 * settings.default.max_examples)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 12))
def test_every_run_ends_though_it_is_stopped(seed, size):
    World(random.Random(seed), size, stop=True).run()


@given(seed=st.integers(0, 2**32), size=st.integers(1, 12), stop=st.booleans())
def test_the_same_seed_gives_the_same_commands(seed, size, stop):
    one = World(random.Random(seed), size, stop=stop).run()
    two = World(random.Random(seed), size, stop=stop).run()
    assert one.heard == two.heard
