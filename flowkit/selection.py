"""Which tasks, and which elements of mapped tasks, a run is for."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from flowkit.collector import CollectedFlow
from flowkit.errors import FlowError, SelectionError, UsageError, did_you_mean, listing
from flowkit.graph import BoundFlow, BoundTask, Graph
from flowkit.records import field, record
from flowkit.targets import Selector
from flowkit.wants import ALL, Spelled, Want, Wanted, both, by_id, only_some, spread, want

Predicate = Callable[[Collection[str]], bool]


@record()
class Selection:
    """What was chosen.

    Attributes:
        targets: The tasks the run is for.
        elements: Task → says which of its elements are wanted, asked with their ids, one for each axis (None: any);
            tasks that are not in here are wanted whole.
        exact: Task → ids that were named with ``::``, as they stand in the brackets; one that turns out not to exist
            is an error.
    """

    targets: list[BoundTask]
    elements: dict[BoundTask, Wanted] = field(factory=dict)
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
        FlowError: Names that lead nowhere, and expressions that cannot be read, all together.
    """
    errors: list[UsageError] = []
    below = any(selector.below for collected, _, _ in flows for selector in collected.selectors)
    users = graph.users() if below else {}
    asked: dict[BoundTask, set[Want]] = {}
    exact: dict[BoundTask, list[str]] = {}
    for collected, bound, own in flows:
        if collected.whole:
            every = {ALL}  # copies of a set do not ask for hashes again
            asked.update({task: every.copy() for task in own if not task.is_fallback})
        for selector in collected.selectors:
            try:
                task = _named(graph, bound, selector, [t for t in own if t.given is not None])
            except SelectionError as error:
                errors.append(error)
                continue
            if selector.element is not None:
                exact.setdefault(task, []).append(selector.element)
            for found, wants in _around(graph, task, selector, users):
                if found is task or (found.given is None and not found.is_fallback):
                    asked.setdefault(found, set()).update(wants)
    for task, ids in exact.items():
        asked[task].add(want(task, Spelled(task, ids)))
    selection = Selection([*asked], only_some(asked), exact)
    by_keyword = _parsed(keyword, "-k", errors)
    by_tags = _parsed(tags, "-m", errors)
    if errors:
        raise FlowError(errors)
    if by_keyword is not None:
        _by_keyword(selection, by_keyword, whole=not re.search(r"\bnot\b", keyword))
    if by_tags is not None:
        selection.targets = [t for t in selection.targets if _matches_tags(by_tags, t)]
    for name in deselect:
        _deselect(selection, name)
    return selection


def _named(graph: Graph, flow: BoundFlow, selector: Selector, replaced: Sequence[BoundTask]) -> BoundTask:
    mine = [t for t in graph.tasks if t.flow is flow and t.given is None]
    for task in mine:
        if task.name == selector.name or selector.name in task.provides:
            if selector.element is not None and not task.axes:
                raise SelectionError(
                    f"{flow.path}::{selector.name}[{selector.element}]: {task.name!r} is not mapped",
                    remedy=f"Write {flow.path}::{task.name}.",
                )
            return task
    for task in replaced:
        if task.name == selector.name or selector.name in task.provides:
            raise SelectionError(
                f"{flow.path}::{selector.name}: {task.name!r} is not run, as a value stands in for it (-O, override)",
                remedy="Take one of the two out, or name a task that uses it.",
            )
    names = [t.name for t in mine]
    raise SelectionError(
        f"{flow.path}::{selector.name}: there is no such task",
        known=f"tasks: {listing(names)}",
        remedy=did_you_mean(selector.name, names, "Name one of these."),
    )


def _around(
    graph: Graph, task: BoundTask, selector: Selector, users: Mapping[BoundTask, Sequence[BoundTask]]
) -> Iterator[tuple[BoundTask, set[Want]]]:
    """Yield a named task, and those that its ``+`` stand for, with which of their elements are meant."""
    meant = want(task, None if selector.element is None else Spelled(task, [selector.element]))
    yield task, {ALL} if meant is ALL else set()  # all elements that are named are one test
    if selector.above:
        above = {task: {meant}}
        spread(reversed(graph.tasks), above, BoundTask.upstream)
        yield from above.items()
    if selector.below:
        below = {task: {meant}}
        spread(graph.tasks, below, lambda task: [user for user in users[task] if user.given is None])
        yield from below.items()


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
            selection.elements[task] = both(_by_id(wanted, task), before)
        elif _contains(wanted, words):
            kept.append(task)
    selection.targets = kept


def _by_id(wanted: Predicate, task: BoundTask) -> Wanted:
    return by_id(task, lambda name: _contains(wanted, (name, *task.tags)))


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
    called, bracket, rest = plain.partition("[")
    for task in list(selection.targets):
        if called != task.name and called not in task.provides:
            continue
        if not bracket and (plain == name or name == f"{task.flow.path}::{plain}"):
            selection.targets.remove(task)
        elif bracket and task.axes:
            selection.elements[task] = both(by_id(task, f"{task.name}[{rest}".__ne__), selection.elements.get(task))


_TOKEN = r"\s*(\(|\)|\band\b|\bor\b|\bnot\b|[^\s()]+)"


def _parsed(text: str, flag: str, errors: list[UsageError]) -> Predicate | None:
    try:
        return parse(text, flag) if text else None
    except SelectionError as error:
        errors.append(error)
        return None


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


def needed(graph: Graph, selection: Selection) -> dict[BoundTask, set[Want]]:
    """Return which elements of each task are needed: chosen ones, and what those need; nothing if it is all of all.

    Args:
        graph: What is to be run.
        selection: What was chosen.
    """
    if not selection.elements:
        return {}
    asked = {task: {want(task, selection.elements.get(task))} for task in selection.targets}
    spread(reversed(graph.tasks), asked, BoundTask.upstream)
    return asked
