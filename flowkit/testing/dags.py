"""Random flows, with a reference interpreter that knows nothing of flowkit.

A flow is drawn as data (:class:`Dag`), written out as a module (:meth:`Dag.source`), and computed in
ten lines (:meth:`Dag.reference`). Whatever executor, cache or plugin runs the module has to give
what the reference gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

MODULUS = 1009

#: What tasks share, and what they hold on to.
HEAD = """from flowkit import Collected, Failure, Flow, resource, skip, task

{flow}
def helper(values, by):
    return scaled(sum(values), by)


def scaled(number, by):
    return (number * {factor} + by) % 1009


@resource
def shared():
    held = {{"open": True}}
    yield held
    held["open"] = False


@resource
def late(shared):
    yield shared


@resource(scope="task")
def own(late):
    assert late["open"], "the resource above was torn down first"
    yield 1


@resource(scope="task")
def inner(own):
    yield own
"""


@dataclass(frozen=True, slots=True)
class Knot:
    """One task of a random flow.

    Attributes:
        name: ``t0``, ``t1``, …
        kind: ``value``, ``list`` (the source of a map), ``map``, ``follow``, ``total`` or ``rescue``.
        ups: Positions of the tasks it takes.
        by: A constant of its body.
        holds: Whether it asks for a resource.
        retries: ``retries=`` as written, or ``""``.
        timeout: Seconds, or 0.
        drops: A ``map`` skips elements that this divides; 0 for none.
        cached: Whether it is reused.
        fails: A remainder (modulo 7) of its value at which it fails; -1 for never.
    """

    name: str
    kind: str = "value"
    ups: tuple[int, ...] = ()
    by: int = 0
    holds: bool = False
    retries: str = ""
    timeout: int = 0
    drops: int = 0
    cached: bool = True
    fails: int = -1

    @property
    def options(self) -> str:
        """What stands in its decorator."""
        found = [f"retries={self.retries}"] if self.retries else []
        found += [f"timeout={self.timeout}"] if self.timeout else []
        found += [] if self.cached else ["cache=False"]
        return ", ".join(found)


@dataclass(frozen=True, slots=True)
class Dag:
    """A random flow.

    Attributes:
        knots: Its tasks, in definition order.
        factor: A constant of its helper.
    """

    knots: tuple[Knot, ...]
    factor: int = 3

    def source(self) -> str:
        """Return it as the text of a module."""
        parts = [HEAD.format(factor=self.factor, flow="flow = Flow()\n")]
        parts += [self._task(knot) for knot in self.knots]
        return "\n\n".join(parts) + "\n"

    def _task(self, knot: Knot) -> str:
        names = [self.knots[up].name for up in knot.ups]
        options, arguments, values = knot.options, list(names), list(names)
        if not names and knot.kind != "map":
            arguments, values = ["n: int = 2"], ["n"]
        if knot.kind == "map":
            options = ", ".join(filter(None, [f'each={{"item": "{names[0]}"}}', options]))
            arguments, values = ["item"], ["item"]
        elif knot.kind == "total":
            arguments, values = [f"{names[0]}: Collected[int]"], [f"*{names[0]}"]
        elif knot.kind == "rescue":
            arguments = [f"{names[0]}: int | Failure"]
            values = [f"0 if isinstance({names[0]}, Failure) else {names[0]}"]
        if knot.holds:
            arguments.insert(0, "inner")
            values.append("inner")
        lines = [f"@task({options})" if options else "@task", f"def {knot.name}({', '.join(arguments)}):"]
        if knot.drops:
            lines += [f"    if item % {knot.drops} == 0:", '        skip("dropped")']
        lines.append(f"    found = helper([{', '.join(values)}], {knot.by})")
        if knot.fails >= 0:
            lines += [f"    if found % 7 == {knot.fails}:", '        raise ValueError("seven")']
        lines.append("    return [i for i in range(found % 5)]" if knot.kind == "list" else "    return found")
        return "\n".join(lines)

    def reference(self, n: int = 2, broken: Sequence[str] = ()) -> dict[str, object]:
        """Return task → value; for a mapped one, a dict of its elements by position; ``None`` if it has no value.

        Args:
            n: The parameter.
            broken: Tasks that fail whatever they compute.
        """
        found: dict[str, object] = {}
        for knot in self.knots:
            found[knot.name] = None if knot.name in broken and knot.kind not in ("map", "follow") else self._value(knot, found, n, broken)
        return found

    def _value(self, knot: Knot, found: Mapping[str, object], n: int, broken: Sequence[str]) -> object:
        ups = [found[self.knots[up].name] for up in knot.ups]
        if knot.kind == "rescue":
            above = self.knots[knot.ups[0]]
            if ups[0] is None and not self._failed(above, found, n, broken):
                return None
            return self._plain(knot, [0 if ups[0] is None else ups[0]])
        if any(up is None for up in ups):
            return None
        if knot.kind == "map":
            items: list[tuple[int, int]] = list(enumerate(ups[0]))  # type: ignore[arg-type]  # a list
            if knot.name in broken:
                return {i: None for i, _ in items}  # before it could skip one
            kept = {i: item for i, item in items if not (knot.drops and item % knot.drops == 0)}
            return {i: self._plain(knot, [item]) for i, item in kept.items()}
        if knot.kind == "follow":
            mapped = next(up for up in ups if isinstance(up, dict))
            return {i: self._element(knot, ups, i, broken) for i in mapped}
        if knot.kind == "total":
            values = list(ups[0].values())  # type: ignore[attr-defined]  # a mapped task's
            return None if None in values else self._plain(knot, values)
        return self._plain(knot, ups or [n])

    def _element(self, knot: Knot, ups: Sequence[object], i: int, broken: Sequence[str]) -> object:
        values = [up[i] if isinstance(up, dict) else up for up in ups]
        return None if knot.name in broken or None in values else self._plain(knot, values)

    def _plain(self, knot: Knot, values: Sequence[object]) -> object:
        number = self._number(knot, values)
        if number % 7 == knot.fails:
            return None
        return list(range(number % 5)) if knot.kind == "list" else number

    def _number(self, knot: Knot, values: Sequence[object]) -> int:
        total = sum(values) + int(knot.holds)  # type: ignore[arg-type]  # numbers
        return (total * self.factor + knot.by) % MODULUS

    def _failed(self, knot: Knot, found: Mapping[str, object], n: int, broken: Sequence[str]) -> bool:
        """Whether a task without a value failed itself (and was not held up by another)."""
        if found[knot.name] is not None:
            return False
        ups = [found[self.knots[up].name] for up in knot.ups]
        if knot.kind == "rescue":
            return ups[0] is not None or self._failed(self.knots[knot.ups[0]], found, n, broken)
        if knot.kind == "total":
            return bool(ups[0] is not None and None not in ups[0].values())  # type: ignore[attr-defined]  # as above
        return all(up is not None for up in ups)

    def changed(self, position: int, **changes: object) -> Dag:
        """Return it with one task changed."""
        knots = list(self.knots)
        knots[position] = replace(knots[position], **changes)  # type: ignore[arg-type]  # names of fields
        return replace(self, knots=tuple(knots))


@st.composite
def dags(
    draw: st.DrawFn, *, max_tasks: int = 10, maps: bool = True, failures: bool = False, uncached: bool = False
) -> Dag:
    """Draw a random flow.

    Args:
        draw: Given by hypothesis.
        max_tasks: How many tasks at the most.
        maps: Whether there are mapped tasks.
        failures: Whether tasks may fail by themselves.
        uncached: Whether tasks may say ``cache=False``.
    """
    knots: list[Knot] = []
    for number in range(draw(st.sampled_from([*range(1, max_tasks), *[max_tasks] * max_tasks]))):
        knots.append(draw(_knot(f"t{number}", knots, maps=maps, failures=failures, uncached=uncached)))
    return Dag(tuple(knots), draw(st.sampled_from((3, 2, 5))))


@st.composite
def _knot(draw: st.DrawFn, name: str, above: Sequence[Knot], *, maps: bool, failures: bool, uncached: bool) -> Knot:
    plain = [i for i, k in enumerate(above) if k.kind in ("value", "total", "rescue")]
    lists = [i for i, k in enumerate(above) if k.kind == "list"]
    mapped = [i for i, k in enumerate(above) if k.kind in ("map", "follow")]
    kinds = ["value"]
    if maps:
        kinds += ["list"] * (1 if lists else 3) + ["map"] * 3 * bool(lists) + ["follow", "total", "total", "total"] * bool(mapped)
    kinds += ["rescue"] * (failures and bool(plain))
    kind = draw(st.sampled_from(kinds))
    ups: tuple[int, ...]
    if kind in ("value", "list"):
        ups = tuple(draw(st.lists(st.sampled_from(plain), max_size=3, unique=True))) if plain else ()
    elif kind == "follow":
        ups = (draw(st.sampled_from(mapped)), *(draw(st.lists(st.sampled_from(plain), max_size=1)) if plain else ()))
    else:
        ups = (draw(st.sampled_from({"map": lists, "total": mapped, "rescue": plain}[kind])),)
    return Knot(
        name,
        kind,
        ups,
        draw(st.integers(0, 9)),
        holds=draw(st.booleans()),
        retries=draw(st.sampled_from(RETRIES)),
        timeout=draw(st.sampled_from((0, 0, 30))),
        drops=draw(st.sampled_from((0, 0, 2))) if kind == "map" else 0,
        cached=not uncached or draw(st.integers(0, 3)) > 0,
        fails=draw(st.integers(-3, 6)) if failures and kind != "list" else -1,
    )


RETRIES = (
    "",
    "2",
    '{"times": 2, "on": ConnectionError}',
    '{"times": 2, "unless": ConnectionError}',
    '{"times": 3, "delay": 60, "backoff": 2}',
    '{"times": 3, "delay": 60, "backoff": 3, "max_delay": 100}',
    '{"times": 3, "on": ConnectionError}',
    '{"times": 3, "delay": [1, 5], "unless": ConnectionError}',
    '{"times": 4, "delay": 100, "within": 250}',
)
