"""Limits: how many nodes run at once, or start in a time, because something else cannot take more.

Adds the task option ``limit`` and the settings section ``[tool.flowkit.limits]``. A number limits
the task itself; a name is a pool that tasks share, its size said in the settings or beside the
name. The core knows such limits as demands and capacities: a node that finds its limit taken
waits without a worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from flowkit.durations import seconds, words
from flowkit.errors import OptionError, UsageError, did_you_mean, listing
from flowkit.hookspecs import Option, hookimpl
from flowkit.records import record

if TYPE_CHECKING:
    from flowkit.graph import BoundTask, Graph
    from flowkit.session import Session

#: An amount at once, or (an amount, the seconds in which that many may start).
Size = int | tuple[int, float]

_RATE = r"\s*(\d+)\s*/\s*(.+?)\s*"
_FORMS = "a number of at least 1, or a rate like '30/m', '5/s' or '10/30s'"


@record(frozen=True)
class Limit:
    """What a node takes while it runs: one of its task's own limit, and one of each pool.

    Attributes:
        own: The size of the task's own limit; None for none.
        pools: (name, size) of each pool; the size is None where it is said elsewhere.
    """

    own: Size | None
    pools: tuple[tuple[str, Size | None], ...]

    def __init__(
        self,
        own: int | str | None = None,
        pools: str | Sequence[str] | Mapping[str, int | str] = (),
    ) -> None:
        """Check and convert: sizes are numbers or rates, pools are names, or a mapping to sizes.

        Raises:
            ValueError, TypeError: One of them is not.
        """
        object.__setattr__(self, "own", None if own is None else size(own))
        object.__setattr__(self, "pools", tuple(_pools(pools)))


class Limits:
    """The sizes of all pools of one session.

    Args:
        settings: Pool → size, as the section ``limits`` has them.
        place: How errors call that section.
    """

    def __init__(self, settings: Mapping[str, object], place: str) -> None:
        self._settings = settings
        self._place = place

    @hookimpl
    def flowkit_collected(self, graph: Graph) -> list[UsageError]:
        """Return what is wrong: a size that is none, two for one pool, or a pool without any."""
        limited = _limited(graph)
        sizes, errors = self._sizes(limited)
        for task, policy in limited:
            errors += [
                _no_size(name, task, sizes)
                for name, _ in policy.pools
                if name not in sizes and name not in self._settings
            ]
        return errors

    @hookimpl
    def flowkit_capacity(self, graph: Graph) -> dict[str, Size]:
        """Return the size of each limit that a task of the graph demands."""
        limited = _limited(graph)
        sizes, _ = self._sizes(limited)
        found: dict[str, Size] = {}
        for task, policy in limited:
            if policy.own is not None:
                found[own_name(task)] = policy.own
            found.update((name, sizes[name]) for name, _ in policy.pools)
        return found

    def _sizes(self, limited: Sequence[tuple[BoundTask, Limit]]) -> tuple[dict[str, Size], list[UsageError]]:
        """Return the size of each pool, and what is wrong with what is said of them."""
        said: dict[str, tuple[Size, str]] = {}
        errors: list[UsageError] = []
        for name, written in self._settings.items():
            try:
                said[name] = (size(written), self._place)
            except (TypeError, ValueError) as error:
                errors.append(
                    OptionError(
                        f"{self._place}: {name} = {written!r} does not fit: {error}",
                        known=f"the size of a limit is {_FORMS}",
                        remedy=f'Write {name} = 2, or {name} = "30/m".',
                    )
                )
        for task, policy in limited:
            for name, given in policy.pools:
                if given is not None and said.setdefault(name, (given, _place(task)))[0] != given:
                    errors.append(_two_sizes(name, said[name], (given, _place(task))))
        return {name: found for name, (found, _) in said.items()}, errors


def _limited(graph: Graph) -> list[tuple[BoundTask, Limit]]:
    """Return the tasks that have limits, with those."""
    said = [(task, policy) for task in graph.tasks if (policy := task.options.get("limit")) is not None]
    return [(task, policy) for task, policy in said if isinstance(policy, Limit)]


@hookimpl
def flowkit_task_options() -> list[Option]:
    """Declare ``limit``."""
    return [
        Option(
            name="limit",
            type="a number, a name, a list of names, a mapping of names to sizes, or a Limit",
            help="How many nodes run at once: of this task, or of all that share the named limit.",
            convert=read,
        )
    ]


@hookimpl
def flowkit_settings() -> list[Option]:
    """Declare the section ``limits``, whose keys are the user's."""
    return [
        Option(
            name="limits.*",
            type=_FORMS,
            help="How many nodes that name the limit run at once, or start in a time.",
        )
    ]


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Register what this session's settings say of limits."""
    settings = session.settings
    state = Limits(settings.section("limits"), f"[tool.flowkit.limits] in {settings.place}")
    session.plugins.register(state, "limit:state")


@hookimpl
def flowkit_task_collected(task: BoundTask) -> None:
    """Write down what each node of a task takes: one of each of its limits."""
    policy = task.options.get("limit")
    if isinstance(policy, Limit):
        own = {own_name(task): 1} if policy.own is not None else {}
        task.demands = {**task.demands, **own, **{name: 1 for name, _ in policy.pools}}


def own_name(task: BoundTask) -> str:
    """Return the name of a task's own limit."""
    return f"task {task.key}"


def read(written: object) -> Limit | None:
    """Return what a user wrote for ``limit``; None for none.

    Raises:
        ValueError, TypeError: It is none of the forms.
    """
    if written is None or isinstance(written, Limit):
        return written
    if isinstance(written, int) or (isinstance(written, str) and re.fullmatch(_RATE, written)):
        return Limit(written)
    if isinstance(written, (str, list, tuple, Mapping)):
        if not written:
            raise ValueError("it names nothing")
        return Limit(pools=written)
    raise TypeError(
        f"a number, a name, a list of names or a mapping of names to sizes, not {written!r}"
    )


def size(written: object) -> Size:
    """Return the size of a limit: an amount, or (an amount, seconds) for a rate.

    Raises:
        ValueError: It is neither, or 0, or negative.
    """
    if isinstance(written, str) and (match := re.fullmatch(_RATE, written)):
        amount, period = match.groups()
        length = seconds(period if period[0].isdigit() else f"1{period}")
        if int(amount) < 1 or length == 0:
            raise ValueError(f"{_FORMS}, not {written!r}")
        return int(amount), length
    if not isinstance(written, int) or isinstance(written, bool) or written < 1:
        raise ValueError(f"{_FORMS}, not {written!r}")
    return written


def _pools(written: object) -> Iterator[tuple[str, Size | None]]:
    if isinstance(written, str):
        written = (written,)
    pairs: list[tuple[object, Size | None]]
    if isinstance(written, Mapping):
        pairs = [(name, size(given)) for name, given in written.items()]
    elif isinstance(written, (list, tuple)):
        pairs = [(name, None) for name in written]
    else:
        raise TypeError(f"names of limits, not {written!r}")
    for name, given in pairs:
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"the name of a limit is text, not {name!r}")
        yield name, given


def _place(task: BoundTask) -> str:
    return f"task {task.name!r} ({task.where})"


def _as_written(found: Size) -> str:
    return str(found) if isinstance(found, int) else f"{found[0]} in {words(found[1])}"


def _two_sizes(name: str, one: tuple[Size, str], two: tuple[Size, str]) -> UsageError:
    return OptionError(
        f"limit {name!r} has two sizes",
        known="\n".join(f"{_as_written(found)}: {place}" for found, place in (one, two)),
        remedy=f"Say it once, in [tool.flowkit.limits], and write limit={name!r} in the tasks.",
    )


def _no_size(name: str, task: BoundTask, sizes: Mapping[str, Size]) -> UsageError:
    return OptionError(
        f"{_place(task)}: limit {name!r} has no size",
        known=f"limits with a size: {listing(sizes)}",
        remedy=did_you_mean(
            name,
            sizes,
            f"Write {name} = 2 in [tool.flowkit.limits], or limit={{{name!r}: 2}} in the task.",
        ),
    )
