"""Fault plans: what goes wrong, where, and at which call; composable, printable, and read back.

    faults.fail("load", times=3, exc=ConnectionError).slow("clean", 90)
    Plan.parse("load@1-3=fail(ConnectionError), clean=slow(90), get[BTC]=hang, *@2=crash(before_record)")

A fault is written ``PATTERN@WHEN=KIND(DETAIL)``. The pattern names a task, a node (``get[BTC]``), or has ``*`` and
``?`` in it. WHEN is a number, a range ``2-4``, or ``2-`` for good; 1 if it is left out; ``10%`` for each call of a
``fail`` with that probability. What befalls a
call (fail, slow, late, hang, timeout, lost, unpicklable, corrupt) counts the attempts of each node; what befalls the
run (crash, store, clock, interrupt, teardown) counts how often its place is passed, in the whole run.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from flowkit.durations import seconds
from flowkit.errors import OptionError, did_you_mean, listing

#: Where a crash may happen, in the order in which a call passes them.
CRASH_POINTS = (
    "holding_lease",
    "before_call",
    "after_call",
    "in_teardown",
    "after_blob",
    "before_record",
    "after_record",
    "before_ack",
)
#: What the store may refuse.
STORE_OPERATIONS = ("put", "record", "read", "lease")

CALL_KINDS = ("fail", "slow", "late", "hang", "timeout", "lost", "unpicklable", "corrupt")
RUN_KINDS = ("crash", "store", "clock", "interrupt", "teardown")

_FAULT = re.compile(r"(?P<pattern>.+?)(?:@(?:(?P<percent>\d+(?:\.\d+)?(?:e-\d+)?)%|(?P<first>\d+)(?P<range>-(?P<last>\d+)?)?))?=(?P<kind>[a-z]+)(?:\((?P<detail>[^()]*)\))?")


class InjectedFault(Exception):
    """What a task fails with if a fault plan says no more than ``fail``."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: One of ``CALL_KINDS`` and ``RUN_KINDS``.
        pattern: A task, a node, or a pattern of such; of a resource for ``teardown``.
        first, last: From which to which time; ``last`` is None for good.
        detail: The exception's name, seconds, the crash point, or the store's operation.
        percent: How probable it is at each of these times.
    """

    kind: str
    pattern: str = "*"
    first: int = 1
    last: int | None = 1
    detail: str = ""
    percent: float = 100.0

    def __str__(self) -> str:
        if self.percent != 100:
            when = f"@{self.percent:g}%"
        elif self.last is None:
            when = f"@{self.first}-"
        elif self.last != self.first:
            when = f"@{self.first}-{self.last}"
        else:
            when = f"@{self.first}" if self.first != 1 else ""
        return f"{self.pattern}{when}={self.kind}{f'({self.detail})' if self.detail else ''}"

    def matches(self, task: str, node: str) -> bool:
        """Whether it is about a node, or about its task as a whole."""
        if self.pattern in ("*", task, node):
            return True
        if "*" not in self.pattern and "?" not in self.pattern:
            return False
        pattern = self.pattern.replace("[", "[[]")
        return fnmatchcase(node, pattern) or fnmatchcase(task, pattern)

    def at(self, count: int) -> bool:
        """Whether this is the time (1 is the first)."""
        return self.first <= count and (self.last is None or count <= self.last)

    def befalls(self, task: str, node: str, number: int, seed: object) -> bool:
        """Whether it is about this call of a node; where chance decides, the same seed decides the same."""
        if not self.at(number) or not self.matches(task, node):
            return False
        if self.percent == 100:
            return True
        drawn = hashlib.sha256(f"{self} {node} {number} {seed}".encode()).digest()[:8]
        return int.from_bytes(drawn) * 100 < self.percent * 2**64

    @property
    def seconds(self) -> float:
        """The detail as a duration, which may be negative."""
        sign = -1.0 if self.detail.startswith("-") else 1.0
        text = self.detail.removeprefix("-")
        try:
            return sign * float(text)
        except ValueError:
            return sign * seconds(text)

    def error(self) -> BaseException:
        """Return what the task fails with."""
        kind = _exception(self.detail) if self.detail else InjectedFault
        return kind(f"injected by {self}")


def _exception(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module) if module else builtins, attribute)
    except (ImportError, AttributeError):
        kind = None
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise OptionError(
            f"fault: {name!r} is no exception", remedy="Name a built-in one, or package.module.Class."
        )
    return kind


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes wrong in a run. Every method returns a longer plan; ``+`` joins two."""

    faults: tuple[Fault, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Read a plan as :meth:`__str__` writes it.

        Raises:
            OptionError: It is none.
        """
        parts = [part.strip() for part in re.split(r",(?![^()\[\]]*[)\]])", text)]
        return cls(tuple(_parsed(part) for part in parts if part))

    def __str__(self) -> str:
        return ", ".join(map(str, self.faults))

    def __repr__(self) -> str:
        return f"faults({str(self)!r})"

    def __add__(self, other: Plan) -> Plan:
        return Plan((*self.faults, *other.faults))

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.faults)

    def __len__(self) -> int:
        return len(self.faults)

    def misspelt(self, tasks: Iterable[str]) -> list[OptionError]:
        """Return an error for each fault that names a task which there is not: it would never happen."""
        known = sorted(set(tasks))
        return [
            OptionError(
                f"fault {str(fault)!r}: there is no task {name!r}",
                known=f"tasks: {listing(known)}",
                remedy=did_you_mean(name, known, "Name a task, an element of one, or a pattern with *."),
            )
            for fault in self.faults
            if (fault.kind in CALL_KINDS or (fault.kind == "crash" and fault.detail != "in_teardown"))
            and not {"*", "?"}.intersection(fault.pattern)
            and (name := fault.pattern.partition("[")[0]) not in known
        ]

    def _with(self, kind: str, pattern: str, at: int | tuple[int, int | None], detail: str = "") -> Plan:
        first, last = at if isinstance(at, tuple) else (at, at)
        return Plan((*self.faults, Fault(kind, pattern, first, last, detail)))

    def fail(
        self, name: str, *, at: int | None = None, times: int | None = 1, p: float | None = None, exc: type[BaseException] | str = ""
    ) -> Plan:
        """The call raises: at call ``at``, at the first ``times`` calls (None: at all of them), or each with probability ``p``.

        What chance decides hangs on the schedule, the node and the call: a replay decides the same.
        """
        if isinstance(exc, type):
            exc = exc.__qualname__ if exc.__module__ == "builtins" else f"{exc.__module__}.{exc.__qualname__}"
        if p is not None:
            if at is not None or times != 1:
                raise TypeError("fail() takes one of at, times and p")
            return self + Plan((_checked(Fault("fail", name, 1, None, exc, float(f"{p * 100:g}"))),))  # as it is written
        return self._with("fail", name, (at, at) if at is not None else (1, times), exc)

    def slow(self, name: str, seconds: float | str, *, at: int | None = None) -> Plan:
        """The call takes so long, in virtual time; every call unless ``at`` says which."""
        return self._with("slow", name, at or (1, None), str(seconds))

    def late(self, name: str, *, at: int | None = None) -> Plan:
        """The call waits for as long as anything else can happen, though it may start; every call unless ``at`` says which."""
        return self._with("late", name, at or (1, None))

    def hang(self, name: str, *, at: int = 1) -> Plan:
        """The call never ends by itself: only a timeout ends it."""
        return self._with("hang", name, at)

    def timeout(self, name: str, *, at: int = 1) -> Plan:
        """The call ends as one that took too long, at its deadline if it has one."""
        return self._with("timeout", name, at)

    def worker_lost(self, name: str, *, at: int = 1) -> Plan:
        """The worker that makes the call is gone."""
        return self._with("lost", name, at)

    def unpicklable(self, name: str) -> Plan:
        """The result cannot be stored."""
        return self._with("unpicklable", name, (1, None))

    def corrupt_blob(self, name: str = "*") -> Plan:
        """What is stored of the result is damaged, and found so by whoever reads it."""
        return self._with("corrupt", name, (1, None))

    def crash(self, point: str, name: str = "*", *, at: int = 1) -> Plan:
        """The process is gone, at one of ``CRASH_POINTS``; nothing else is run, only the store survives."""
        return self + Plan((_checked(Fault("crash", name, at, at, point)),))

    def store_error(self, operation: str, *, at: int = 1) -> Plan:
        """The store refuses one of ``STORE_OPERATIONS``: disk full, locked."""
        return self + Plan((_checked(Fault("store", "*", at, at, operation)),))

    def clock_jump(self, by: float | str, *, at: int = 1) -> Plan:
        """The time of day is set forward or back, before the call ``at``."""
        return self._with("clock", "*", at, str(by))

    def interrupt(self, *, at: int = 1) -> Plan:
        """Ctrl-C, before the call ``at``."""
        return self._with("interrupt", "*", at)

    def teardown_fail(self, resource: str = "*", *, at: int = 1) -> Plan:
        """The teardown of a resource raises."""
        return self._with("teardown", resource, at)


def _parsed(text: str) -> Fault:
    found = _FAULT.fullmatch(text)
    if found is None:
        raise OptionError(
            f"{text!r} is no fault", known="PATTERN@CALL=KIND(DETAIL)", remedy='Write "get[BTC]@1=hang", or "load=fail(ValueError)".'
        )
    first = int(found["first"] or 1)
    last = first if not found["range"] else int(found["last"]) if found["last"] else None
    if found["percent"]:
        first, last = 1, None
    percent = float(found["percent"] or 100)
    return _checked(Fault(found["kind"], found["pattern"].strip(), first, last, (found["detail"] or "").strip(), percent))


def _checked(fault: Fault) -> Fault:
    if fault.kind not in (*CALL_KINDS, *RUN_KINDS):
        raise OptionError.unknown("kind of fault", fault.kind, str(fault), (*CALL_KINDS, *RUN_KINDS), "Name one of these.")
    details = {"crash": CRASH_POINTS, "store": STORE_OPERATIONS}.get(fault.kind)
    if details is not None and fault.detail not in details:
        kind = {"crash": "crash point", "store": "operation of the store"}[fault.kind]
        raise OptionError.unknown(kind, fault.detail, str(fault), details, "Name one of these.")
    if fault.kind in ("slow", "clock"):
        try:
            _ = fault.seconds
        except (TypeError, ValueError) as error:
            raise OptionError(f"{fault}: {fault.detail!r} is no duration", remedy="Write slow(90) or slow(1h30m).") from error
    if not (0 <= fault.percent <= 100) or (fault.percent < 100 and fault.kind != "fail"):
        raise OptionError(f"{fault}: no probability of a failure", remedy="Write load@10%=fail, or faults.fail('load', p=0.1).")
    if fault.kind == "fail" and fault.detail:
        _exception(fault.detail)
    return fault


#: Where plans begin: ``faults.fail("load")``.
faults = Plan()
