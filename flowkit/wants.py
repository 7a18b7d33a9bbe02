"""Which elements of mapped tasks are wanted, and what follows from that for the tasks around them.

It is asked with ids, one for each axis of the task; None stands for any. The answer is then whether
some such element may be wanted: the lists are read one by one, and what an element needs has often
fewer axes than it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, compress, pairwise

from flowkit.graph import Axis, BoundTask
from flowkit.records import record
from flowkit.scheduler.texts import joined, node_id

Ids = Sequence[str | None]
Wanted = Callable[[Ids], bool]


class Spelled:
    """Says of ids whether their element's text is one of some: what stands in the brackets of nodes' ids."""

    def __init__(self, task: BoundTask, texts: Iterable[str]) -> None:
        self._task = task
        self._texts = frozenset(texts)
        self._read: dict[tuple[bool, ...], set[tuple[str, ...]]] = {}

    def __call__(self, ids: Ids) -> bool:
        """Return whether the element with these ids may be one of them."""
        known = tuple([name for name in ids if name is not None])
        if len(known) == len(ids):
            return joined(self._task, known) in self._texts
        which = tuple([name is not None for name in ids])
        read = self._read.get(which)
        if read is None:
            read = self._read[which] = {tuple(compress(r, which)) for t in self._texts for r in _readings(t, len(ids))}
        return known in read


_SUFFIX = re.compile(r"_\d+$")


def _readings(text: str, count: int) -> Iterator[tuple[str, ...]]:
    """Yield all ways to read a text as so many ids, which may have ``-`` in them themselves.

    If there are several, the text may be one with a suffix, since another element has it without.
    """
    for plain in {text, _SUFFIX.sub("", text)} if text.count("-") >= count else (text,):
        parts = plain.split("-")
        for cuts in combinations(range(1, len(parts)), count - 1):
            yield tuple(["-".join(parts[a:b]) for a, b in pairwise((0, *cuts, len(parts)))])


def by_id(task: BoundTask, test: Callable[[str], bool]) -> Wanted:
    """Return a test of nodes' ids as one of the ids in them."""

    def wanted(ids: Sequence[str | None]) -> bool:
        known = [each for each in ids if each is not None]
        return len(known) < len(ids) or test(node_id(task, known))

    return wanted


def both(one: Wanted, other: Wanted | None) -> Wanted:
    """Return whether two tests hold, as one test."""
    return one if other is None else lambda ids: one(ids) and other(ids)


@record(frozen=True)
class Want:
    """A test of one task's elements, asked of those of another that are aligned with them.

    Attributes:
        test: The test.
        places: For each axis of the task that the test is of, where it stands among those of the other, if there.
    """

    test: Wanted
    places: tuple[int | None, ...]

    def __call__(self, ids: Ids) -> bool:
        """Return whether the element with these ids is aligned with one that may be wanted."""
        return self.test([None if place is None else ids[place] for place in self.places])

    def beside(self, task: BoundTask, other: BoundTask) -> Want:
        """Return the same, which is asked of ``task`` here, asked of ``other``."""
        there = {axis: place for place, axis in enumerate(other.axes)}
        return Want(self.test, tuple([None if p is None else there.get(task.axes[p]) for p in self.places]))


def _anything(ids: Ids) -> bool:
    return True


ALL = Want(_anything, ())  #: All elements; beside any task it is the same.


def want(task: BoundTask, test: Wanted | None) -> Want:
    """Return a test of a task's own elements; without one, all are wanted."""
    return ALL if test is None else Want(test, tuple(range(len(task.axes))))


def spread(
    tasks: Iterable[BoundTask],
    asked: dict[BoundTask, set[Want]],
    neighbours: Callable[[BoundTask], Iterable[BoundTask]],
) -> None:
    """Ask of tasks' neighbours, and of theirs, what is asked of them.

    Args:
        tasks: So ordered that none comes before who has it as a neighbour.
        asked: Task → what is asked of it; is added to.
        neighbours: What a task needs, or what hangs off it.
    """
    for task in tasks:
        wants = asked.get(task)
        if wants is None:
            continue
        if not task.axes or ALL in wants:
            wants = {ALL}
        for other in neighbours(task):
            asked.setdefault(other, set()).update([each.beside(task, other) for each in wants])


def only_some(asked: Mapping[BoundTask, set[Want]]) -> dict[BoundTask, Wanted]:
    """Return, for each mapped task of which not all elements are wanted, which are."""
    return {task: any_of([*wants]) for task, wants in asked.items() if task.axes and ALL not in wants}


def any_of(tests: Sequence[Wanted]) -> Wanted:
    """Return whether one of some tests holds, as one test."""
    return tests[0] if len(tests) == 1 else lambda ids: any(test(ids) for test in tests)


def axis_filters(asked: Mapping[BoundTask, set[Want]]) -> dict[Axis, Callable[[str], bool]]:
    """Return, for each axis on which every task mapped over it wants some elements only, which of its ids are wanted.

    So of a long list, of which few elements are wanted, each task need not be asked for each.
    """
    tests: dict[Axis, set[Want]] = {}
    for task, wants in asked.items():
        for place, axis in enumerate(task.axes):
            of_one = [Want(each.test, tuple([0 if p == place else None for p in each.places])) for each in wants]
            tests.setdefault(axis, set()).update(of_one)
    return {axis: _of_one(any_of([*found])) for axis, found in tests.items() if ALL not in found}


def _of_one(test: Wanted) -> Callable[[str], bool]:
    return lambda name: test([name])
