"""What stands in the brackets of nodes' ids: the ids of elements, joined with ``-``, each text once in a task.

Ids may have ``-`` in them, so that those of several axes may be equal when they are joined. Where
two elements first differ, the id of one is then that of the other, ``-`` and more (``a`` and
``a-b``). Most lists have no such ids, and then nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowkit.graph import BoundTask
from flowkit.scheduler.expansion import Coords, TaskState, ids_after


class Texts:
    """Gives elements of several axes a text each: the second that would have the same gets a suffix.

    Attributes:
        found: Ids, one for each axis → their text.
    """

    def __init__(self) -> None:
        self.found: dict[tuple[str, ...], str] = {}
        self._taken: set[str] = set()

    def enter(self, elements: Iterable[tuple[str, ...]]) -> None:
        """Take in elements, those that come first in source order first; what has a text keeps it."""
        again = []
        for ids in elements:
            if ids not in self.found:
                text = self.found[ids] = "-".join(ids)
                if text in self._taken:
                    again.append(ids)
                self._taken.add(text)
        for ids in again:  # after all others, whose own texts may look like one with a suffix
            number = 1
            while (text := f"{'-'.join(ids)}_{number}") in self._taken:
                number += 1
            self.found[ids] = text
            self._taken.add(text)


def ambiguous(ids: Sequence[str]) -> bool:
    """Whether one of the ids of a list is another, ``-`` and more: joined with further ids, the two may be equal."""
    dashed = [name for name in ids if "-" in name]
    if not dashed:
        return False
    known = frozenset(ids)
    return any(name[:place] in known for name in dashed for place, sign in enumerate(name) if sign == "-")


def joined(task: BoundTask, ids: Sequence[str]) -> str:
    """Return the text of an element of a task."""
    text = "-".join(ids)
    return task.texts.get((*ids,), text) if task.texts else text


def node_id(task: BoundTask, ids: Sequence[str]) -> str:
    """Return the id of a node: the task's name, the text of its element in brackets."""
    return f"{task.name}[{joined(task, ids)}]" if ids else task.name


def may_exist(state: TaskState, text: str) -> bool:
    """Whether a text is that of an element, which has no node if it was not wanted; or nobody can tell."""
    if not state.complete or any(p.blocked is not None for a, _, _ in state.sources for p in a.pieces.values()):
        return True
    return text in state.task.texts.values() or _is_read(state, text, ())


def _is_read(state: TaskState, text: str, at: Coords) -> bool:
    """Whether a text can be read as ids on the axes that follow on coordinates."""
    ids = ids_after(state, at)
    if ids is None:
        return True
    if len(at) == len(state.sources) - 1:
        return text in ids
    return any(
        text.startswith(f"{name}-") and _is_read(state, text[len(name) + 1 :], (*at, i)) for i, name in enumerate(ids)
    )
