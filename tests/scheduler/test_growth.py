"""Fan-out against brute force: nested loops over plain lists, on generated graphs.

The reference below knows nothing of the scheduler. It is §5 of the language page as loops: which
axes a task has, which elements there are and in which order, what each collector gathers, and what
becomes of every element when some skip themselves (a filter) or fail.
"""

import itertools
import random
from dataclasses import dataclass, field

from graphs import Skip, all_nodes, check_books, graph, play, takes
from hypothesis import event, given, settings, strategies as st

from flowkit import Collected
from flowkit.scheduler import Scheduler

#: The most axes and tasks that are generated: 3 elements on 4 axes are 81 nodes.
AXES, TASKS = 4, 8


@dataclass
class Loops:
    """Tasks as plain data, and the nested loops over them.

    Attributes:
        args, each, collects, needs: Task → the names it asks for.
        axes: Task → its axes; an axis is known by its source's name.
        states: Task → positions → (state, names of the failed nodes at the root of it).
    """

    seed: int
    trouble: float
    args: dict[str, list[str]] = field(default_factory=dict)
    each: dict[str, list[str]] = field(default_factory=dict)
    collects: dict[str, list[str]] = field(default_factory=dict)
    needs: dict[str, list[str]] = field(default_factory=dict)
    axes: dict[str, list[str]] = field(default_factory=dict)
    states: dict[str, dict[tuple[int, ...], tuple[str, frozenset[str]]]] = field(default_factory=dict)

    # What the outside says: drawn once for each name, whatever the order

    def ids(self, name, at):
        """The list that a node returns, as its elements' ids."""
        many = random.Random(f"{self.seed} list {name} {at}").choice([0, 1, 2, 2, 3, 3, 3, 3])
        return [f"{name}{'abc'[i]}" for i in range(many)]

    def ending(self, name, at):
        draw = random.Random(f"{self.seed} end {name} {at}").random()
        if draw < self.trouble:
            return "failed" if draw < self.trouble / 2 else "skipped"
        return "succeeded"

    # The loops

    def inherited(self, args, each):
        """Axes of the arguments in their order, then those of ``each``, an outer one first."""
        found = [axis for name in args for axis in self.axes[name]]
        for source in each:
            found += [*self.axes[source], source]
        return list(dict.fromkeys(found))

    def add(self, name, args, each, collects, needs):
        self.args[name], self.each[name], self.collects[name], self.needs[name] = args, each, collects, needs
        self.axes[name] = self.inherited(args, each)

    def at(self, name, place, other):
        """The positions of ``other``'s axes at a place of ``name``, as far as there are any."""
        mine = dict(zip(self.axes[name], place, strict=False))
        return tuple(mine[axis] for axis in itertools.takewhile(mine.__contains__, self.axes[other]))

    def places(self, name, place=()):
        """Yield (positions, sources whose list is missing there), by nested loops."""
        axes = self.axes[name]
        if not place:
            missing = [a for a in axes if not self.axes[a] and self.states[a][()][0] != "succeeded"]
            if missing:
                yield (), missing
                return
        if len(place) == len(axes):
            yield place, []
            return
        source = axes[len(place)]
        at = self.at(name, place, source)
        if self.states[source][at][0] != "succeeded":
            yield place, [source]
            return
        for position in range(len(self.ids(source, at))):
            yield from self.places(name, (*place, position))

    def run(self):
        for name in self.axes:
            self.states[name] = {}
            for place, missing in self.places(name):
                if self.follows(name, place):
                    causes = self.verdicts(name, place)
                else:
                    causes = [self.states[m][self.at(name, place, m)] for m in missing]
                if any(state == "skipped" for state, _ in causes):
                    became = ("skipped", frozenset())
                elif causes:
                    became = ("upstream", frozenset().union(*(roots for _, roots in causes)))
                else:
                    how = self.ending(name, place)
                    became = (how, frozenset({self.id(name, place)} if how == "failed" else ()))
                self.states[name][place] = became

    def follows(self, name, place):
        """Whether a node is judged by its upstreams: also where a list is missing, unless it was to take an element."""
        lacking = set(self.axes[name][len(place) :])
        return not lacking & set(self.each[name]) and all(
            self.at(name, place, up) in self.states[up] for up in self.args[name]
        )

    def verdicts(self, name, place):
        """What is in the way of a node: of each upstream that is not as wanted, its state and roots."""
        found = [self.states[up][self.at(name, place, up)] for up in self.args[name]]
        for up in [*self.collects[name], *self.needs[name]]:
            gathered = [axis for axis in self.axes[up] if axis not in self.axes[name]]
            for other in self.behind(name, place, up):
                state, roots = self.states[up][other]
                # A branch without elements that was skipped is absent like an element, unless it is
                # all that there is to gather.
                branch = any(axis in gathered for axis in self.axes[up][: len(other)])
                if state == "skipped" and branch and gathered:
                    continue
                found.append((state, roots))
        return [(state, roots) for state, roots in found if state != "succeeded"]

    def behind(self, name, place, up):
        """The positions of all nodes of ``up`` that are aligned with a node on the axes both have."""
        mine = dict(zip(self.axes[name], place, strict=False))
        return [
            other
            for other in self.states[up]
            if all(mine.get(axis, at) == at for axis, at in zip(self.axes[up], other, strict=False))
        ]

    # Names

    def parts(self, name, place):
        """(axis, id) for each axis of a node."""
        axes = self.axes[name]
        return [
            (axis, self.ids(axis, tuple(place[axes.index(a)] for a in self.axes[axis]))[position])
            for axis, position in zip(axes, place, strict=False)
        ]

    def id(self, name, place):
        ids = [part for _, part in self.parts(name, place)]
        return f"{name}[{'-'.join(ids)}]" if ids else name

    def collected(self, name, place, up):
        """What a collector gathers: node ids, and the ids that ``Collected.ids`` has."""
        others = self.behind(name, place, up)
        shown = ["-".join(i for axis, i in self.parts(up, o) if axis not in self.axes[name]) for o in others]
        return [self.id(up, o) for o in others], shown


@st.composite
def loops(draw):
    """Tasks that map, multiply, nest, follow, align, group and collect."""
    made = Loops(draw(st.integers(0, 2**32)), draw(st.sampled_from([0.0, 0.0, 0.1, 0.3])))
    for number in range(draw(st.integers(4, TASKS))):
        known = list(made.axes)
        some = st.lists(st.sampled_from(known), max_size=2, unique=True) if known else st.just([])
        args = draw(some)
        many = draw(st.sampled_from([0, 1, 1, 2]))
        each = draw(st.lists(st.sampled_from(known), min_size=many, max_size=many)) if known else []
        if len(made.inherited(args, each)) > AXES:
            args, each = args[:1], []
        axes = made.inherited(args, each)
        gatherable = [k for k in known if k not in args and set(made.axes[k]) - set(axes)]
        collects = draw(st.lists(st.sampled_from(gatherable), max_size=2, unique=True)) if gatherable else []
        needs = draw(st.lists(st.sampled_from(known), max_size=1)) if known else []
        made.add(f"t{number}", args, each, collects, needs)
    return made


def built(made):
    return graph(
        **{
            name: takes(
                *made.args[name],
                each=made.each[name],
                needs=made.needs[name],
                **dict.fromkeys(made.collects[name], Collected[object]),
            )
            for name in made.axes
        }
    )


def outside(made):
    """Every node that the reference has → how it ends by itself, and the list it returns."""
    endings, lists = {}, {}
    for name, states in made.states.items():
        for place in states:
            node = made.id(name, place)
            how = made.ending(name, place)
            endings[node] = {"failed": ValueError(node), "skipped": Skip("odd"), "succeeded": None}[how]
            lists[node] = made.ids(name, place)
    return endings, lists


def ran(made, order):
    made.run()
    machine = Scheduler(built(made), slots=3)
    endings, lists = outside(made)
    commands = play(machine, endings, lists, choose=order.randrange)
    check_books(machine)
    assert machine.finished
    return machine, commands


@settings(max_examples=3 * settings.default.max_examples)
@given(made=loops(), order=st.randoms(use_true_random=False))
def test_nodes_are_those_of_nested_loops_in_their_order(made, order):
    machine, _ = ran(made, order)
    event(f"{sum(map(len, made.states.values())) // 20 * 20}+ nodes")
    for task in machine.states:
        assert [a.name for a in task.axes] == made.axes[task.name]
        found = [(node.id, node.state.value) for node in machine.nodes(task)]
        wanted = [(made.id(task.name, p), state) for p, (state, _) in made.states[task.name].items()]
        assert found == wanted
        for node in machine.nodes(task):
            assert {root.id for root in node.roots} | {node.id for _ in [0] if node.state.value == "failed"} == set(
                made.states[task.name][node.coords][1]
            )


@settings(max_examples=2 * settings.default.max_examples)
@given(made=loops(), order=st.randoms(use_true_random=False))
def test_each_edge_leads_to_the_nodes_that_are_aligned(made, order):
    machine, _ = ran(made, order)
    for node in all_nodes(machine):
        name, place = node.task.name, node.coords
        if len(place) < len(made.axes[name]):
            continue
        for edge, ups in machine.upstreams(node):
            up = edge.source.name
            found = [n.id for n in ups]
            if edge.argument is not None and not edge.collected:
                assert found == [made.id(up, made.at(name, place, up))]
                continue
            nodes, ids = made.collected(name, place, up)
            assert found == nodes
            if edge.gathered:
                assert machine.gathered_ids(node, edge, ups) == ids
        for (source, position), axis in zip(machine.element_sources(node), made.axes[name], strict=True):
            assert source.id == made.id(axis, made.at(name, place, axis))
            assert position == place[made.axes[name].index(axis)]


@given(made=loops(), one=st.randoms(use_true_random=False), two=st.randoms(use_true_random=False))
def test_what_becomes_of_each_node_does_not_depend_on_who_ends_first(made, one, two):
    def story(order):
        machine, _ = ran(made, order)
        return [(n.id, n.state, n.reason, [r.id for r in n.roots]) for n in all_nodes(machine)]

    assert story(one) == story(two)


@given(made=loops(), order=st.randoms(use_true_random=False))
def test_each_value_is_let_go_once_and_each_unrun_node_announced_once(made, order):
    machine, commands = ran(made, order)
    named = {kind: [] for kind in ("Start", "Release", "Announce")}
    for command in commands:
        named.get(type(command).__name__, []).append(getattr(command, "node", None))
    nodes = list(all_nodes(machine))
    started = {n for n in nodes if n.serial}
    assert len(named["Start"]) == len(set(named["Start"])) == len(started)
    assert set(named["Release"]) == {n for n in nodes if n.state.value == "succeeded"}
    assert len(named["Release"]) == len(set(named["Release"]))
    assert set(named["Announce"]) == set(nodes) - started
    assert len(named["Announce"]) == len(set(named["Announce"]))
