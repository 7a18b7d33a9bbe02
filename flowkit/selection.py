"""Which tasks, and which elements of mapped tasks, a run is for."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from flowkit.collector import CollectedFlow, Selector
from flowkit.errors import SelectionError, did_you_mean, listing
from flowkit.graph import Axis, BoundFlow, BoundTask, Graph
from flowkit.records import field, record

Predicate = Callable[[Collection[str]], bool]


@record()
class Selection:
    """What was chosen.

    Attributes:
        targets: The tasks the run is for.
        elements: Task → says of a node's id whether it is wanted; tasks that are not in here are
            wanted whole.
        exact: Ids that were named with ``::``; one that turns out not to exist is an error.
    """

    targets: list[BoundTask]
    elements: dict[BoundTask, Callable[[str], bool]] = field(factory=dict)
    exact: dict[BoundTask, list[str]] = field(factory=dict)


def choose(
    graph: Graph,
    flows: Sequence[tuple[CollectedFlow, BoundFlow, Sequence[BoundTask]]],
    *,
    keyword: str = "",
    tags: str = "",
    deselect: Sequence[str] = (),
) -> Selection:
    """Return what targets, ``-k``, ``-m`` and ``--deselect`` choose together.

    Raises:
        SelectionError: A name leads nowhere, or an expression cannot be read.
    """
    selection = Selection([])
    chosen: dict[BoundTask, None] = {}
    named: set[BoundTask] = set()
    whole: set[BoundTask] = set()
    below = any(selector.below for collected, _, _ in flows for selector in collected.selectors)
    users = graph.users() if below else {}
    for collected, bound, own in flows:
        if collected.whole:
            chosen.update(dict.fromkeys(own))
            whole.update(own if collected.selectors else ())
        for selector in collected.selectors:
            task = _named(graph, bound, selector)
            named.add(task)
            found = [task]
            if selector.above:
                found += [t for t in graph.restricted([task]).tasks if t.given is None]
            if selector.below:
                found += _below(task, users)
            chosen.update(dict.fromkeys(found))
            if selector.element is None:
                whole.update(found)
            else:
                selection.exact.setdefault(task, []).append(f"{task.name}[{selector.element}]")
    for task, ids in selection.exact.items():
        if task not in whole:
            selection.elements[task] = frozenset(ids).__contains__
    selection.targets = [t for t in chosen if not t.is_fallback or t in named]
    if keyword:
        _by_keyword(selection, parse(keyword, "-k"), whole=not re.search(r"\bnot\b", keyword))
    if tags:
        wanted = parse(tags, "-m")
        selection.targets = [t for t in selection.targets if _matches_tags(wanted, t)]
    for name in deselect:
        _deselect(selection, name)
    return selection


def _named(graph: Graph, flow: BoundFlow, selector: Selector) -> BoundTask:
    mine = [t for t in graph.tasks if t.flow is flow and t.given is None]
    for task in mine:
        if task.name == selector.name or selector.name in task.provides:
            if selector.element is not None and not task.axes:
                raise SelectionError(
                    f"{flow.path}::{selector.name}[{selector.element}]: {task.name!r} is not mapped",
                    remedy=f"Write {flow.path}::{task.name}.",
                )
            return task
    names = [t.name for t in mine]
    raise SelectionError(
        f"{flow.path}::{selector.name}: there is no such task",
        known=f"tasks: {listing(names)}",
        remedy=did_you_mean(selector.name, names, "Name one of these."),
    )


def _below(task: BoundTask, users: dict[BoundTask, list[BoundTask]]) -> list[BoundTask]:
    found: dict[BoundTask, None] = {}
    stack = [task]
    while stack:
        for user in users[stack.pop()]:
            if user not in found and user.given is None:
                found[user] = None
                stack.append(user)
    return list(found)


def _by_keyword(selection: Selection, wanted: Predicate, *, whole: bool) -> None:
    """Keep tasks whose name or tags match; of other mapped tasks, the elements whose id does.

    ``whole`` says that a match of the name is one of every element, whose id only adds words: so it is without a ``not``.
    """
    kept = []
    for task in selection.targets:
        words = (task.name, *task.tags)
        if task.axes:
            before = selection.elements.get(task)
            if whole and _contains(wanted, words) and not any(c in "[]" for w in words for c in w) and before is None:
                kept.append(task)
                continue
            kept.append(task)
            selection.elements[task] = _element_filter(wanted, task, before)
        elif _contains(wanted, words):
            kept.append(task)
    selection.targets = kept


def _element_filter(
    wanted: Predicate, task: BoundTask, before: Callable[[str], bool] | None
) -> Callable[[str], bool]:
    def matches(name: str) -> bool:
        return (before is None or before(name)) and _contains(wanted, (name, *task.tags))

    return matches


def _contains(wanted: Predicate, words: Iterable[str]) -> bool:
    return wanted(_Substrings(w.lower() for w in words))


class _Substrings(Collection[str]):
    """Holds a word if it is part of one of the texts, whatever the case."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)

    def __contains__(self, word: object) -> bool:
        return any(str(word).lower() in text for text in self._texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def _matches_tags(wanted: Predicate, task: BoundTask) -> bool:
    return wanted(task.tags)


def _deselect(selection: Selection, name: str) -> None:
    plain = name.partition("::")[2] or name
    for task in list(selection.targets):
        if plain == task.name and (plain == name or name == f"{task.flow.path}::{plain}"):
            selection.targets.remove(task)
        elif plain.startswith(f"{task.name}[") and task.axes:
            before = selection.elements.get(task)

            def keeps(node: str, before: Callable[[str], bool] | None = before) -> bool:
                return node != plain and (before is None or before(node))

            selection.elements[task] = keeps


_TOKEN = r"\s*(\(|\)|\band\b|\bor\b|\bnot\b|[^\s()]+)"


def parse(text: str, flag: str) -> Predicate:
    """Read an expression of words with ``and``, ``or``, ``not`` and brackets.

    Raises:
        SelectionError: It is no such expression.
    """
    tokens = re.findall(_TOKEN, text)
    position = 0

    def fail(what: str) -> SelectionError:
        return SelectionError(
            f"{flag} {text!r}: {what}", remedy="Write words with and, or, not and brackets: -k 'raw or (page and not BUD)'."
        )

    def peek() -> str:
        return tokens[position] if position < len(tokens) else ""

    def take() -> str:
        nonlocal position
        position += 1
        return str(tokens[position - 1])

    def one() -> Predicate:
        if not peek():
            raise fail("ends where a word should stand")
        token = take()
        if token == "not":
            inner = one()
            return lambda words: not inner(words)
        if token == "(":
            inner = any_of()
            if peek() != ")":
                raise fail("a bracket is not closed")
            take()
            return inner
        if token in (")", "and", "or"):
            raise fail(f"{token!r} where a word should stand")
        return lambda words: token in words

    def all_of() -> Predicate:
        parts = [one()]
        while peek() == "and":
            take()
            parts.append(one())
        return parts[0] if len(parts) == 1 else lambda words: all(p(words) for p in parts)

    def any_of() -> Predicate:
        parts = [all_of()]
        while peek() == "or":
            take()
            parts.append(all_of())
        return parts[0] if len(parts) == 1 else lambda words: any(p(words) for p in parts)

    found = any_of()
    if peek():
        raise fail(f"{peek()!r} where 'and' or 'or' should stand")
    return found


def axis_filters(graph: Graph, selection: Selection) -> dict[Axis, Callable[[str], bool]]:
    """Return, for each axis of which only some elements are wanted by anybody, which.

    An axis may be cut only if every task that carries it is needed for nothing but elements that
    were selected: no whole target uses it, and nobody collects over it.
    """
    if not selection.elements:
        return {}
    needed_whole = graph.restricted([t for t in selection.targets if t not in selection.elements])
    blocked: set[Axis] = {axis for task in needed_whole.tasks for axis in task.axes}
    for task in graph.tasks:
        for edge in task.edges:
            blocked.update(edge.gathered)
    by_axis: dict[Axis, list[Callable[[str], bool]]] = {}
    for task, wanted in selection.elements.items():
        for axis in task.axes:
            by_axis.setdefault(axis, []).append(_one_axis(task, wanted) if len(task.axes) == 1 else _anything)
    return {
        axis: _any_of(tests)
        for axis, tests in by_axis.items()
        if axis not in blocked
    }


def element_wants(graph: Graph, selection: Selection) -> dict[BoundTask, Callable[[str], bool]]:
    """Return, for each mapped task of which not all elements are needed, which are: chosen ones, and what those need.

    Args:
        graph: What is to be run.
        selection: What was chosen.
    """
    if not selection.elements:
        return {}
    asked: dict[BoundTask, list[Callable[[str], bool]]] = {task: [] for task in graph.tasks}
    whole = {task for task in selection.targets if task not in selection.elements}
    for task, wanted in selection.elements.items():
        if task in asked:
            asked[task].append(wanted)
    for task in reversed(graph.tasks):  # users first
        every = task in whole
        aligned = [e.source for e in task.edges if not e.gathered and e.source.axes == task.axes]
        if task.fallback is not None and task.fallback.axes == task.axes:
            aligned.append(task.fallback)
        for upstream in task.upstream():
            if every or upstream not in aligned or any(e.source is upstream and e.gathered for e in task.edges):
                whole.add(upstream)
            else:
                asked[upstream] += [_as_user(task, upstream, test) for test in asked[task]]
    return {
        task: _any_of(tests)
        for task, tests in asked.items()
        if task.axes and task not in whole
    }


def _as_user(user: BoundTask, task: BoundTask, wanted: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return whether the node of ``user`` that is aligned with a node of ``task`` is wanted."""
    return lambda name: wanted(user.name + name[len(task.name) :])


def _one_axis(task: BoundTask, wanted: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda element: wanted(f"{task.name}[{element}]")


def _any_of(tests: Sequence[Callable[[str], bool]]) -> Callable[[str], bool]:
    """Return whether any of some tests holds, as one test."""
    return lambda name: any(test(name) for test in tests)


def _anything(element: str) -> bool:
    return True
