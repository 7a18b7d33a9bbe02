"""A flow that is edited, as numbers: it renders itself to files, and says without flowkit how every node ends.

Names of what a value follows from are plain tuples. Two computations with the same tuple must have the same
key, and those with another one another: that is how reuse is judged without asking it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

HELPERS = 3
#: Seconds for which the results of tasks that expire are reused.
LIFE = 86_400
PAD = 40_000  # bytes that make a result too large for a row it shares

GOOD, SKIPPED, FAILED, UPSTREAM = "good", "skipped", "failed", "upstream"

_HEAD = """
from pathlib import Path
from flowkit import Collected, skip, task
import machine_helpers as helpers
"""

_HELPERS = """
def note(name):
    with open({calls!r}, "a") as file:
        file.write(name + "\\n")
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One ordinary task: the sum of what it takes, modulo something.

    Attributes:
        add, modulo: What is added, and modulo what.
        helper: Which helper it calls; None for none.
        parameter, file: Whether it takes the parameter, and the input file.
        ups: Numbers of the tasks it takes.
        expires: Whether its result is reused for ``LIFE`` seconds only.
        cached: Whether it is reused at all.
        large: Whether its result is large.
        fails: It fails where the sum has this remainder modulo 3; None for never.
    """

    add: int = 0
    modulo: int = 1000
    helper: int | None = None
    parameter: bool = False
    file: bool = False
    ups: tuple[int, ...] = ()
    expires: bool = False
    cached: bool = True
    large: bool = False
    fails: int | None = None

    @property
    def options(self) -> str:
        """What stands in its decorator."""
        return "(cache=False)" if not self.cached else f"(cache='{LIFE}s')" if self.expires else ""


@dataclass(frozen=True, slots=True)
class Map:
    """The mapped part: ``items`` → ``one`` → ``two`` → ``total``.

    Attributes:
        distinct: Elements repeat after so many.
        cached_items, cached_one, cached_two: Whether these are reused.
        parameter: Whether ``one`` takes the parameter.
        fails: ``one`` fails where item + parameter has this remainder modulo 4; None for never.
        skips: ``one`` skips items with this remainder modulo 5; None for none.
        follows: Whether there is a ``two``.
        collects: Whether there is a ``total``.
    """

    distinct: int = 100
    cached_items: bool = True
    cached_one: bool = True
    cached_two: bool = True
    parameter: bool = False
    fails: int | None = None
    skips: int | None = None
    follows: bool = False
    collects: bool = True


class Ending(NamedTuple):
    """How a node ends: ``good``, ``skipped``, ``failed`` or ``upstream``.

    ``why`` names all that it follows from; None for a node that is not called.
    """

    word: str
    value: Any = None
    why: tuple[Any, ...] | None = None
    reused: bool = True
    """Whether its task is one that is reused."""


@st.composite
def steps(draw: st.DrawFn, number: int) -> Step:
    """Draw task number ``number``."""
    rarely = st.sampled_from([False, False, True])
    return Step(
        add=draw(st.integers(0, 3)),
        modulo=draw(st.sampled_from([1000, 2, 5])),
        helper=draw(st.none() | st.integers(0, HELPERS - 1)),
        parameter=draw(st.booleans()),
        file=draw(st.booleans()),
        ups=tuple(sorted(draw(st.sets(st.integers(0, number - 1), max_size=2)))) if number else (),
        expires=draw(rarely),
        cached=not draw(rarely),
        large=draw(rarely),
        fails=draw(st.sampled_from([None, None, 0, 1])),
    )


def maps() -> st.SearchStrategy[Map]:
    """Draw the mapped part."""
    mostly = st.sampled_from([True, True, False])
    return st.builds(
        Map,
        distinct=st.sampled_from([100, 2]),
        cached_items=mostly,
        cached_one=mostly,
        cached_two=mostly,
        parameter=st.booleans(),
        fails=st.sampled_from([None, 0, 1]),
        skips=st.sampled_from([None, None, 0]),
        follows=st.booleans(),
        collects=mostly,
    )


@dataclass(slots=True)
class Model:
    """The flow as it is now.

    Attributes:
        root: Where it is written to.
        steps: Its ordinary tasks: ``t0``, ``t1``, …
        map: Its mapped part.
        length: How many items there are.
        helpers, constants: Numbers in the helpers, and of the module's constants.
        file: What the input file holds.
        remark: A number in comments and docstrings.
    """

    root: Path
    steps: Sequence[Step]
    map: Map
    length: int
    helpers: list[int] = field(default_factory=lambda: [1] * HELPERS)
    constants: list[int] = field(default_factory=lambda: [0] * HELPERS)
    file: int = 1
    remark: int = 0

    # As files

    def render(self) -> dict[str, str]:
        """Return file name → text."""
        lines = [f'"""Version {self.remark}."""', _HELPERS.format(calls=str(self.root / "calls"))]
        lines += [f"K{j} = {number}" for j, number in enumerate(self.constants)]
        for j, number in enumerate(self.helpers):
            inner = f" + help{j - 1}()" if j else ""
            lines += [f"def help{j}():  # {self.remark}", f"    return {number} + K{j}{inner}"]
        tasks = [self._step(i, step) for i, step in enumerate(self.steps)]
        text = "\n".join([_HEAD, f"# {self.remark}", *tasks, *self._mapped()])
        return {"m.py": text + "\n", "machine_helpers.py": "\n".join(lines) + "\n", "data/in.txt": str(self.file)}

    def _step(self, i: int, step: Step) -> str:
        arguments = [f"t{up}" for up in step.ups]
        terms = [str(step.add), *[f"t{up}['n']" for up in step.ups]]
        if step.parameter:
            arguments.append("p: int = 1")
            terms.append("p")
        if step.file:
            arguments.append(f"src: Path = Path({str(self.root / 'data' / 'in.txt')!r})")
            terms.append("int(src.read_text())")
        if step.helper is not None:
            terms.append(f"helpers.help{step.helper}()")
        lines = [f"@task{step.options}", f"def t{i}({', '.join(arguments)}):", f"    helpers.note('t{i}')"]
        lines.append(f"    n = {' + '.join(terms)}")
        if step.fails is not None:
            lines += [f"    if n % 3 == {step.fails}:", "        raise ValueError(n)"]
        lines.append(f"    return {{'n': n % {step.modulo}, 'pad': 'x' * {PAD * step.large}}}")
        return "\n".join(lines)

    def _mapped(self) -> Iterator[str]:
        m = self.map
        never = {True: "", False: "cache=False"}
        yield f"@task({never[m.cached_items]})\ndef items(t0):\n    helpers.note('items')"
        yield f"    return [t0['n'] + i % {m.distinct} for i in range({self.length})]"
        yield f"@task(each={{'item': 'items'}}, {never[m.cached_one]})"
        yield f"def one(item: int{', p: int = 1' if m.parameter else ''}):\n    helpers.note(f'one {{item}}')"
        if m.skips is not None:
            yield f"    if item % 5 == {m.skips}:\n        skip('five')"
        if m.fails is not None:
            yield f"    if (item{' + p' if m.parameter else ''}) % 4 == {m.fails}:\n        raise ValueError(item)"
        yield "    return item * 10 + helpers.help0()"
        if m.follows:
            yield f"@task({never[m.cached_two]})\ndef two(one: int):\n    helpers.note(f'two {{one}}')\n    return one + 1"
        if m.collects:
            last = "two" if m.follows else "one"
            yield f"@task\ndef total({last}: Collected[int]):\n    helpers.note('total')\n    return sum({last})"

    # What it is made of

    @property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """Task → the tasks it takes, upstream first."""
        found = {f"t{i}": tuple(f"t{up}" for up in step.ups) for i, step in enumerate(self.steps)}
        found |= {"items": ("t0",), "one": ("items",)}
        if self.map.follows:
            found["two"] = ("one",)
        if self.map.collects:
            found["total"] = ("two" if self.map.follows else "one",)
        return found

    def above(self, tasks: set[str]) -> set[str]:
        """Return tasks and all that they need."""
        found = set(tasks)
        for task, ups in reversed(self.edges.items()):
            if task in found:
                found.update(ups)
        return found

    def below(self, tasks: set[str]) -> set[str]:
        """Return tasks and all that hangs off them."""
        found = set(tasks)
        for task, ups in self.edges.items():
            if found.intersection(ups):
                found.add(task)
        return found

    def takes_parameter(self, tasks: set[str]) -> bool:
        """Whether one of these tasks takes the parameter."""
        return any(s.parameter and f"t{i}" in tasks for i, s in enumerate(self.steps)) or (
            self.map.parameter and "one" in tasks
        )

    # As it should come out

    def _help(self, j: int) -> int:
        return self.helpers[j] + self.constants[j] + (self._help(j - 1) if j else 0)

    def _help_code(self, j: int) -> tuple[Any, ...]:
        return tuple((self.helpers[k], self.constants[k]) for k in range(j + 1))

    def endings(self, parameter: int) -> dict[str, Ending]:
        """Return node → how it ends, computed without flowkit."""
        found: dict[str, Ending] = {}
        for i, step in enumerate(self.steps):
            found[f"t{i}"] = self._end_of(i, step, found, parameter)
        found |= self._mapped_endings(found["t0"], parameter)
        return found

    def _end_of(self, i: int, step: Step, found: Mapping[str, Ending], parameter: int) -> Ending:
        ups = [found[f"t{up}"] for up in step.ups]
        if any(up.word != GOOD for up in ups):
            return Ending(UPSTREAM)
        n = step.add + sum(up.value["n"] for up in ups)
        why: list[Any] = [f"t{i}", *[(up.value["n"], len(up.value["pad"])) for up in ups]]
        if step.parameter:
            n += parameter
            why.append(("p", parameter))
        if step.file:
            n += self.file
            why.append(("file", self.file))
        if step.helper is not None:
            n += self._help(step.helper)
            why.append(self._help_code(step.helper))
        if n % 3 == step.fails:
            return Ending(FAILED, None, tuple(why), step.cached)
        return Ending(GOOD, {"n": n % step.modulo, "pad": "x" * (PAD * step.large)}, tuple(why), step.cached)

    def _mapped_endings(self, base: Ending, parameter: int) -> dict[str, Ending]:
        m = self.map
        names = [n for n in ("items", "one", "two", "total") if n in self.edges]
        if base.word != GOOD:
            return dict.fromkeys(names, Ending(UPSTREAM))
        items = [base.value["n"] + i % m.distinct for i in range(self.length)]
        why = ("items", base.value["n"], len(base.value["pad"]), self.length)
        found = {"items": Ending(GOOD, items, why, m.cached_items)}
        elements: dict[str, Ending] = {}
        for name, item in zip(_ids(items), items, strict=True):
            one = self._one(item, name, parameter)
            found[f"one[{name}]"] = elements[name] = one
            if m.follows:
                found[f"two[{name}]"] = elements[name] = self._two(one, name)
        if m.collects:
            found["total"] = _total(elements)
        return found

    def _one(self, item: int, name: str, parameter: int) -> Ending:
        m = self.map
        why: list[Any] = ["one", item, self._help_code(0)]
        if m.parameter:
            why.append(("p", parameter))
        if not m.cached_one:
            why.append(name)
        if m.skips is not None and item % 5 == m.skips:
            return Ending(SKIPPED, None, tuple(why), m.cached_one)
        if m.fails is not None and (item + (parameter if m.parameter else 0)) % 4 == m.fails:
            return Ending(FAILED, None, tuple(why), m.cached_one)
        return Ending(GOOD, item * 10 + self._help(0), tuple(why), m.cached_one)

    def _two(self, one: Ending, name: str) -> Ending:
        if one.word != GOOD:
            return Ending(SKIPPED if one.word == SKIPPED else UPSTREAM)
        why = ("two", one.value) if self.map.cached_two else ("two", one.value, name)
        return Ending(GOOD, one.value + 1, why, self.map.cached_two)


def _total(elements: Mapping[str, Ending]) -> Ending:
    if any(e.word in (FAILED, UPSTREAM) for e in elements.values()):
        return Ending(UPSTREAM)
    there = {name: e.value for name, e in elements.items() if e.word == GOOD}
    return Ending(GOOD, sum(there.values()), ("total", tuple(there.items())))


def _ids(items: Sequence[int]) -> list[str]:
    """Return ids of elements: by value, with a suffix where one is there already."""
    found: list[str] = []
    for item in items:
        name, again = str(item), 0
        while name in found:
            again += 1
            name = f"{item}_{again}"
        found.append(name)
    return found
